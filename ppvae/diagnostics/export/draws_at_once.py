"""Runs a model for many draws of its guide at once, where that gives what single runs give."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyro
import torch
from torch import Tensor

from ppvae.diagnostics.export.draw_table import DrawTable
from ppvae.diagnostics.export.fitted_programs import FittedPrograms
from ppvae.diagnostics.export.site_values import is_deterministic
from ppvae.engine import DRAWS, MEMORY, Allocations, Site, Sites, Unsupported, scaled, seeded

Arrays = Mapping[str, Tensor]

FEW = 20
"""So few draws are made one at a time: the comparison would cost more than it saves."""


@dataclass(frozen=True)
class DrawsAtOnce:
    """A model, run for many draws in a plate left of all others.

    Args:
        programs: the model and its guide.
        table: says how each site's values are arranged.
        predictive: run the model without its observations too.
    """

    programs: FittedPrograms
    table: DrawTable
    predictive: bool

    def add(self, drawn: list[tuple[Sites, float]], seed: int) -> None:
        """Run the model for draws of the guide and add them to the table."""
        groups, log_joints = self._run([sites for sites, _ in drawn], seed)
        for group, arrays in groups.items():
            self.table.add_arrays(group, arrays)
        pairs = zip(log_joints.tolist(), drawn, strict=True)
        self.table.log_weights += [log_joint - log_q for log_joint, (_, log_q) in pairs]

    def count(self, drawn: list[tuple[Sites, float]], seed: int) -> int:
        """Return how many draws may run at once: 1 where these two are not as each of them alone.

        The states of random generators are not changed.
        """
        sites = [sites for sites, _ in drawn]
        try:
            with Allocations() as allocations:
                self._check(sites, seed)
        except Exception:  # one draw after the other, an error of the model's comes up again
            return 1
        return max(1, int(4 * MEMORY / allocations.bytes))

    def _check(self, drawn: list[Sites], seed: int) -> None:
        """Raise an error if two draws at once are not as each of them alone."""
        with seeded(seed), pyro.plate(DRAWS, 2, dim=self.programs.free_dim):
            runs = [self.programs.joint(self._stacked(drawn))]
            if self.predictive:
                runs += [self.programs.simulate(self._stacked(drawn)), self.programs.simulate({})]
        for number, together in enumerate(runs):
            for index in range(2):
                given = {
                    name: {**site, "is_observed": False, "value": self._one(site, index)}
                    for name, site in together.items()
                    if not site["is_observed"]
                }
                run = self.programs.joint if number == 0 else self.programs.simulate
                with seeded(seed):
                    alone = run(given)
                if alone.keys() != together.keys():
                    raise Unsupported("other sites")
                for name, site in alone.items():
                    for mine, ours in zip(
                        self._measured(site), self._measured(together[name]), strict=True
                    ):
                        _compare(mine, ours[index])

    def _run(self, drawn: list[Sites], seed: int) -> tuple[dict[str, Arrays], Tensor]:
        table, count = self.table, len(drawn)
        with pyro.plate(DRAWS, count, dim=self.programs.free_dim):
            stacked = self._stacked(drawn)
            joint = self.programs.joint(stacked)
            table.check_names(joint)
            groups = {
                "posterior": self._values(joint, table.latents),
                "log_likelihood": {
                    name: table.arranged(site, 0, _densities(site))
                    for name, site in joint.items()
                    if name in table.observed
                },
            }
            if self.predictive:
                with seeded(seed):
                    predicted = self.programs.simulate(stacked)
                    groups["posterior_predictive"] = self._values(predicted, table.data)
                    simulated = self.programs.simulate({})
                    groups["prior"] = self._values(simulated, table.latents)
                    groups["prior_predictive"] = self._values(simulated, table.data)
        log_joint = torch.zeros(count, dtype=torch.float64)
        for site in joint.values():
            if not is_deterministic(site):
                weighted = scaled(site["fn"].log_prob(site["value"]), site)
                log_joint += (
                    table.arranged(site, 0, weighted).reshape(count, -1).sum(1).double().cpu()
                )
        return groups, log_joint

    def _values(self, sites: Sites, names: Iterable[str]) -> Arrays:
        return {
            name: self.table.arranged(sites[name], None, sites[name]["value"]) for name in names
        }

    def _measured(self, site: Site) -> Iterator[Tensor]:
        """Yield a site's value and its log density, by its plates."""
        yield self.table.arranged(site, None, site["value"])
        if not is_deterministic(site):
            yield self.table.arranged(site, 0, _densities(site))

    def _stacked(self, drawn: list[Sites]) -> Sites:
        """Return the draws' sites with a dimension of the draws, left of all plates."""
        depth = -self.programs.free_dim - 1
        stacked = {}
        for name, site in drawn[0].items():
            values = [sites[name]["value"] for sites in drawn]
            missing = depth - values[0].dim() + site["fn"].event_dim
            value = torch.stack(values)
            shape = (len(values), *(1,) * missing, *values[0].shape)
            stacked[name] = {**site, "value": value.reshape(shape)}
        return stacked

    def _one(self, site: Site, index: int) -> Tensor:
        """Return one draw of a site's value, without dimensions that no plate explains."""
        value: Tensor = site["value"]
        position = value.dim() - site["fn"].event_dim + self.programs.free_dim
        if position != 0:
            raise Unsupported("a value has no dimension of the draws")
        value = value[index]
        frames = [f for f in site["cond_indep_stack"] if f.vectorized and f.name != DRAWS]
        depth = max((-frame.dim for frame in frames), default=0) + site["fn"].event_dim
        while value.dim() > depth and value.shape[0] == 1:
            value = value.squeeze(0)
        return value


def _densities(site: Site) -> Tensor:
    return scaled(site["fn"].log_prob(site["value"]), {**site, "scale": 1.0})


def _compare(alone: Tensor, together: Tensor) -> None:
    if alone.shape != together.shape:
        raise Unsupported("other shapes")
    if alone.is_floating_point():
        tolerance = math.sqrt(torch.finfo(alone.dtype).eps)
        same = torch.allclose(alone, together, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        same = torch.equal(alone, together)
    if not same:
        raise Unsupported("other numbers")
