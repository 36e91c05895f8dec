"""Latents that all rows share: eight schools and a regression with levels, by automatic guides.

    python -m benchmarks.shared_latents [--cases NAME ...] [--guides NAME ...] [--nuts DRAWS]

Both posteriors are known to quadrature: given the scales, everything else is normal. Each guide is
fitted by `ppvae.fit`; of each latent, the distance of its mean from the exact one in exact
standard deviations, and the ratio of the standard deviations. With `--nuts`, the same of draws of
Pyro's NUTS, with the Monte Carlo error that the effective sample size says.
"""

import argparse
import functools
import time
import warnings
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, Trace_ELBO, autoguide
from pyro.ops.stats import effective_sample_size

import ppvae
from ppvae import diagnostics
from ppvae.inference import CosineDecay

EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
GROUPS, ROWS = 6, 60


def schools(effects, errors, centred=False):
    """Rubin, "Estimation in parallel randomized experiments", 1981."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfNormal(5.0))
    with pyro.plate("schools", len(effects)):
        if centred:
            theta = pyro.sample("theta", dist.Normal(mu, tau))
        else:
            theta = mu + tau * pyro.sample("eta", dist.Normal(0.0, 1.0))
        pyro.sample("effect", dist.Normal(theta, errors), obs=effects)


def levels(group, x, y):
    """A regression whose intercept differs by group."""
    mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("groups", GROUPS):
        level = pyro.sample("level", dist.Normal(mean, spread))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(level[..., group.long()] + slope * x, noise), obs=y)


def rows_of_levels():
    """Return group, x and y, simulated."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(ROWS) % GROUPS
    x = torch.randn(ROWS, generator=generator)
    level = 1 + 0.7 * torch.randn(GROUPS, generator=generator)
    y = level[group] - 0.5 * x + 0.5 * torch.randn(ROWS, generator=generator)
    return group.float(), x, y


def exactly(design, y, noises, prior_means, prior_covariances, log_prior):
    """Return log weights of a grid, and means and variances of normal latents at each point."""
    # y = design u + noise; all have the grid first.
    precision = prior_covariances.inverse()
    both = precision + design.mT @ (design / noises.square()[..., None])
    covariance = both.inverse()
    shift = (precision @ prior_means[..., None])[..., 0] + (y / noises.square()) @ design
    mean = (covariance @ shift[..., None])[..., 0]
    marginal = dist.MultivariateNormal(
        (design @ prior_means[..., None])[..., 0],
        design @ prior_covariances @ design.mT + torch.diag_embed(noises.square()),
    )
    return log_prior + marginal.log_prob(y), mean, covariance.diagonal(dim1=-2, dim2=-1)


def moments(log_weights, mean, variance):
    """Return means and standard deviations over the grid."""
    weights = log_weights.softmax(0)[:, None]
    average = (weights * mean).sum(0)
    return average, ((weights * (variance + (mean - average).square())).sum(0)).sqrt()


def exact_schools():
    """Return the posterior mean and standard deviation of mu, tau and theta, by name."""
    tau = torch.linspace(0.005, 40, 8000).double()
    size = len(EFFECTS)
    means = torch.zeros(len(tau), 1 + size).double()
    covariances = torch.full((len(tau), 1 + size, 1 + size), 25.0).double()
    covariances[:, 1:, 1:] += tau.square()[:, None, None] * torch.eye(size)
    design = torch.eye(1 + size).double()[1:]
    noises = ERRORS.double().expand(len(tau), -1)
    log_prior = dist.HalfNormal(torch.tensor(5.0).double()).log_prob(tau)
    # mu is one of the latents, so that their covariance has no inverse where tau is 0.
    jitter = 1e-9 * torch.eye(1 + size).double()
    log_weights, mean, variance = exactly(
        design, EFFECTS.double(), noises, means, covariances + jitter, log_prior
    )
    mean = torch.cat([mean, tau[:, None]], 1)
    variance = torch.cat([variance, torch.zeros_like(tau)[:, None]], 1)
    average, scale = moments(log_weights, mean, variance)
    return {
        "mu": (average[:1], scale[:1]),
        "tau": (average[-1:], scale[-1:]),
        "theta": (average[1:-1], scale[1:-1]),
    }


def exact_levels():
    """Return the posterior mean and standard deviation of each latent, by name."""
    group, x, y = (part.double() for part in rows_of_levels())
    spread, noise = torch.meshgrid(
        torch.linspace(0.02, 3.5, 120).double(),
        torch.linspace(0.3, 0.9, 80).double(),
        indexing="ij",
    )
    spread, noise = spread.flatten(), noise.flatten()
    member = torch.nn.functional.one_hot(group.long(), GROUPS).double()
    design = torch.cat(
        [torch.zeros(ROWS, 1), x[:, None], member], 1
    ).double()  # mean, slope, level
    size = 2 + GROUPS
    covariances = torch.zeros(len(spread), size, size).double()
    covariances[:, 0, 0], covariances[:, 1, 1] = 4.0, 1.0
    covariances[:, 0, 2:] = covariances[:, 2:, 0] = 4.0
    covariances[:, 2:, 2:] = 4.0 + spread.square()[:, None, None] * torch.eye(GROUPS)
    one = torch.tensor(1.0).double()
    log_prior = dist.HalfNormal(one).log_prob(spread) + dist.HalfNormal(one).log_prob(noise)
    noises = noise[:, None].expand(-1, ROWS)
    means = torch.zeros(len(spread), size).double()
    log_weights, mean, variance = exactly(design, y, noises, means, covariances, log_prior)
    extra = torch.stack([spread, noise], 1)
    average, scale = moments(
        log_weights, torch.cat([mean, extra], 1), torch.cat([variance, 0 * extra], 1)
    )
    places = {"mean": [0], "slope": [1], "level": list(range(2, size))}
    places |= {"spread": [size], "noise": [size + 1]}
    return {name: (average[index], scale[index]) for name, index in places.items()}


