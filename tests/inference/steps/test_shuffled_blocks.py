"""Training on rows on disk is training on a tensor; blocks are mixed as well as is said."""

import threading
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, pairs, posteriors, priors
from ppvae.data import RowsOnDisk
from ppvae.data.folders import opened
from ppvae.inference import Checkpoints
from ppvae.inference.steps import minibatches_of
from ppvae.inference.steps.worker_copies import WorkerCopies

X = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
SMALL = 2 * 40 * 16  # bytes of a buffer whose halves hold 40 rows of 4 numbers


def vae(features=4):
    torch.manual_seed(0)
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 2 * features, hidden=[8])),
        posteriors.DiagonalNormal(networks.MLP(features, 4, hidden=[8])),
    )


def on_disk(folder, values=X, **options):
    np.save(folder / "x.npy", values)
    return data.on_disk(folder / "x.npy", **options)


def mapped(folder, values=X):
    np.save(folder / "x.npy", values)
    return np.load(folder / "x.npy", mmap_mode="r")


def trained(source, pair=None, **options):
    pair = pair or vae()
    options = {"compile": False, "progress": False, "batch_size": 33, **options}
    fit = ppvae.fit(pair, source, **options)
    return torch.nn.utils.parameters_to_vector(pair.parameters()), fit


def equal(one, other):
    same = one[1].history.drop_vars("seconds").equals(other[1].history.drop_vars("seconds"))
    return torch.equal(one[0], other[0]) and same


def reading_threads():
    return [thread for thread in threading.enumerate() if "reads ahead" in thread.name]


def test_rows_that_fit_into_the_buffer_train_bit_for_bit_as_a_tensor(tmp_path):
    disk = on_disk(tmp_path, shuffle=False, validation=0.2)
    memory = data.array(tmp_path / "x.npy", shuffle=False, validation=0.2)
    assert equal(trained(disk, epochs=3), trained(memory, epochs=3))
    torch.manual_seed(0)
    one = pairs.assemble(disk, latent=2)
    torch.manual_seed(0)
    other = pairs.assemble(memory, latent=2)
    assert repr(one) == repr(other)
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_a_memmap_trains_bit_for_bit_as_its_array(tmp_path):
    expected = trained(X, epochs=2, validation=X[:30])
    x = mapped(tmp_path)
    assert equal(trained(x, epochs=2, validation=x[:30]), expected)
    batches = minibatches_of(x[100:400:3], vae(), 100)
    assert torch.equal(next(iter(batches)).tensors[0], torch.from_numpy(X[100:400:3]))
    levels = mapped(tmp_path, (10 * X).astype(np.int64))  # whole numbers become floating ones
    assert equal(trained(levels, epochs=1), trained(np.array(levels), epochs=1))


class Given(ppvae.VAE):
    """A pair that takes a second tensor and leaves it."""

    def model(self, x, given):
        return super().model(x)

    def guide(self, x, given):
        assert bool((given[:, 0] == x[:, 0]).all())
        return super().guide(x)


def test_tensors_beside_rows_on_disk_keep_to_their_rows(tmp_path):
    # Several buffers, of which minibatches take the rows of two.
    rows = on_disk(tmp_path, buffer=SMALL, block=5).train
    small = vae()
    pair = Given(small.prior, small.likelihood, small.posterior)
    fit = trained((rows, rows[:]), pair, epochs=1)[1]
    assert fit.steps == 13


def numbered(folder, rows=400, block=4, buffered=40):
    """Return minibatches of the numbers 0, 1, 2, ..., sorted."""
    np.save(folder / "x.npy", np.arange(rows, dtype=np.float32)[:, None])
    disk = RowsOnDisk(opened(folder / "x.npy"), block=block, buffer=2 * buffered * 4)
    return partial(minibatches_of, disk, vae(1))


def order_of(batches):
    return [batch.tensors[0][:, 0] for batch in batches]


