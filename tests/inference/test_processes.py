"""Several processes train a pair as one does with the joined minibatches."""

from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pyro.infer
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

import ppvae
from ppvae import networks
from ppvae.data import RowsOnDisk
from ppvae.data.folders import opened
from ppvae.engine import Processes
from ppvae.engine.compilation import replay
from ppvae.inference import training
from tests.forked import in_processes

ROWS, FEATURES, LATENT = 103, 4, 2


class WithNoise(PyroModule):
    """A pair whose draws are part of the data: it has the same noise in any process."""

    def __init__(self, stands_for=None):
        super().__init__()
        torch.manual_seed(0)
        self.stands_for = stands_for
        self.encoder = nn.Linear(FEATURES, 2 * LATENT)
        self.decoder = nn.Linear(LATENT, FEATURES)

    def plate(self, x):
        if self.stands_for is None:
            return pyro.plate("data", len(x))
        # Given the rows, it draws none: the random numbers stay those of one process.
        return pyro.plate("data", self.stands_for, subsample=torch.arange(len(x)))

    def model(self, x, noise):
        pyro.module("pair", self)
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(x.new_zeros(LATENT), 1).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1).to_event(1), obs=x)

    def guide(self, x, noise):
        pyro.module("pair", self)
        loc, scale = self.encoder(x).chunk(2, -1)
        scale = nn.functional.softplus(scale)
        with self.plate(x):
            value = loc + scale * noise
            density = dist.Normal(loc, scale).to_event(1).log_prob(value)
            pyro.sample("z", dist.Delta(value, log_density=density, event_dim=1))


def data():
    random = np.random.default_rng(0)
    x = torch.tensor(random.normal(size=(ROWS, FEATURES)))
    return x, torch.tensor(random.normal(size=(ROWS, LATENT)))


