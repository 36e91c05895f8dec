"""Training on rows that stay sparse is training on the same rows as a tensor."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

import ppvae
from ppvae import data, diagnostics, pairs
from ppvae.inference.steps.data_sources import minibatches_of


def counts(keep, **options):
    random = np.random.default_rng(1)
    x = random.poisson(random.gamma(0.5, 2.0, (150, 6))) + (np.arange(6) == 0)
    return data.counts(sparse.csr_array(x), sparse=keep, **options)


def fitted(dataset, **options):
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=2)
    fit = ppvae.fit(pair, dataset, progress=False, compile=False, **options)
    return pair, fit


@pytest.mark.parametrize("batch", [None, np.arange(150) % 2])
def test_the_same_pair(batch):
    options = {"epochs": 2, "batch_size": 17}  # 120 rows: the last one is joined
    dense, first = fitted(counts(False, batch=batch), **options)
    rows, second = fitted(counts(True, batch=batch), **options)
    for one, other in zip(dense.parameters(), rows.parameters(), strict=True):
        # The encoder's scaling is summed in another order.
        assert torch.allclose(one, other, atol=1e-5)
    losses = [fit.history["train_loss"].values for fit in (first, second)]
    assert np.allclose(*losses, atol=1e-4)


def test_all_rows_at_once_keep_their_order():
    dataset = counts(True)
    (minibatch,) = minibatches_of(dataset, pairs.assemble(dataset, latent=2), batch_size=120)
    assert torch.equal(minibatch.tensors[0], dataset.train[:])


def test_every_row_once_an_epoch():
    dataset = counts(True)
    batches = minibatches_of(dataset, pairs.assemble(dataset, latent=2), batch_size=17)
    x, size = (torch.cat(parts) for parts in zip(*(b.tensors for b in batches), strict=True))
    assert torch.equal(x.sum(1, keepdim=True), size)
    assert torch.equal(x.sum(0), dataset.train[:].sum(0)) and len(x) == 120


def test_a_pair_in_double_precision():
    dataset = counts(True)
    pair = pairs.assemble(dataset, latent=2).double()
    ppvae.fit(pair, dataset, epochs=1, compile=False, progress=False)
    assert torch.isfinite(pair.encode(*dataset.batch("test")).mean).all()


def test_diagnostics_read_a_split_densely():
    values = []
    for keep in (False, True):
        dataset = counts(keep)
        torch.manual_seed(0)
        pair = pairs.assemble(dataset, latent=2)
        values.append(diagnostics.kl_per_dimension(pair, dataset).values)
    assert np.allclose(*values, atol=1e-5)


def test_rows_without_sizes():
    dataset = replace(counts(True), sizes={})
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=2)
    torch.manual_seed(0)
    same = pairs.assemble(replace(counts(False), sizes={}), latent=2)
    assert torch.allclose(pair.likelihood.size.log_size, same.likelihood.size.log_size)


def test_tensors_of_other_lengths():
    dataset = counts(True)
    pair = pairs.assemble(dataset, latent=2)
    with pytest.raises(ValueError, match=r"tensors of \[120, 15\] rows"):
        ppvae.fit(pair, (dataset.train, dataset.sizes["test"]), progress=False)
