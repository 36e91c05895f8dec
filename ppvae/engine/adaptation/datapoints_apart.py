"""Automatic guides that draw all latents at one site, with a site for each datapoint's instead."""

from collections.abc import Iterable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.autoguide.guides import AutoContinuous
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.engine.modules import modules_of

_NORMALS = (dist.Normal, dist.MultivariateNormal, dist.LowRankMultivariateNormal)


class DatapointsApart(Messenger):  # type: ignore[misc]
    """Draws what all datapoints share, g, and the latents of each, z_i, at sites of their own.

        q(g, z_1, ..., z_n) is normal    ->    q(g) q(z_1|g) ... q(z_n|g)

    Each factor on the right is a normal in closed form, and that of the guide itself. Together
    they leave out how the guide's datapoints depend on each other given g; in most models they do
    not.

    Args:
        guides: automatic guides that run within, and have run before.
        plate: name of the plate over datapoints in the guide.
        dim: its dimension.
        rows: number of datapoints.
    """

    def __init__(self, guides: Iterable[AutoContinuous], plate: str, dim: int, rows: int) -> None:
        super().__init__()
        self.plate = plate
        self.dim = dim
        self.rows = rows
        places = {_site_of(guide): _places(guide, plate, dim, rows) for guide in guides}
        self.places = {site: place for site, place in places.items() if place[1].numel()}

    def _pyro_sample(self, message: Any) -> None:
        name = message["name"]
        place = self.places.get(name.removesuffix(_APART))
        if place is None:
            return
        if name not in self.places:  # it is one of the sites below
            frame = CondIndepStackFrame(self.plate, self.dim, self.rows, 0)
            message["cond_indep_stack"] = (frame, *message["cond_indep_stack"])
        elif _is_normal(message["fn"]):
            message["value"] = self._drawn(name, message["fn"], *place)
            message["stop"] = True  # nothing outside sees it

    def _drawn(self, name: str, normal: Any, shared: Tensor, own: Tensor) -> Tensor:
        """Draw the parts; return the numbers of all latents in the guide's order."""
        mean, covariance = _moments(normal)
        loc, spread = mean[own], covariance[own[:, :, None], own[:, None, :]]
        parts = []
        if len(shared):
            factor = torch.linalg.cholesky(covariance[shared[:, None], shared])
            prior = dist.MultivariateNormal(mean[shared], scale_tril=factor)
            drawn = pyro.sample(f"{name}_shared", prior, infer={"is_auxiliary": True})
            across = covariance[own[:, :, None], shared]  # (row, own, shared)
            gain = torch.cholesky_solve(across.mT, factor).mT
            loc = loc + (gain @ (drawn - mean[shared])[:, None]).squeeze(-1)
            spread = spread - gain @ across.mT
            parts.append(drawn)
        inner = (1,) * (-1 - self.dim)  # plates within that over datapoints
        each = dist.MultivariateNormal(
            loc.reshape(self.rows, *inner, -1),
            scale_tril=torch.linalg.cholesky(spread).reshape(self.rows, *inner, *spread.shape[1:]),
        )
        drawn = pyro.sample(f"{name}{_APART}", each, infer={"is_auxiliary": True})
        flat = drawn.movedim(self.dim - 1, -2).flatten(-2).unsqueeze(self.dim - 1)
        if flat.numel() == own.numel():
            flat = flat.flatten()
        parts = [*(part.expand(*flat.shape[:-1], -1) for part in parts), flat]
        order = torch.cat([shared, own.flatten()]).argsort()
        return torch.cat(parts, -1)[..., order]


_APART = "_of_datapoints"


def apart(pair: object, plate: str | None, dim: int, rows: int) -> DatapointsApart | None:
    """Return what takes a pair's automatic guides apart; None if there is nothing to take."""
    guides = [
        guide
        for guide in modules_of(pair)
        if isinstance(guide, AutoContinuous) and guide.prototype_trace is not None
    ]
    return DatapointsApart(guides, plate, dim, rows) if plate is not None and guides else None


def _site_of(guide: AutoContinuous) -> str:
    return f"_{guide._pyro_name}_latent"


def _places(guide: AutoContinuous, plate: str, dim: int, rows: int) -> tuple[Tensor, Tensor]:
    """Return where among the guide's numbers are the shared ones, and each row's, `(row, own)`."""
    numbers = torch.arange(guide.latent_dim)
    shared, own = [numbers[:0]], [numbers[:0].expand(rows, 0)]
    for site, places in guide._unpack_latent(numbers):
        names = [frame.name for frame in guide._cond_indep_stacks[site["name"]]]
        if plate not in names:
            shared.append(places.flatten())
            continue
        # A site's numbers may have other event dimensions than its value, as those of a simplex.
        events = site["fn"].event_dim + places.dim() - site["value"].dim()
        own.append(places.movedim(dim - events, 0).reshape(rows, -1))
    return torch.cat(shared), torch.cat(own, 1)


def _is_normal(distribution: Any) -> bool:
    """Tell whether it is a normal, and not a flow over one."""
    while isinstance(distribution, torch.distributions.Independent):
        distribution = distribution.base_dist
    return isinstance(distribution, _NORMALS)


def _moments(normal: Any) -> tuple[Tensor, Tensor]:
    """Return the mean and the covariance of a normal."""
    if isinstance(normal, torch.distributions.Independent):
        return normal.mean, normal.variance.diag_embed()
    return normal.mean, normal.covariance_matrix
