"""What is measured of a trained pair: formula (2), or every diagnostic that applies."""

import tempfile
from pathlib import Path
from typing import Any

import xarray as xr
from torch import nn
from torch.distributions import constraints

from ppvae import diagnostics
from ppvae.data import Dataset
from ppvae.diagnostics.names import named_batch
from ppvae.engine import Unsupported, first_line
from ppvae.inference.persistence import write_bytes, write_json
from ppvae.pairs import VAE
from ppvae.report import plots
from ppvae.report.figures import gallery
from ppvae.report.run_folder import Run
from ppvae.report.tables import (
    bits_row,
    evidence_content,
    evidence_table,
    lowest_content,
    lowest_row,
    number,
    row,
)

_TAIL = 100  # draws that the tail of the weights is fitted to at least


def measure(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    split: str,
    *,
    draws: int,
    seed: int,
    compile: bool = True,
    figures: bool = True,
) -> str:
    """Measure formula (2) on a split; write table and figures, return the table as text.

    What does not apply to the pair is said in the text, or has no figure.

    Args:
        run: where to write.
        pair: the trained pair.
        dataset: the data.
        split: "train", "validation" or "test".
        draws: draws per datapoint.
        seed: of every draw.
        compile: whether the draws may run as compiled code.
        figures: whether to write figures.
    """
    batch = named_batch(dataset, split)
    if figures:
        _draw_pair(run, pair, dataset, split, seed)
    lines = [f"{dataset.name}, {split} data ({len(batch[0])} datapoints), nats per datapoint"]
    try:
        evidence = diagnostics.evidence(pair, batch, draws=draws, seed=seed, compile=compile)
    except Unsupported as refusal:
        lines.append(f"  not measured: {first_line(refusal)}")
    else:
        lines += _evidence_lines(run, pair, dataset, split, evidence, figures)
    try:
        active = diagnostics.active_units(pair, batch, seed=seed)
    except Unsupported as refusal:
        lines.append(f"  active units not counted: {first_line(refusal)}")
    else:
        units = sum(variance.size for variance in active.variance.values())
        lines.append(row("active latent units", f"{active.count} of {units}"))
    return "\n".join(lines)


def _draw_pair(run: Run, pair: nn.Module, dataset: Dataset, split: str, seed: int) -> None:
    """Write the figures of the pair on a split."""
    if isinstance(pair, VAE):
        for name, figure in gallery(pair, dataset, split, seed=seed):
            run.figure(f"{name}-{split}", figure)
    try:
        kl = diagnostics.kl_per_dimension(pair, named_batch(dataset, split))
    except Unsupported:
        return  # several latents, or a KL that does not split: no such figure
    run.figure(f"kl-{split}", plots.kl_bars(kl))


def _evidence_lines(
    run: Run, pair: nn.Module, dataset: Dataset, split: str, evidence: xr.Dataset, figures: bool
) -> list[str]:
    """Write what was measured of formula (2); return the lines that say it."""
    summary = diagnostics.summarize(evidence)
    lines, content = evidence_table(summary, evidence), evidence_content(summary, evidence)
    if _of_bytes(pair):
        bits = diagnostics.bits_per_dimension(summary, dataset.event_shape.numel())
        content["bits_per_dimension"] = {
            str(name): number(float(value)) for name, value in bits.items()
        }
        lines.append(bits_row(bits))
    lines.append(lowest_row(evidence))
    content["lowest_log_evidence"] = lowest_content(evidence)
    write_json(run.folder / f"evidence-{split}.json", content)
    if figures:
        run.figure(f"evidence-{split}", plots.evidence_bars(summary))
    if summary.attrs["draws"] >= _TAIL:
        k, threshold = evidence.pooled_k, float(evidence.threshold)
        above = int((k > threshold).sum())
        lines.append(row(f"Pareto k above {threshold:.2f}", f"{above} of {len(k)}"))
        if figures:
            run.figure(f"pareto-k-{split}", plots.pareto_k(k, threshold))
    return lines


def _of_bytes(pair: nn.Module) -> bool:
    """Tell whether a pair gives a mass function of 8-bit levels."""
    support = pair.likelihood.support if isinstance(pair, VAE) else None
    bounds = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
    return isinstance(support, constraints.integer_interval) and tuple(bounds) == (0, 255)


def examine(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    split: str,
    *,
    effort: diagnostics.Effort,
    seed: int,
    figures: bool = True,
    strict: bool = False,
) -> str:
    """Run every diagnostic that applies; write netCDF and figures, return one screen of text.

    Args:
        run: where to write.
        pair: the trained pair.
        dataset: the data.
        split: "train", "validation" or "test".
        effort: how much of everything to do.
        seed: of every draw.
        figures: whether to write figures.
        strict: raise an exception of the pair's own code.
    """
    found = diagnostics.diagnose(
        pair, dataset, split=split, effort=effort, seed=seed, strict=strict
    )
    if figures:
        results = {name: data for f in found.findings for name, data in f.results.items()}
        _draw_results(run, results, split)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "diagnosis.nc"
        found.to_arviz().to_netcdf(file, engine="h5netcdf")
        write_bytes(run.folder / f"diagnosis-{split}.nc", file.read_bytes())
    return found.shown(str(run.folder))


def _draw_results(run: Run, results: dict[str, Any], split: str) -> None:
    if "prior_sbc" in results:
        ranks = results["prior_sbc"]
        band = diagnostics.uniform_band(ranks.sizes["simulation"], ranks.attrs["draws"])
        run.figure(f"ranks-{split}", plots.rank_ecdf(ranks, band))
    if "coverage" in results:
        held = results["coverage"]
        shares, error = held.drop_vars("standard_error"), held.standard_error
        run.figure(f"coverage-{split}", plots.coverage_curves(shares, error))
    if "gaps" in results:
        run.figure(f"gaps-{split}", plots.gap_bars(diagnostics.summarize(results["gaps"])))
