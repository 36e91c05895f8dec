"""The folder of a run: configuration, metrics, weights, evidence and figures."""

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyro.poutine as poutine
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae import diagnostics
from ppvae.data import Dataset, Standardization
from ppvae.engine import as_batch, isolated
from ppvae.inference import Fit, Training, save
from ppvae.inference.persistence import atomic_write, read_json, write_bytes, write_json
from ppvae.pairs import VAE
from ppvae.report import plots
from ppvae.report.figures import gallery

_CONFIG = "config.yaml"
_STANDARDIZATION = "standardization.json"
_GRID = 64  # images in a grid
_TAIL = 100  # draws that the tail of the weights is fitted to at least


class Run:
    """The folder of one run.

    Args:
        folder: an existing folder.

    Raises:
        FileNotFoundError: if it is no folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not the folder of a run")
        self.folder = folder
        self._aside: Path | None = None
        self._recording = False

    @classmethod
    def create(cls, name: str, folder: Path | None = None, overwrite: bool = False) -> "Run":
        """Make the folder of a new run.

        Args:
            name: start of the folder's name below `runs/`, where a number is added.
            folder: the folder itself, instead.
            overwrite: let the new run take the place of another in `folder`, once it is saved.

        Raises:
            FileExistsError: if `folder` exists and may not be overwritten, or is no run's.
        """
        if folder is None:
            Path("runs").mkdir(exist_ok=True)
            for number in itertools.count(1):
                try:
                    folder = Path("runs") / f"{name}-{number}"
                    folder.mkdir()
                    break
                except FileExistsError:
                    continue
        elif overwrite and folder.is_dir():
            return cls._in_place_of(folder)
        else:
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                raise FileExistsError(
                    f"{folder} exists; choose another --folder or add --overwrite true"
                ) from None
        assert folder is not None
        return cls(folder)

    @classmethod
    def _in_place_of(cls, folder: Path) -> "Run":
        """Put a new run where another is, which is kept aside until the new one is saved."""
        if any(folder.iterdir()) and not (folder / _CONFIG).exists():
            raise FileExistsError(
                f"{folder} holds no {_CONFIG}, so it is no run; choose another --folder"
            )
        aside = folder.with_name(f".{folder.name}.replaced")
        if aside.exists():
            shutil.rmtree(aside)
        folder.rename(aside)
        folder.mkdir()
        run = cls(folder)
        run._aside = aside
        return run

    @property
    def config(self) -> Path:
        """The file of the configuration that repeats the run."""
        return self.folder / _CONFIG

    def write_config(self, text: str) -> None:
        """Write the configuration that repeats the run."""
        write_bytes(self.config, text.encode())

    def write_standardization(self, dataset: Dataset) -> None:
        """Remember how the data were standardized, if they were."""
        if dataset.standardization is not None:
            by = dataset.standardization
            content = {"loc": by.loc.tolist(), "scale": by.scale.tolist()}
            write_json(self.folder / _STANDARDIZATION, content)

    def standardized(self, dataset: Dataset) -> Dataset:
        """Standardize a dataset as that of the run was, whatever its file holds by now.

        Raises:
            ValueError: if what was remembered is damaged.
        """
        path = self.folder / _STANDARDIZATION
        if not path.exists():
            return dataset
        content = read_json(path)
        try:
            loc, scale = (torch.tensor(content[key]).to(dataset.train) for key in ("loc", "scale"))
            return dataset.standardized(Standardization(loc, scale))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit the data of the run: {error}") from error

    def discard_if_unused(self) -> None:
        """Remove the folder if training never came to write into it; put back what was there."""
        if {path.name for path in self.folder.iterdir()} <= {_CONFIG, _STANDARDIZATION}:
            shutil.rmtree(self.folder)
            if self._aside is not None:
                self._aside.rename(self.folder)

    def record(self, training: Training) -> None:
        """Append the latest evaluation to the metrics: a callback for `fit`."""
        if training.ended:
            return
        # The first time all are written anew: a resumed run may have lost the end of its file.
        fresh = training.records[-1:] if self._recording else training.records
        lines = "".join(
            json.dumps({name: _number(value) for name, value in record.items()}) + "\n"
            for record in fresh
        )
        path = self.folder / "metrics.jsonl"
        if self._recording:
            with open(path, "a", encoding="utf-8") as file:
                file.write(lines)
        else:
            write_bytes(path, lines.encode())
        self._recording = True

    def save(self, pair: nn.Module, fit: Fit) -> None:
        """Write the weights and the training curves."""
        save(pair, self.folder)
        if fit.history.sizes.get("step"):
            self.figure("training", plots.training_curves(fit.history))
        if self._aside is not None:
            shutil.rmtree(self._aside)
            self._aside = None

    def sample(self, pair: nn.Module, dataset: Dataset, n: int, seed: int) -> Iterator[Path]:
        """Draw datapoints from the model; write them, and a figure of images; yield the files.

        A standardized dataset's samples are given in the units of its file.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        drawn = _drawn(pair, dataset, n, seed)
        if dataset.standardization is not None:
            drawn = dataset.standardization.invert(drawn)
        path = self.folder / "samples.npy"
        with atomic_write(path) as file:
            np.save(file, drawn.numpy())
        yield path
        if dataset.image_shape is not None:
            title = "draws x of p(x|z) at draws z of the prior"
            shown = drawn[:_GRID]
            yield self.figure("draws", plots.image_grid(shown, dataset.image_shape, title))

    def figure(self, name: str, figure: Figure) -> Path:
        """Write a figure as PNG below `figures/` and return its path."""
        path = self.folder / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=150)
        return path

    def diagnose(
        self,
        pair: nn.Module,
        dataset: Dataset,
        split: str,
        draws: int,
        seed: int,
        compile: bool = True,
    ) -> str:
        """Measure formula (2) on a split, write table and figures, and return a short text."""
        values = getattr(dataset, split)
        if isinstance(pair, VAE):
            for name, figure in gallery(pair, dataset, split, seed=seed):
                self.figure(name, figure)
        try:
            self.figure("kl", plots.kl_bars(diagnostics.kl_per_dimension(pair, values)))
        except ValueError:
            pass  # several latents, or a KL that does not split: no such figure
        lines = [f"{dataset.name}, {split} data ({len(values)} datapoints), nats per datapoint"]
        try:
            evidence = diagnostics.evidence(pair, values, draws=draws, seed=seed, compile=compile)
        except ValueError as error:
            lines += [f"  not measured: {error}"]
        else:
            summary = diagnostics.summarize(evidence)
            self.figure("evidence", plots.evidence_bars(summary))
            lines += _table(summary, evidence)
            content = _content(summary, evidence)
            if _of_bytes(pair):
                bits = diagnostics.bits_per_dimension(summary, dataset.event_shape.numel())
                content["bits_per_dimension"] = {
                    str(name): _number(float(value)) for name, value in bits.items()
                }
                cells = "".join(f"{float(value):>12.3f}" for value in bits.values())
                lines += [f"  {'bits per dimension':32}{cells}"]
            write_json(self.folder / f"evidence-{split}.json", content)
            if draws >= _TAIL:
                k, threshold = evidence.pareto_k, float(evidence.threshold)
                self.figure("pareto-k", plots.pareto_k(k, threshold))
                text, above = f"Pareto k above {threshold:.2f}", int((k > threshold).sum())
                lines += [f"  {text:32}{f'{above} of {len(values)}':>12}"]
        try:
            active = diagnostics.active_units(pair, values, seed=seed)
        except ValueError as error:
            lines += [f"  active units not counted: {error}"]
        else:
            units = sum(variance.size for variance in active.variance.values())
            lines += [f"  {'active latent units':32}{f'{active.count} of {units}':>12}"]
        return "\n".join(lines)

    def examine(
        self, pair: nn.Module, dataset: Dataset, split: str, effort: diagnostics.Effort, seed: int
    ) -> str:
        """Look with every diagnostic; write netCDF and figures, return one screen of text."""
        found = diagnostics.diagnose(pair, dataset, split=split, effort=effort, seed=seed)
        results = {name: data for f in found.findings for name, data in f.results.items()}
        if "prior_sbc" in results:
            ranks = results["prior_sbc"]
            band = diagnostics.uniform_band(ranks.sizes["simulation"], ranks.attrs["draws"])
            self.figure("ranks", plots.rank_ecdf(ranks, band))
        if "coverage" in results:
            held = results["coverage"]
            shares, error = held.drop_vars("standard_error"), held.standard_error
            self.figure("coverage", plots.coverage_curves(shares, error))
        if "gaps" in results:
            self.figure("gaps", plots.gap_bars(diagnostics.summarize(results["gaps"])))
        with tempfile.TemporaryDirectory() as folder:
            whole_tree = Path(folder) / "diagnosis.nc"
            found.to_arviz().to_netcdf(whole_tree, engine="h5netcdf")
            write_bytes(self.folder / f"diagnosis-{split}.nc", whole_tree.read_bytes())
        return str(found)


