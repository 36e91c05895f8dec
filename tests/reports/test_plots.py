"""Figures: what they show, and that they leave nothing open."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text

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
BAND = diagnostics.uniform_band(40, draws=9)
MANY = np.random.default_rng(0).normal(size=(3000, 2))
CLASS = (MANY[:, 0] > 0).astype(int)
WAVES = np.sin(np.arange(20) / 3 + np.arange(2)[:, None])[..., None]
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
    "dense classes": lambda: plots.latent_scatter(MANY, CLASS, class_names=["a", "b"]),
    "dense factor": lambda: plots.latent_scatter(MANY, MANY[:, 0], standard_normal=True),
    "pareto_k": lambda: plots.pareto_k([-np.inf, 0.3, 0.9, 7], [-3, -2, -4, -9], 0.7),
    "rank_ecdf": lambda: plots.rank_ecdf(RANKS, BAND),
    "coverage_curves": lambda: plots.coverage_curves(COVERAGE, COVERAGE_ERROR),
    "gap_bars": lambda: plots.gap_bars(GAPS),
    "evidence_bars": lambda: plots.evidence_bars(SUMMARY, [True, False]),
    "series": lambda: plots.series_panels(WAVES, ["a", "b"], "waves", center=WAVES),
    "series_traversals": lambda: plots.series_traversals(
        np.stack([WAVES, WAVES + 1]), ["z_0", "z_1"], [-1, 1], unit="value of z"
    ),
    "columns": lambda: plots.column_histograms(
        {"a column": ([1.0, 2.0], [1.0, 3.0]), "levels": (["x", "y"], ["x", "x"])}, [0.1, 1], "t"
    ),
}


SOURCE = "digits, test split, 179 datapoints, runs/digits-1"


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_figure_can_be_read(make, monkeypatch):
    """On a page of 640 pixels, and printed: no text is small, cut off or over another."""
    figure = plots.with_source(make(), SOURCE)
    assert isinstance(figure, Figure) and plt.get_fignums() == []
    assert plots.alternative_text(figure).endswith(f". Of {SOURCE}")
    drawn, draw = {}, Text.draw

    def noted(text, *args):
        if text.get_visible() and text.get_text():
            drawn[text] = text.get_fontsize()
        draw(text, *args)

    monkeypatch.setattr(Text, "draw", noted)
    FigureCanvasAgg(figure).draw()
    assert min(drawn.values()) >= 8
    width, height = figure.bbox.size
    assert width <= 640 / 96 * figure.dpi
    boxes = {text: text.get_window_extent() for text in drawn}
    for text, box in boxes.items():
        inside = box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height
        assert inside, text
    for (first, one), (second, other) in itertools.combinations(boxes.items(), 2):
        assert not one.overlaps(other), (first, second)


def test_sources_stand_below_the_legend():
    figure = plots.with_source(plots.evidence_bars(SUMMARY), "digits, test split")
    FigureCanvasAgg(figure).draw()
    (source,) = [text for text in figure.texts if text.get_text() == "digits, test split"]
    (legend,) = figure.legends
    assert source.get_window_extent().y1 <= legend.get_window_extent().y0
    assert legend.get_window_extent().y1 <= figure.axes[1].xaxis.label.get_window_extent().y0
    assert plots.with_source(figure, "") is figure and len(figure.texts) == 2


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
        "1 inside the band": [0.5, 0.9],
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
    assert names[1 + named :] == (
        [f"{count - named} others outside the band"] if named < count else []
    )
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


def values(**terms):
    elbo = terms["reconstruction"] - terms["kl"]
    named = terms | {"elbo": elbo, "posterior_kl": terms["log_evidence"] - elbo}
    return xr.Dataset({"mean": ("term", [*named.values()])}, {"term": [*named]})


@pytest.mark.parametrize(
    ("terms", "zero"),
    [
        ({"reconstruction": -8.0, "kl": 2.0, "log_evidence": -9.0}, False),
        ({"reconstruction": -1200.0, "kl": 20.0, "log_evidence": -1219.9}, False),
        ({"reconstruction": 120.0, "kl": 10.0, "log_evidence": 112.0}, False),
        ({"reconstruction": 2.0, "kl": 4.0, "log_evidence": -1.0}, True),
    ],
)
def test_both_sides_of_the_formula_end_at_the_elbo(terms, zero):
    figure = plots.evidence_bars(values(**terms))
    elbo = terms["reconstruction"] - terms["kl"]
    for axes, name in zip(figure.axes, ("log_evidence", "reconstruction"), strict=True):
        whole, taken = axes.patches
        assert whole.get_x() + whole.get_width() == terms[name]
        assert taken.get_x() + taken.get_width() == pytest.approx(elbo)
        low, high = axes.get_xlim()
        assert low < elbo < terms[name] < high and (low < 0 < high) == zero
    # The larger divergence takes more than half of the axis, however small beside log P(X).
    assert terms["kl"] > (high - low) / 2
    (meaning, _), (_, last) = (a.get_legend().get_texts() for a in figure.axes)
    assert meaning.get_text().startswith(f"log P(X) = {terms['log_evidence']:.2f}: how probable")
    assert f"KL[Q(z|X) || P(z)] = {terms['kl']:.2f}" in last.get_text()


def test_untrusted_evidence_is_said_to_be_too_low():
    figure = plots.evidence_bars(SUMMARY, [True, False, True])
    notes = [text.get_text() for text in figure.legends[0].get_texts()]
    assert notes[-1].startswith("log P(X) is trusted for 2 of 3 datapoints; of the others")
    sure = plots.evidence_bars(SUMMARY, [True, True])
    assert not any("trusted" in text.get_text() for text in sure.legends[0].get_texts())


def test_standard_errors_are_written_where_they_are_known():
    known = SUMMARY.assign(standard_error=("term", [0.1, 0.2, 0.3, 0.4, 0.5]))
    text = plots.evidence_bars(known).axes[0].get_legend().get_texts()[0].get_text()
    assert text.startswith("log P(X) = -9.00 ± 0.40")
    alone = known.assign(standard_error=("term", [np.nan] * 5))  # of one datapoint
    assert "nan" not in plots.alternative_text(plots.evidence_bars(alone))


def test_pareto_k_stands_over_log_evidence_in_named_zones():
    figure = plots.pareto_k([-np.inf, 0.3, 0.9, 5.0], [-1.0, -2.0, -3.0, -4.0], 0.7)
    axes = figure.axes[0]
    zones = [text.get_text().splitlines()[0] for text in axes.texts]
    assert zones == ["trusted: 2", "not trusted: 1", "not trusted: 1"]
    inside, high, low = (points.get_offsets().tolist() for points in axes.collections)
    assert inside == [[-2, 0.3], [-3, 0.9]]
    assert high == [[-4, 2]] and low[0][0] == -1 and low[0][1] < 0.3
    notes = [text.get_text() for text in figure.legends[0].get_texts()]
    assert notes == ["1 with k above 2", "1 with constant weights (k = -inf): Q is the posterior"]


def test_missing_pixels_are_hatched_and_places_without_an_image_are_not():
    images = np.ones((3, 4))
    images[1, 2] = np.nan
    figure = plots.image_grid(images, (2, 2), "grid")
    (patch,) = figure.axes[0].patches
    (corners,) = patch.get_path().to_polygons()
    # The lower left pixel of the second image, which stands at column 3.
    assert (corners.min(0).tolist(), corners.max(0).tolist()) == ([2.5, 0.5], [3.5, 1.5])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["missing"]
    assert not plots.image_grid(np.ones((3, 4)), (2, 2), "grid").axes[0].patches


def test_density_of_classes_is_drawn_as_contours_that_hold_half():
    points = np.concatenate([MANY, MANY + 20])
    axes = plots.latent_scatter(points, np.arange(6000) // 3000).axes[0]
    contours = [each for each in axes.collections if isinstance(each, ContourSet)]
    assert len(contours) == 2
    for contour, shift in zip(contours, (0, 20), strict=True):
        # Half of a normal in two dimensions lies within 1.18 standard deviations.
        edge = np.concatenate(contour.get_paths()[0].to_polygons()) - shift
        assert abs(np.hypot(*edge.T).mean() - 1.18) < 0.12
    low, high = axes.get_xlim()
    assert axes.get_aspect() == 1 and high - low == pytest.approx(np.ptp(axes.get_ylim()))


def test_circles_of_the_prior_and_no_names_that_are_too_long():
    points = np.random.default_rng(0).normal(size=(40, 2))
    figure = plots.latent_scatter(points, np.arange(40) % 20, standard_normal=True)
    assert [circle.radius for circle in figure.axes[0].patches] == [1, 2]
    assert not figure.axes[0].texts and len(figure.axes[0].get_legend().get_texts()) == 20


def test_series_leave_gaps_where_values_are_missing():
    walks = np.arange(24.0).reshape(2, 4, 3)
    walks[0, 1, 0] = np.nan
    band = (walks - 1, walks + 1)
    figure = plots.series_panels(
        walks, ["a", "b"], "walks", center=walks, band=band, features=["x", "y", "z"]
    )
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["a, x", "a, y", "a, z", "b, x", "b, y", "b, z"]
    _, values = figure.axes[0].lines
    assert np.isnan(values.get_ydata()).tolist() == [False, True, False, False]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["data", "median of the model", "interval of the model"]


def test_training_shows_where_weights_were_kept_and_is_not_ruled_by_the_first_steps():
    steps = np.arange(1, 101)
    history = xr.Dataset({"train_elbo": ("step", -1000 / steps**2)}, {"step": steps})
    figure = plots.training_curves(history, {"best weights": 90, "compiled": None})
    axes = figure.axes[0]
    assert axes.get_ylim()[0] > -10
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["train", "best weights (step 90)"]
    assert axes.get_xscale() == "log"  # half of the rise is over after 2 of 100 steps
    assert plots.training_curves(HISTORY).axes[0].get_xscale() == "linear"


WRONG = {
    "series": (
        lambda: plots.series_panels(WAVES, ["a"], "waves"),
        r"shape \(1, steps, features\), got \(2, 20, 1\)",
    ),
    "series_traversals": (
        lambda: plots.series_traversals(WAVES, ["a", "b"], [0, 1]),
        r"shape \(2, 2, steps, features\), got \(2, 20, 1\)",
    ),
    "pareto_k": (
        lambda: plots.pareto_k([0.1, 0.2], [1.0], 0.7),
        r"one shape \(data,\), got \(2,\) and \(1,\)",
    ),
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
