"""Results as ArviZ data."""

from ppvae.diagnostics.export.arviz_groups import arviz_data, result_group, with_groups
from ppvae.diagnostics.export.pairs import to_arviz
from ppvae.diagnostics.export.pyro_svi import from_pyro_svi

__all__ = [
    "arviz_data",
    "from_pyro_svi",
    "result_group",
    "to_arviz",
    "with_groups",
]
