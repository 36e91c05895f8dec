"""Each diagnostic as a check: what it found, with a verdict."""

from ppvae.data import Dataset, given_classes
from ppvae.diagnostics.checks.annealing import annealed
from ppvae.diagnostics.checks.conditions import classes
from ppvae.diagnostics.checks.evidence import formula_two, search
from ppvae.diagnostics.checks.latent_space import factors, labels, latents
from ppvae.diagnostics.checks.model import predictions, samples
from ppvae.diagnostics.checks.overfitting import held_out
from ppvae.diagnostics.checks.refinement import refinement
from ppvae.diagnostics.checks.simulated_data import calibrated
from ppvae.diagnostics.checks.subject import Check, Subject, chosen_rows, does_not_apply
from ppvae.diagnostics.checks.together import together
from ppvae.diagnostics.effort import Effort

__all__ = [
    "Check",
    "Subject",
    "chosen_rows",
    "does_not_apply",
    "selected_checks",
    "together",
]

_NEED_MORE = {
    "convergence": "needs the training: use fit(callbacks=[Converged()])",
    "other pairs": "use compare",
    "other data": "use outlier_score",
    "statistics": "use posterior_predictive_check with your own",
}


def selected_checks(
    effort: Effort, dataset: Dataset | None, split: str = "test"
) -> tuple[dict[str, Check], dict[str, str]]:
    """Return the checks to run by name, and why the others are not run.

    A check that is a test compares its p-value, corrected for its quantities, with `ALARM`.
    """
    asked: dict[str, Check] = {"guide": formula_two, "latents": latents, "likelihood": predictions}
    if dataset is not None and split != "train":
        asked["held-out data"] = held_out
    left: dict[str, str] = {}
    for name, check, amount, level, missing in (
        ("samples", samples, effort.samples, "standard", ""),
        ("labels", labels, effort.labeled, "standard", _lacks(dataset, "labels")),
        ("factors", factors, effort.labeled, "standard", _lacks(dataset, "factors")),
        ("calibration", calibrated, effort.simulations, "standard", ""),
        ("refinement", refinement, effort.refined, "standard", ""),
        ("gaps", search, effort.searched, "standard", ""),
        ("annealing", annealed, effort.annealed, "deep", ""),
    ):
        if amount and not missing:
            asked[name] = check
        else:
            left[name] = missing or f"level {level}"
    if dataset is not None and given_classes(dataset) is not None:
        if effort.labeled and effort.samples:
            asked["classes"] = classes
        else:
            left["classes"] = "level standard"
    return asked, left | _NEED_MORE


def _lacks(dataset: Dataset | None, what: str) -> str:
    """Return why there are no labels or factors, or "" if there are."""
    if dataset is None:
        return f"needs a dataset with {what}, got only data"
    if what == "labels" and not {"train", "test"} <= dataset.labels.keys():
        return f"dataset {dataset.name!r} has no labels"
    if what == "factors" and len(dataset.factor_names) < 2:
        return f"dataset {dataset.name!r} has fewer than two known factors"
    return ""
