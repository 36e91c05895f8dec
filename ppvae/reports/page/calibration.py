"""Whether the guide is calibrated on data that the model makes."""

import shlex

from ppvae import diagnostics
from ppvae.reports import plots
from ppvae.reports.page.contents import Block, Code, Section, Text
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject

_NAME = "calibration"


def calibration_section(subject: Subject) -> Section:
    """Return ranks and coverage, or why they were not measured."""
    results = subject.results
    blocks: list[Block] = []
    if "prior_sbc" in results:
        ranks = results["prior_sbc"]
        band = diagnostics.uniform_band(ranks.sizes["simulation"], int(ranks.attrs["draws"]))
        blocks.append(
            picture_of(
                plots.rank_ecdf(ranks, band),
                "Where the guide is the posterior, the curves stay within the band. A curve with "
                "the shape of an S says that the guide is too narrow or too wide, one on one "
                "side that it is shifted.",
                subject.source,
            )
        )
    if "coverage" in results:
        held = results["coverage"]
        blocks.append(
            picture_of(
                plots.coverage_curves(held.drop_vars("standard_error"), held.standard_error),
                "Below the diagonal the guide is overconfident: its regions are too small.",
                subject.source,
            )
        )
    if blocks:
        text = "Measured on data simulated from the model, where the true latents are known."
        blocks.insert(0, Text(text, quiet=True))
        return Section(_NAME, "Calibration", blocks)
    refusals = [f.answer for f in subject.found.findings if f.name == _NAME]
    reason = refusals[0] if refusals else subject.found.left.get(_NAME, "")
    if not reason.startswith("level"):
        return Section(
            _NAME, "Calibration", [Text(f"Not measured: {reason or 'it was not asked'}.")]
        )
    text = (
        "Not measured: it needs simulations, which level standard makes. It takes about a minute "
        "for a small pair:"
    )
    return Section(_NAME, "Calibration", [Text(text), Code(standard_call(subject), "The call")])


def standard_call(subject: Subject) -> str:
    """Return the call that runs all diagnostics of level standard."""
    if subject.run is None:
        return "ppvae.diagnostics.diagnose(pair, data, effort=ppvae.diagnostics.STANDARD)"
    split = "" if subject.split == "test" else f" --split {subject.split}"
    return f"ppvae diagnose {shlex.quote(subject.run)} --level standard{split}"
