"""Trains a pair on a file of the corpus, on the command line, and looks at what came of it."""

import contextlib
import io
import json
import math
from dataclasses import dataclass

from ppvae.cli import main
from tests.corpus.baseline import independent
from tests.corpus.case import Fit
from tests.corpus.reading import read

STEPS = 200
LARGEST_KL = 50.0
"""Nats; that of unscaled data is hundreds."""
SLACK = 0.5
"""Nats a column by which a short training may stay below columns taken alone."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Args:
        summary: in a few words.
        faults: what is wrong, in sentences.
    """

    summary: str
    faults: tuple[str, ...] = ()


def run(case, folder):
    """Run `ppvae fit FILE` as a user would, and compare with what is expected."""
    path = case.write(folder)
    words = [word for name, value in case.options.items() for word in _words(name, value)]
    options = ["--steps", str(STEPS), "--figures", "false", "--draws", "100"]
    options += ["--refine_seconds", "0"]
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = main(["fit", str(path), *words, *options, "--folder", str(folder / "run")])
    complaint = " ".join(errors.getvalue().split()).replace(f"{folder}/", "")
    if isinstance(case.expected, Fit):
        if code != 0:
            return Outcome("failed", (f"ended with {code}: {complaint:.500}",))
        return _fitted(case, folder)
    return _refused(case.expected, code, errors.getvalue(), complaint)


def _words(name, value):
    return f"--data.{name}", value if isinstance(value, str) else json.dumps(value)


def _refused(expected, code, written, complaint):
    lines = [line for line in written.splitlines() if line.startswith("ppvae: error:")]
    faults = [
        f"{word!r} is not said: {complaint}" for word in expected.words if word not in written
    ]
    if code != 2:
        faults.append(f"ended with {code}, not with 2: {complaint:.500}")
    if len(lines) != 1 or "Traceback" in written:
        faults.append(f"{len(lines)} sentences: {complaint:.500}")
    return Outcome("refused: " + complaint.partition("error: ")[2][:100], tuple(faults))


def _fitted(case, folder):
    content = json.loads((folder / "run" / "evidence-test.json").read_text())
    terms = {name: term["mean"] for name, term in content["terms"].items()}
    faults = [f"{name} is {value}" for name, value in terms.items() if not math.isfinite(value)]
    if not faults and terms["kl"] > LARGEST_KL:
        faults.append(f"the KL is {terms['kl']:.1f} nats")
    summary = f"log P {terms['log_evidence']:.1f}, KL {terms['kl']:.1f}"
    again = folder / "again"
    again.mkdir()
    dataset = read(case, again)
    if dataset.schema is None or faults:
        return Outcome(summary, tuple(faults))
    alone = independent(dataset)
    columns = len(dataset.schema.columns)
    gain = terms["log_evidence"] - float(alone.mean())
    error = content["terms"]["log_evidence"]["standard_error"] or 0.0  # of one row there is none
    if gain < -SLACK * columns - 3 * error:
        faults.append(f"log P(X) is {-gain:.1f} nats below that of {columns} columns alone")
    return Outcome(f"{summary}, {gain:+.1f} to columns alone", tuple(faults))
