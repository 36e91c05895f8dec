"""One look at a posterior: right verdicts where all is known, reasons where nothing applies."""

import dataclasses
import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import ppvae
from ppvae import data, diagnostics, likelihoods, pairs
from ppvae.diagnostics import Effort, Verdict, diagnose, diagnosis, overview
from ppvae.diagnostics.checks.subject import ALARM
from ppvae.diagnostics.findings import graded
from ppvae.diagnostics.latents import aggregate, elbo_surgery
from tests import strangers
from tests.linear_gaussian import LinearGaussian

EFFORT = Effort(datapoints=200, draws=200, samples=200, simulations=400, searched=20)


def verdicts(found):
    return {finding.name: finding.verdict for finding in found.findings}


@pytest.mark.slow
def test_an_exact_guide_is_fine_throughout():
    """The tests that run raise a false alarm in at most 2 % of runs together."""
    exact = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
    found = diagnose(exact.pair(), exact.draw(300, 1), effort=EFFORT)
    assert set(verdicts(found).values()) == {Verdict.FINE}, found
    tests = [finding.name for finding in found.findings if finding.p_value is not None]
    assert len(tests) == 5
    assert (1 + len(tests)) * ALARM <= 0.02  # with the one of datasets
    assert found.next_step is None
    assert str(found).splitlines()[-1].startswith("alarms: none; an exact pair gets no alarm in")


@pytest.mark.slow
def test_a_guide_that_is_too_narrow_is_found_out():
    pair = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
    narrow = LinearGaussian(**{**vars(pair), "scale": pair.scale * 0.4})
    found = diagnose(narrow.pair(), pair.draw(300, 1), effort=EFFORT)
    seen = verdicts(found)
    assert seen["ranks (SBC)"] is Verdict.LOOK
    assert seen["center (VSBC)"] is Verdict.FINE
    assert seen["samples"] is Verdict.FINE  # the model is right, whatever the guide
    assert seen["credible regions"] is Verdict.BAD
    assert seen["importance weights"] is Verdict.BAD
    assert "The guide is too narrow" in str(found)
    gaps = next(f for f in found.findings if f.name == "gaps").results["gaps"]
    # KL of the narrow guide in closed form: all of it is the encoder's.
    exact = 2 * (0.5 * (0.16 - 1) - torch.tensor(0.4).log().item())
    assert float(gaps.total.mean()) == pytest.approx(exact, abs=0.02)
    assert float(gaps.amortization.mean()) == pytest.approx(exact, abs=0.02)


