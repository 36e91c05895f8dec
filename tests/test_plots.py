"""Figures: what they show, and that they leave nothing open."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from ppvae import plots

HISTORY = xr.Dataset(
    {
        f"{split}_{name}": ("step", np.linspace(-3, -1, 30))
        for split in ("train", "validation")
        for name in ("elbo", "reconstruction", "kl")
    },
    coords={"step": np.arange(30)},
)
FIGURES = {
    "training_curves": lambda: plots.training_curves(HISTORY),
    "kl_bars": lambda: plots.kl_bars(xr.DataArray([0.5, 2.0, 0.0], dims="z")),
    "image_rows": lambda: plots.image_rows(
        {"data": np.eye(4), "again": np.eye(4)}, (2, 2), "rows"
    ),
    "image_grid": lambda: plots.image_grid(np.eye(4)[:3], (2, 2), "grid"),
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


def test_kl_bars_are_sorted_and_named():
    axes = plots.kl_bars(xr.DataArray([0.5, 2.0, 0.0], dims="z")).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [2.0, 0.5, 0.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "0", "2"]


def test_images_keep_their_values():
    axes = plots.image_grid(np.arange(8.0).reshape(2, 4), (2, 2), "grid").axes
    assert axes[1].images[0].get_array().tolist() == [[4, 5], [6, 7]]


def test_empty_history_and_uneven_rows_are_refused():
    with pytest.raises(ValueError, match="no evaluation"):
        plots.training_curves(xr.Dataset(coords={"step": []}))
    with pytest.raises(ValueError, match=r"one length, got \[1, 2\]"):
        plots.image_rows({"a": np.eye(2)[:1], "b": np.eye(2)}, (1, 2), "rows")
