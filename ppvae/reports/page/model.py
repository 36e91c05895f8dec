"""What the model makes of data: reconstructions, samples, its latent space."""

from collections.abc import Iterator
from contextlib import suppress

from matplotlib.figure import Figure

from ppvae import diagnostics
from ppvae.engine import Unsupported, first_line, raised_in_pair
from ppvae.pairs import VAE
from ppvae.reports import plots
from ppvae.reports.figures import gallery
from ppvae.reports.page.contents import Block, Section, Text
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject

# By the name of a figure: whether it is about the latents, what it shows, and how to read it.
_FIGURES = {
    "reconstructions": (
        False,
        "Originals above their reconstructions",
        "What the latents keep of a row. What is lost in the lower row, the model cannot use.",
    ),
    "worst-and-best": (
        False,
        "The rows that are reconstructed worst and best, above what they are decoded to",
        "Ranked by log p(x|z) at the mean of q(z|x). Each has its name or row number.",
    ),
    "samples": (
        False,
        "New datapoints that the model makes from draws of the prior",
        "If these look unlike the data, the model has not learned the data, whatever its ELBO.",
    ),
    "columns": (
        False,
        "Histograms of the columns of the data beside those of samples",
        "Columns whose samples differ most from the data come first.",
    ),
    "series": (
        False,
        "Series of the data beside their reconstructions",
        "What the latents keep of a series.",
    ),
    "traversals": (
        True,
        "What one latent changes while the others stay, a row for each latent in use",
        "Each row moves one latent from low to high and shows what the model makes of it.",
    ),
    "latents": (
        True,
        "The posterior means of all rows in two latents",
        "The two latents that vary most. Classes that lie apart are told apart by the latents.",
    ),
    "manifold": (
        True,
        "What the model makes of each place of its two latents",
        "A map of the latent space: what the model makes of each place.",
    ),
}


def model_sections(subject: Subject) -> list[Section]:
    """Return what the model makes, and its latent space."""
    made: list[Block] = []
    latent: list[Block] = []
    for name, figure in _figures(subject, made):
        in_latents, shows, meaning = _FIGURES.get(name, (False, _title_of(figure) or name, ""))
        title = _title_of(figure)
        alternative = f"{shows}: {title}" if title and title != shows else shows
        (latent if in_latents else made).append(picture_of(figure, alternative, meaning or shows))
    with suppress(Unsupported):
        kl = diagnostics.kl_per_dimension(subject.pair, subject.batch)
        latent.append(
            picture_of(
                plots.kl_bars(kl),
                f"The KL divergence of each latent: between {float(kl.min()):.2f} and "
                f"{float(kl.max()):.2f} nats",
                "How much each latent says about a row, in nats. A latent at 0 is not used.",
            )
        )
    if not latent:
        latent.append(
            Text(
                "There are no pictures of the latent space: of a pair of your own, of latents on "
                "a sphere and of several groups of latents it is not known what a step along an "
                "axis, or the KL divergence of one latent, would be."
            )
        )
    return [
        Section("model", "What the model makes", made),
        Section("latents", "Latent space", latent),
    ]


def _figures(subject: Subject, made: list[Block]) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that fit; say why where there are none, or fewer than there could be."""
    pair, dataset = subject.pair, subject.dataset
    if dataset is None or not isinstance(pair, VAE):
        kind = type(pair).__name__ if dataset is not None else "data that are no dataset"
        made.append(
            Text(
                f"There are no pictures: they need a VAE of a prior, a likelihood and a posterior, "
                f"and a dataset; this page is about {kind}. `ppvae.answers.reconstruct` and "
                "`sample` give the numbers of any pair with one observed site."
            )
        )
        return
    drawn = 0
    try:
        for figure in gallery(pair, dataset, subject.split, seed=subject.seed):
            drawn += 1
            yield figure
    except Exception as error:
        if not isinstance(error, Unsupported) and raised_in_pair(error) is None:
            raise
        made.append(Text(f"Further pictures were not drawn: {first_line(error)}."))
    if not drawn:
        made.append(
            Text(
                "There are no pictures: the rows are neither images, nor have they named columns."
            )
        )


def _title_of(figure: Figure) -> str:
    """Return the title that a figure bears."""
    if figure.get_suptitle():
        return figure.get_suptitle()
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    return titles[0] if titles else ""
