"""Results as ArviZ data."""

from ppvae.diagnostics.export.arviz_groups import result_group, with_groups
from ppvae.diagnostics.export.pairs import to_arviz
from ppvae.diagnostics.export.pyro_svi import from_pyro_svi

__all__ = [
    "from_pyro_svi",
    "result_group",
    "to_arviz",
    "with_groups",
]
