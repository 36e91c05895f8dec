"""What every pair of factors promises; a new one joins by an entry in PAIRS."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyro.poutine as poutine
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import constraints

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, pairs, posteriors, priors
from ppvae.diagnostics import Effort
from ppvae.engine import adapted, structure_of, vectorizable
from ppvae.networks import First, Joined, LinearGiven
from ppvae.pairs.programs import ProgramPair
from tests.contracts.graphs import of_each_class, of_two_classes, trained_both_ways

FEATURES, LATENT, ROWS = 6, 2, 40
SHORT = Effort(20, 50, samples=20, simulations=10, refined=4, searched=4)
DEEP = replace(SHORT, annealed=2, temperatures=2)
ANNEALED = ("annealing", "bounds")  # how the names of checks begin that are of DEEP alone


@dataclass(frozen=True)
class Entry:
    """How to build a small pair, what it is called with, and what does not apply to it.

    `build` is called with nothing; `batch` gives 40 rows as the pair takes them. What does not
    apply has its reason, words of what is said: `compiled` of `fit`, and `refused` of `diagnose`,
    by the name of its check. `dataset` is what `of` is called with, if the digits are no such.
    """

    build: Callable[[], ProgramPair]
    batch: Callable[[], tuple[Tensor, ...]]
    compiled: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    dataset: Callable[[], data.Dataset] = data.digits

    def structure(self, pair):
        """Return the pair and its rows as the engine takes them, and what it knows of them."""
        pair, batch = adapted(pair, self.batch(), split="test")
        return pair, batch, structure_of(pair, batch)

    def trained(self, steps=6):
        torch.manual_seed(0)
        pair = self.build()
        ppvae.fit(pair, self.batch(), steps=steps, batch_size=20)
        return pair


def bits():
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(ROWS, FEATURES, generator=generator) < 0.5).float()


def classes(count=3):
    return torch.arange(ROWS) % count


def normal(inputs):
    """A posterior of so many inputs side by side."""
    network = nn.Linear(inputs, 2 * LATENT)
    return posteriors.DiagonalNormal(network if inputs <= FEATURES else Joined(network))


def vae():
    decoder = likelihoods.Bernoulli(nn.Linear(LATENT, FEATURES))
    return pairs.VAE(priors.StandardNormal(LATENT), decoder, normal(FEATURES))


def given(build, prior, width):
    """A pair whose factors get so many numbers beside x and z."""
    decoder = likelihoods.Bernoulli(Joined(nn.Linear(LATENT + width, FEATURES)))
    return build(prior, decoder, normal(FEATURES + width))


def mixture(decoder):
    normals = priors.ConditionalNormal(nn.Linear(3, 2 * LATENT))
    return pairs.MixtureVAE(normals, likelihoods.Bernoulli(decoder), normal(FEATURES), 3)


def with_gaps():
    known = torch.rand(ROWS, FEATURES, generator=torch.Generator().manual_seed(1)) < 0.7
    return torch.where(known, bits(), torch.nan)


LAYERED = {"aggregate and prior": "changes with other draws"}


def layers(posterior):
    """Two layers with skip connections."""
    prior = priors.ConditionalNormal(nn.Linear(1, 2 * LATENT))
    decoder = likelihoods.Bernoulli(Joined(nn.Linear(LATENT + 1, FEATURES)))
    return pairs.HierarchicalVAE([prior, priors.StandardNormal(1)], decoder, posterior)


def ladder():
    features = [nn.Linear(FEATURES, 4), nn.Linear(4, 3)]
    upper = posteriors.DiagonalNormal(nn.Linear(3, 2))
    return layers(pairs.Ladder(features, [normal(4), upper]))


def bottom_up():
    upper = posteriors.DiagonalNormal(First(nn.Linear(LATENT, 2)))
    return layers(pairs.BottomUp([normal(FEATURES), upper]))


def experts(kind):
    """A pair of two views, of 4 and 2 bits."""
    decoders = [likelihoods.Bernoulli(nn.Linear(LATENT, size)) for size in (4, 2)]
    return pairs.MultimodalVAE(decoders, kind([normal(4), normal(2)]), LATENT)


def views():
    """The bits as two views, of which some are missing."""
    present = torch.ones(ROWS, 2)
    present[::3, 0] = present[1::3, 1] = 0
    return bits()[:, :4], bits()[:, 4:], present


def spatial():
    drawing = networks.Canvas(nn.Linear(1, 6), (2, 3))
    decoder = likelihoods.Bernoulli(networks.SpatialDecoder(drawing, (2, 3), 1))
    encoder = posteriors.DiagonalNormal(nn.Linear(FEATURES, 8))
    return pairs.SpatialVAE(priors.StandardNormal(4), decoder, encoder)


def bayesian():
    decoder = likelihoods.Bernoulli(LinearGiven(nn.Sequential(nn.Linear(LATENT, 3), nn.Tanh())))
    weights = FEATURES * (3 + 1)
    return pairs.BayesianVAE(
        priors.StandardNormal(LATENT),
        decoder,
        normal(FEATURES),
        priors.StandardNormal(weights),
        priors.LearnedNormal(weights, 0.1),
    )


def topics():
    return pairs.TopicModel(
        priors.LogisticNormal(LATENT, 0.5),
        likelihoods.Multinomial(networks.Topics(LATENT, FEATURES)),
        normal(FEATURES),
    )


def chain():
    emission = likelihoods.EachStep(likelihoods.Normal(nn.Linear(LATENT, 4)))
    prior = priors.Markov(networks.GatedTransition(LATENT, 5), LATENT, 3)
    guide = posteriors.Markov(
        networks.BackwardGRU((3, 2), 4), Joined(nn.Linear(LATENT + 4, 2 * LATENT)), LATENT
    )
    return pairs.DeepMarkovModel(prior, emission, guide)


def series():
    """Sequences of 1 to 3 steps."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, 3, 2, generator=generator), 1 + torch.arange(ROWS) % 3


