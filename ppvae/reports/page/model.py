"""What the model makes of data: reconstructions, samples, its latent space."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from ppvae import diagnostics
from ppvae.pairs import VAE
from ppvae.reports import plots
from ppvae.reports.figures import gallery
from ppvae.reports.page.contents import Block, Section, Text
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.refusals import reason_of
from ppvae.reports.page.subject import Subject

_OF_LATENTS = ("traversals", "latents", "manifold")
_CAPTIONS = {
    "reconstructions": "What the latents keep of a row. What is lost here, the model cannot use.",
    "worst-and-best": "Ranked by log p(x|z) at the mean of q(z|x); each has its name or number.",
    "samples": "If these look unlike the data, the model has not learned the data, whatever its "
    "ELBO.",
    "columns": "Columns whose samples differ most from the data come first.",
    "traversals": "Each row moves one latent that is in use; the others stay.",
    "latents": "The two latents that vary most. The latents tell classes apart that lie apart.",
    "manifold": "A map of the latent space: what the model makes of each place.",
}


def model_sections(subject: Subject) -> list[Section]:
    """Return what the model makes, and its latent space."""
    made: list[Block] = []
    latent: list[Block] = []
    for name, figure in _figures(subject, made):
        picture = picture_of(figure, _CAPTIONS.get(name, ""))
        (latent if name in _OF_LATENTS else made).append(picture)
    try:
        kl = diagnostics.kl_per_dimension(subject.pair, subject.batch)
    except Exception as error:
        latent.append(Text(f"The KL divergence is not split by latent: {reason_of(error)}."))
    else:
        caption = "How much each latent says about a row. A latent at 0 is not used."
        latent.append(picture_of(plots.kl_bars(kl), caption, subject.source))
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
                "There are no pictures: they need a VAE of a prior, a likelihood and a posterior, "
                f"and a dataset, and this page is about {kind}. `ppvae.answers.reconstruct` and "
                "`sample` give the numbers of any pair with one observed site."
            )
        )
        return
    drawn, named = 0, subject.title if subject.run is not None else ""
    try:
        for figure in gallery(pair, dataset, subject.split, seed=subject.seed, run=named):
            drawn += 1
            yield figure
    except Exception as error:
        made.append(Text(f"Further pictures were not drawn: {reason_of(error)}."))
    if not drawn:
        made.append(
            Text(
                "There are no pictures: the rows are neither images, nor have they named columns, "
                "or a row has a latent for each of its steps."
            )
        )