def drawn(pair, batch, draws=100_000):
    """Return draws of each latent of the guide, theta of schools that are not centred too."""
    guide = pair.guide
    if isinstance(guide, autoguide.AutoLaplaceApproximation):
        guide = guide.laplace_approximation(*batch)
    with torch.no_grad(), pyro.plate("draws", draws, dim=-2):
        found = guide(*batch)
    return with_theta({name: value.reshape(draws, -1) for name, value in found.items()})


def with_theta(values):
    """Return the draws, and those of theta = mu + tau eta."""
    if "eta" in values:
        values["theta"] = values["mu"] + values["tau"] * values["eta"]
    return values


def compared(values, exact):
    """Say how far means are, in standard deviations, and the ratios of standard deviations."""
    parts = []
    for name, (mean, scale) in exact.items():
        off = (values[name].double().mean(0) - mean) / scale
        off = off[off.abs().argmax()]
        ratio = values[name].double().std(0) / scale
        parts.append(f"{name} {off:+.3f} ({ratio.min():.2f} to {ratio.max():.2f})")
    return ", ".join(parts)


def effective(values):
    """Say the least effective sample size of each latent."""
    sizes = {n: effective_sample_size(v, chain_dim=0, sample_dim=1) for n, v in values.items()}
    return ", ".join(f"{name} {int(size.min())}" for name, size in sizes.items())


def fitted(model, kind, batch, steps, rate, seed=0):
    """Fit an automatic guide."""
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    pair = SimpleNamespace(model=model, guide=kind(model))
    ppvae.fit(
        pair,
        batch,
        steps=steps,
        batch_size=len(batch[0]),
        objective=Trace_ELBO(num_particles=100, vectorize_particles=True, max_plate_nesting=1),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=rate),
        schedule=CosineDecay,
        seed=seed,
        compile=False,
        progress=False,
    )
    return pair


def measured(pair, batch, exact):
    """Say how far a fitted guide is, and what `diagnose` says of it."""
    effort = diagnostics.Effort(datapoints=len(batch[0]), draws=1000)
    try:
        found = compared(drawn(pair, batch), exact)
        finding = diagnostics.diagnose(pair, batch, effort=effort, progress=False).findings[0]
    except (ppvae.Unsupported, torch.linalg.LinAlgError) as error:
        return f"no normal; {error}"
    return f"{found}; {finding.verdict.value}: {finding.answer}"


def sampled(model, batch, exact, draws):
    """Say how far draws of NUTS are, and what they are worth."""
    pyro.set_rng_seed(0)
    chain = MCMC(NUTS(model), draws, draws // 4, disable_progbar=True)
    chain.run(*batch)
    values = {k: v.reshape(len(v), -1) for k, v in chain.get_samples().items()}
    values = with_theta(values)
    chains = {name: value[None] for name, value in values.items()}
    return f"{compared(values, exact)}; effective draws {effective(chains)}"


CASES = {
    "schools": (schools, (EFFECTS, ERRORS), exact_schools),
    "centred": (functools.partial(schools, centred=True), (EFFECTS, ERRORS), exact_schools),
    "levels": (levels, rows_of_levels(), exact_levels),
}
GUIDES = (
    "AutoNormal",
    "AutoMultivariateNormal",
    "AutoLowRankMultivariateNormal",
    "AutoLaplaceApproximation",
    "AutoIAFNormal",
)


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", nargs="+", choices=CASES, default=tuple(CASES))
    parser.add_argument("--guides", nargs="*", choices=GUIDES, default=GUIDES)
    parser.add_argument("--nuts", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in options.cases:
        model, batch, of_case = CASES[name]
        exact = of_case()
        known = ", ".join(
            f"{k} {float(m[0]):.3f} sd {float(s[0]):.3f}" for k, (m, s) in exact.items()
        )
        print(f"{name}: {known}", flush=True)
        for kind in options.guides:
            for seed in range(options.seeds):
                start = time.process_time()
                guide = getattr(autoguide, kind)
                pair = fitted(model, guide, batch, options.steps, options.rate, seed)
                spent = time.process_time() - start
                print(f"  {kind}, {spent:.0f} s: {measured(pair, batch, exact)}", flush=True)
        if options.nuts:
            start = time.process_time()
            found = sampled(model, batch, exact, options.nuts)
            print(f"  NUTS, {time.process_time() - start:.0f} s: {found}", flush=True)


if __name__ == "__main__":
    main()
