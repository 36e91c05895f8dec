"""Sums enumerated discrete sites out of a pair's densities, and draws them from their posterior.

A discrete site k that Pyro enumerates has all its values at once, in a dimension left of plates
and draws. What a diagnostic calls p(x, z) and q(z|x) is then that of the pair with k summed out:

    p(x, z) = sum_k p(x, z, k),    q(z|x) = sum_k q(k|x) q(z|x, k)

The bound E log p(x, z) - log q(z|x) is at least as tight as Pyro's, which keeps k in both. A sum
stands inside the product over the plates that its site is in. Sites in a chain (`pyro.markov`)
are summed out one by one, so that the cost grows with the length of the chain, not with the
number of paths (Obermeyer, Bingham, Jankowiak, Chiu, Pradhan, Rush and Goodman, "Tensor Variable
Elimination for Plated Factor Graphs", 2019).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.ops import packed
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from torch import Tensor

from ppvae.engine.enumerated_sites import is_enumerated, plate_shape, plate_sizes
from ppvae.engine.errors import Unsupported, first_line
from ppvae.engine.sites import PLATE, Site, Sites, names_of, plates

Ordinal: TypeAlias = frozenset[str]
"""The symbols of the plates around a site."""


class Factors:
    """Log densities of sites, as factors over their plates and their enumerated dimensions.

    Args:
        sites: of one run.
        log_prob: a site's log density, in nats.
        draw_dim: the dimension of the draws, or None where there is one without a dimension.

    Raises:
        Unsupported: if a log density has a dimension that no plate explains.
    """

    def __init__(
        self, sites: Sites, log_prob: Callable[[Site], Tensor], draw_dim: int | None
    ) -> None:
        self.sites = sites
        trace = poutine.Trace()
        for name, site in sites.items():
            trace.add_node(name, **site)
        trace.symbolize_dims()
        self.symbol_of = trace.plate_to_symbol
        self.sizes: dict[str, int] = {}
        self.terms: dict[str, Tensor] = {}
        kept = [PLATE]
        for name, site in sites.items():
            sizes = plate_sizes(site)
            for frame in plates(site):
                symbol = self.symbol_of[frame.name]
                self.sizes[symbol] = max(sizes[frame.dim], self.sizes.get(symbol, 1))
                if frame.dim == draw_dim and frame.name not in kept:
                    kept.insert(0, frame.name)
            self.terms[name] = _packed(name, site, log_prob(site))
        # Before the plate over datapoints is found, it may have any name.
        self.kept = [self.symbol_of[name] for name in kept if name in self.symbol_of]
        self.summed = {
            symbol
            for term in self.terms.values()
            for symbol in term._pyro_dims  # type: ignore[attr-defined]
            if symbol not in self.sizes
        }
        self.ring = _LogSumRing({}, self.sizes)

    def total(self, names: Iterable[str]) -> Tensor:
        """Multiply the named sites' factors and sum the enumerated sites out: `(draw, data)`."""
        term = self._contract(self._tree(names), self.summed, frozenset(self.kept), set())
        dims = term._pyro_dims  # type: ignore[attr-defined]
        ordered = term.permute([dims.index(symbol) for symbol in self.kept])
        return ordered if len(self.kept) > 1 else ordered.unsqueeze(0)

    def draw(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Draw enumerated sites from their joint density given all the others, exactly.

        Returns:
            For each site the places of its draws in its support, in the shape of its plates.
        """
        tree, remaining = self._tree(self.terms), set(self.summed)
        drawn = {}
        # A site in more plates is drawn after those that it can depend on.
        for name in sorted(names, key=lambda name: len(plates(self.sites[name]))):
            site = self.sites[name]
            symbol = site["infer"]["_enumerate_symbol"]
            ordinal = self._ordinal(site)
            if symbol in remaining:
                logits = self._contract(tree, remaining, ordinal, {symbol})
                dims = logits._pyro_dims  # type: ignore[attr-defined]
                index = dist.Categorical(logits=logits.movedim(dims.index(symbol), -1)).sample()
                index._pyro_dims = dims.replace(symbol, "")
                remaining = remaining - {symbol}
                tree = OrderedDict(
                    (t, [_taken(term, index, symbol) for term in terms])
                    for t, terms in tree.items()
                )
            else:  # one value alone
                (term, *_) = self.terms.values()
                index = torch.zeros((), dtype=torch.long, device=term.device)
                index._pyro_dims = ""  # type: ignore[attr-defined]
                index = self.ring.broadcast(index, ordinal)
            drawn[name] = self._in_plates(index, site)
        return drawn

    def _tree(self, names: Iterable[str]) -> "OrderedDict[Ordinal, list[Tensor]]":
        tree: OrderedDict[Ordinal, list[Tensor]] = OrderedDict()
        for name in names:
            tree.setdefault(self._ordinal(self.sites[name]), []).append(self.terms[name])
        return tree

    def _ordinal(self, site: Site) -> Ordinal:
        return frozenset(self.symbol_of[frame.name] for frame in plates(site))

    def _contract(
        self,
        tree: "OrderedDict[Ordinal, list[Tensor]]",
        summed: set[str],
        ordinal: Ordinal,
        target: set[str],
    ) -> Tensor:
        present = _union([term for terms in tree.values() for term in terms])
        try:
            term: Tensor = contract_to_tensor(
                tree, summed & present, ordinal, target, ring=self.ring
            )
        except NotImplementedError as error:
            names = [n for n, site in self.sites.items() if is_enumerated(site)]
            raise Unsupported(
                f"the sites {names_of(names)} cannot be summed out: they depend on each other "
                "across plates of which none contains the other, so that the sum has a term for "
                f"all their values together ({first_line(error)})"
            ) from error
        return term

    def _in_plates(self, index: Tensor, site: Site) -> Tensor:
        dims = index._pyro_dims  # type: ignore[attr-defined]
        ordered = [dims.index(self.symbol_of[frame.name]) for frame in plates(site)]
        return index.permute(ordered).reshape(plate_shape(site))


class _LogSumRing(LogRing):  # type: ignore[misc]
    """Sums in log space without underflow.

    Pyro's takes each factor's largest value off, and multiplies the exponentials: where factors
    contradict each other by more than the range of the floating-point numbers nothing is left.
    """

    def sumproduct(self, terms: Iterable[Any], dims: Iterable[str]) -> Any:
        terms, left = list(terms), set(dims)
        key = ("sum", *(self._hash_by_id(term) for term in terms), frozenset(left))
        if key in self._cache:
            return self._cache[key]
        while left:
            sizes = {dim: len(_union(_with(dim, terms))) for dim in sorted(left)}
            dim = min(sizes, key=sizes.__getitem__)
            joined = _added(_with(dim, terms))
            summed = joined.logsumexp(joined._pyro_dims.index(dim))
            summed._pyro_dims = joined._pyro_dims.replace(dim, "")
            terms = [term for term in terms if dim not in term._pyro_dims] + [summed]
            left.remove(dim)
        self._cache[key] = _added(terms)
        return self._cache[key]


def _with(dim: str, terms: list[Any]) -> list[Any]:
    return [term for term in terms if dim in term._pyro_dims]


def _union(terms: list[Any]) -> set[str]:
    return set().union(*(term._pyro_dims for term in terms))


def _added(terms: list[Any]) -> Any:
    if len(terms) == 1:
        return terms[0]
    first, *others = packed.broadcast_all(*terms)
    total = sum(others, start=first)
    total._pyro_dims = first._pyro_dims
    return total


def _taken(term: Any, index: Any, symbol: str) -> Any:
    return packed.gather(term, index, symbol) if symbol in term._pyro_dims else term


def _packed(name: str, site: Site, values: Tensor) -> Tensor:
    """Return a site's log density in all its plates, with a symbol for each dimension."""
    shape = tuple(plate_shape(site, values.dim()))
    try:
        values = values.expand(torch.broadcast_shapes(values.shape, shape))
        term: Tensor = packed.pack(values, site["infer"]["_dim_to_symbol"])
    except (ValueError, RuntimeError) as error:
        raise Unsupported(
            f"the log density of site {name!r} has the shape {tuple(values.shape)}, of which a "
            "dimension stands in no plate and no loop of `pyro.markov` around the site; declare "
            "it by `.to_event(...)` or a plate, or move the site into the loop"
        ) from error
    return term
