"""What is found about a table."""

from dataclasses import dataclass, field

from ppvae.data.tabular.columns import Column


@dataclass
class Findings:
    """What was found about the columns of a table.

    Args:
        columns: those that are modeled.
        set_aside: those that are not, each with the reason.
        notes: what else is to be said, one sentence each.
        names: the column that names the rows, if one was found.
    """

    columns: list[Column] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    names: str | None = None
