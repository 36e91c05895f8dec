"""Curves and pictures that TensorBoard reads back: the right values at the right steps."""

import io
from types import SimpleNamespace

import numpy as np
import pyro
import pytest
import torch
from PIL import Image
from pyro import distributions as dist
from torch.distributions import constraints

import ppvae
from ppvae import data, pairs
from ppvae.inference import TensorBoard
from ppvae.inference.pictures import Pictures

pytest.importorskip("tensorboard")


@pytest.fixture(scope="module")
def squares():
    """Images of three rows and four columns, of numbers from 0 to 8."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 9, (120, 12), generator=generator).float()
    return data.split("squares", values, constraints.integer_interval(0, 8), image_shape=(3, 4))


@pytest.fixture
def pair(squares):
    torch.manual_seed(0)
    network = lambda inputs, outputs: torch.nn.Linear(inputs, outputs)  # noqa: E731
    return pairs.assemble(squares, latent=2, network=network)


STEPS = 12  # of an epoch


def fit(pair, data, folder, epochs=3, **options):
    board = [TensorBoard(folder)] if folder else []
    return ppvae.fit(
        pair, data, epochs=epochs, batch_size=8, compile=False, callbacks=board, **options
    )


def write(folder, pair, dataset, evaluations):
    """Call the callback with the records of each evaluation of a training."""
    board, training = TensorBoard(folder), SimpleNamespace(ended=False, dataset=dataset, pair=pair)
    for training.records in evaluations:
        training.step = training.records[-1]["step"]
        board(training)
    training.ended = True
    board(training)


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), {"scalars": 0, "images": 0})
    events.Reload()
    return events


def check_curves(folder, history):
    events, tags = read(folder), {}
    for name in history:
        split, _, term = name.partition("_")
        tags[f"{term}/{split}" if split in ("train", "validation") else name] = history[name]
    assert {tag for tag in events.Tags()["scalars"] if events.Scalars(tag)} == set(tags)
    assert {"elbo/train", "kl/validation", "loss/train", "learning_rate"} <= set(tags)
    for tag, expected in tags.items():
        points = events.Scalars(tag)
        assert [point.step for point in points] == expected.step.values.tolist()
        np.testing.assert_allclose([point.value for point in points], expected, rtol=1e-6)


def test_curves_are_the_history_and_pictures_those_of_the_pair(squares, pair, tmp_path):
    before = [parameter.clone() for parameter in pair.parameters()]
    fitted = fit(pair, squares, tmp_path)
    assert fitted.history.step.values.tolist() == list(range(STEPS, 37, STEPS))
    check_curves(tmp_path, fitted.history)
    events = read(tmp_path)
    assert sorted(events.Tags()["images"]) == ["reconstructions", "samples"]
    assert [shown.step for shown in events.Images("samples")] == [12, 24, 36]
    # Two rows of eight images of 3 x 4, each pixel 7 x 7 large, in frames; the upper is the data.
    encoded = events.Images("reconstructions")[-1].encoded_image_string
    shown = np.asarray(Image.open(io.BytesIO(encoded)))[..., 0] / 255
    shown = shown.reshape(2, 23, 8, 30)[:, 1:-1:7, :, 1:-1:7].transpose(0, 2, 1, 3)
    np.testing.assert_allclose(shown[0], squares.validation[:8].reshape(8, 3, 4) / 8, atol=1 / 255)
    assert not np.array_equal(shown[1], shown[0])
    # Neither the random numbers nor the weights of the training feel it.
    for parameter, value in zip(pair.parameters(), before, strict=True):
        with torch.no_grad():
            parameter.copy_(value)
    alone = fit(pair, squares, None)
    assert fitted.history.drop_vars("seconds").identical(alone.history.drop_vars("seconds"))


def test_pictures_are_drawn_ever_more_rarely(squares, pair, tmp_path):
    write(tmp_path, pair, squares, [[{"step": step}] for step in range(10, 40)])
    steps = [shown.step for shown in read(tmp_path).Images("samples")]
    # Each at least a tenth more than the last.
    assert steps == [10, 11, 13, 15, 17, 19, 21, 24, 27, 30, 33, 37]


def test_a_killed_training_goes_on_with_its_curves(squares, pair, tmp_path):
    places = {"folder": tmp_path / "board", "checkpoint": tmp_path / "kept"}
    fit(pair, squares, epochs=2, **places)
    # What it wrote after its last checkpoint and before it was killed.
    write(places["folder"], pair, None, [[{"step": 24}, {"step": 40, "x": 1}]])
    assert [point.step for point in read(places["folder"]).Scalars("x")] == [40]
    resumed = fit(pair, squares, places["folder"], epochs=4, resume=places["checkpoint"])
    assert resumed.history.step.values.tolist() == [12, 24, 36, 48]
    assert read(places["folder"]).Scalars("x") == []
    check_curves(places["folder"], resumed.history)
    elsewhere = tmp_path / "elsewhere"  # where the first part is not
    again = fit(pair, squares, elsewhere, epochs=6, resume=places["checkpoint"])
    check_curves(elsewhere, again.history)


def test_a_new_training_replaces_the_curves_in_its_folder(squares, pair, tmp_path):
    board = TensorBoard(tmp_path, pictures=False)
    for steps in (25, 12):
        fitted = ppvae.fit(pair, squares, steps=steps, compile=False, callbacks=[board])
    check_curves(tmp_path, fitted.history)
    assert read(tmp_path).Tags()["images"] == []


def test_any_pair_with_one_observed_site_has_pictures(squares):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(12), 1.0).to_event(1))
            pyro.sample("image", dist.Normal(4 + z, 0.1).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x - 4, 0.0001).to_event(1))

    drawn = Pictures(SimpleNamespace(model=model, guide=guide), squares).draw()
    assert drawn["samples"].shape == (12, 1, 3 * 7 + 2, 4 * 7 + 2)
    images, copies = drawn["reconstructions"].split(8)
    torch.testing.assert_close(copies, images, atol=1e-3, rtol=0)
    # Of the means 4 + z, a sixteenth lies outside of 0 to 8 or so.
    assert 0.3 < float(drawn["samples"].mean()) < 0.7


def test_a_pair_with_two_observed_sites_trains_without_pictures(squares, tmp_path):
    class Halves(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = torch.nn.Parameter(torch.zeros(6))

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(6), 1.0).to_event(1))
                pyro.sample("left", dist.Normal(z + self.loc, 1.0).to_event(1), obs=x[:, :6])
                pyro.sample("right", dist.Normal(z - self.loc, 1.0).to_event(1), obs=x[:, 6:])

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x[:, :6] - self.loc, 1.0).to_event(1))

    with pytest.warns(UserWarning, match="no pictures: pictures need a pair with one observed"):
        fitted = fit(Halves(), squares, tmp_path, epochs=2)
    check_curves(tmp_path, fitted.history)


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'ppvae\[tensorboard\]'"):
        TensorBoard(tmp_path)


def test_other_data_than_a_dataset_have_curves_alone(tmp_path, squares, pair):
    fitted = fit(pair, squares.train, tmp_path, epochs=2)
    assert read(tmp_path).Tags()["images"] == []
    events = read(tmp_path).Scalars("elbo/train")
    assert [point.step for point in events] == fitted.history.step.values.tolist()
