"""Figures: what they show, and that they leave nothing open."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from ppvae import diagnostics
from ppvae.reports import plots

HISTORY = xr.Dataset(
    {
        f"{split}_{name}": ("step", np.linspace(-3, -1, 30))
        for split in ("train", "validation")
        for name in ("elbo", "reconstruction", "kl")
    },
    coords={"step": np.arange(30)},
)
SUMMARY = xr.Dataset(
    {"mean": ("term", [-8.0, 2.0, -10.0, -9.0, 1.0])},
    {"term": ["reconstruction", "kl", "elbo", "log_evidence", "posterior_kl"]},
)
GAPS = xr.Dataset(
    {"mean": ("term", [3.0, 1.0, 2.0]), "standard_error": ("term", [0.2, 0.1, 0.2])},
    {"term": ["total", "approximation", "amortization"]},
)
COVERAGE = xr.Dataset(
    {"z": (("level", "z_dim_0"), [[0.5, 0.4], [0.9, 0.7]]), "joint": ("level", [0.3, 0.6])},
    {"level": [0.5, 0.9]},
)
COVERAGE_ERROR = xr.DataArray([0.02, 0.01], dims="level")
RANKS = xr.Dataset({"z": (("simulation", "z_dim_0"), np.arange(80).reshape(40, 2) % 10)})
FIGURES = {
    "training_curves": lambda: plots.training_curves(HISTORY),
    "kl_bars": lambda: plots.kl_bars(xr.DataArray([0.5, 2.0, 0.0], dims="z")),
    "image_rows": lambda: plots.image_rows(
        {"data": np.eye(4), "again": np.eye(4)}, (2, 2), "rows"
    ),
    "image_grid": lambda: plots.image_grid(np.eye(4)[:3], (2, 2), "grid"),
    "latent_scatter": lambda: plots.latent_scatter(np.eye(4)[:, :2], [0, 1, 1, 0]),
    "manifold": lambda: plots.manifold(np.zeros((9, 4)), (2, 2)),
    "traversals": lambda: plots.traversals(np.zeros((1, 3, 4)), (2, 2), ["z_0"], [-1, 0, 1]),
    "pareto_k": lambda: plots.pareto_k([-np.inf, 0.3, 0.9], 0.7),
    "rank_ecdf": lambda: plots.rank_ecdf(RANKS, diagnostics.uniform_band(40, draws=9)),
    "coverage_curves": lambda: plots.coverage_curves(COVERAGE, COVERAGE_ERROR),
    "gap_bars": lambda: plots.gap_bars(GAPS),
    "evidence_bars": lambda: plots.evidence_bars(SUMMARY),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_figure_is_returned_and_not_opened(make, tmp_path):
    figure = make()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == []
    figure.savefig(tmp_path / "figure.png")


def test_training_curves_show_both_splits_with_units():
    axes = plots.training_curves(HISTORY).axes
    assert [len(panel.lines) for panel in axes] == [2, 2, 2]
    assert axes[0].get_ylabel() == "nats per datapoint"
    assert all(panel.get_xlabel() == "step" for panel in axes)


def test_gap_bars_add_up():
    total, family, encoder = plots.gap_bars(GAPS).axes[0].patches
    assert (family.get_x(), encoder.get_x()) == (0, family.get_width())
    assert encoder.get_x() + encoder.get_width() == total.get_width() == 3


def test_coverage_curves_show_every_coordinate_and_the_joint_one():
    axes = plots.coverage_curves(COVERAGE, COVERAGE_ERROR).axes[0]
    curves = {line.get_label(): line.get_ydata()[1:-1].tolist() for line in axes.lines[1:]}
    assert curves == {
        "z[1]": [0.4, 0.7],
        "1 inside": [0.5, 0.9],
        "all latents together": [0.3, 0.6],
    }
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["of an exact guide", *curves]


@pytest.mark.parametrize(("count", "named"), [(11, 11), (40, 14)])
def test_curves_of_ranks_are_told_apart_and_the_worst_is_named(count, named):
    # The ranks of quantity i all lie below 90 - 2 i: the first is nearest to uniform.
    ranks = np.linspace(0, 1, 400, endpoint=False)[:, None] * (90 - 2 * np.arange(count))
    figure = plots.rank_ecdf(
        xr.Dataset({"z": (("simulation", "z_dim_0"), ranks.astype(int))}),
        diagnostics.uniform_band(400, draws=99),
    )
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    worst = [f"z[{index}]" for index in range(count - 1, count - 1 - named, -1)]
    assert names[1 : 1 + named] == worst
    assert names[1 + named :] == ([f"{count - named} others outside"] if named < count else [])
    looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines[:named]]
    assert len(set(looks)) == named
    assert len(axes.lines) == count


def test_a_training_of_one_evaluation_is_a_point():
    once = HISTORY.isel(step=[3])
    figure = plots.training_curves(once.drop_vars(["train_kl", "validation_kl"]))
    first, _, last = figure.axes
    for line in first.lines:
        assert line.get_marker() in {"o", "s"}
        assert first.get_ylim()[0] < line.get_ydata()[0] < first.get_ylim()[1]
    assert [text.get_text() for text in last.texts] == ["not measured"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["train", "validation"]
    assert all(
        line.get_marker() == "None" for line in plots.training_curves(HISTORY).axes[0].lines
    )
    gap = HISTORY.copy(deep=True)
    gap["train_elbo"][:] = np.nan
    assert len(plots.training_curves(gap).axes[0].lines) == 1


def test_classes_have_a_look_of_their_own_and_a_legend():
    points = np.random.default_rng(0).normal(size=(60, 2))
    axes = plots.latent_scatter(points, np.arange(60) % 10).axes[0]
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [str(index) for index in range(10)]
    looks = {
        (tuple(handle.get_facecolor()[0]), handle.get_paths()[0].vertices.tobytes())
        for handle in legend.legend_handles
    }
    assert len(looks) == 10
    factor = plots.latent_scatter(points, points[:, 0], factor="length")
    assert factor.axes[1].get_ylabel() == "length"
    many = plots.latent_scatter(points, np.arange(60)).axes[0]
    assert many.get_legend() is None and len(many.collections) == 1


def test_kl_bars_are_sorted_and_named():
    axes = plots.kl_bars(xr.DataArray([0.5, 2.0, 0.0], dims="z")).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2.0, 0.5, 0.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "0", "2"]


def test_images_keep_their_values():
    axes = plots.image_grid(np.arange(12.0).reshape(3, 4), (2, 2), "grid").axes[0]
    gap = None
    assert axes.images[0].get_array().tolist() == [
        [0, 1, gap, 4, 5],
        [2, 3, gap, 6, 7],
        [gap] * 5,
        [8, 9, gap, gap, gap],
        [10, 11, gap, gap, gap],
    ]


def shown(figure):
    """The colors drawn, `(height, width, 4)` between 0 and 1."""
    (image,) = figure.axes[0].images
    return image.to_rgba(image.get_array())


def test_high_values_are_light_unless_inverted():
    ramp = np.linspace(0, 255, 4)[None]
    light = shown(plots.image_grid(ramp, (1, 4), "ramp"))[0, :, 0]
    assert light[0] == 0 and light[-1] == 1 and (np.diff(light) > 0).all()
    ink = shown(plots.image_grid(ramp, (1, 4), "ramp", inverted=True))[0, :, 0]
    assert np.allclose(ink, 1 - light, atol=0.01)
    dim = shown(plots.image_grid(ramp / 2, (1, 4), "ramp", limits=(0, 255)))[0, :, 0]
    assert dim[-1] == pytest.approx(0.5, abs=0.01)


def test_images_of_three_channels_have_their_colors():
    red = np.repeat([255.0, 0.0, 0.0], 4)
    gray = np.full(12, 51.0)
    drawn = shown(plots.image_rows({"a": np.stack([red, gray])}, (3, 2, 2), "colors"))
    assert drawn[0, 0, :3].tolist() == [1, 0, 0]
    assert drawn[0, -1, :3] == pytest.approx([0.2] * 3)
    assert drawn[0, 2, :3].tolist() == [1, 1, 1]  # the gap
    with pytest.raises(ValueError, match=r"\(3, height, width\), got \(2, 2, 2\)"):
        plots.image_grid(np.zeros((1, 8)), (2, 2, 2), "two channels")


def test_rows_of_images_are_named_at_their_middle():
    rows = {"first": np.zeros((2, 9)), "second": np.ones((2, 9))}
    axes = plots.image_rows(rows, (3, 3), "rows").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_yticks().tolist() == [1, 5]


def test_manifold_stands_as_the_latent_space_does():
    """The first latent grows to the right, the second upwards."""
    grid = plots.quantile_grid(3)
    drawn = plots.manifold(grid[:, :1], (1, 1)).axes[0].images[0].get_array()
    assert (np.diff(drawn, axis=1) > 0).all() and (np.diff(drawn, axis=0) == 0).all()
    drawn = plots.manifold(grid[:, 1:], (1, 1)).axes[0].images[0].get_array()
    assert (np.diff(drawn, axis=0) < 0).all() and (np.diff(drawn, axis=1) == 0).all()


def test_both_sides_of_the_formula_end_at_the_elbo():
    bars = plots.evidence_bars(SUMMARY).axes[0].patches
    ends = [bar.get_x() + bar.get_width() for bar in bars]
    assert sorted(ends) == [-10, -10, -9, -8]


def test_pareto_k_says_how_many_are_above():
    axes = plots.pareto_k([-np.inf, 0.3, 0.9], 0.7).axes[0]
    assert axes.get_title().endswith("0.70 for 1 of 3")
    assert np.isfinite(axes.collections[0].get_offsets()).all()


WRONG = {
    "scatter": (lambda: plots.latent_scatter(np.eye(3)), r"shape \(data, 2\), got \(3, 3\)"),
    "manifold": (
        lambda: plots.manifold(np.zeros((8, 4)), (2, 2)),
        "square number of images, got 8",
    ),
    "traversals": (
        lambda: plots.traversals(np.zeros((1, 3, 4)), (2, 2), ["a", "b"], [0, 1, 2]),
        r"shape \(2, 3, pixels\), got \(1, 3, 4\)",
    ),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_arrays_of_another_shape_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_empty_history_and_uneven_rows_are_refused():
    with pytest.raises(ValueError, match="no evaluation"):
        plots.training_curves(xr.Dataset(coords={"step": []}))
    with pytest.raises(ValueError, match=r"one length, got \[1, 2\]"):
        plots.image_rows({"a": np.eye(2)[:1], "b": np.eye(2)}, (1, 2), "rows")
