"""The figures of a fitted VAE."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ppvae import data, pairs
from ppvae.reports import plots
from ppvae.reports.columns import columns_figure
from ppvae.reports.figures import gallery
from ppvae.reports.pictures import ImageLook, image_look

IMAGES = {"latents", "reconstructions", "samples", "worst-and-best"}


@pytest.mark.parametrize(("latent", "more"), [(1, set()), (2, {"manifold"}), (3, set())])
def test_figures_fit_data_and_latents(latent, more):
    dataset = data.segments(300, noise=0.1)
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=latent)
    with torch.no_grad():
        pair.posterior.network.network.last.weight.mul_(30)  # every latent is active
    names = {name for name, _ in gallery(pair, dataset, "test")}
    expected = IMAGES | {"traversals"} | more
    assert names == (expected - {"latents"} if latent == 1 else expected)


def test_vectors_are_drawn_as_lines():
    dataset = data.colors(100)
    figures = dict(
        gallery(pairs.assemble(dataset, latent=2), dataset, "test", run="runs/colors-1")
    )
    assert set(figures) - {"traversals"} == {"latents", "reconstructions", "samples"}
    for figure in figures.values():
        source = "colors, test split, 10 datapoints, runs/colors-1"
        assert source in [text.get_text() for text in figure.texts]
        assert plots.alternative_text(figure).endswith(source)
    assert [line.get_ydata().size for line in figures["samples"].axes[0].lines] == [3, 3]
    # Colored by the first factor, as there are no labels.
    assert figures["latents"].axes[1].get_ylabel() == dataset.factor_names[0]


def test_images_have_their_channels_and_the_bounds_of_their_support():
    unit = torch.distributions.constraints.unit_interval
    colored = data.split("photos", torch.rand(20, 12), unit, image_shape=(2, 2))
    assert image_look(colored) == ImageLook((3, 2, 2), (0, 1), inverted=False)
    assert image_look(data.digits()) == ImageLook((8, 8), (0, 16), inverted=True)
    real = torch.distributions.constraints.real
    signed = data.split("signed", torch.randn(20, 4), real, image_shape=(2, 2))
    assert image_look(signed) == ImageLook((2, 2), None, inverted=False)


def drawn(figure):
    return figure.axes[0].images[0].get_array()


def test_a_pair_with_classes_has_samples_of_each_class():
    dataset = data.digits().conditional()
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=2)
    # A decoder that draws the class alone, as so many white pixels.
    pair.likelihood.network = OfClass()
    figures = dict(gallery(pair, dataset, "test"))
    assert set(figures) == IMAGES | {"latents", "manifold"}
    rows = [text.get_text() for text in figures["samples"].axes[0].get_yticklabels()]
    assert rows == [str(digit) for digit in range(10)]
    canvas = drawn(figures["samples"])
    for digit in range(10):
        image = canvas[9 * digit : 9 * digit + 8, :8]
        assert int((image > 15).sum()) == digit
    # The same class for all of the latent space, the most frequent one.
    frequent = int(torch.bincount(dataset.labels["test"]).argmax())
    assert f"class {frequent}" in figures["manifold"].get_suptitle()
    assert int((drawn(figures["manifold"])[:8, :8] > 15).sum()) == frequent


class OfClass(torch.nn.Module):
    def forward(self, z, y):
        pixels = torch.arange(64) < y.argmax(-1, keepdim=True)
        return torch.where(pixels, 20.0, -20.0).expand(*z.shape[:-1], 64)


def test_unknown_pixels_are_not_drawn_and_classes_have_their_names():
    digits = data.digits()
    seen = {part: torch.ones_like(getattr(digits, part)) for part in ("train", "validation")}
    seen["test"] = torch.ones_like(digits.test)
    seen["test"][:, :8] = 0  # the first line of each image
    names = tuple(f"digit {label}" for label in range(10))
    dataset = replace(digits, seen=seen, label_names=names)
    torch.manual_seed(0)
    figures = dict(gallery(pairs.assemble(dataset, latent=2), dataset, "test"))
    canvas = np.ma.filled(drawn(figures["reconstructions"]).astype(float), np.nan)
    assert np.isnan(canvas[0, :8]).all() and not np.isnan(canvas[1:8, :8]).any()
    assert not np.isnan(canvas[9:17, :8]).any()
    texts = {text.get_text() for text in figures["latents"].axes[0].texts}
    assert texts == set(names)
    assert figures["reconstructions"].axes[0].patches  # hatched
    # The worst and the best have the numbers of their rows.
    numbers = [int(text.get_text()) for text in figures["worst-and-best"].axes[0].texts]
    assert len(numbers) == 20 and set(numbers) <= set(dataset.rows["test"].tolist())


def test_columns_of_a_table_are_drawn_in_their_units_the_worst_first():
    generator = np.random.default_rng(0)
    frame = {
        "mass (kg)": generator.normal(4000, 10, 300),
        "color": generator.choice(["red", "blue"], 300),
        "off": generator.normal(0, 1, 300),
    }
    frame["mass (kg)"][::5] = np.nan
    dataset = data.table(frame)
    samples = dataset.test[torch.arange(60) % 30].clone()
    samples[:, dataset.columns.index("off")] += 3
    figure = columns_figure(dataset, "test", samples)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "off" and set(titles[:3]) == set(frame)
    low, high = figure.axes[titles.index("mass (kg)")].get_xlim()
    assert 3900 < low < high < 4100
    ticks = figure.axes[titles.index("color")].get_xticklabels()
    assert {text.get_text() for text in ticks} == {"red", "blue"}
    # The same distribution of known cells has distance 0, and a shift by 3 of a normal
    # 2 Phi(1.5) - 1 = .87.
    shown = {
        axes.get_title(loc="left"): float(axes.texts[0].get_text().split()[-1])
        for axes in figure.axes
    }
    assert shown["color"] == 0 and abs(shown["off"] - 0.87) < 0.1


def test_series_end_where_they_end_and_a_missing_step_is_a_gap():
    walks = [np.cumsum(np.ones((5 + n % 3, 2)), axis=0) for n in range(40)]
    for walk in walks:
        walk[2, 1] = np.nan
    dataset = data.sequences(walks)
    assert dataset.series_shape == (7, 2)
    torch.manual_seed(0)
    figures = dict(gallery(pairs.assemble(dataset, latent=2), dataset, "test"))
    assert set(figures) - {"traversals"} == {"latents", "reconstructions", "samples"}
    panels = figures["reconstructions"].axes
    for row in range(2):
        length = 5 + int(dataset.rows["test"][row]) % 3
        axes = panels[2 * row + 1]
        assert axes.get_title(loc="left").endswith(", feature 1")
        middle, values = (line.get_ydata() for line in axes.lines)
        assert np.isfinite(middle).tolist() == [step < length for step in range(7)]
        assert np.isfinite(values).tolist() == [step < length and step != 2 for step in range(7)]


def test_latents_of_series_move_in_units_of_their_prior():
    dataset = data.split("spectra", torch.randn(60, 5), torch.distributions.constraints.real)
    torch.manual_seed(0)
    pair = pairs.assemble(dataset, latent=2)
    with torch.no_grad():
        pair.posterior.network.network.last.weight.mul_(30)  # every latent is active
    figure = dict(gallery(pair, dataset, "test"))["traversals"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["z_0", "z_1"]
    z = pair.encode(dataset.test).mean.mean(0)
    z[1] = -2.0
    expected = pair.decode(z).mean
    assert np.allclose(figure.axes[1].lines[0].get_ydata(), expected.detach(), atol=1e-6)


def test_series_with_a_latent_a_step_are_drawn_up_to_their_lengths():
    series = data.state_space(60, 5, shortest=2)
    pair = pairs.DeepMarkovModel.of(series, latent=2)
    figures = dict(gallery(pair, series, "test"))
    assert list(figures) == ["reconstructions", "samples"]
    lengths = series.conditions["test"][0].tolist()
    for figure in figures.values():
        drawn = np.asarray(figure.axes[0].lines[0].get_ydata(), float)
        assert np.isfinite(drawn).sum() == lengths[0]
