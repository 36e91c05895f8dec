"""Every program in every exit; `python -m tests.strangers.table [names]` prints the table."""

import argparse
import functools
import math
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import SVI

import ppvae
import ppvae.inference.training as training
from ppvae import diagnostics
from ppvae.engine import modules_of
from ppvae.engine.compilation import replay
from tests.strangers import cells, coordinates, effects, images, sequences, shared, steps, words
from tests.strangers.stranger import Stranger, first

STRANGERS: dict[str, Stranger] = {
    stranger.name: stranger
    for room in (images, sequences, words, cells, steps, shared, effects, coordinates)
    for stranger in room.STRANGERS
}
EPOCHS, RATE, SEED = 4, 0.01, 7
SEPARATOR = " | "  # of several refusals in one cell


@dataclass(frozen=True)
class Outcome:
    """What came of a cell: a remark where it works, or the first line of what it raised."""

    works: bool
    text: str

    def __str__(self):
        return f"ok {self.text}".strip() if self.works else f"NO {self.text}"


class Wrong(Exception):
    """A number that is not what it must be."""


def given_to(function: Callable[..., Any], batch: Any, **options: Any) -> Any:
    """Call a program as Pyro's loop does."""
    if isinstance(batch, dict):
        return function(**batch, **options)
    return function(*batch, **options)


class Trained:
    """A program after Pyro's own training, in evaluation mode."""

    def __init__(self, stranger: Stranger, steps: int | None = None) -> None:
        self.stranger = stranger
        torch.manual_seed(SEED)
        self.pair = stranger.build()
        self.batch = stranger.subject()
        svi = svi_of(stranger, self.pair, rate=0.02)
        batches = stranger.batches()
        torch.manual_seed(SEED)
        for number in range(steps or stranger.steps):
            given_to(svi.step, batches[number % len(batches)])
        for module in modules_of(self.pair):
            module.eval()

    @functools.cached_property
    def adapted(self) -> Any:
        """Return the pair as diagnostics are given it."""
        return adapted(self.stranger, self.pair)

    @property
    def rows(self) -> int:
        """Return the number of datapoints."""
        return rows_of(self.stranger, self.batch)


def rows_of(stranger: Stranger, batch: Any) -> int:
    """Return the number of datapoints of a batch."""
    return first(batch).shape[stranger.adapted.get("data_dim", 0)]


def adapted(stranger: Stranger, pair: Any) -> Any:
    """Say which plate and dimension are those of the data, where that is needed."""
    for name, value in stranger.adapted.items():
        setattr(pair, name, value)
    return pair


def svi_of(stranger: Stranger, pair: Any, rate: float) -> SVI:
    """Return Pyro's own inference."""
    return SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": rate}), loss=stranger.objective())


def loss_of(stranger: Stranger, pair: Any, batch: Any, draws: int = 1) -> list[float]:
    """Return estimates of the loss by Pyro itself, in evaluation mode."""
    svi = svi_of(stranger, pair, rate=0.0)
    for module in modules_of(pair):
        module.eval()
    torch.manual_seed(SEED)
    with torch.no_grad():
        return [float(given_to(svi.evaluate_loss, batch)) for _ in range(draws)]


def pyros_loss(stranger: Stranger) -> tuple[float, float]:
    """Return the mean loss of a datapoint in Pyro's own loop, and its loss in the first step."""
    with pyro.get_param_store().scope():
        torch.manual_seed(SEED)
        pair = stranger.build()
        batches = stranger.batches()
        # `fit` makes the parameters that come at the first call by its own seed.
        torch.manual_seed(SEED)
        given_to(pair.guide, batches[0])
        svi = svi_of(stranger, pair, RATE)
        torch.manual_seed(SEED)
        losses, rows = [], []
        for _ in range(EPOCHS):
            for batch in batches:
                losses.append(given_to(svi.step, batch))
                rows.append(stranger.rows(batch))
    return sum(losses) / sum(rows), losses[0] / rows[0]


def fitted(stranger: Stranger, **options: Any) -> Any:
    """Train a fresh pair by `fit`, in a parameter store of its own."""
    with pyro.get_param_store().scope():
        torch.manual_seed(SEED)
        pair = adapted(stranger, stranger.build())
        batches = stranger.batches()
        if len(batches) == 1:  # all rows at once
            options["batch_size"] = rows_of(stranger, batches[0])
        return ppvae.fit(
            pair,
            batches[0] if len(batches) == 1 else batches,
            epochs=EPOCHS,
            objective=stranger.objective(),
            optimizer=functools.partial(torch.optim.Adam, lr=RATE),
            seed=SEED,
            progress=False,
            **options,
        )


