"""The folder of a run: configuration, metrics, weights, evidence and figures."""

import itertools
import json
from pathlib import Path

import numpy as np
import xarray as xr
import yaml
from matplotlib.figure import Figure
from torch import nn

from ppvae import diagnostics, plots
from ppvae.data import Dataset
from ppvae.files import whole, write
from ppvae.inference import Fit, Training, save
from ppvae.isolation import isolated
from ppvae.pairs import VAE

_SHOWN = 12  # images in a row
_GRID = 64  # images in a grid


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

    @classmethod
    def create(cls, name: str, folder: Path | None = None, overwrite: bool = False) -> "Run":
        """Make the folder of a new run.

        Args:
            name: start of the folder's name below `runs/`, where a number is added.
            folder: the folder itself, instead.
            overwrite: allow an existing `folder`; the files of the run in it are replaced.

        Raises:
            FileExistsError: if `folder` exists and may not be overwritten.
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
        elif overwrite:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "metrics.jsonl").unlink(missing_ok=True)
        else:
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                raise FileExistsError(
                    f"{folder} exists; choose another --folder or add --overwrite true"
                ) from None
        assert folder is not None
        return cls(folder)

    def write_config(self, text: str) -> None:
        """Write the configuration that repeats the run."""
        write(self.folder / "config.yaml", text.encode())

    def dataset(self) -> str:
        """Return the name of the dataset that the configuration names.

        Raises:
            ValueError: if the configuration is damaged.
        """
        path = self.folder / "config.yaml"
        try:
            config = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
        if not isinstance(config, dict) or not isinstance(config.get("data"), str):
            raise ValueError(f"{path} is damaged: it names no dataset under `data`")
        return str(config["data"])

    def discard_if_unused(self) -> None:
        """Remove the folder if training never came to write into it."""
        if sorted(self.folder.iterdir()) == [self.folder / "config.yaml"]:
            (self.folder / "config.yaml").unlink()
            self.folder.rmdir()

    def record(self, training: Training) -> None:
        """Append the latest evaluation to the metrics: a callback for `fit`."""
        if not training.ended:
            record = training.records[-1]
            line = json.dumps({name: _number(value) for name, value in record.items()})
            with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def save(self, pair: nn.Module, fit: Fit) -> None:
        """Write the weights and the training curves."""
        save(pair, self.folder)
        if fit.history.sizes.get("step"):
            self.figure("training", plots.training_curves(fit.history))

    def figure(self, name: str, figure: Figure) -> None:
        """Write a figure as PNG below `figures/`."""
        folder = self.folder / "figures"
        folder.mkdir(exist_ok=True)
        with whole(folder / f"{name}.png") as file:
            figure.savefig(file, format="png", dpi=150)

    def diagnose(
        self, pair: nn.Module, dataset: Dataset, split: str, draws: int, seed: int
    ) -> str:
        """Measure formula (2) on a split, write table and figures, and return a short text."""
        values = getattr(dataset, split)
        if isinstance(pair, VAE):
            self._draw(pair, dataset, split, seed)
        try:
            self.figure("kl", plots.kl_bars(diagnostics.kl_per_dimension(pair, values)))
        except ValueError:
            pass  # several latents, or a KL that does not split: no such figure
        lines = [f"{dataset.name}, {split} data ({len(values)} datapoints), nats per datapoint"]
        try:
            evidence = diagnostics.evidence(pair, values, draws=draws, seed=seed)
        except ValueError as error:
            lines += [f"  not measured: {error}"]
        else:
            summary = diagnostics.summarize(evidence)
            write(self.folder / f"evidence-{split}.json", _json(summary, evidence).encode())
            lines += _table(summary, evidence)
        active = diagnostics.active_units(pair, values, seed=seed)
        units = sum(variance.size for variance in active.variance.values())
        lines += [f"  {'active latent units':32}{f'{active.count} of {units}':>12}"]
        return "\n".join(lines)

    def _draw(self, pair: VAE, dataset: Dataset, split: str, seed: int) -> None:
        if dataset.image_shape is None:
            return
        like = next(pair.parameters())
        shown = getattr(dataset, split)[:_SHOWN].to(like)
        with isolated(pair, seed):
            means = pair.reconstruct(shown)
            prior = pair.decode(pair.prior().sample((_GRID,))).mean
        rows = {"data": shown.cpu(), "reconstruction": means.cpu()}
        title = f"{split} data and the mean of p(x|z) at one draw z of q(z|x)"
        self.figure("reconstructions", plots.image_rows(rows, dataset.image_shape, title))
        title = "mean of p(x|z) at draws z of the prior"
        self.figure("samples", plots.image_grid(prior.cpu(), dataset.image_shape, title))


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


def _json(summary: xr.Dataset, evidence: xr.Dataset) -> str:
    terms = {
        str(term): {
            name: _number(float(summary[name].sel(term=term))) for name in summary.data_vars
        }
        for term in summary.term.values
    }
    content = {
        "units": summary.attrs["units"],
        "data": int(summary.attrs["data"]),
        "draws": int(summary.attrs["draws"]),
        "terms": terms,
        "effective_sample_size": {
            name: float(evidence.effective_sample_size.quantile(level))
            for name, level in (("minimum", 0.0), ("median", 0.5), ("maximum", 1.0))
        },
    }
    return json.dumps(content, indent=2) + "\n"


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None  # JSON has no NaN
