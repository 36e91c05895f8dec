"""Checks of the model: does it generate data like the user's?"""

from ppvae.diagnostics.checks.subject import ALARM, Subject, all_values
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.model_fit import classifier_two_sample, mmd, pit
from ppvae.engine import Unsupported

_NEIGHBORS = 10
_FEWEST = 20  # datapoints; a classifier of 10 neighbors learns nothing from fewer


def predictions(subject: Subject) -> list[Finding]:
    """Rank each observed feature among replicates."""
    ranked = pit(subject.pair, subject.batch, seed=subject.seed, progress=subject.progress)
    p_values = all_values(ranked.p_value_adjusted)
    share = float((p_values < ALARM).mean())
    return [
        Finding(
            "likelihood (PIT)",
            graded(share, 1e-9, 0.1),
            f"{share:.1%} of {p_values.size} features do not follow the predictive distribution",
            "The likelihood is too narrow, too wide or of the wrong shape there; or the guide is: "
            "see the ranks (SBC).",
            {"pit": ranked.p_value},
        )
    ]


def samples(subject: Subject) -> list[Finding]:
    """Test samples of the model against data, with a classifier and with a kernel."""
    # Imported here because importing scikit-learn takes a second.
    from sklearn.neighbors import KNeighborsClassifier

    batch = tuple(tensor[: subject.effort.samples] for tensor in subject.batch)
    if len(batch[0]) < _FEWEST:
        raise Unsupported(
            f"samples are told from data with at least {_FEWEST} datapoints, got {len(batch[0])}"
        )
    told = classifier_two_sample(
        subject.pair,
        batch,
        classifier=KNeighborsClassifier(_NEIGHBORS),
        folds=2,  # for speed: each permutation trains so many classifiers
        permutations=200,
        seed=subject.seed,
        progress=subject.progress,
    )
    accuracy, p_value = float(told.accuracy), float(told.p_value)
    tests = "p (both tests)"
    try:
        # Samples that are too wide have data as neighbors, which this classifier does not detect.
        by_kernel = mmd(subject.pair, batch, seed=subject.seed)
        p_value = min(1.0, 2 * min(p_value, float(by_kernel.p_value)))
    except Unsupported:
        tests = "p"  # most datapoints are equal, so the kernel has no bandwidth
    return [
        Finding(
            "samples",
            Verdict.FINE if p_value >= ALARM else graded(accuracy, 0, 0.9),
            f"{_NEIGHBORS} nearest neighbors tell them from data in {accuracy:.0%} of cases, "
            f"50% by chance; {tests} = {p_value:.2g}",
            "Samples of the model differ from the data. Compare some by eye; the likelihood (PIT) "
            "and the aggregate may show the cause.",
            {"samples": told},
        )
    ]