def fit(stranger: Stranger, trained: Trained) -> str:
    expected, start = pyros_loss(stranger)
    loss = float(fitted(stranger, compile=False).history.train_loss[-1])
    if stranger.alike and not math.isclose(loss, expected, rel_tol=1e-5, abs_tol=1e-6):
        raise Wrong(f"train_loss {loss:.6f}, Pyro's own {expected:.6f}")
    if not stranger.alike and not loss < start:
        raise Wrong(f"train_loss {loss:.6f} does not fall from {start:.6f}")
    return f"{loss:.3f}"


def compiled(stranger: Stranger, trained: Trained) -> str:
    expected = float(fitted(stranger, compile=False).history.train_loss[-1])
    found = fitted(stranger, compile=True)
    if found.compiled_from is None:
        raise ppvae.Unsupported(f"{found.compilation}")
    loss = float(found.history.train_loss[-1])
    if not math.isclose(loss, expected, rel_tol=1e-4, abs_tol=1e-6):
        raise Wrong(f"train_loss {loss:.6f} compiled, {expected:.6f} not")
    return ""


def evidence(stranger: Stranger, trained: Trained) -> str:
    found = diagnostics.evidence(
        trained.adapted, trained.batch, draws=stranger.draws, progress=False
    )
    if found.sizes["data"] != trained.rows:
        raise Wrong(f"{found.sizes['data']} datapoints, {trained.rows} expected")
    if stranger.log_evidence is None:
        return "unchecked"
    given = None
    if stranger.shared:
        if "given" not in found.attrs:
            raise Wrong("no values `given` of the latents that rows share")
        names = found.attrs["given"].split(", ")
        given = {name: torch.as_tensor(found.attrs[f"given {name}"]).float() for name in names}
    torch.manual_seed(SEED)
    with torch.no_grad():
        value, error = stranger.log_evidence(trained.pair, trained.batch, given=given)
    errors = np.hypot(found.log_evidence_error.values, error.numpy())
    distance = np.abs(found.log_evidence.values - value.numpy())
    ratio = float((distance / (4 * errors + 2e-4)).max())
    remark = f"{float(value.mean()):.2f} {4 * ratio:.1f}se +-{float(np.median(errors)):.3f}"
    if not ratio <= 1:
        raise Wrong(f"log P(x) off by {float(distance.max()):.3f}: {remark}")
    if not np.median(errors) < 0.3:
        raise Wrong(f"errors too large to tell: {remark}")
    return remark


def pareto_k(stranger: Stranger, trained: Trained) -> str:
    found = diagnostics.pareto_k(trained.adapted, trained.batch, draws=200, progress=False)
    values = found.pareto_k.values
    if values.shape != (trained.rows,) or np.isnan(values).any():
        raise Wrong(f"k is {values}")
    return f"{np.median(values):.2f}"


def diagnose(stranger: Stranger, trained: Trained) -> str:
    effort = diagnostics.Effort(datapoints=200, draws=200)
    found = diagnostics.diagnose(trained.adapted, trained.batch, effort=effort, progress=False)
    refused = [f"{f.name}: {f.advice}" for f in found.findings if f.answer == "does not apply"]
    if refused:
        raise ppvae.Unsupported(SEPARATOR.join(refused))
    return f"{len(found.findings)} findings"


def active_units(stranger: Stranger, trained: Trained) -> str:
    return f"{diagnostics.active_units(trained.adapted, trained.batch).count}"


def to_arviz(stranger: Stranger, trained: Trained) -> str:
    found = diagnostics.to_arviz(trained.adapted, trained.batch, draws=10)
    return checked_groups(found)


def checked_groups(found: Any) -> str:
    if "posterior" not in found:
        return "no latents"
    posterior = found["posterior"]
    for name, values in posterior.data_vars.items():
        if not np.isfinite(values.values.astype(float)).all():
            raise Wrong(f"draws of {name} are not finite")
    return " ".join(str(name) for name in posterior.data_vars)