def sequences():
    x = torch.randn(200, 5, 3, generator=torch.Generator().manual_seed(0))
    return data.split("noise", x, constraints.real)


PAIRS = {
    "VAE": Entry(vae, lambda: (bits(),)),
    "VAE, conditions": Entry(
        lambda: given(pairs.VAE, priors.StandardNormal(LATENT), 3),
        lambda: (bits(), torch.eye(3)[classes()]),
    ),
    "ConditionalVAE": Entry(
        lambda: given(
            lambda *factors: pairs.ConditionalVAE(*factors, [3]),
            priors.ConditionalNormal(nn.Linear(3, 2 * LATENT)),
            3,
        ),
        lambda: (bits(), classes()),
    ),
    "ConditionalVAE, columns": Entry(
        lambda: given(
            lambda *factors: pairs.ConditionalVAE(*factors, [3, 0, 2]),
            priors.StandardNormal(LATENT),
            6,
        ),
        lambda: (bits(), torch.stack([classes(), torch.linspace(-1, 1, ROWS), classes(2)], 1)),
    ),
    "MixtureVAE": Entry(lambda: mixture(First(nn.Linear(LATENT, FEATURES))), lambda: (bits(),)),
    "MixtureVAE, decoded by component": Entry(
        lambda: mixture(Joined(nn.Linear(LATENT + 3, FEATURES))), lambda: (bits(),)
    ),
    "MissingDataVAE": Entry(
        lambda: pairs.MissingDataVAE(
            priors.StandardNormal(LATENT),
            likelihoods.Bernoulli(nn.Linear(LATENT, FEATURES)),
            normal(2 * FEATURES),
        ),
        lambda: (with_gaps(),),
        refused={"calibration": "observes something computed from the data"},
        dataset=lambda: data.wine(missing=0.3),
    ),
    "SemiSupervisedVAE": Entry(
        lambda: given(
            lambda *factors: pairs.SemiSupervisedVAE(
                *factors, nn.Linear(FEATURES, 3), shares=[0.2, 0.3, 0.5], weight=2.0
            ),
            priors.StandardNormal(LATENT),
            3,
        ),
        lambda: (bits(), torch.where(torch.arange(ROWS) % 2 == 0, classes(), -1)),
        refused={"aggregate and prior": "a mixture over a site that is summed out"},
    ),
    "HierarchicalVAE, ladder": Entry(ladder, lambda: (bits(),), refused=LAYERED),
    "HierarchicalVAE, bottom-up": Entry(bottom_up, lambda: (bits(),), refused=LAYERED),
    "MultimodalVAE": Entry(
        lambda: experts(pairs.ProductOfExperts),
        views,
        dataset=lambda: data.halves(data.digits()),
    ),
    "MultimodalVAE, mixture": Entry(
        lambda: experts(pairs.MixtureOfProducts),
        views,
        dataset=lambda: data.halves(data.digits()),
    ),
    "BayesianVAE": Entry(bayesian, lambda: (bits(),)),
    "SpatialVAE": Entry(spatial, lambda: (bits(),)),
    "TopicModel": Entry(
        topics,
        lambda: (bits() * 3,),
        dataset=lambda: data.topic_documents(200, topics=3, words=30),
    ),
    "DeepMarkovModel": Entry(chain, series, dataset=sequences),
}
OF_A_DATASET = [name for name in PAIRS if "of" in vars(getattr(pairs, name.partition(",")[0]))]


@pytest.fixture(params=of_each_class(PAIRS))
def entry(request):
    return request.param


@pytest.fixture
def pair(entry):
    return entry.trained()


@pytest.mark.parametrize("entry", of_two_classes(PAIRS), indirect=True)
def test_graph_of_a_training_is_the_training(entry, monkeypatch):
    if entry.compiled:
        fit = ppvae.fit(entry.build(), entry.batch(), steps=2, compile_from=1)
        assert entry.compiled in fit.compilation
    else:
        trained_both_ways(entry.build, entry.batch(), monkeypatch)


