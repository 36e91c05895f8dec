"""The VAE as a pair of Pyro programs."""

import copy
import pickle
import weakref

import numpy as np
import pandas
import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import (
    SVI,
    Predictive,
    RenyiELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from pyro.optim import Adam
from torch import nn

import ppvae
from ppvae import diagnostics, likelihoods, networks, posteriors, priors
from tests.data.test_notebook_tables import cells
from tests.linear_gaussian import LinearGaussian
from tests.marks import slow_but

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    ),
]
OBJECTIVES = {
    "Trace_ELBO": Trace_ELBO,
    "several particles": lambda: Trace_ELBO(num_particles=3),
    "vectorized particles": lambda: Trace_ELBO(num_particles=3, vectorize_particles=True),
    "TraceMeanField_ELBO": TraceMeanField_ELBO,
    "TraceGraph_ELBO": TraceGraph_ELBO,
    "TraceEnum_ELBO": lambda: TraceEnum_ELBO(strict_enumeration_warning=False),
    "RenyiELBO": lambda: RenyiELBO(alpha=0, num_particles=3, vectorize_particles=True),
}


def small(dtype=torch.float32):
    return ppvae.VAE(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli(networks.MLP(2, 6, hidden=[8])),
        posterior=posteriors.DiagonalNormal(networks.MLP(6, 4, hidden=[8])),
    ).to(dtype)


def bits(rows=20, dtype=torch.float32):
    return (torch.rand(rows, 6) < 0.4).to(dtype)


@pytest.mark.parametrize("make", slow_but({"TraceGraph_ELBO", "RenyiELBO"}, OBJECTIVES))
def test_every_objective_of_pyro_trains_every_parameter(make):
    pair, x = small(), bits()
    before = {name: p.detach().clone() for name, p in pair.named_parameters()}
    svi = SVI(pair.model, pair.guide, Adam({"lr": 0.01}), loss=make())
    losses = [svi.step(x) for _ in range(100)]
    assert sum(losses[-20:]) < sum(losses[:20])
    for name, parameter in pair.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_two_pairs_side_by_side():
    x, first, second = bits(), small(), small()
    second.load_state_dict(first.state_dict())

    def train(pair):
        torch.manual_seed(1)
        svi = SVI(pair.model, pair.guide, Adam({"lr": 0.01}), loss=Trace_ELBO())
        for _ in range(5):
            svi.step(x)

    train(first)
    train(second)
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert not pyro.get_param_store().keys()


def test_loss_is_minus_the_elbo():
    case = LinearGaussian.random(1, orthogonal=True, perturbation=0)
    pair, x = case.pair(), case.draw(9, seed=2)
    # With the exact posterior one draw has no variance.
    loss = Trace_ELBO().loss(pair.model, pair.guide, x)
    assert loss == pytest.approx(-case.marginal.log_prob(x).sum().item(), abs=1e-9)


def test_elbo_module_takes_model_and_guide():
    pair, x = small(), bits()
    loss = Trace_ELBO()(pair.model, pair.guide)
    assert {id(p) for p in loss.parameters()} == {id(p) for p in pair.parameters()}
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.01)
    before = loss(x).item()
    for _ in range(100):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()
    assert loss(x).item() < before


