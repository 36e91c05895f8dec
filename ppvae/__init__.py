"""Variational autoencoders as probabilistic programs in Pyro.

The rooms, and with them torch, are imported when they are first used (PEP 562): `ppvae --help`
and the answer to a mistyped option need neither.
"""

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppvae import answers as answers
    from ppvae import data as data
    from ppvae import diagnostics as diagnostics
    from ppvae import distributions as distributions
    from ppvae import engine as engine
    from ppvae import estimators as estimators
    from ppvae import inference as inference
    from ppvae import likelihoods as likelihoods
    from ppvae import networks as networks
    from ppvae import pairs as pairs
    from ppvae import posteriors as posteriors
    from ppvae import priors as priors
    from ppvae import refinement as refinement
    from ppvae import reports as reports
    from ppvae.cli.pages import report
    from ppvae.diagnostics import from_pyro_svi, refine
    from ppvae.engine import Unsupported
    from ppvae.inference import fit, load, save
    from ppvae.pairs import VAE, refit_prior

    __version__: str

__all__ = [
    "VAE",
    "Unsupported",
    "fit",
    "from_pyro_svi",
    "load",
    "refine",
    "refit_prior",
    "report",
    "save",
]

_ROOM_OF = {
    "VAE": "pairs",
    "Unsupported": "engine",
    "fit": "inference",
    "from_pyro_svi": "diagnostics",
    "load": "inference",
    "refine": "diagnostics",
    "refit_prior": "pairs",
    "report": "cli.pages",
    "save": "inference",
}
_ROOMS = (
    "answers",
    "cli",
    "data",
    "diagnostics",
    "distributions",
    "engine",
    "estimators",
    "inference",
    "likelihoods",
    "networks",
    "pairs",
    "posteriors",
    "priors",
    "refinement",
    "reports",
)

if "IPython" in sys.modules:
    with warnings.catch_warnings():
        # Without ipywidgets, which are not needed, the first import warns: here, and not Pyro's.
        warnings.filterwarnings("ignore", message="IProgress not found")
        import_module("tqdm.auto")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"ppvae.{name}")
    if name in _ROOM_OF:
        value = getattr(import_module(f"ppvae.{_ROOM_OF[name]}"), name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version("ppvae")
    else:
        raise AttributeError(f"module 'ppvae' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOM_OF, *_ROOMS, "__version__"})