def from_pyro_svi(stranger: Stranger, trained: Trained) -> str:
    positional = () if isinstance(trained.batch, dict) else trained.batch
    named = trained.batch if isinstance(trained.batch, dict) else {}
    found = ppvae.from_pyro_svi(
        trained.pair.model, trained.pair.guide, *positional, draws=40, progress=False, **named
    )
    remark = checked_groups(found)
    if stranger.same_bound:
        elbo = found["sample_stats"]["log_weight"].values.flatten()
        loss = -np.array(loss_of(stranger, trained.pair, trained.batch, draws=40))
        error = math.hypot(elbo.std(), loss.std()) / math.sqrt(40)
        if not abs(elbo.mean() - loss.mean()) < 5 * error + 1e-3:
            raise Wrong(f"ELBO {elbo.mean():.3f}, Pyro's own {loss.mean():.3f} +- {error:.3f}")
    return remark


def save(stranger: Stranger, trained: Trained) -> str:
    with tempfile.TemporaryDirectory() as folder:
        ppvae.save(trained.pair, folder)
    return ""


def load(stranger: Stranger, trained: Trained) -> str:
    before = loss_of(stranger, trained.pair, trained.batch)[0]
    with tempfile.TemporaryDirectory() as folder:
        ppvae.save(trained.pair, folder)
        with pyro.get_param_store().scope():
            pyro.clear_param_store()  # as a new process has it
            torch.manual_seed(SEED + 1)
            pair = stranger.build()
            ppvae.load(folder, pair=pair)
            after = loss_of(stranger, pair, trained.batch)[0]
    if not math.isclose(before, after, rel_tol=1e-6, abs_tol=1e-6):
        raise Wrong(f"the loss is {after:.6f} after loading, {before:.6f} before")
    return ""


COLUMNS: dict[str, Callable[[Stranger, Trained], str]] = {
    "fit": fit,
    "compiled": compiled,
    "evidence": evidence,
    "pareto_k": pareto_k,
    "diagnose": diagnose,
    "active_units": active_units,
    "to_arviz": to_arviz,
    "from_pyro_svi": from_pyro_svi,
    "save": save,
    "load": load,
}


def outcome(stranger: Stranger, column: str, trained: Trained | None) -> Outcome:
    """Run one cell; warnings are remarks."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            remark = COLUMNS[column](stranger, trained)
        except Exception as error:
            return Outcome(False, f"{type(error).__name__}: {' '.join(str(error).split())}")
    texts = {str(w.message).splitlines()[0][:100] for w in caught}
    return Outcome(True, "".join([remark, *(f" (warns: {text})" for text in sorted(texts))]))


def print_table(names: list[str], columns: list[str], traces: bool) -> None:
    """Print one line a pair, and the cells that fail below it."""
    total = working = 0
    for name in names:
        stranger = STRANGERS[name]
        started = time.process_time()
        with pyro.get_param_store().scope():
            pyro.clear_param_store()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    trained = Trained(stranger)
            except Exception:
                print(f"{name}: Pyro's own SVI fails")
                traceback.print_exc()
                continue
            found = {}
            for column in columns:
                cell = time.process_time()
                found[column] = outcome(stranger, column, trained)
                if time.process_time() - cell > 3:
                    found[column] = Outcome(
                        found[column].works,
                        f"{found[column].text} [{time.process_time() - cell:.0f} s]",
                    )
        seconds = time.process_time() - started
        words = [column if cell.works else column.upper() for column, cell in found.items()]
        print(f"{name} ({seconds:.0f} s): {' '.join(words)}")
        for column, cell in found.items():
            if not cell.works or "(warns" in cell.text or traces or "[" in cell.text:
                print(f"    {column}: {str(cell)[:240]}")
        total += len(found)
        working += sum(cell.works for cell in found.values())
        print(end="", flush=True)
    print(f"{working} of {total} cells work")


def main() -> None:
    """Print the table, or some rows and columns of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(STRANGERS))
    parser.add_argument("--columns", nargs="*", default=list(COLUMNS))
    parser.add_argument("--all", action="store_true", help="show remarks of working cells too")
    parser.add_argument(
        "--generated", action="store_true", help="generate code, not replay graphs"
    )
    options = parser.parse_args()
    if not options.generated:
        training.generate = replay
    torch.set_num_threads(1)
    print_table(options.names, options.columns, options.all)


if __name__ == "__main__":
    main()
