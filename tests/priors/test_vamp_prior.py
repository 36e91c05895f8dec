"""The VampPrior and its pseudo-inputs."""

import json
import math

import pytest
import torch
from torch import nn

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, pairs, posteriors, priors
from ppvae.engine.parameters import Collector
from ppvae.networks import Joined

POSTERIORS = {
    "DiagonalNormal": lambda: posteriors.DiagonalNormal(nn.Linear(6, 4)),
    "FullRankNormal": lambda: posteriors.FullRankNormal(nn.Linear(6, 5)),
    "LowRankNormal": lambda: posteriors.LowRankNormal(nn.Linear(6, 6)),
    "Laplace": lambda: posteriors.Laplace(nn.Linear(6, 4)),
}


@pytest.fixture(params=POSTERIORS.values(), ids=POSTERIORS.keys())
def posterior(request):
    torch.manual_seed(0)
    return request.param()


def pair_of(posterior, components=4):
    return ppvae.VAE(
        priors.VampPrior(posterior, priors.PseudoInputs((6,), components, bounds=(0.0, 1.0))),
        likelihoods.Bernoulli(nn.Linear(2, 6)),
        posterior,
    )


def bits(rows=30):
    return (torch.rand(rows, 6) < 0.4).float()


def test_density_is_the_mean_of_the_posteriors(posterior):
    prior = pair_of(posterior).double().prior
    z = torch.randn(3, 7, 2).double()
    each = [posterior(u).log_prob(z) for u in prior.pseudo_inputs()]
    expected = torch.stack(each).logsumexp(0) - math.log(4)
    torch.testing.assert_close(prior().log_prob(z), expected)
    mean = torch.stack([posterior(u).mean for u in prior.pseudo_inputs()]).mean(0)
    torch.testing.assert_close(prior().mean, mean)


def test_of_one_pseudo_input_it_is_the_posterior(posterior):
    prior = pair_of(posterior, components=1).prior
    z = torch.randn(9, 2)
    expected = posterior(prior.pseudo_inputs()[0]).log_prob(z)
    torch.testing.assert_close(prior().log_prob(z), expected)


def test_given_conditions_it_is_the_mean_of_the_posteriors_given_them():
    torch.manual_seed(0)
    posterior = posteriors.DiagonalNormal(Joined(nn.Linear(6 + 3, 4)))
    prior = priors.VampPrior(posterior, priors.PseudoInputs((6,), 4))
    y, z = torch.randn(5, 3), torch.randn(8, 5, 2)
    each = [posterior(u.expand(5, 6), y).log_prob(z) for u in prior.pseudo_inputs()]
    expected = torch.stack(each).logsumexp(0) - math.log(4)
    given = prior(y)
    assert given.batch_shape == (5,)
    torch.testing.assert_close(given.log_prob(z), expected)
    pair = ppvae.VAE(prior, likelihoods.Bernoulli(Joined(nn.Linear(5, 6))), posterior)
    assert pair.sample(8, y).shape == (8, 5, 6)
    ppvae.fit(pair, (bits(5), y), steps=2)


def test_every_parameter_trains_and_is_announced_once(posterior):
    pair, x = pair_of(posterior), bits()
    names = [name for name, _ in pair.named_parameters()]
    assert len(names) == 5  # two layers and the pseudo-inputs
    before = {name: p.detach().clone() for name, p in pair.named_parameters()}
    with Collector() as announced:
        pair.model(x)
    assert [*announced.unique()] == [*announced.parameters] == names
    ppvae.fit(pair, x, steps=3)
    for name, parameter in pair.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    assert pair.prior.posterior is pair.posterior


def test_gradient_of_the_kl_reaches_pseudo_inputs_and_encoder():
    pair = pair_of(POSTERIORS["DiagonalNormal"]())
    pair.prior().log_prob(torch.randn(20, 2)).sum().backward()
    assert bool((pair.prior.pseudo_inputs.raw.grad != 0).any(1).all())
    assert bool((pair.posterior.network.weight.grad != 0).any())


