"""Mixtures of normals and Student-t distributions of each datapoint's latents as one vector."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Chi2

_NEVER = -torch.inf
_SMALLEST, _UNUSED = 1e-4, 1e-6  # share of a component, and below which it is not fitted
_OLD = 2.0  # dimensions' worth of draws by which a new covariance keeps the old one


@dataclass(frozen=True)
class Components:
    """A mixture of multivariate Student-t distributions for each datapoint.

        q(u) = sum_j a_j t(u; m_j, L_j L_j^T, n_j)

    A component of infinitely many degrees of freedom n_j is normal. A datapoint that has fewer
    components than others has a_j = 0.

    Args:
        log_shares: log a_j, `(component, data)`.
        loc: m_j, `(component, data, value)`.
        factor: L_j, `(component, data, value, value)`.
        freedom: n_j, `(component,)`.
    """

    log_shares: Tensor
    loc: Tensor
    factor: Tensor
    freedom: Tensor

    def of(self, rows: Tensor) -> "Components":
        """Return the mixtures of some datapoints."""
        return replace(
            self,
            log_shares=self.log_shares[:, rows],
            loc=self.loc[:, rows],
            factor=self.factor[:, rows],
        )

    def draw(self, draws: int) -> Tensor:
        """Draw `(draw, data, value)`, from each component as many as its share says.

        The number of draws of a component is its share's to within one, so that the average over
        all draws varies less than by independent choices (stratified sampling).
        """
        shares = self.log_shares.double().softmax(0)
        edges = shares.cumsum(0)
        start = torch.rand(shares.shape[1:], dtype=shares.dtype, device=shares.device)
        places = (torch.arange(draws, device=shares.device)[:, None] + start) / draws
        chosen = torch.searchsorted(edges.T.contiguous(), places.T.contiguous()).T
        last = (shares > 0).long().cumsum(0).argmax(0)
        chosen = torch.minimum(chosen, last)
        noise = torch.randn(draws, *self.loc.shape[1:]).to(self.loc)
        freedom = self.freedom[chosen].to(noise)
        finite = freedom.isfinite()
        square = Chi2(torch.where(finite, freedom, 1.0), validate_args=False).sample()
        stretch = torch.where(finite, (freedom / square).sqrt(), 1.0)
        vectors = torch.empty_like(noise)
        for index in range(len(self.loc)):
            here = chosen == index
            moved = (self.factor[index] @ noise.unsqueeze(-1)).squeeze(-1)
            moved = self.loc[index] + stretch.unsqueeze(-1) * moved
            vectors = torch.where(here.unsqueeze(-1), moved, vectors)
        return vectors

    def log_densities(self, vectors: Tensor) -> Tensor:
        """Return log a_j + log t_j(u), `(component, draw, data)`; -inf where a_j is 0."""
        return torch.stack(
            [
                self._log_density(index, vectors) + self.log_shares[index]
                for index in range(len(self.loc))
            ]
        )

    def log_prob(self, vectors: Tensor) -> Tensor:
        """Return log q(u), `(draw, data)`."""
        return self.log_densities(vectors).logsumexp(0)

    def adapted(self, vectors: Tensor, log_weights: Tensor) -> "Components":
        """Return the mixture whose Kullback-Leibler divergence from weighted draws is smaller.

        One step of expectation maximization on the weighted draws of all datapoints (Cappe, Douc,
        Guillin, Marin and Robert, "Adaptive importance sampling in general mixture classes",
        2008). A covariance keeps part of the old one, the more the fewer draws it is from.

        Args:
            vectors: draws, `(draw, data, value)`.
            log_weights: log p(x, u) - log q(u) of them, `(draw, data)`.
        """
        weights = log_weights.double().softmax(0)
        joint = self.log_densities(vectors).double()
        posterior = (joint - joint.logsumexp(0)).exp() * weights  # (component, draw, data)
        parts = [
            self._refitted(index, vectors.double(), posterior[index])
            for index in range(len(self.loc))
        ]
        log_shares = posterior.sum(1).clamp(min=_SMALLEST).log().to(self.loc)
        log_shares = torch.where(self.log_shares == _NEVER, _NEVER, log_shares)
        return replace(
            self,
            log_shares=log_shares.log_softmax(0),
            loc=torch.stack([loc for loc, _ in parts]).to(self.loc),
            factor=torch.stack([factor for _, factor in parts]).to(self.loc),
        )

    def _refitted(self, index: int, vectors: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return middle and factor of one component, fitted to draws with weights of its own."""
        size, freedom = vectors.shape[-1], float(self.freedom[index])
        old_loc, old_factor = self.loc[index].double(), self.factor[index].double()
        share = weights.sum(0)
        effective = share.square() / weights.square().sum(0).clamp(min=1e-30)
        part = weights
        if math.isfinite(freedom):  # the farther draws of a Student-t distribution count less
            part = weights * (freedom + size) / (freedom + self._distance(index, vectors))
        total = part.sum(0).clamp(min=1e-12)
        loc = torch.einsum("sn,snd->nd", part, vectors) / total[:, None]
        loc = old_loc + (effective / (effective + size))[:, None] * (loc - old_loc)
        centered = (vectors - loc) * (part / share.clamp(min=1e-12)).sqrt()[..., None]
        seen = torch.einsum("snd,sne->nde", centered, centered)
        kept = (_OLD * size / (_OLD * size + effective))[:, None, None]
        square = (1 - kept) * seen + kept * (old_factor @ old_factor.mT)
        factor, failed = torch.linalg.cholesky_ex((square + square.mT) / 2)
        good = (failed == 0) & (share > _UNUSED)
        return (
            torch.where(good[:, None], loc, old_loc),
            torch.where(good[:, None, None], factor, old_factor),
        )

    def with_others(
        self, places: Tensor, factor: Tensor, share: float, freedom: float = math.inf
    ) -> "Components":
        """Add distributions at given places, `(place, data, value)`, of one covariance.

        Args:
            places: their middles.
            factor: L of the covariance L L^T, `(data, value, value)`.
            share: of all of them together.
            freedom: degrees of freedom; normals unless given.
        """
        count, rows = places.shape[:2]
        log_shares = torch.full((count, rows), math.log(share / count)).to(self.loc)
        return Components(
            torch.cat([self.log_shares + math.log1p(-share), log_shares]),
            torch.cat([self.loc, places]),
            torch.cat([self.factor, factor.expand(count, *factor.shape)]),
            torch.cat([self.freedom, torch.full((count,), freedom)]),
        )

    def with_rows(self, part: "Components", rows: Tensor) -> "Components":
        """Return it with the mixtures of some datapoints replaced, which may have more components.

        The other datapoints' further components have no share.
        """
        more = len(part.loc) - len(self.loc)
        log_shares = torch.cat(
            [self.log_shares, self.log_shares.new_full((more, self.rows), _NEVER)]
        )
        loc = torch.cat([self.loc, self.loc[:1].expand(more, -1, -1)])
        factor = torch.cat([self.factor, self.factor[:1].expand(more, -1, -1, -1)])
        log_shares[:, rows], loc[:, rows], factor[:, rows] = part.log_shares, part.loc, part.factor
        return Components(log_shares, loc, factor, part.freedom)

    def heaviest(self) -> tuple[Tensor, Tensor]:
        """Return middle and factor of each datapoint's component of the largest share."""
        best, rows = self.log_shares.argmax(0), torch.arange(self.rows)
        return self.loc[best, rows], self.factor[best, rows]

    @property
    def rows(self) -> int:
        """Number of datapoints."""
        return self.loc.shape[1]

    @cached_property
    def _inverses(self) -> Tensor:
        """The inverses of the factors, `(component, data, value, value)`."""
        identity = torch.eye(self.loc.shape[-1]).to(self.factor)
        inverses: Tensor = torch.linalg.solve_triangular(self.factor, identity, upper=False)
        return inverses

    def _distance(self, index: int, vectors: Tensor) -> Tensor:
        """Return the squared Mahalanobis distance from a component's middle, `(draw, data)`."""
        centered = (vectors - self.loc[index]).movedim(0, -1)  # (data, value, draw)
        return (self._inverses[index].to(vectors) @ centered).square().sum(-2).T

    def _log_density(self, index: int, vectors: Tensor) -> Tensor:
        size, freedom = vectors.shape[-1], float(self.freedom[index])
        distance = self._distance(index, vectors)
        volume = self.factor[index].diagonal(dim1=-2, dim2=-1).log().sum(-1)
        if not math.isfinite(freedom):
            return -distance / 2 - size / 2 * math.log(2 * math.pi) - volume
        constant = math.lgamma((freedom + size) / 2) - math.lgamma(freedom / 2)
        constant -= size / 2 * math.log(freedom * math.pi)
        return constant - volume - (distance / freedom).log1p() * ((freedom + size) / 2)
