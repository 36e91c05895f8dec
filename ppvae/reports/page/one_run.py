"""The page about one pair: what a reader asks, in the order in which it is asked."""

from collections.abc import Iterator

from ppvae.reports.page.calibration import calibration_section
from ppvae.reports.page.contents import Page, Section
from ppvae.reports.page.evidence import formula_section
from ppvae.reports.page.findings import findings_section, left_section, next_section
from ppvae.reports.page.importance import importance_section
from ppvae.reports.page.model import model_sections
from ppvae.reports.page.reproduction import reproduction_section
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.training import training_section
from ppvae.reports.page.verdict import lead_of
from ppvae.reports.page.worst import worst_section


def page_of(subject: Subject) -> Page:
    """Return the page about a pair, the verdict first."""
    dataset = subject.dataset
    rows = f"{len(subject.batch[0]):,} {subject.rows}"
    data = "" if dataset is None else f" of {dataset.name}"
    return Page(
        subject.title,
        f"How good is this posterior? Measured on {rows}{data}.",
        lead_of(subject),
        tuple(_sections(subject)),
    )


def _sections(subject: Subject) -> Iterator[Section]:
    yield formula_section(subject)
    yield training_section(subject)
    yield from model_sections(subject)
    yield importance_section(subject)
    yield calibration_section(subject)
    yield findings_section(subject)
    yield left_section(subject)
    yield worst_section(subject)
    yield reproduction_section(subject)
    yield next_section(subject)
