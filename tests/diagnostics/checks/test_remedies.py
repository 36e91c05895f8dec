"""Every call that a remedy suggests works as it is pasted: in Python, and on the command line."""

import contextlib
import functools
import inspect
import io
import shlex

import pyro
import pyro.distributions as dist
import pytest
import sklearn.ensemble  # noqa: F401, it is imported late, and adds warning filters
import torch
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import data, pairs
from ppvae.cli import main
from ppvae.cli.commands import COMMANDS
from ppvae.diagnostics import Effort
from ppvae.diagnostics.checks import Subject, remedies

FILLED = {"why": "why", "nats": 1.0, "cause": "gaps", "count": 3}
NAMES = [
    name
    for name, function in inspect.getmembers(remedies, inspect.isfunction)
    if not name.startswith("_") and function.__module__ == remedies.__name__
]


OF_DATASETS = ("given_classes_of_full_rank", "stopped_early")  # with classes, or validation data


def of(name, subject):
    function = getattr(remedies, name)
    parameters = [*inspect.signature(function).parameters][1:]
    return function(subject, **{parameter: FILLED[parameter] for parameter in parameters})


class Outside(nn.Module):
    """A pair that is not of our factors."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


def rows(kind):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(60, 3, generator=generator)
    if kind == "levels":
        return (3 * numbers).round().clamp(0, 4), constraints.integer_interval(0, 4)
    if kind == "counts":
        return (5 * numbers.exp()).round(), constraints.nonnegative_integer
    if kind == "bytes":
        return (50 * numbers + 128).round().clamp(0, 255), constraints.integer_interval(0, 255)
    return numbers, constraints.real


def subject(kind, split="test"):
    if kind == "outside":
        effort = Effort(30, 20, temperatures=1)
        return Subject(Outside(), (torch.randn(30, 3),), None, effort, 0, False)
    values, support = rows(kind)
    classes = torch.arange(60) % 2
    dataset = data.split(kind, values, support, labels=classes)
    dataset = dataset.conditional() if kind == "conditional" else dataset
    pair = pairs.assemble(dataset, latent=2)
    effort = Effort(30, 20, temperatures=1)
    return Subject(pair, dataset.batch(split), dataset, effort, 0, False, split)


KINDS = ("levels", "counts", "bytes", "real", "conditional", "outside")


@pytest.fixture
def quick(monkeypatch):
    """Trainings as short as their options allow, and a search that is not made."""
    fit = ppvae.inference.fit

    def short(pair, data, **options):
        steps = getattr(options.get("kl_weight"), "end", 1)
        return fit(pair, data, steps=steps, compile=False, **options)

    monkeypatch.setattr(ppvae, "fit", short, raising=False)
    monkeypatch.setattr(pairs.refitting, "fit", short)
    few = functools.partial(ppvae.diagnostics.bound_table, draws=21)
    monkeypatch.setattr(ppvae.diagnostics, "bound_table", few)
    monkeypatch.setattr(ppvae, "refine", lambda pair, data, draws=1: None, raising=False)


def named(asked):
    """Return the remedies for a pair and data, by name."""
    names = [name for name in NAMES if asked.dataset is not None or name not in OF_DATASETS]
    found = {name: of(name, asked) for name in names}
    return {name: remedy for name, remedy in found.items() if remedy is not None}


@pytest.mark.parametrize("kind", ("levels", "outside"))
def test_each_call_is_short_enough_to_stay_whole(kind):
    for remedy in named(subject(kind)).values():
        compile(remedy.call, "remedy", "exec")
        assert all(len(line) <= 94 for line in remedy.lines()), remedy.call


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.verify] if kind in ("bytes", "counts") else [])
        for kind in KINDS
    ],
)
def test_each_call_runs_as_it_is(kind, quick):
    asked = subject(kind, "validation")
    given = asked.batch if asked.dataset is None else asked.dataset
    for remedy in named(asked).values():
        exec(remedy.call, {"ppvae": ppvae, "pair": asked.pair, "data": given})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a run's configuration alone: commands are parsed, not run."""
    folder = tmp_path_factory.mktemp("digits-1")
    options = ["--compile", "false", "--print_config"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["fit", "digits", *options]) == 0
    (folder / "config.yaml").write_text(printed.getvalue())
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_command_is_one(name, run, capsys):
    remedy = of(name, subject("levels"))
    (line,) = remedy.lines(run)
    program, *words = shlex.split(line)
    assert program == "ppvae"
    if words[0] in COMMANDS:
        assert main([*words, "--print_config"]) == 0, capsys.readouterr().err
    else:
        assert words[0] == "refine"


def test_the_likelihood_of_more_freedom_depends_on_the_present_one():
    expected = {
        "levels": "DiscretizedLogisticMixture(net, highest=4)",
        "counts": "ZeroInflatedNegativeBinomial",
        "real": "StudentT",
        "outside": "diagnostics.pit(pair, data)",
    }
    for kind, call in expected.items():
        assert call in of("other_likelihood", subject(kind)).call