def test_predictive_and_trace():
    pair, x = small(), bits()
    drawn = Predictive(pair.model, guide=pair.guide, num_samples=7)(x)
    assert drawn["x"].shape == (7, 20, 6)
    prior = Predictive(poutine.uncondition(pair.model), num_samples=7)(x)
    assert prior["z"].shape == (7, 20, 2)
    trace = poutine.trace(pair.model).get_trace(x)
    assert [name for name in trace.stochastic_nodes if name != "data"] == ["z"]
    assert trace.observation_nodes == ["x"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_device(dtype, device):
    pair = small(dtype).to(device)
    x = bits(dtype=dtype).to(device)
    ppvae.fit(pair, x, steps=3)
    drawn = pair.sample(4)
    assert (drawn.dtype, drawn.shape, drawn.device.type) == (dtype, (4, 6), device)
    assert pair.reconstruct(x).shape == x.shape
    assert bool(pair.encode(x).mean.isfinite().all())
    assert diagnostics.weights(pair, x, draws=2).sizes == {"draw": 2, "data": 20}


def test_sample_follows_the_model():
    case = LinearGaussian.random(3)
    x = case.pair().sample(20_000)
    error = case.marginal.variance.sqrt() / 20_000**0.5
    assert bool(((x.mean(0) - case.offset).abs() < 4.5 * error).all())  # false alarm 3e-5
    assert torch.allclose(x.T.cov(), case.marginal.covariance_matrix, rtol=0.1, atol=0.1)


def test_reconstruction_is_the_mean_at_a_draw():
    pair, x = small(), bits()
    torch.manual_seed(5)
    expected = pair.decode(pair.encode(x).sample()).mean
    torch.manual_seed(5)
    assert torch.equal(pair.reconstruct(x), expected)
    assert not pair.reconstruct(x).requires_grad


def test_asking_a_pair_leaves_no_trace():
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    decoder = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 6))
    likelihood, posterior = likelihoods.Bernoulli(decoder), posteriors.DiagonalNormal(encoder)
    pair, x = ppvae.VAE(priors.StandardNormal(2), likelihood, posterior), bits()
    encoder[1].eval()  # modes differ, none of them may change
    modes = [module.training for module in pair.modules()]
    before = {name: tensor.clone() for name, tensor in pair.state_dict().items()}
    first = pair.encode(x)
    assert torch.equal(first.mean, pair.encode(x).mean)
    assert torch.equal(pair.decode(first.mean).mean, pair.decode(first.mean).mean)
    assert pair.reconstruct(x[:1]).shape == (1, 6) and pair.sample(1).shape == (1, 6)
    assert [module.training for module in pair.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in pair.state_dict().items())


WRONG = {
    "every condition to be a tensor or array with one row a datapoint, got int; sample": (3, 7),
    "every condition to be a tensor or array .* got list": (3, [1.0]),
    "sample needs n to be a whole number, got float": (2.5,),
    "sample needs n to be a whole number, got tuple": ((3, 7),),
    "sample needs n to be a whole number, got bool": (True,),
}


@pytest.mark.parametrize(("message", "arguments"), WRONG.items())
def test_what_cannot_be_sampled_is_a_sentence(message, arguments):
    with pytest.raises(TypeError, match=message):
        small().sample(*arguments)


def test_factor_of_another_role_is_refused():
    with pytest.raises(TypeError, match="likelihood to be a .*Likelihood, got Linear"):
        ppvae.VAE(priors.StandardNormal(2), nn.Linear(2, 6), small().posterior)


def test_rank_is_checked():
    with pytest.raises(ValueError, match=r"\(data, \*event\).* got shape \(6,\)"):
        small().model(torch.zeros(6))


def test_sample_needs_a_positive_number():
    with pytest.raises(ValueError, match="n >= 1, got 0"):
        small().sample(0)


def test_programs_are_made_once_and_leave_no_trace_in_the_pair():
    pair = small()
    state, modules = dict(vars(pair)), list(pair.named_modules())
    model, guide = pair.model, pair.guide
    assert pair.model is model and pair.guide is guide
    assert vars(pair) == state and list(pair.named_modules()) == modules
    for other in (copy.deepcopy(pair), copy.copy(pair), pickle.loads(pickle.dumps(pair))):
        assert other.model is other.model and other.model is not model
        assert other.model.pair is other and other.guide.pair is other
    kept = weakref.ref(pair)
    del pair, model, guide, state, modules, other
    assert kept() is None  # without the garbage collector


def conditional(encoder):
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.Joined(nn.Linear(2 + 3, 6))),
        posteriors.DiagonalNormal(encoder),
    )


def test_whole_numbers_are_taken_as_floating_ones():
    pair, x = small(), torch.randint(0, 2, (5, 6))
    for given in (x, x.bool(), x.to(torch.uint8)):
        assert torch.equal(pair.encode(given).mean, pair.encode(x.float()).mean)
        assert pair.reconstruct(given).shape == (5, 6)
        assert ppvae.diagnostics.evidence(pair, given, draws=3).sizes["data"] == 5
    pyro.poutine.trace(pair.model).get_trace(x)