def test_training_reaches_every_parameter_also_of_a_smaller_last_minibatch(entry):
    torch.manual_seed(0)
    pair = entry.build()
    before = [parameter.detach().clone() for parameter in pair.parameters()]
    fit = ppvae.fit(pair, entry.batch(), epochs=1, batch_size=16)  # 16, 16, 8
    assert len(fit.history.train_loss) == 1 and np.isfinite(fit.history.train_loss).all()
    assert not any(map(torch.equal, before, pair.parameters()))


def test_evidence_and_tails_of_the_weights_are_finite(entry, pair):
    terms = diagnostics.evidence(pair, entry.batch(), draws=20)
    assert np.isfinite(terms[["elbo", "kl", "log_evidence"]].to_dataarray()).all()
    assert np.isfinite(diagnostics.pareto_k(pair, entry.batch(), draws=50)).all()


def test_draws_in_front_of_the_batch(entry, pair):
    assert vectorizable(*entry.structure(pair))


def test_refine_returns_draws_of_every_latent(entry, pair):
    batch = tuple(part[:6] for part in entry.batch())
    refined = ppvae.refine(pair, batch, draws=50)
    assert all(len(refined.draws[name]) == 50 for name in entry.structure(pair)[2].latents)
    assert np.isfinite(refined.table.log_evidence).all()


@pytest.mark.parametrize("entry", of_two_classes(PAIRS), indirect=True)
@pytest.mark.parametrize("effort", [SHORT, pytest.param(DEEP, marks=pytest.mark.slow)])
def test_every_diagnostic_applies_or_says_why(effort, entry, pair):
    found = diagnostics.diagnose(pair, entry.batch(), effort=effort, strict=True)
    refused = {f.name: f.advice for f in found.findings if f.answer == "does not apply"}
    asked = {name for name in entry.refused if effort.annealed or not name.startswith(ANNEALED)}
    assert refused.keys() == asked, refused
    assert all(entry.refused[name] in refused[name] for name in asked), refused


def test_export_to_arviz(entry, pair):
    tree = diagnostics.to_arviz(pair, entry.batch(), draws=5)
    for name in entry.structure(pair)[2].latents:
        assert tree["posterior"][name].sizes["data"] == ROWS


def test_what_is_loaded_and_what_is_copied_is_the_pair(entry, pair, tmp_path):
    def evidence(one):
        return diagnostics.evidence(one, entry.batch(), draws=5).log_evidence.values

    before = evidence(pair)
    ppvae.save(pair, tmp_path)
    assert np.array_equal(evidence(ppvae.load(tmp_path)), before)
    copied = copy.deepcopy(pair)
    assert copied.model is not pair.model
    assert np.array_equal(evidence(copied), before)
    ppvae.fit(copied, entry.batch(), steps=2)
    assert np.array_equal(evidence(pair), before)
    assert not np.array_equal(evidence(copied), before)


def test_double_precision_is_kept(entry):
    torch.manual_seed(0)
    pair = entry.build().double()
    batch = [part.double() if part.is_floating_point() else part for part in entry.batch()]
    ppvae.fit(pair, tuple(batch), steps=2)
    traces = [poutine.trace(program).get_trace(*batch) for program in (pair.model, pair.guide)]
    sites = [site for trace in traces for site in trace.nodes.values() if site["type"] == "sample"]
    values = [*pair.parameters(), *(site["value"] for site in sites)]
    assert {value.dtype for value in values if value.is_floating_point()} == {torch.float64}


@pytest.mark.parametrize("name", OF_A_DATASET)
def test_built_of_a_dataset_and_trained_on_its_batches(name):
    dataset, kind = PAIRS[name].dataset(), getattr(pairs, name.partition(",")[0])
    torch.manual_seed(0)
    pair = kind.of(dataset, latent=2)
    assert type(pair) is kind
    batches = kind.batches_of(dataset)
    fit = ppvae.fit(pair, batches, steps=2, batch_size=50)
    assert np.isfinite(fit.history.train_loss).all()
    test = tuple(part[:5] for part in batches.batch("test"))
    assert np.isfinite(diagnostics.evidence(pair, test, draws=5).log_evidence).all()


def test_a_pair_of_factors_alone_says_so():
    with pytest.raises(NotImplementedError, match="VAE is built of its factors"):
        pairs.VAE.of(data.digits())


def test_every_public_pair_is_here_and_short():
    public = [getattr(pairs, name) for name in pairs.__all__]
    kinds = {kind for kind in public if inspect.isclass(kind) and issubclass(kind, ProgramPair)}
    kinds.discard(ProgramPair)
    assert {kind.__name__ for kind in kinds} == {name.partition(",")[0] for name in PAIRS}
    for file in Path(pairs.__file__).parent.glob("*.py"):
        assert len(file.read_text().splitlines()) <= 200, file
