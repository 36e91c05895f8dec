"""What `refine` returns: draws that can be trusted, datapoint by datapoint."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.data import html_table
from ppvae.diagnostics.export.arviz_groups import Variable, arviz_data, to_numpy
from ppvae.diagnostics.failed_rows import SoundRows
from ppvae.diagnostics.marginal_likelihood import FEWEST_DRAWS, summarize, threshold
from ppvae.diagnostics.names import Names
from ppvae.diagnostics.posterior_refinement.levels import LEVELS
from ppvae.diagnostics.posterior_refinement.served import Served
from ppvae.engine import seeded

_NAMED = 5  # datapoints in a repr


@dataclass(frozen=True, repr=False)
class Refined:
    """Draws of each datapoint's posterior, and how far they can be trusted.

    Args:
        weighted: draws before resampling, `(draw, data, *inner plates, *event)`, by site; NaN at
            a datapoint that the pair fails on.
        log_weights: their log weights, `(draw, data)`, of which the sum of the exponentials is 1.
        table: in nats, dims `(data,)`: `log_evidence` and its error, `elbo` of the guide,
            `posterior_kl` = log P(X) - ELBO, `unseen` as of `evidence`, `unseen_shift`, by how
            many sds draws farther out may move a posterior mean, `pareto_k`,
            `effective_sample_size`, `level`, the place in `levels` of the one that served the
            datapoint, and `trusted`.
        refusals: why a datapoint is not trusted, by its place.
        plates: names of the inner plates, by site.
        names: what the datapoints are called.
        seed: of the resampling.
    """

    weighted: Mapping[str, Tensor]
    log_weights: Tensor
    table: xr.Dataset
    refusals: Mapping[int, str]
    plates: Mapping[str, Sequence[str]]
    names: Names
    seed: int = 0

    levels = LEVELS
    """The levels, the cheapest first."""

    @classmethod
    def joined(cls, parts: "Sequence[Refined]", names: Names) -> "Refined":
        """Put posteriors of some datapoints after each other.

        Args:
            parts: of the same pair, with as many draws.
            names: what all datapoints are called.
        """
        first, start = parts[0], 0
        refusals: dict[int, str] = {}
        for part in parts:
            refusals |= {start + place: why for place, why in part.refusals.items()}
            start += part.table.sizes["data"]
        table = xr.concat([part.table for part in parts], dim="data", combine_attrs="override")
        return cls(
            {
                name: torch.cat([part.weighted[name] for part in parts], 1)
                for name in first.weighted
            },
            torch.cat([part.log_weights for part in parts], 1),
            names.on(table),
            refusals,
            first.plates,
            names,
            first.seed,
        )

    @property
    def draws(self) -> dict[str, Tensor]:
        """Equally weighted draws, resampled, `(draw, data, *inner plates, *event)`, by site.

        Systematic resampling: of each draw as many copies as its weight says, to within one, in
        an order of no meaning (Kitagawa, "Monte Carlo Filter and Smoother for Non-Gaussian
        Nonlinear State Space Models", 1996).
        """
        count = len(self.log_weights)
        with seeded(self.seed):
            start = torch.rand(self.log_weights.shape[1], dtype=torch.float64)
            order = torch.rand(self.log_weights.shape, dtype=torch.float64).argsort(0)
        edges = self.log_weights.nan_to_num(nan=-math.log(count)).exp().cumsum(0)
        places = (torch.arange(count, dtype=torch.float64)[:, None] + start) / count
        index = torch.searchsorted(edges.T.contiguous(), places.T.contiguous()).T
        index = index.clamp(max=count - 1).gather(0, order)
        return {
            name: values.gather(0, _shaped(index, values).expand_as(values))
            for name, values in self.weighted.items()
        }

    @property
    def means(self) -> dict[str, Tensor]:
        """Posterior means, `(data, *inner plates, *event)`, by site."""
        return {
            name: (weights * values).sum(0) for name, (weights, values) in self._weighing.items()
        }

    @property
    def mean_errors(self) -> dict[str, Tensor]:
        """Standard errors of the means, by the delta method, `unseen_shift` of an sd included."""
        means, sds = self.means, self.sds
        shift = torch.as_tensor(self.table.unseen_shift.values)
        return {
            name: (weights.square() * (values - means[name]).square())
            .sum(0)
            .sqrt()
            .hypot(_shaped(shift, sds[name]) * sds[name])
            for name, (weights, values) in self._weighing.items()
        }

    @property
    def sds(self) -> dict[str, Tensor]:
        """Posterior standard deviations, `(data, *inner plates, *event)`, by site."""
        means = self.means
        return {
            name: (weights * (values - means[name]).square()).sum(0).sqrt()
            for name, (weights, values) in self._weighing.items()
        }

    @property
    def _weighing(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Weights and draws by site; those of no weight, which may be infinite, are 0."""
        shaped = {
            name: (_shaped(self.log_weights.exp(), values), values.double())
            for name, values in self.weighted.items()
        }
        return {
            name: (weights, values.masked_fill(weights == 0, 0.0))
            for name, (weights, values) in shaped.items()
        }

    def summarize(self) -> xr.Dataset:
        """Average log P(X), the ELBO and the posterior KL over the data, with errors.

        As `summarize` of `evidence` does.
        """
        return summarize(self.table)

    def to_arviz(self) -> Any:
        """Return the equally weighted draws and the table as ArviZ data.

        The groups are `posterior`, with dims `(chain, draw, data, ...)` and one chain, and
        `refinement`, which holds the columns of `table`.
        """
        posterior = {}
        for name, values in self.draws.items():
            plates = tuple(self.plates.get(name, ()))
            events = range(values.dim() - 2 - len(plates))
            dims = ("draw", "data", *plates, *(f"{name}_dim_{axis}" for axis in events))
            posterior[name] = Variable(to_numpy(values), dims)
        stats = {
            str(name): Variable(column.values, ("data",), {"units": "nats"})
            for name, column in self.table.items()
        }
        return arviz_data({"posterior": posterior, "refinement": stats}, {}, self.names.on)

    def __repr__(self) -> str:
        """Say how many datapoints are trusted, at which levels, and log P(X)."""
        return "\n".join([self._title, *(f"  {name:13} {text}" for name, text in self._facts())])

    def _repr_html_(self) -> str:
        """Return the same as a table, which notebooks show."""
        rows = [(name.replace("_", " "), text.strip()) for name, text in self._facts()]
        return html_table(self._title, rows)

    @property
    def _title(self) -> str:
        count, trusted = self.table.sizes["data"], int(self.table.trusted.sum())
        return f"Refined: {trusted} of {count} datapoints trusted"

    def _facts(self) -> Iterator[tuple[str, str]]:
        for place, level in enumerate(self.levels):
            served = int(((self.table.level == place) & self.table.trusted).sum())
            if served:
                yield level, str(served)
        means = self.summarize()
        for term in ("log_evidence", "elbo", "posterior_kl"):
            mean, error = (
                float(means[name].sel(term=term)) for name in ("mean", "monte_carlo_error")
            )
            yield term, f"{mean:9.3f} +- {error:.3f} nats"
        shown = list(self.refusals.items())[:_NAMED]
        for row, why in shown:
            yield "not trusted", f"row {self.names.shown([row])}: {why}"
        if len(self.refusals) > len(shown):
            yield "", f"and {len(self.refusals) - len(shown)} more, in `refusals`"


def refined_of(parts: Sequence[Served], kept: SoundRows, plates: Mapping[str, Any]) -> Refined:
    """Put the chunks of the data together."""
    columns = {
        name: torch.cat([part.columns[name] for part in parts]) for name in parts[0].columns
    }
    columns.pop("good")
    columns["posterior_kl"] = columns["log_evidence"] - columns["elbo"]
    columns["posterior_kl_error"] = columns["log_evidence_error"].hypot(columns["elbo_error"])
    draws = parts[0].draws
    limit = threshold(max(draws, FEWEST_DRAWS))
    table = kept.spread(
        xr.Dataset(
            {name: ("data", to_numpy(values)) for name, values in columns.items()},
            attrs={"units": "nats", "draws": draws, "threshold": limit},
        )
    )
    refusals = [part.refusal for part in parts for _ in range(part.log_weights.shape[1])]
    reasons: dict[int, str] = {
        int(row): "the pair fails on it" for row in np.setdiff1d(np.arange(kept.count), kept.rows)
    }
    log_weights = torch.cat([part.log_weights for part in parts], 1)
    weighing = (log_weights > -math.inf).sum(0)  # annealed chains may be fewer than the draws
    untrusted = ~table.trusted.values[kept.rows]
    for place in untrusted.nonzero()[0]:
        row = int(kept.rows[place])
        few = threshold(max(int(weighing[place]), FEWEST_DRAWS))
        reasons[row] = _reason(table.isel(data=row), few) + (
            f"; beyond the guide: {refusals[place]}" if refusals[place] else ""
        )
    log_weights = (log_weights - log_weights.logsumexp(0)).nan_to_num(nan=-math.log(draws))
    weighted = {
        name: torch.cat([part.latents[name] for part in parts], 1) for name in parts[0].latents
    }
    return Refined(
        {name: _filled(values, kept) for name, values in weighted.items()},
        _filled(log_weights, kept),
        table,
        dict(sorted(reasons.items())),
        plates,
        kept.names,
    )


def _reason(row: xr.Dataset, limit: float) -> str:
    level = LEVELS[int(row.level)]
    if math.isnan(float(row.log_evidence)):
        return "a density is infinite or NaN at a draw"
    if math.isinf(float(row.log_evidence)):
        return "no draw has a positive density: p(x) may be 0"
    k, size = float(row.pareto_k), float(row.effective_sample_size)
    if k >= limit:
        return f"k is {k:.2f} at the best level, {level}; expected below {limit:.2f}"
    return f"the weights of the best level, {level}, are worth {size:.0f} draws"


def _shaped(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(*values.shape, *(1,) * (like.dim() - values.dim()))


def _filled(values: Tensor, kept: SoundRows) -> Tensor:
    if len(kept.rows) == kept.count:
        return values
    return torch.as_tensor(kept.filled(values.cpu().numpy(), 1))