class Broken(pyro.infer.Trace_ELBO):
    """Fails at its third step."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def loss_and_grads(self, *args):
        self.calls += 1
        if self.calls == 3:
            raise self.error("broken")
        return super().loss_and_grads(*args)


class Rows(torch.utils.data.Dataset):
    """A map-style dataset, of which each process reads its own rows."""

    def __len__(self):
        return ROWS

    def __getitem__(self, row):
        return tuple(part[row] for part in data())


def on_disk(folder):
    """The rows in two files, read in blocks of 8; a buffer holds 5 of these."""
    return tuple(
        RowsOnDisk(opened(folder / name), block=8, buffer=2 * 40 * width * 8)
        for name, width in (("x.npy", FEATURES), ("noise.npy", LATENT))
    )


def single():
    return tuple(part.float() for part in data())


def trained(stands_for=None, source=data, broken=None, wrap=None, **options):
    torch.set_num_threads(1)
    pair = WithNoise(stands_for).to(source()[0].dtype if source is single else torch.float64)
    if wrap is not None:
        pair.encoder, pair.decoder = wrap(pair.encoder), wrap(pair.decoder)
    if Processes.present().rank:
        if broken is not None:
            options["objective"] = Broken(broken)
        with torch.no_grad():
            next(pair.encoder.parameters()).zero_()  # the weights of the first process count
    options = {"steps": 40, "batch_size": 20, "compile": False, **options}
    validation = data() if source is not single else single()
    fit = ppvae.fit(pair, source(), validation=validation, progress=False, **options)
    return {name: value.detach() for name, value in pair.state_dict().items()}, fit


def as_arrays(state):
    return {name: value.numpy() for name, value in state.items()}


def of_process(options):
    state, fit = trained(**options)
    return as_arrays(state), fit.history.to_dict(), fit.compiled_from


def together(number, **options):
    """Return weights, history and the first compiled step of each process, or its error."""
    return in_processes(number, of_process, options)


CLIPPED = {"optimizer": partial(torch.optim.Adam, lr=1e-2), "clip_norm": 5.0}
COMPILED = {"compile": True, "compile_from": 3, "steps": 200}


def check_equal(found, expected, alone, tolerance=1e-6):
    assert not isinstance(found, str), found
    state, history, compiled_from = found
    for name, value in expected.items():
        error = np.abs(state[name] - value.numpy()).max() / value.abs().max()
        assert error < tolerance, name
    assert compiled_from == alone.compiled_from
    for name in ("train_loss", "validation_loss"):
        values = history["data_vars"][name]["data"]
        np.testing.assert_allclose(values, alone.history[name], rtol=tolerance)


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (CLIPPED, 2),
        pytest.param({"steps": 200}, 3, marks=pytest.mark.slow),
        pytest.param({"stands_for": ROWS}, 2, marks=pytest.mark.slow),
        pytest.param({"source": Rows}, 2, marks=pytest.mark.slow),
        pytest.param(COMPILED, 2, marks=pytest.mark.slow),
        pytest.param(COMPILED, 2, marks=[pytest.mark.verify, pytest.mark.generated]),
    ],
    ids=["clipped", "three", "for all", "read", "replayed", "compiled"],
)
def test_weights_are_those_of_one_process(options, number, request, monkeypatch):
    """The last minibatch of an epoch has 3 rows, less than two for each process."""
    if not request.node.get_closest_marker("generated"):
        monkeypatch.setattr(training, "generate", replay)
    expected, alone = trained(**options)
    for found in together(number, **options):
        check_equal(found, expected, alone)


@pytest.mark.slow
@pytest.mark.parametrize("compile_from", [None, 3])
@pytest.mark.parametrize(
    ("wrap", "source", "tolerance"),
    [(networks.Recomputed, data, 1e-6), (networks.Autocast, single, 0.02)],
    ids=["recomputed", "bfloat16"],
)
def test_networks_with_fewer_bits_or_values_too(
    wrap, source, tolerance, compile_from, monkeypatch
):
    """In bfloat16 the sums over rows are rounded in each process to 8 bits."""
    monkeypatch.setattr(training, "generate", replay)
    options = {"compile": compile_from is not None, "compile_from": compile_from}
    options |= {"wrap": wrap, "source": source}
    expected, alone = trained(**options)
    for found in together(2, **options):
        check_equal(found, expected, alone, tolerance)


def test_rows_on_disk_are_shared_by_processes(tmp_path):
    for name, part in zip(("x.npy", "noise.npy"), data(), strict=True):
        np.save(tmp_path / name, part.numpy())
    source = partial(on_disk, tmp_path)
    expected, alone = trained(source=source)
    for found in together(2, source=source):
        check_equal(found, expected, alone)


@pytest.mark.parametrize(("stands_for", "parts"), [(None, 3), (ROWS, 2)])
def test_parts_of_a_minibatch_add_up_to_it(stands_for, parts):
    # Of a plate's scale Pyro keeps 24 bits; halves of a minibatch have the same ones.
    expected, alone = trained(stands_for, **CLIPPED)
    state, fit = trained(stands_for, accumulate=parts, **CLIPPED)
    found = {name: value.numpy() for name, value in state.items()}
    check_equal((found, fit.history.to_dict(), fit.compiled_from), expected, alone)


@pytest.mark.slow
def test_a_checkpoint_goes_on_with_any_number_of_processes(tmp_path):
    expected = as_arrays(trained(steps=60)[0])
    trained(steps=25, checkpoint=tmp_path / "one")
    together(2, steps=25, checkpoint=tmp_path / "two")
    found = [
        as_arrays(trained(steps=60, resume=tmp_path / "two")[0]),
        *(state for state, *_ in together(2, steps=60, resume=tmp_path / "one")),
        *(state for state, *_ in together(3, steps=60, resume=tmp_path / "two")),
    ]
    for state in found:
        for name, value in expected.items():
            np.testing.assert_allclose(state[name], value, rtol=1e-6)


@pytest.mark.parametrize("error", [KeyError, FloatingPointError])
def test_all_processes_end_where_one_fails(error):
    """The other one must neither step nor wait."""
    first, second = together(2, broken=error)
    assert first.startswith("Diverged: step 3: ")
    assert second.startswith("KeyError" if error is KeyError else "Diverged: step 3: ")