class Outside(nn.Module):
    """Two latents of odd names, one discrete; networks that take one batch dimension alone."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv1d(1, 4, 3)
        self.decoder = nn.Linear(5, 6)

    def model(self, series):
        with pyro.plate("data", len(series)):
            regime = pyro.sample("the regime", dist.Categorical(series.new_ones(3)))
            level = pyro.sample("level/0", dist.Normal(series.new_zeros(2), 1.0).to_event(1))
            one = nn.functional.one_hot(regime, 3).to(series.dtype)
            together = torch.cat([one.expand(*level.shape[:-1], 3), level], -1)
            loc = self.decoder(together.reshape(len(series), 5))
            pyro.sample("series", dist.Normal(loc, 1.0).to_event(1), obs=series)

    def guide(self, series):
        hidden = self.encoder(series[:, None]).flatten(1)
        with pyro.plate("data", len(series)):
            pyro.sample("the regime", dist.Categorical(logits=hidden[:, :3]))
            pyro.sample("level/0", dist.Normal(hidden[:, 3:5], 1.0).to_event(1))


@pytest.mark.slow
def test_a_pair_from_outside_runs_whole_or_says_what_does_not_apply():
    torch.manual_seed(0)
    effort = Effort(30, 30, samples=30, simulations=50, searched=5, annealed=2, temperatures=3)
    found = diagnose(Outside(), torch.randn(40, 6), effort=effort)
    unknown = {f.name: f.advice for f in found.findings if f.verdict is Verdict.UNKNOWN}
    assert {"gaps", "annealing"} <= unknown.keys()
    assert all("'the regime'" in reason for reason in unknown.values()), unknown
    names = set(verdicts(found))
    assert {"guide, KL[Q||P(z|X)]", "importance weights", "latents in use"} <= names
    assert {"ranks (SBC)", "center (VSBC)", "credible regions"} <= names
    assert {"likelihood (PIT)", "samples"} <= names
    assert found.left["labels"] == "needs a dataset with labels, got only data"
    tree = found.to_arviz()
    assert tree["posterior"]["level.0"].sizes["data"] == 30
    assert tree["prior_sbc"]["the regime"].sizes["simulation"] == 50


def test_a_pseudo_likelihood_has_no_evidence_and_says_so():
    gray = data.split("gray", torch.rand(60, 5), torch.distributions.constraints.unit_interval)
    pair = pairs.assemble(gray, latent=2, likelihood=likelihoods.GrayBernoulli)
    found = diagnose(pair, gray.train, effort=EFFORT)
    reasons = {f.name: f.advice for f in found.findings if f.verdict is Verdict.UNKNOWN}
    assert {"guide", "likelihood", "calibration", "gaps", "samples"} <= reasons.keys()
    assert all("pseudo-likelihood" in reasons[name] for name in ("guide", "gaps"))


def test_the_worst_rows_are_rows_of_the_users_data():
    exact = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
    narrow = LinearGaussian(**{**vars(exact), "scale": exact.scale * 0.4}).pair()
    data = exact.draw(300, 1)
    data[[7, 250]] += 30  # no guide of this width knows what to do with these
    quick = diagnose(narrow, data, effort=Effort(datapoints=280, draws=200), seed=3)
    weights = next(f for f in quick.findings if f.name == "importance weights")
    terms = quick.findings[0].results["evidence"]
    rows = terms.data.values
    assert torch.equal(quick.batch[0], data[torch.tensor(rows)])
    worst = [int(row) for row in weights.advice.split("Worst rows: ")[1].rstrip(".").split(", ")]
    known = diagnostics.pareto_k(narrow, quick.batch[0], draws=200, seed=3).pareto_k.values
    assert worst == rows[(-known).argsort()[:5]].tolist()


def test_what_is_not_asked_is_named_with_the_reason():
    digits = data.digits()
    found = diagnose(pairs.assemble(digits, latent=2), digits, effort=Effort(20, 30))
    lines = str(found).splitlines()
    assert lines[0] == "20 datapoints, nats per datapoint"
    reasons = [line.split("not run: ") for line in lines if line.startswith("- ")]
    assert {name.strip(" -"): reason for name, reason in reasons} == found.left
    levels = {
        "samples": "level standard",
        "labels": "level standard",
        "factors": "dataset 'digits' has fewer than two known factors",
        "calibration": "level standard",
        "gaps": "level standard",
        "annealing": "level deep",
    }
    assert levels.items() <= found.left.items()
    assert {"convergence", "other pairs", "other data", "statistics"} <= found.left.keys()
    assert max(map(len, lines)) <= 100


@pytest.mark.slow
def test_labels_and_factors_are_looked_for_where_they_are_known():
    squares = data.factors(300)
    pair = pairs.assemble(squares, latent=4)
    found = diagnose(pair, squares, split="validation", effort=Effort(20, 30, labeled=200))
    assert "labels" in found.left
    scores = next(f for f in found.findings if f.name == "factors (MIG)")
    assert scores.verdict is Verdict.LOOK  # untrained
    known = diagnostics.disentanglement(pair, squares, rows=200, seed=0)
    assert scores.results["disentanglement"].equals(known)
    digits = data.digits()
    pair = pairs.assemble(digits, latent=8)
    ppvae.fit(pair, digits, epochs=10)
    found = diagnose(pair, digits, effort=Effort(20, 30, labeled=500))
    read = next(f for f in found.findings if f.name == "labels (probes)")
    assert read.verdict is Verdict.FINE
    assert read.results["probes"].equals(diagnostics.probes(pair, digits, rows=500, seed=0))
    assert "factors" in found.left


@pytest.mark.slow
def test_samples_of_another_model_are_told_from_data():
    exact = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
    found = diagnose(exact.pair(), 3 * exact.draw(300, 1), effort=Effort(200, 50, samples=200))
    told = next(f for f in found.findings if f.name == "samples")
    assert told.verdict in (Verdict.LOOK, Verdict.BAD)
    assert float(told.results["samples"].accuracy) > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_samples_too_wide_or_too_narrow_are_told_from_data(factor):
    exact = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
    found = diagnose(
        exact.pair(), exact.draw(300, 1) / factor, effort=Effort(200, 50, samples=200)
    )
    told = next(f for f in found.findings if f.name == "samples")
    assert told.verdict in (Verdict.LOOK, Verdict.BAD)


def test_a_guide_without_density_has_ranks_but_no_regions():
    class Certain(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(3, 1)

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z.expand(*z.shape[:-1], 3), 1.0).to_event(1), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Delta(self.encoder(x), event_dim=1))

    found = verdicts(
        diagnose(Certain(), torch.randn(30, 3), effort=Effort(20, 20, simulations=50))
    )
    assert found["ranks (SBC)"] is Verdict.LOOK
    assert found["credible regions"] is Verdict.UNKNOWN


def test_a_bug_in_a_diagnostic_is_no_finding(monkeypatch):
    """A broadcasting error, as in a wrong reshape, ends `diagnose` with its type and traceback."""

    def planted(*arguments, **options):
        return torch.zeros(2, 3) + torch.zeros(4, 5)

    exact = LinearGaussian.random(0)
    effort = Effort(datapoints=20, draws=20)
    for error, broken in (
        (RuntimeError, planted),
        (ValueError, lambda *_, **__: torch.distributions.Normal(math.nan, 1.0)),
        (NotImplementedError, lambda *_, **__: nn.Module()(1)),
    ):
        monkeypatch.setattr(elbo_surgery, "log_densities", broken)
        monkeypatch.setattr(aggregate, "log_densities", broken)
        with pytest.raises(error) as raised:
            diagnose(exact.pair(), exact.draw(20, 1), effort=effort)
        assert not isinstance(raised.value, ppvae.Unsupported)
        assert any(entry.name == broken.__name__ for entry in raised.traceback)


def test_what_a_pair_does_not_allow_is_a_finding_that_says_why():
    """A guide that chains its latents has no q(z), a single datapoint no spread."""
    x = torch.randn(20, generator=torch.Generator().manual_seed(0))
    found = diagnose(strangers.TwoLatents(), x, effort=Effort(datapoints=20, draws=20))
    (refused,) = (f for f in found.findings if f.verdict is Verdict.UNKNOWN)
    assert refused.name == "aggregate and prior"
    assert refused.answer == "does not apply"
    assert "latent site 'odd name' changes with other draws" in refused.advice
    found = diagnose(strangers.TwoLatents(), x[:1], effort=Effort(datapoints=20, draws=20))
    refused = {f.name: f.advice for f in found.findings if f.verdict is Verdict.UNKNOWN}
    assert refused["latents"] == "active_units needs at least 2 datapoints, got 1"
    assert "A single datapoint" in refused["guide, KL[Q||P(z|X)]"]


def test_a_wrong_number_of_an_effort_is_an_error():
    exact = LinearGaussian.random(0)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0") as raised:
        diagnose(exact.pair(), exact.draw(20, 1), effort=Effort(datapoints=20, draws=0))
    assert not isinstance(raised.value, ppvae.Unsupported)


def test_an_unknown_split_is_refused():
    digits = data.digits()
    with pytest.raises(ValueError, match="'train', 'validation' or 'test', got 'tset'"):
        diagnose(pairs.assemble(digits, latent=2), digits, split="tset")


def test_levels_ask_more_and_more():
    levels = [diagnostics.QUICK, diagnostics.STANDARD, diagnostics.DEEP]
    for less, more in itertools.pairwise(levels):
        amounts = zip(dataclasses.astuple(less), dataclasses.astuple(more), strict=True)
        assert all(small <= large for small, large in amounts)


@pytest.mark.slow
def test_nothing_is_changed():
    digits = data.digits()
    pair = pairs.assemble(digits, latent=2)
    ppvae.fit(pair, digits, epochs=1)
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    first = str(diagnose(pair, digits, effort=Effort(20, 30, simulations=20)))
    assert str(diagnose(pair, digits, effort=Effort(20, 30, simulations=20))) == first
    assert all(torch.equal(before[name], value) for name, value in pair.state_dict().items())


def test_verdicts():
    assert [graded(v, 1, 2) for v in (0.5, 1, 2)] == [Verdict.FINE, Verdict.LOOK, Verdict.BAD]


def test_rows_have_the_numbers_of_the_file(monkeypatch):
    seen = []

    def check(subject):
        seen.append(subject)
        return []

    monkeypatch.setattr(overview, "selected_checks", lambda *_: ({"rows": check}, {}))
    values = torch.arange(40.0)[:, None].expand(40, 64) + 0.5
    dataset = data.split("numbers", values, torch.distributions.constraints.real)
    pair = pairs.assemble(dataset, latent=2)
    for split in ("train", "test"):
        diagnostics.diagnose(pair, dataset, split=split)
        assert seen[-1].batch[0][:, 0].tolist() == [row + 0.5 for row in seen[-1].rows]


class WholeNumbers(nn.Module):
    """A pair whose encoder raises on data that its model simulates, which are no whole numbers."""

    def __init__(self, error):
        super().__init__()
        self.encoder, self.decoder, self.error = nn.Linear(3, 2), nn.Linear(2, 3), error

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encode(x), 1.0).to_event(1))

    def encode(self, x):
        if not torch.equal(x, x.round()):
            raise self.error
        return self.encoder(x)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AssertionError(), "raise self.error"),
        (KeyError("layer"), "'layer'"),
        (IndexError("first\nsecond"), "first"),
        (ValueError(), "raise self.error"),
    ],
)
def test_an_exception_of_the_pair_costs_one_finding(error, said):
    torch.manual_seed(0)
    pair, x = WholeNumbers(error), torch.randn(20, 3).round()
    effort = Effort(datapoints=20, draws=20, simulations=30)
    found = diagnose(pair, x, effort=effort)
    (broken,) = (f for f in found.findings if __file__ in f.answer)
    kind, line = type(error), WholeNumbers.encode.__code__.co_firstlineno + 2
    assert (broken.name, broken.verdict) == ("calibration", Verdict.UNKNOWN)
    assert broken.answer == f"{kind.__name__} at {__file__}:{line}: {said}"
    assert f"{__file__}:{line}" in str(found)
    assert {"importance weights", "latents in use", "likelihood (PIT)"} <= verdicts(found).keys()
    with pytest.raises(kind):
        diagnose(pair, x, effort=effort, strict=True)


def test_an_interruption_in_the_pair_ends_all():
    pair, x = WholeNumbers(KeyboardInterrupt()), torch.randn(20, 3).round()
    with pytest.raises(KeyboardInterrupt):
        diagnose(pair, x, effort=Effort(20, 20, simulations=30))


def test_a_diagnosis_is_exported_without_the_draws_of_a_pair_that_fails(monkeypatch):
    pair, x = WholeNumbers(KeyError("layer")), torch.randn(20, 3).round()
    found = diagnose(pair, x, effort=Effort(datapoints=20, draws=20))
    found = dataclasses.replace(found, batch=(x + 0.5,))
    with pytest.warns(UserWarning, match="only the results are exported, without draws: 'layer'"):
        tree = found.to_arviz()
    assert tree["evidence"].elbo.sizes["data"] == 20
    monkeypatch.setattr(diagnosis, "to_arviz", lambda *_, **__: {}["ours"])
    with pytest.raises(KeyError, match="ours"):
        found.to_arviz()
