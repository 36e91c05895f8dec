"""Formula (2) as text for a person and as JSON for a program."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ppvae.diagnostics import summarize

_ROWS = (
    ("reconstruction", "E_Q[log P(X|z)]"),
    ("kl", "KL[Q(z|X) || P(z)]"),
    ("elbo", "ELBO, their difference"),
    ("log_evidence", "log P(X)"),
    ("posterior_kl", "KL[Q(z|X) || P(z|X)]"),
)
_REFINED = ("log_evidence", "posterior_kl")
_LOWEST, _IN_LINE = 10, 5  # datapoints in the file, and in a line
_NAME = "row_name"
_NAMES = (_NAME, "label")


def evidence_table(
    summary: xr.Dataset, evidence: xr.Dataset, refined: xr.Dataset | None = None
) -> list[str]:
    """Return the lines of a table of the terms of formula (2), in nats per datapoint.

    Args:
        summary: what `diagnostics.summarize` returned of `evidence`.
        evidence: what `diagnostics.evidence` returned.
        refined: the table of `Refined`, which says in its place what log P(X) and the last KL are.
    """
    lines = [f"  {'':32}{'mean':>12}{'std. error':>12}{'from draws':>12}"]
    better = None if refined is None else summarize(refined)
    for term, label in _ROWS:
        values = summary.sel(term=term)
        if better is not None and refined is not None and term in _REFINED:
            values, rows = better.sel(term=term), refined.sizes["data"]
            label += f", {rows} rows" if rows < evidence.sizes["data"] else ""
        cells = [values[name] for name in ("mean", "standard_error", "monte_carlo_error")]
        lines.append(row(label, *(_shown(float(cell)) for cell in cells)))
    weights = evidence if refined is None else refined
    size = float(np.median(weights.effective_sample_size))
    draws = summary.attrs["draws"]
    lines.append(row("effective draws, median", f"{size:.0f} of {draws}"))
    if refined is None and size < 0.05 * draws:
        lines.append(
            "  few effective draws: log P(X) and the last KL are likely too low; see "
            "`ppvae diagnose --refine`"
        )
    return lines


def with_refined(summary: xr.Dataset, refined: xr.Dataset) -> xr.Dataset:
    """Return a summary with what refined posteriors of the same rows say of log P(X)."""
    better = summarize(refined).sel(term=list(_REFINED))
    others = summary.drop_sel(term=list(_REFINED))
    terms = xr.concat([others, better], "term", combine_attrs="override")
    return terms.sel(term=summary.term)


def _shown(value: float) -> str:
    """Return a number as text; an infinite error says that draws do not tell it."""
    return "unknown" if np.isinf(value) else f"{value:.3f}"


def row(label: str, *cells: str) -> str:
    """Return a line of a table.

    Example:
        >>> row("active latent units", "3 of 10")
        '  active latent units                  3 of 10'
    """
    return f"  {label:32}" + "".join(f"{cell:>12}" for cell in cells)


def evidence_content(summary: xr.Dataset, evidence: xr.Dataset) -> dict[str, Any]:
    """Return the same terms as JSON can hold them; the arguments are those of the table."""
    terms = {
        str(term): {
            name: number(float(summary[name].sel(term=term))) for name in summary.data_vars
        }
        for term in summary.term.values
    }
    return {
        "units": summary.attrs["units"],
        "data": int(summary.attrs["data"]),
        "draws": int(summary.attrs["draws"]),
        "terms": terms,
        "effective_sample_size": {
            name: float(evidence.effective_sample_size.quantile(level))
            for name, level in (("minimum", 0.0), ("median", 0.5), ("maximum", 1.0))
        },
    }


def lowest_content(evidence: xr.Dataset) -> list[dict[str, Any]]:
    """Return the datapoints of the lowest log P(X) as JSON can hold them, the lowest first.

    Each has its row number, its name and its class where they are known.
    """
    found = []
    for place in _lowest(evidence)[:_LOWEST]:
        terms = evidence.isel(data=place)
        about: dict[str, Any] = {"row": int(terms["data"]) if "data" in terms.coords else place}
        about |= {name: str(terms[name].item()) for name in _NAMES if name in terms.coords}
        for name in ("log_evidence", "log_evidence_error"):
            about[name] = number(float(terms[name]))
        found.append(about | {"trusted": bool(terms.trusted)})
    return found


def lowest_row(evidence: xr.Dataset) -> str:
    """Return the line that names the datapoints of the lowest log P(X)."""
    named = lowest_content(evidence)[:_IN_LINE]
    texts = [str(each["row"]) + (f" ({each[_NAME]})" if _NAME in each else "") for each in named]
    return f"  {'lowest log P(X), rows':32}  {', '.join(texts)}"


def _lowest(evidence: xr.Dataset) -> list[int]:
    values = evidence.log_evidence.values
    order: list[int] = np.argsort(np.where(np.isnan(values), np.inf, values)).tolist()
    return [place for place in order if not np.isnan(values[place])]


def bits_row(bits: Mapping[Any, Any]) -> str:
    """Return the line of `diagnostics.bits_per_dimension`."""
    return row("bits per dimension", *(f"{float(value):.3f}" for value in bits.values()))


def number(value: float) -> float | None:
    """Return a number, or None where it is not finite: JSON has no NaN."""
    return value if np.isfinite(value) else None
