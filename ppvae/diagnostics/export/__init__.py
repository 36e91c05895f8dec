"""Results as ArviZ reads them."""

from ppvae.diagnostics.export.groups import Variable, tree, with_groups
from ppvae.diagnostics.export.pairs import to_arviz
from ppvae.diagnostics.export.pyro_svi import from_pyro_svi

__all__ = [
    "Variable",
    "from_pyro_svi",
    "to_arviz",
    "tree",
    "with_groups",
]