def _drawn(pair: nn.Module, dataset: Dataset, n: int, seed: int) -> Tensor:
    """Draw `n` datapoints from the model of any pair, `(n, *event)`."""
    # The rows of a batch tell a pair how many datapoints there are, not what they look like.
    (x,) = as_batch(dataset, pair, split="train")
    parts = []
    with isolated(pair, seed):
        for start in range(0, n, len(x)):
            rows = x[: min(len(x), n - start)]
            trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(rows)
            observed = [
                site for site in trace.nodes.values() if site.get("infer", {}).get("was_observed")
            ]
            if len(observed) != 1:
                raise ValueError(
                    f"sample needs a pair with one observed site, this one has {len(observed)}"
                )
            parts.append(observed[0]["value"].cpu())
    return torch.cat(parts)


def _of_bytes(pair: nn.Module) -> bool:
    """Tell whether a pair gives a mass function of 8-bit levels."""
    support = pair.likelihood.support if isinstance(pair, VAE) else None
    bounds = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
    return isinstance(support, constraints.integer_interval) and tuple(bounds) == (0, 255)


_ROWS = (
    ("reconstruction", "E_Q[log P(X|z)]"),
    ("kl", "KL[Q(z|X) || P(z)]"),
    ("elbo", "ELBO, their difference"),
    ("log_evidence", "log P(X)"),
    ("posterior_kl", "KL[Q(z|X) || P(z|X)]"),
)


def _table(summary: xr.Dataset, evidence: xr.Dataset) -> list[str]:
    lines = [f"  {'':32}{'mean':>12}{'std. error':>12}{'from draws':>12}"]
    for term, label in _ROWS:
        row = summary.sel(term=term)
        cells = [row["mean"], row["standard_error"], row["monte_carlo_error"]]
        lines.append(f"  {label:32}" + "".join(f"{float(cell):>12.3f}" for cell in cells))
    size = float(np.median(evidence.effective_sample_size))
    draws = summary.attrs["draws"]
    lines.append(f"  {'effective draws, median':32}{f'{size:.0f} of {draws}':>12}")
    if size < 0.05 * draws:
        lines.append("  few effective draws: log P(X) and the last KL are likely too low")
    return lines


def _content(summary: xr.Dataset, evidence: xr.Dataset) -> dict[str, Any]:
    terms = {
        str(term): {
            name: _number(float(summary[name].sel(term=term))) for name in summary.data_vars
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


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None  # JSON has no NaN
