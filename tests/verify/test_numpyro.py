"""The bounds of each datapoint are NumPyro's, under subsampling too.

NumPyro is no dependency: `make bench` installs it beside the library, in `.venv-bench`.
"""

import numpy as np
import pytest

from ppvae.inference import ImportanceWeighted_ELBO, VariationalRenyi_ELBO
from tests.inference.objectives.test_bounds import Scaled, loss
from tests.linear_gaussian import LinearGaussian

jax = pytest.importorskip("jax")
numpyro = pytest.importorskip("numpyro")

pytestmark = pytest.mark.verify

ROWS, SEEDS = 200, 400
CASE = LinearGaussian.random(0, orthogonal=True, perturbation=0.15)
BOUNDS = [(alpha, draws) for alpha in (0.0, 0.5, 2.0) for draws in (2, 5, 50)]


def theirs(alpha, draws, x, size):
    """Return NumPyro's loss of SEEDS keys."""
    import numpyro.distributions as dist

    case = {name: np.asarray(value) for name, value in vars(CASE).items()}

    def model(x):
        with numpyro.plate("data", size, subsample_size=len(x)):
            prior = dist.Normal(np.zeros(case["loadings"].shape[1]), 1.0).to_event(1)
            z = numpyro.sample("code", prior)
            loc = z @ case["loadings"].T + case["offset"]
            numpyro.sample("row", dist.Normal(loc, case["noise"]).to_event(1), obs=x)

    def guide(x):
        with numpyro.plate("data", size, subsample_size=len(x)):
            loc = x @ case["slope"].T + case["intercept"]
            numpyro.sample("code", dist.Normal(loc, case["scale"]).to_event(1))

    objective = numpyro.infer.RenyiELBO(alpha=alpha, num_particles=draws)
    run = jax.jit(lambda key: objective.loss(key, {}, model, guide, x))
    return np.array([run(jax.random.PRNGKey(seed)) for seed in range(SEEDS)])


@pytest.mark.parametrize("size", [ROWS, 10 * ROWS], ids=["whole", "a tenth"])
def test_bounds_are_those_of_numpyro(size):
    """Nine means of SEEDS losses, 3.5 standard errors: 0.4 % false alarms."""
    with jax.enable_x64(True):
        x = CASE.draw(ROWS, 1)
        pair = Scaled(CASE, size=None if size == ROWS else size)
        for alpha, draws in BOUNDS:
            objective = (
                VariationalRenyi_ELBO(alpha, draws) if alpha else ImportanceWeighted_ELBO(draws)
            )
            ours = np.array([loss(objective, pair, x, seed) for seed in range(SEEDS)]) / size
            other = theirs(alpha, draws, x.numpy(), size) / size
            difference = ours.mean() - other.mean()
            error = np.sqrt((ours.var(ddof=1) + other.var(ddof=1)) / SEEDS)
            print(
                f"\nalpha {alpha}, {draws} draws, {ROWS} of {size} rows: {-ours.mean():.4f} and "
                f"{-other.mean():.4f} nats a datapoint, {difference / error:+.1f} standard errors",
                end="",
            )
            assert abs(difference) < 3.5 * error
            assert error < 0.01
