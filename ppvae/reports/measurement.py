"""What is measured of a trained pair: formula (2), or every diagnostic that applies."""

from typing import Any

from torch import nn
from torch.distributions import constraints

from ppvae import diagnostics
from ppvae.data import Dataset
from ppvae.diagnostics.names import named_batch
from ppvae.engine import Unsupported, first_line
from ppvae.inference.persistence import write_json
from ppvae.pairs import VAE
from ppvae.reports import plots
from ppvae.reports.figures import gallery
from ppvae.reports.formula_two import TAIL, FormulaTwo, measure_formula_two
from ppvae.reports.kept import keep_diagnosis, keep_formula_two, mark_of
from ppvae.reports.run_folder import Run
from ppvae.reports.subject import source_of
from ppvae.reports.tables import (
    bits_row,
    evidence_content,
    evidence_table,
    lowest_content,
    lowest_row,
    number,
    row,
)


def measure(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    split: str,
    *,
    draws: int,
    seed: int,
    compile: bool = True,
    refine_seconds: float = 0,
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
        refine_seconds: how long posteriors are refined, about; what they say of log P(X) is then
            in the table. Inf refines those of all rows.
        figures: whether to write figures.
    """
    batch = named_batch(dataset, split)
    if figures:
        _draw_pair(run, pair, dataset, split, seed)
    lines = [f"{dataset.name}, {split} data ({len(batch[0])} datapoints), nats per datapoint"]
    found = measure_formula_two(
        pair, batch, draws=draws, seed=seed, compile=compile, refine_seconds=refine_seconds
    )
    if found.evidence is None:
        lines.append(f"  not measured: {found.refusal}")
    else:
        lines += _evidence_lines(run, pair, dataset, split, found, figures)
        keep_formula_two(run, split, mark_of(run, pair, dataset, split, seed), found)
    try:
        active = diagnostics.active_units(pair, batch, seed=seed)
    except Unsupported as refusal:
        lines.append(f"  active units not counted: {first_line(refusal)}")
    else:
        units = sum(variance.size for variance in active.variance.values())
        lines.append(row("active latent units", f"{active.count} of {units}"))
    if found.refined is not None:
        lines += found.refined.lines(split)
    elif found.unrefined:
        lines.append(f"  not refined: {found.unrefined}")
    return "\n".join(lines)


def _draw_pair(run: Run, pair: nn.Module, dataset: Dataset, split: str, seed: int) -> None:
    """Write the figures of the pair on a split."""
    if isinstance(pair, VAE):
        for name, figure in gallery(pair, dataset, split, seed=seed, run=run.name):
            run.figure(f"{name}-{split}", figure)
    try:
        kl = diagnostics.kl_per_dimension(pair, named_batch(dataset, split))
    except Unsupported:
        return  # several latents, or a KL that does not split: no such figure
    source = source_of(dataset, split, run.name)
    run.figure(f"kl-{split}", plots.with_source(plots.kl_bars(kl), source))


def _evidence_lines(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    split: str,
    found: FormulaTwo,
    figures: bool,
) -> list[str]:
    """Write what was measured of formula (2); return the lines that say it."""
    evidence, table, whole = found.evidence, found.refined_table, found.whole
    assert evidence is not None
    summary, best = diagnostics.summarize(evidence), found.summary()
    lines, content = evidence_table(summary, evidence, table), evidence_content(summary, evidence)
    if _of_bytes(pair):
        bits = diagnostics.bits_per_dimension(best, dataset.event_shape.numel())
        content["bits_per_dimension"] = {
            str(name): number(float(value)) for name, value in bits.items()
        }
        lines.append(bits_row(bits))
    of_rows = evidence if whole is None else whole
    lines.append(lowest_row(of_rows))
    content["lowest_log_evidence"] = lowest_content(of_rows)
    if found.refined is not None:
        content["refined"] = found.refined.content()
    write_json(run.folder / f"evidence-{split}.json", content)
    source = source_of(dataset, split, run.name)
    if figures:
        trusted = of_rows.trusted if summary.attrs["draws"] >= TAIL else None
        figure = plots.evidence_bars(best, trusted)
        run.figure(f"evidence-{split}", plots.with_source(figure, source))
    if summary.attrs["draws"] >= TAIL:
        k = evidence.pooled_k if table is None else table.pareto_k
        threshold = float(evidence.threshold)
        above = int((k > threshold).sum())
        lines.append(row(f"Pareto k above {threshold:.2f}", f"{above} of {len(k)}"))
        if figures:
            log_evidence = evidence.log_evidence if table is None else table.log_evidence
            figure = plots.pareto_k(k, log_evidence, threshold)
            source += "" if table is None else f", {len(k)} refined"
            run.figure(f"pareto-k-{split}", plots.with_source(figure, source))
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
    """Run every diagnostic that applies; write findings and figures, return one screen of text.

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
        _draw_results(run, results, split, source_of(dataset, split, run.name))
    keep_diagnosis(run, split, mark_of(run, pair, dataset, split, seed), found, effort)
    return found.shown(str(run.folder))


def _draw_results(run: Run, results: dict[str, Any], split: str, source: str) -> None:
    if "prior_sbc" in results:
        ranks = results["prior_sbc"]
        band = diagnostics.uniform_band(ranks.sizes["simulation"], ranks.attrs["draws"])
        figure = plots.rank_ecdf(ranks, band)
        run.figure(f"ranks-{split}", plots.with_source(figure, source))
    if "coverage" in results:
        held = results["coverage"]
        shares, error = held.drop_vars("standard_error"), held.standard_error
        figure = plots.coverage_curves(shares, error)
        run.figure(f"coverage-{split}", plots.with_source(figure, source))
    if "gaps" in results:
        figure = plots.gap_bars(diagnostics.summarize(results["gaps"]))
        run.figure(f"gaps-{split}", plots.with_source(figure, source))