def test_loading_restores_what_is_shared(posterior, tmp_path):
    pair = pair_of(posterior)
    ppvae.save(pair, tmp_path)
    described = json.loads((tmp_path / "pair.json").read_text())["pair"]["arguments"]
    assert described["posterior"] == {"same": "prior.posterior"}
    loaded = ppvae.load(tmp_path)
    assert loaded.prior.posterior is loaded.posterior
    assert [*dict(loaded.named_parameters())] == [*dict(pair.named_parameters())]
    z = torch.randn(5, 2)
    assert torch.equal(loaded.prior().log_prob(z), pair.prior().log_prob(z))
    for trained in (pair, loaded):
        ppvae.fit(trained, torch.ones(9, 6), steps=3, compile=False)
    assert all(map(torch.equal, pair.parameters(), loaded.parameters()))


def test_resuming_goes_on_bit_for_bit(tmp_path):
    x, reached = bits(), []
    for parts in ((4,), (2, 4)):
        torch.manual_seed(0)
        for steps in parts:
            torch.manual_seed(0)
            pair = pair_of(POSTERIORS["DiagonalNormal"]())
            folder = tmp_path / str(len(parts))
            resume = folder if steps != parts[0] else None
            ppvae.fit(pair, x, steps=steps, checkpoint=folder, resume=resume, compile=False)
        reached.append(torch.cat([p.flatten() for p in pair.parameters()]))
    assert torch.equal(*reached)


def test_evidence_by_integration():
    torch.manual_seed(0)
    posterior = posteriors.DiagonalNormal(nn.Linear(6, 2))
    # Near each other and of one scale, so that no importance weight has a heavy tail.
    posterior.network.weight.data *= torch.tensor([[0.3], [0.0]])
    pair = ppvae.VAE(
        priors.VampPrior(posterior, priors.PseudoInputs((6,), 3)),
        likelihoods.Bernoulli(nn.Linear(1, 6)),
        posterior,
    ).double()
    x, z = bits(12).double(), torch.linspace(-15, 15, 20_001).double()[:, None, None]
    with torch.no_grad():
        log_joint = pair.prior().log_prob(z) + pair.decode(z).log_prob(x)
    expected = (log_joint.logsumexp(0) + math.log(30 / 20_000)).numpy()
    terms = diagnostics.evidence(pair, x, draws=4000)
    # Of 12 datapoints one lies outside by chance once in 12 000 times.
    deviation = (terms.log_evidence - expected) / terms.log_evidence_error
    assert float(abs(deviation).max()) < 4.5
    assert bool((diagnostics.pareto_k(pair, x).pareto_k < 0.7).all())


@pytest.mark.slow
def test_it_beats_the_standard_normal_on_clusters():
    torch.manual_seed(0)
    centers = (torch.rand(4, 20) < 0.5).float()
    x = (centers[torch.arange(600) % 4] - (torch.rand(600, 20) < 0.05).float()).abs()

    def trained(prior, posterior):
        likelihood = likelihoods.Bernoulli(networks.MLP(2, 20, hidden=[32]))
        pair = ppvae.VAE(prior(posterior), likelihood, posterior)
        adam = lambda parameters: torch.optim.Adam(parameters, lr=0.005)  # noqa: E731
        ppvae.fit(pair, x[:400], steps=600, optimizer=adam)
        return diagnostics.evidence(pair, x[400:], draws=200)

    encoder = lambda: posteriors.DiagonalNormal(networks.MLP(20, 4, hidden=[32]))  # noqa: E731
    points = priors.PseudoInputs.from_data(x[:20], bounds=(0.0, 1.0))
    vamp = trained(lambda posterior: priors.VampPrior(posterior, points), encoder())
    normal = trained(lambda _: priors.StandardNormal(2), encoder())
    gain = vamp.elbo - normal.elbo
    assert gain.mean() > 4.5 * gain.std() / len(gain) ** 0.5  # by chance 3 in a million


