"""What is taken for data, and the sentence for what is not."""

import numpy as np
import pandas
import pytest
import scipy.sparse
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ppvae
from ppvae.engine import as_batch

ROWS = np.arange(12.0).reshape(4, 3)
LINEAR = nn.Linear(3, 2)
TAKEN = {
    "tensor": torch.as_tensor(ROWS),
    "integers": torch.as_tensor(ROWS).long(),
    "bytes": torch.as_tensor(ROWS).byte(),
    "array of integers": ROWS.astype(np.int32),
    "other byte order": ROWS.astype(">f8"),
    "long floats": ROWS.astype(np.longdouble),
    "half floats": ROWS.astype(np.float16),
    "backwards": ROWS[::-1][::-1],
    "read only": np.frombuffer(ROWS.tobytes()).reshape(4, 3),
    "nothing masked": np.ma.masked_equal(ROWS, -1.0),
    "table": pandas.DataFrame(ROWS, columns=["a", "b", "c"]),
    "table of integers": pandas.DataFrame(ROWS.astype(int)),
    "dataset of tensors": TensorDataset(torch.as_tensor(ROWS)),
    "tuple": (ROWS,),
}


@pytest.mark.parametrize("given", TAKEN.values(), ids=TAKEN.keys())
def test_numbers_become_floating_tensors(given):
    (batch,) = as_batch(given, LINEAR, split="test")
    assert batch.dtype is torch.float32 and torch.equal(batch, torch.as_tensor(ROWS).float())


REFUSED = {
    "masked": (np.ma.masked_less(ROWS, 2), ValueError, "2 hidden value.s. among 12; fill them"),
    "sparse tensor": (torch.eye(3).to_sparse(), TypeError, r"sparse tensor; pass x.to_dense\(\)"),
    "sparse matrix": (scipy.sparse.eye_array(3).tocsr(), TypeError, r"pass x.toarray\(\)"),
    "complex": (torch.zeros(3, dtype=torch.complex64), TypeError, "dtype torch.complex64"),
    "complex array": (ROWS.astype(complex), TypeError, "array of dtype complex128; make"),
    "objects": (ROWS.astype(object), TypeError, "array of dtype object; make every column"),
    "text": (np.array(["a", "b"]), TypeError, "array of dtype <U1"),
    "records": (np.zeros(3, [("a", float)]), TypeError, "array of dtype"),
    "times": (np.zeros(3, "M8[s]"), TypeError, "array of dtype datetime64"),
    "table with text": (pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}), TypeError, "object"),
    "table with a gap": (pandas.DataFrame({"a": [1.0, None]}), ValueError, "1 NaN or infinite"),
    "rows of numbers": (ROWS.tolist(), TypeError, r"got list; write torch.tensor\(x\) for rows"),
    "numbers": ([1.0, 2.0], TypeError, r"got float; write torch.tensor\(x\)"),
    "loader": (
        DataLoader(TensorDataset(torch.ones(3, 2))),
        TypeError,
        "got DataLoader; pass one",
    ),
    "a word": ("rows.csv", TypeError, "got text"),
    "a dict": ({"x": ROWS}, TypeError, "got a dict"),
    "nothing": (None, TypeError, "got NoneType"),
    "too large in 32 bits": (ROWS * 1e38, ValueError, "in the pair's torch.float32 holds"),
}


@pytest.mark.parametrize(("given", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_data_is_one_sentence(given, error, message):
    with pytest.raises(error, match=message) as caught:
        as_batch(given, LINEAR, split="test")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("data ")


def test_further_tensors_and_looked_up_numbers_keep_their_type():
    words, seen = torch.ones(3, 2, dtype=torch.int64), torch.ones(3, 2, dtype=torch.bool)
    batch = as_batch((words, seen), nn.Linear(2, 1), split="test")
    assert [tensor.dtype for tensor in batch] == [torch.float32, torch.bool]
    assert as_batch(words, nn.Embedding(5, 2), split="test")[0].dtype is torch.int64


class OfOne:
    """A pair in plain Pyro whose model takes the datapoints alone."""

    def model(self, x):
        raise AssertionError("never called")

    guide = model


def test_labels_beside_the_data_are_told_apart():
    x, labels = torch.zeros(6, 3), torch.zeros(6)
    for given in ((x, labels), TensorDataset(x, labels)):
        with pytest.raises(
            TypeError, match=r"holds 2 tensor.s., but the pair's model takes 1 \(x\)"
        ):
            as_batch(given, OfOne(), split="test")
    with pytest.raises(TypeError, match=r"a batch of data holds 2 .* without labels"):
        ppvae.fit(OfOne(), [(x, labels)], epochs=1)


class OfTwo:
    """A pair in plain Pyro whose model takes conditions too."""

    def model(self, x, y, weight=1.0):
        raise AssertionError("never called")

    guide = model


def test_fewer_tensors_than_a_pair_takes_are_told():
    with pytest.raises(TypeError, match=r"1 tensor.s., .* takes 3 \(x, y, weight\): pass a tuple"):
        as_batch(torch.zeros(6, 3), OfTwo(), split="test")
    assert len(as_batch((torch.zeros(6, 3), torch.zeros(6, 1)), OfTwo(), split="test")) == 2


def test_rows_of_numbers_are_no_batches():
    with pytest.raises(TypeError, match="got list; write torch.tensor"):
        ppvae.fit(OfOne(), ROWS.tolist(), epochs=1)


def test_strided_data_become_contiguous():
    """Networks that take views of their input run on them, in training from the first look on."""
    strided = torch.arange(24.0).reshape(2, 3, 4)[:, :, ::2]
    (batch,) = as_batch(strided, object(), split="test")
    assert batch.is_contiguous() and torch.equal(batch, strided)
    whole = torch.zeros(2, 3)
    assert as_batch(whole, object(), split="test")[0] is whole
