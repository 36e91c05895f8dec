"""The figures of a fitted VAE on a dataset: data that it makes, and its latent space."""

from collections.abc import Iterator

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ppvae.data import Dataset
from ppvae.engine import isolated, row_chunks
from ppvae.pairs import VAE
from ppvae.reports import plots
from ppvae.reports.columns import columns_figure
from ppvae.reports.given import sampled_rows
from ppvae.reports.pictures import image_figures
from ppvae.reports.series import series_figures, series_shape
from ppvae.reports.subject import ROWS, Subject, source_of

_SAMPLES = 2000  # rows of tables that are drawn at least


def gallery(
    pair: VAE, dataset: Dataset, split: str, *, seed: int = 0, run: str = ""
) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that fit the dataset and the number of latents, each with its name.

    With two latents or more: the posterior means in the two that vary most, colored by label if
    there are labels. For images: reconstructions, the worst and the best of them, samples, a
    traversal of each active latent, and with two latents the manifold. For series, and vectors
    whose features have no names: some of them with the interval of the pair, and samples. For
    tables: each column of the data beside that of samples. For latents that do not fill R^d, such
    as those on a sphere, there are reconstructions and samples only: a posterior mean, or a step
    along an axis, lies outside their space.

    A pair that is given conditions gets those of the datapoints. Where they are classes, samples
    are drawn by class, and traversals and the manifold are those of the most frequent one.

    Each figure names the data, the split and the run; `plots.alternative_text` says in words what
    it shows.

    Args:
        pair: the pair.
        dataset: the data.
        split: "train", "validation" or "test".
        seed: of every draw.
        run: what the run is called, such as its folder.
    """
    source = source_of(dataset, split, run)
    for name, figure in _figures(Subject(pair, dataset, split, seed)):
        yield name, plots.with_source(figure, source)


def _figures(subject: Subject) -> Iterator[tuple[str, Figure]]:
    dataset, shape = subject.dataset, series_shape(subject.dataset)
    if subject.means.dim() > 2:  # a latent of each step
        if shape is not None:
            yield from series_figures(subject, shape)
        return  # the other figures move one vector
    if subject.means.shape[1] > 1:
        yield "latents", _latents(subject)
    if dataset.image_shape is not None:
        yield from image_figures(subject)
    elif shape is not None:
        yield from series_figures(subject, shape)
    elif len(dataset.columns) == dataset.event_shape.numel() > 0:
        # As many as there are datapoints would be few for a histogram.
        places = torch.arange(max(_SAMPLES, len(subject.means))) % len(subject.means)
        rows = tuple(part[places.to(part.device)] for part in subject.batch)
        with isolated(subject.pair, subject.seed):
            samples = torch.cat(
                [sampled_rows(subject.pair, chunk) for chunk in row_chunks(rows, ROWS)]
            )
        yield "columns", columns_figure(dataset, subject.split, samples.cpu())


def _latents(subject: Subject) -> Figure:
    """Draw the two latents whose means vary most."""
    order = subject.spread.argsort(descending=True, stable=True).tolist()
    first, second = sorted(order[:2])
    dataset = subject.dataset
    return plots.latent_scatter(
        subject.means[:, [first, second]].cpu(),
        _labels(dataset, subject.split),
        (f"z_{first}", f"z_{second}"),
        (*dataset.factor_names, "factor")[0],
        dataset.label_names,
        standard_normal=subject.is_standard_normal,
    )


def _labels(dataset: Dataset, split: str) -> Tensor | None:
    if split in dataset.labels:
        return dataset.labels[split]
    return dataset.factors[split][:, 0] if split in dataset.factors else None