def test_labels_are_told_apart_from_conditions():
    x, labels = torch.zeros(6, 6), torch.tensor([0, 1, 2, 0, 1, 2])
    for call in (
        lambda: ppvae.fit(small(), [(x, labels)], epochs=1),
        lambda: small().encode(x, labels),
        lambda: small().model(x, labels),
    ):
        with pytest.raises(TypeError, match=r"2 tensor.s., but the encoder, MLP, takes 1 "):
            call()
    pair = conditional(networks.Joined(nn.Linear(6 + 3, 4)))
    with pytest.raises(TypeError, match=r"condition 1 holds whole numbers .*one_hot"):
        pair.encode(x, labels)
    one_hot = nn.functional.one_hot(labels)
    assert torch.equal(pair.encode(x, one_hot).mean, pair.encode(x, one_hot.float()).mean)
    assert pair.sample(2, one_hot).shape == (2, 6, 6)


FORMS = {
    "float64 array": lambda x: x.numpy().astype(float),
    "table": lambda x: pandas.DataFrame(x.numpy().astype(float)),
    "reversed array": lambda x: x.numpy().astype(float)[::-1, ::-1][::-1, ::-1],
    "bytes": lambda x: x.numpy().astype(np.uint8),
    "float64 tensor": torch.Tensor.double,
    "bool tensor": torch.Tensor.bool,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_any_form_of_the_data_gives_the_numbers_of_a_tensor_without_gradient(form):
    pair, x, z = conditional(networks.Joined(nn.Linear(6 + 3, 4))), bits(5), bits(5)[:, :2]
    y = nn.functional.one_hot(torch.arange(5) % 3).float()
    encoded = pair.encode(form(x), form(y))
    assert np.array_equal(encoded.mean.numpy(), pair.posterior(x, y).mean.detach().numpy())
    decoded = pair.decode(form(z), form(y))
    assert np.array_equal(decoded.mean.numpy(), pair.likelihood(z, y).mean.detach().numpy())
    for ask in (lambda *rows: pair.reconstruct(*rows), lambda _, *y: pair.sample(3, *y)):
        torch.manual_seed(0)
        expected = ask(x, y)
        torch.manual_seed(0)
        assert np.array_equal(ask(form(x), form(y)).numpy(), expected.numpy())


def test_an_input_that_requires_grad_keeps_its_graph():
    pair, x = small(), bits(3).requires_grad_()
    z = pair.encode(x).rsample()
    pair.decode(z).mean.sum().backward()
    assert x.grad is not None and bool(x.grad.any())
    assert torch.is_grad_enabled() and not pair.encode(x.detach()).stddev.requires_grad
    saliency = torch.func.grad(lambda x: pair.encode(x).mean.sum())(x.detach())
    (expected,) = torch.autograd.grad(pair.encode(x).mean.sum(), x)
    torch.testing.assert_close(saliency, expected)


def test_arrays_that_no_pair_takes_are_a_sentence():
    x, pair = bits(4).double().numpy(), conditional(networks.Joined(nn.Linear(6 + 3, 4)))
    hole = np.where(np.eye(4, 3) > 0, np.nan, 0.0)
    for call in (lambda: pair.encode(x, hole), lambda: pair.sample(2, hole)):
        with pytest.raises(ValueError, match=r"condition 1 holds 3 NaN or infinite value\(s\)"):
            call()
    with pytest.raises(ValueError, match="z holds 1 NaN or infinite"):
        pair.decode(np.array([[np.inf, 0.0]]), hole[:1, 1:])
    with pytest.raises(ValueError, match=r"x in the pair's torch.float32 holds 24 NaN or inf"):
        small().encode(torch.full((4, 6), 1e300, dtype=torch.float64))
    with pytest.raises(TypeError, match="x must be .* array of dtype object; make every column"):
        small().reconstruct(pandas.DataFrame({"a": [1, 2], "name": ["b", "c"]}))


class Unknown(priors.Prior):
    """A prior that does not say its size, and one only given conditions."""

    def __init__(self, conditions):
        super().__init__()
        self.conditions = conditions

    def forward(self, *conditions):
        assert len(conditions) == self.conditions
        return dist.Normal(torch.zeros(2), 1.0).to_event(1)


@pytest.mark.parametrize(("prior", "known"), [(None, True), (0, True), (1, False)])
def test_a_notebook_shows_the_factors_and_the_latent_size(prior, known):
    pair = LinearGaussian.random(0).pair()
    if prior is not None:
        pair = ppvae.VAE(Unknown(prior), pair.likelihood, pair.posterior)
    shown = cells(pair._repr_html_())
    assert shown["prior p(z)"] == type(pair.prior).__name__
    assert shown.get("latent z") == ("2 dimensions" if known else None)
    assert shown["parameters"] == str(sum(each.numel() for each in pair.parameters()))
