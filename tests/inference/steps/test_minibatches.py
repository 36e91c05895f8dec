"""Minibatches: each row once an epoch, whatever the source and its last row."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import ppvae
from ppvae import likelihoods, posteriors, priors
from ppvae.inference import Checkpoints
from ppvae.inference.steps import minibatches_of
from tests.guards import random_states

X = torch.randn(61, 4, generator=torch.Generator().manual_seed(0))


def normalized():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    likelihood = likelihoods.Normal(nn.Linear(2, 4), scale=1.0)
    return ppvae.VAE(priors.StandardNormal(2), likelihood, posteriors.DiagonalNormal(encoder))


class Once(IterableDataset):
    """Rows that can be passed over once."""

    def __init__(self, rows=60):
        self.rows = iter(X[:rows])

    def __iter__(self):
        return self.rows


class Endless(IterableDataset):
    def __iter__(self):
        return itertools.cycle(X)


class Unsized:
    """Batches without a known number, the last of one row."""

    def __iter__(self):
        return iter(X.split(20))


SOURCES = {
    "in memory": lambda: X,
    "loader": lambda: DataLoader(TensorDataset(X), batch_size=20, shuffle=True),
    "list": lambda: [*X.split(20)],
    "generator": Unsized,
    "once": lambda: DataLoader(Once(61), batch_size=20),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_a_single_last_row_is_joined_to_the_minibatch_before(make):
    data = make()
    batches = minibatches_of(data, normalized(), 20 if data is X else None)
    batches.first(2)
    read = [minibatch.tensors[0] for minibatch in batches]
    assert [len(batch) for batch in read] == [20, 20, 21]
    assert torch.equal(torch.cat(read).sort(0).values, X.sort(0).values)


def test_normalization_trains_on_a_single_last_row():
    assert ppvae.fit(normalized(), X, epochs=2, batch_size=20, compile=False).steps == 6
    assert ppvae.fit(normalized(), X, epochs=2, batch_size=60, compile=False).steps == 2
    assert ppvae.fit(normalized(), SOURCES["loader"](), epochs=2, compile=False).steps == 6


def test_rows_one_by_one_stay_so():
    for data, size in ((X[:5], 1), ([*X[:5].split(1)], None)):
        assert len([*minibatches_of(data, normalized(), size)]) == 5


@pytest.mark.parametrize("options", [{"epochs": 3}, {"steps": 100}])
def test_a_stream_that_ends_is_said_after_all_of_its_batches(options, tmp_path):
    pair, steps = normalized(), []
    weight = lambda step: steps.append(step) or 1.0  # noqa: E731
    with pytest.raises(ValueError, match="batch in epoch 2: .* ended after 6 batches.*steps=6"):
        ppvae.fit(
            pair,
            DataLoader(Once(), batch_size=10),
            kl_weight=weight,
            checkpoint=Checkpoints(tmp_path),
            compile=False,
            **options,
        )
    assert steps == [*range(6)]
    again = normalized()  # the first batch, which is looked at in advance, is trained on in turn
    loader = DataLoader(X[:60], batch_size=10)
    ppvae.fit(again, loader, epochs=1, kl_weight=weight, compile=False)
    assert all(map(torch.equal, pair.state_dict().values(), again.state_dict().values()))


@pytest.mark.parametrize("options", [{"epochs": 1}, {"steps": 6}, {"steps": 4}])
def test_a_stream_that_is_long_enough_is_enough(options):
    loader = DataLoader(Once(), batch_size=10)
    fit = ppvae.fit(normalized(), loader, compile=False, **options)
    assert (fit.reason, fit.steps) == ("finished", options.get("steps", 6))


def test_an_endless_stream_ends_by_its_steps():
    loader = DataLoader(Endless(), batch_size=10)
    assert ppvae.fit(normalized(), loader, steps=30, compile=False).steps == 30


def test_a_shuffled_loader_leaves_the_callers_random_state_and_depends_on_the_seed_alone():
    found = []
    for _ in range(2):
        pair = normalized()
        torch.rand(3 + len(found))
        before = random_states()
        fit = ppvae.fit(pair, SOURCES["loader"](), epochs=4, seed=1, compile=False)
        assert random_states() == before
        found.append(fit.history.train_elbo)
    assert found[0].equals(found[1])


class Failing:
    def __iter__(self):
        yield from X[:40].split(20)
        raise OSError("disk is gone")


def test_a_source_that_fails_fails_at_its_own_batch():
    steps = []
    with pytest.raises(OSError, match="disk is gone") as raised:
        ppvae.fit(normalized(), Failing(), epochs=1, kl_weight=lambda s: steps.append(s) or 1.0)
    assert raised.value.__notes__ == ["while reading batch 3 of epoch 1"]
    assert steps == [0, 1]
