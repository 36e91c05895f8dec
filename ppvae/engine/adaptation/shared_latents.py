"""What all datapoints share: latents outside of their plate, and terms that no datapoint has."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyro.distributions as dist
from torch import Tensor

from ppvae.engine.errors import Unsupported
from ppvae.engine.sites import PLATE, Site, Sites, base_of, names_of, plates


@dataclass(frozen=True)
class Shared:
    """What all datapoints share.

    Args:
        given: one draw from the guide of each latent outside the plate over datapoints, by site.
            Whatever is measured of a datapoint is measured given these.
        of_model: observed sites of the model outside of the plate: no datapoint's.
        of_guide: observed sites and factors of the guide, which train it and are no part of
            q(z|x).
    """

    given: Mapping[str, Tensor] = field(default_factory=dict)
    of_model: frozenset[str] = frozenset()
    of_guide: frozenset[str] = frozenset()

    @property
    def attributes(self) -> dict[str, object]:
        """Return what a result says of it, by name."""
        said: dict[str, object] = {}
        if self.given:
            said["given"] = ", ".join(self.given)
            for name, value in self.given.items():
                said[f"given {name}"] = value.detach().cpu().double().reshape(-1).numpy()
        if self.of_guide:
            said["left_out_of_guide"] = ", ".join(sorted(self.of_guide))
        if self.of_model:
            said["left_out_of_model"] = ", ".join(sorted(self.of_model))
        return said


def shared_of(guide: Sites, model: Sites) -> Shared:
    """Read from one run of a pair what all datapoints share.

    Raises:
        Unsupported: if a latent of all datapoints has no draw in the guide, or the guide draws
            the latents of all datapoints at one site.
    """
    given = {
        name: site["value"].detach()
        for name, site in guide.items()
        if not site["is_observed"] and not _of_datapoints(site)
    }
    for name, site in model.items():
        if not site["is_observed"] and not _of_datapoints(site) and name not in given:
            raise Unsupported(
                f"latent site {name!r} of the model is shared by all datapoints and the guide "
                "does not draw it, so that no datapoint has a density of its own; draw it in the "
                "guide"
            )
    joint = [name for name in given if name not in model]
    local = {name: site for name, site in guide.items() if _of_datapoints(site)}
    points = [name for name, site in local.items() if _is_point(site)]
    if joint and points and not any(name not in model for name in local):
        raise Unsupported(
            f"the guide draws {names_of(points)} of all datapoints together, at site "
            f"{joint[0]!r}, so that no datapoint has a log q(z|x) of its own; a guide with a "
            "site for each latent, such as AutoNormal, has one"
        )
    return Shared(
        given,
        frozenset(n for n, s in model.items() if s["is_observed"] and not _of_datapoints(s)),
        frozenset(name for name, site in guide.items() if site["is_observed"]),
    )


def _of_datapoints(site: Site) -> bool:
    return any(frame.name == PLATE for frame in plates(site))


def _is_point(site: Site) -> bool:
    return isinstance(base_of(site["fn"]), dist.Delta)
