"""Sums enumerated sites of a model's run out of its densities, exactly, by Pyro's contraction.

Sites are enumerated in dimensions of their own, which `Trace.pack_tensors` names by symbols, as it
does the plates. A site's ordinal is the set of the plates around it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import pyro.poutine as poutine
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from pyro.ops.rings import LogRing
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from ppvae.engine import Site, Unsupported, names_of, scaled

Ordinal = frozenset[str]


@dataclass(frozen=True)
class _Factor:
    """One site's log density with its factors left out, packed.

    Args:
        site: the site.
        ordinal: symbols of the plates around it.
        term: log density, masked; that of an enumerated site without mask.
        symbols: of the enumerated dimensions that it has.
        own: the symbol of its own enumeration, or None.
    """

    site: Site
    ordinal: Ordinal
    term: Tensor
    symbols: frozenset[str]
    own: str | None


class SummedOut:
    """The densities of a model's run, without its enumerated sites.

    Args:
        trace: of the model, run under `poutine.enum`.

    Raises:
        ValueError: if a density has a batch dimension that stands in no plate.
    """

    def __init__(self, trace: poutine.Trace) -> None:
        trace = prune_subsample_sites(trace)
        for site in [s for s in trace.nodes.values() if s["type"] == "sample"]:
            if site["infer"].get("_deterministic"):
                trace.remove_node(site["name"])
        trace.compute_log_prob()
        trace.pack_tensors()
        self._trace = trace
        sites = [site for site in trace.nodes.values() if site["type"] == "sample"]
        own = {site["name"]: site["infer"].get("_enumerate_symbol") for site in sites}
        self._symbols = frozenset(symbol for symbol in own.values() if symbol is not None)
        self._factors = {}
        for site in sites:
            term = site["packed"]["unscaled_log_prob"]
            if own[site["name"]] is None:
                term = packed.scale_and_mask(term, mask=site["packed"]["mask"])
            frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
            self._factors[site["name"]] = _Factor(
                site=site,
                ordinal=frozenset(trace.plate_to_symbol[frame.name] for frame in frames),
                term=term,
                symbols=self._symbols & set(term._pyro_dims),
                own=own[site["name"]],
            )
        self._cache: dict[object, object] = {}

    def log_joint(self) -> float:
        """Return log p(x, z) in nats, with the factors of plates and of `poutine.scale`.

            log p(x, z) = log sum_k p(x, z, k)

        Raises:
            Unsupported: if sites that depend on an enumerated one have different factors.
        """
        alone = [factor for factor in self._factors.values() if not factor.symbols]
        together = [factor for factor in self._factors.values() if factor.symbols]
        total = sum(
            float(scaled(factor.site["unscaled_log_prob"], factor.site).sum()) for factor in alone
        )
        if not together:
            return total
        scales = {_scale_of(factor.site) for factor in together}
        if len(scales) > 1:
            raise Unsupported(
                "the sites that depend on summed-out ones, "
                f"{names_of(factor.site['name'] for factor in together)}, have the different "
                f"factors {', '.join(f'{scale:g}' for scale in sorted(scales))}; give them one"
            )
        contracted = contract_tensor_tree(_tree(together), set(self._symbols), cache=self._cache)
        summed = sum(float(term.sum()) for terms in contracted.values() for term in terms)
        return total + scales.pop() * summed

    def log_likelihood(self, name: str) -> Tensor:
        """Return log p(x_i|z) of an observed site in nats, for each element alone, masks applied.

        log p(x_i|z) = log sum_k p(k, z) p(x_i|k, z) - log sum_k p(k, z)
        """
        found = self._factors[name]
        if not found.symbols:
            site = {**found.site, "scale": 1.0}
            return scaled(site["unscaled_log_prob"], site)
        terms = self._given(found)
        ring = LogRing(self._cache)
        value = ring.sumproduct([*terms, found.term], self._symbols)
        if terms and any(not _is_prior(factor) for factor in self._latent_factors()):
            weight = ring.sumproduct(terms, self._symbols)
            value, weight = packed.broadcast_all(value, weight)
            dims = value._pyro_dims
            value = value - weight
            value._pyro_dims = dims
        unpacked: Tensor = packed.unpack(value, self._trace.symbol_to_dim)
        return unpacked

    def _latent_factors(self) -> list[_Factor]:
        return [f for f in self._factors.values() if f.symbols and not f.site["is_observed"]]

    def _given(self, observed: _Factor) -> list[Tensor]:
        """Return the factors of p(k, z) that matter to an observed site, in its plates."""
        factors = self._latent_factors()
        if all(_is_prior(factor) for factor in factors):
            # Of the enumerated sites only those upstream matter: the others sum to 1.
            symbols = set(observed.symbols)
            for factor in reversed(factors):
                if factor.own in symbols:
                    symbols |= factor.symbols
            return [factor.term for factor in factors if factor.own in symbols]
        inside = [factor for factor in factors if factor.ordinal <= observed.ordinal]
        outside = [factor for factor in factors if not factor.ordinal <= observed.ordinal]
        terms = [factor.term for factor in inside]
        if outside:
            ring = LogRing(self._cache)
            local = {factor.own for factor in outside if factor.own is not None}
            contracted = contract_tensor_tree(_tree(outside), local, cache=self._cache)
            for ordinal, parts in contracted.items():
                terms += [ring.product(part, ordinal - observed.ordinal) for part in parts]
        return terms


def _is_prior(factor: _Factor) -> bool:
    return factor.own is not None


def _tree(factors: Iterable[_Factor]) -> "OrderedDict[Ordinal, list[Tensor]]":
    tree: OrderedDict[Ordinal, list[Tensor]] = OrderedDict()
    for factor in factors:
        tree.setdefault(factor.ordinal, []).append(factor.term)
    return tree


def _scale_of(site: Site) -> float:
    scale = site["scale"]
    if isinstance(scale, Tensor) and scale.numel() > 1:
        raise Unsupported(
            f"site {site['name']!r} depends on summed-out ones and has a factor for each of its "
            "elements (poutine.scale); enumeration needs one number"
        )
    return float(scale)