@pytest.mark.parametrize("size", [1, 7, 33, 57, 400])
def test_every_row_comes_once_an_epoch_and_a_position_is_gone_to_at_once(
    size, tmp_path, monkeypatch
):
    batches = numbered(tmp_path)(size)
    torch.manual_seed(1)
    epochs = [order_of(batches) for _ in range(2)]
    for epoch in epochs:
        assert len(epoch) == batches.steps
        assert torch.equal(torch.cat(epoch).sort().values, torch.arange(400.0))
    assert size == 400 or not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))
    read, real = [], RowsOnDisk.read

    def counted(self, start, out):
        read.append(len(out))
        real(self, start, out)

    monkeypatch.setattr(RowsOnDisk, "read", counted)
    for position in (1, batches.steps // 2, batches.steps - 1, batches.steps):
        torch.manual_seed(1)
        read.clear()
        left = order_of(batches.after(position))
        assert len(left) == max(0, batches.steps - position)
        assert all(map(torch.equal, left, epochs[0][position:]))
        # What is left, and the rest of the buffer in which it begins.
        assert size == 400 or sum(read) <= sum(map(len, left)) + 44


def test_sorted_rows_are_mixed_as_it_is_said(tmp_path):
    size, rows = 16, 1600
    batches = numbered(tmp_path, rows=rows, block=10, buffered=160)(size)
    torch.manual_seed(0)
    means, same, other = [], 0, 0
    epochs = 15
    for _ in range(epochs):
        for x in order_of(batches):
            means.append(float(x.mean()))
            block = (x // 10).long()
            alike = int((block[:, None] == block).sum()) - len(x)
            same, other = same + alike, other + len(x) * (len(x) - 1) - alike
    shuffling = data.BlockShuffling(rows, 10, 160)
    # Of 15 x 100 minibatches the standard deviation has an error of about 3 %, the shares less.
    full = np.sqrt((rows**2 - 1) / 12 * (rows - size) / (size * (rows - 1)))
    assert np.std(means) / full == pytest.approx(shuffling.relative_deviation(size), rel=0.1)
    assert shuffling.relative_deviation(size) == pytest.approx(np.sqrt(1 + 16 / 16), rel=0.1)
    for count, partners, same_block in ((same, 9, True), (other, rows - 10, False)):
        expected = shuffling.together(size, same_block=same_block)
        assert count / (epochs * rows * partners) == pytest.approx(expected, rel=0.05)


@pytest.mark.slow
def test_a_training_with_several_buffers_resumes_as_if_it_had_never_stopped(tmp_path):
    disk = on_disk(tmp_path, buffer=SMALL, block=5)

    class Killed(BaseException):
        pass

    def killing(step):
        if step == 17:  # of 12 an epoch
            raise Killed
        return 1.0

    whole = trained(disk, epochs=3)
    every_step = Checkpoints(tmp_path / "run", 0.0)
    with pytest.raises(Killed):
        trained(disk, epochs=3, kl_weight=killing, checkpoint=every_step)
    assert torch.equal(trained(disk, epochs=3, resume=tmp_path / "run")[0], whole[0])
    other = on_disk(tmp_path, buffer=SMALL, block=4)
    with pytest.raises(ValueError, match="another training, with blocks and rows of a buffer"):
        trained(other, epochs=3, resume=tmp_path / "run")


def test_the_thread_ends_with_the_training_and_its_exception_is_the_trainings(tmp_path):
    trained(on_disk(tmp_path, buffer=SMALL, block=5), steps=3)  # within an epoch
    assert not reading_threads()
    holed = X.copy()
    holed[433, 2] = np.inf
    x = on_disk(tmp_path, holed, buffer=SMALL, block=5, sampled=64, shuffle=False, test=0.02)
    with pytest.raises(ValueError, match=r"x\.npy: row 433 holds the value inf") as caught:
        trained(x, epochs=1)
    assert any("while reading batch" in note for note in caught.value.__notes__)
    assert not reading_threads()


@pytest.mark.slow
def test_diagnostics_take_rows_a_chunk_at_a_time(tmp_path, monkeypatch):
    disk = on_disk(tmp_path, test=0.4)
    x, pair = disk.test[:], vae()
    options = {"draws": 30, "progress": False}
    expected = diagnostics.evidence(pair, x, memory=2**16, **options)
    expected_k = diagnostics.pareto_k(pair, x, memory=2**16, **options)
    active, kl = diagnostics.active_units(pair, x), diagnostics.kl_per_dimension(pair, x)
    means = ppvae.answers.encode(pair, x)
    most = []
    real = RowsOnDisk.__getitem__

    def looked(self, rows):
        read = real(self, rows)
        most.append(len(read))
        return read

    monkeypatch.setattr(RowsOnDisk, "__getitem__", looked)
    monkeypatch.setattr(RowsOnDisk, "dense", None)
    terms = diagnostics.evidence(pair, disk, memory=2**16, **options)
    assert terms.drop_vars("data").equals(expected)
    tails = diagnostics.pareto_k(pair, disk, memory=2**16, **options)
    assert tails.drop_vars("data").equals(expected_k)
    assert diagnostics.active_units(pair, disk).variance.equals(active.variance)
    assert diagnostics.kl_per_dimension(pair, disk).equals(kl)
    assert ppvae.answers.encode(pair, disk).z_0.equals(means.z_0)
    assert ppvae.answers.score(pair, disk, draws=30).log_p.equals(
        ppvae.answers.score(pair, x, draws=30).log_p
    )
    assert max(most) <= 256


class Rows(IterableDataset):
    """Rows, of which a worker may know its share."""

    def __init__(self, divides):
        self.divides = divides

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        step = worker.num_workers if worker and self.divides else 1
        return iter(torch.from_numpy(X)[worker.id if step > 1 else 0 :: step])


@pytest.mark.slow
def test_workers_that_divide_the_rows_of_a_stream():
    assert trained(DataLoader(Rows(True), 50, num_workers=2), epochs=1, batch_size=None)[1].steps
    with pytest.raises(ValueError, match=r"the 2 workers of the DataLoader yield the same rows"):
        trained(DataLoader(Rows(False), 50, num_workers=2), epochs=1, batch_size=None)


def test_a_stream_of_rows_gets_its_batches():
    loader = DataLoader(Rows(False), 50)
    expected = trained(loader, steps=7, batch_size=None)
    assert equal(trained(Rows(False), steps=7, batch_size=50), expected)


@pytest.mark.parametrize("rows", [40, 10, 1])
def test_copies_of_workers_are_seen_by_their_first_rows(rows):
    x = torch.from_numpy(X)

    def looked_at(batch_of, workers=2):
        looked = WorkerCopies(DataLoader(Rows(False), rows, num_workers=workers))
        for start in range(0, 40, rows):
            for worker in range(workers):
                looked.look(batch_of(start, worker))
        looked.compare()

    looked_at(lambda start, worker: x[40 * worker + start :][:rows])  # divided
    looked_at(lambda start, worker: torch.ones(rows, 4))
    looked_at(lambda start, worker: x[start : start + rows], workers=1)
    with pytest.raises(ValueError, match="the 2 workers"):
        looked_at(lambda start, worker: x[start : start + rows])
