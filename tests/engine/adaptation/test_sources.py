"""Diagnostics read all rows of loaders and datasets; labels are left aside, others refused."""

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from ppvae.diagnostics import evidence
from ppvae.engine import adapted, arguments_of
from tests.guards import random_states

X = torch.arange(14, dtype=torch.uint8).reshape(7, 2)
LABELS = torch.arange(7)


class Pair:
    """P(x) = N(0, 2 I), and the posterior itself."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))


class Conditional:
    def model(self, x, y=None):
        raise AssertionError("never called")

    guide = model


class Lengths(Dataset):
    """Rows of different lengths."""

    def __len__(self):
        return 3

    def __getitem__(self, number):
        return torch.ones(number + 1)


class Stream(IterableDataset):
    def __iter__(self):
        return itertools.cycle(X)


SOURCES = {
    "tensors": TensorDataset(X.double(), LABELS),
    "rows": Subset(TensorDataset(X, LABELS), range(7)),
    "loader": DataLoader(TensorDataset(X.float(), LABELS), batch_size=3),
    "by name": DataLoader([{"x": x} for x in X], batch_size=3),
}


@pytest.mark.parametrize("data", SOURCES.values(), ids=SOURCES.keys())
def test_a_diagnostic_reads_all_rows(data):
    exact = dist.Normal(0.0, 2**0.5).log_prob(X.float()).sum(-1)
    found = torch.as_tensor(evidence(Pair(), data, draws=2)["log_evidence"].values)
    torch.testing.assert_close(found.double(), exact.double(), rtol=1e-5, atol=1e-5)


def test_a_shuffled_loader_leaves_the_random_state():
    before = random_states()
    _, (x,) = adapted(Pair(), DataLoader(TensorDataset(X), 3, shuffle=True), split="test")
    assert random_states() == before
    assert torch.equal(x.sort(0).values, X.float())


def test_conditions_that_a_pair_takes_stay():
    loader = DataLoader(TensorDataset(X, LABELS), batch_size=3)
    (x, y), _ = arguments_of(loader, split="test", pair=Conditional())
    assert torch.equal(x, X) and torch.equal(y, LABELS)


REFUSED = {
    "a stream": (DataLoader(Stream(), batch_size=3), TypeError, "may have no end; pass its rows"),
    "an iterable dataset": (Stream(), TypeError, "data is a Stream of a stream"),
    "other lengths": (DataLoader(Lengths()), ValueError, r"shapes \(1, 1\), \(1, 2\), \(1, 3\)"),
    "no rows": (TensorDataset(X[:0]), ValueError, "at least one"),
    "no rows, loaded": (DataLoader(TensorDataset(X[:0])), ValueError, "has no rows"),
    "labels given": ((X, LABELS), TypeError, "holds 2 tensor.s., but the pair's model takes 1"),
}


@pytest.mark.parametrize(("data", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_last_row_or_no_one_shape_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        adapted(Pair(), data, split="test")


def test_more_rows_than_the_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr("ppvae.engine.adaptation.sources.memory", lambda: 16.0)
    with pytest.raises(ValueError, match="a DataLoader, has more rows than fit into the memory"):
        adapted(Pair(), DataLoader(TensorDataset(X), batch_size=3), split="test")