def test_pseudo_inputs_start_at_data_and_stay_in_their_bounds():
    rows = torch.tensor([[0.0, 16.0, 4.0], [8.0, 1.0, 20.0]])
    points = priors.PseudoInputs.from_data(rows, bounds=(0.0, 16.0))
    expected = torch.tensor([[0.16, 15.84, 4.0], [8.0, 1.0, 15.84]])
    torch.testing.assert_close(points(), expected)
    points().sum().backward()
    assert bool((points.raw.grad != 0).all())
    points.raw.data.fill_(1e4)
    assert points().max().item() == 16
    free = priors.PseudoInputs.from_data(rows.double())
    assert torch.equal(free(), rows.double())
    assert priors.PseudoInputs.from_data(rows.long())().dtype == torch.get_default_dtype()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images(dtype):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(-3), nn.Linear(8, 4))
    posterior = posteriors.DiagonalNormal(network)
    prior = priors.VampPrior(posterior, priors.PseudoInputs((1, 4, 4), 5)).to(dtype)
    z = prior().sample((3,))
    assert (z.shape, z.dtype) == ((3, 2), dtype)


def test_bad_arguments():
    posterior = POSTERIORS["Laplace"]()
    with pytest.raises(TypeError, match="posterior to be a .*Posterior, got int"):
        priors.VampPrior(10, priors.PseudoInputs((6,)))
    with pytest.raises(TypeError, match="pseudo_inputs to be a .*PseudoInputs, got Tensor"):
        priors.VampPrior(posterior, torch.zeros(3, 6))
    with pytest.raises(ValueError, match=r"components >= 1 .* got 0 and \(6,\)"):
        priors.PseudoInputs((6,), components=0)
    with pytest.raises(ValueError, match=r"positive sizes, got 5 and \(3, 0\)"):
        priors.PseudoInputs((3, 0), components=5)
    with pytest.raises(ValueError, match=r"lower < upper, got \(1, 1\)"):
        priors.PseudoInputs((6,), bounds=(1, 1))
    with pytest.raises(ValueError, match=r"finite bounds .* got \(0, inf\)"):
        priors.PseudoInputs((6,), bounds=(0, math.inf))
    with pytest.raises(ValueError, match="without NaN"):
        priors.PseudoInputs.from_data(torch.full((2, 6), math.nan), bounds=(0, 1))
    with pytest.raises(ValueError, match=r"rows of shape .* got shape \(6,\)"):
        priors.PseudoInputs.from_data(torch.zeros(6))


def test_assembled_from_training_data():
    digits = data.digits()
    pair = pairs.assemble(digits, latent=2, pseudo_inputs=30)
    points = pair.prior.pseudo_inputs
    assert pair.prior.posterior is pair.posterior
    assert (points().shape, points.bounds) == ((30, 64), (0.0, 16.0))
    distances = torch.cdist(points().detach(), digits.train.float()).min(1).values
    assert float(distances.max()) < 0.17 * 64**0.5  # no further than a hundredth of the range
    with pytest.raises(ValueError, match="a prior, not both"):
        pairs.assemble(digits, prior=priors.StandardNormal, pseudo_inputs=3)
    for count in (0, len(digits.train) + 1):
        with pytest.raises(ValueError, match=f"1439 training data, got {count}"):
            pairs.assemble(digits, pseudo_inputs=count)


class Labeled(nn.Module):
    """Takes labels `(*)`, which are no vectors `(*, features)`."""

    def __init__(self):
        super().__init__()
        self.of_data, self.of_labels = nn.Linear(6, 4), nn.Embedding(3, 4)

    def forward(self, x, label):
        return self.of_data(x) + self.of_labels(label)


@pytest.mark.parametrize("components", [1, 8])
def test_labels_that_are_no_vectors_are_not_taken_for_components(components):
    posterior = posteriors.DiagonalNormal(Labeled())
    prior = priors.VampPrior(posterior, priors.PseudoInputs((6,), components))
    with pytest.raises(ValueError, match=r"got a batch \(1, 8\) .* conditions \[\(8,\)\]"):
        prior(torch.randint(3, (8,)))


@pytest.mark.parametrize("rows", [1, 5])
def test_pseudo_inputs_with_a_dimension_too_many_are_refused(rows):
    posterior = posteriors.DiagonalNormal(nn.Linear(6, 4))
    prior = priors.VampPrior(posterior, priors.PseudoInputs((rows, 6), components=5))
    with pytest.raises(ValueError, match=rf"got a batch \(5, {rows}\) of pseudo-inputs"):
        prior()
