"""Checks of the model: does it make data such as the user's?"""

from ppvae.diagnostics.checks.subject import ALARM, Subject, all_values
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.model_fit import classifier_two_sample, mmd, pit

_NEIGHBORS = 10


def predictions(subject: Subject) -> list[Finding]:
    """Rank each observed feature among replicates."""
    ranked = pit(subject.pair, subject.batch, seed=subject.seed, progress=subject.progress)
    p_values = all_values(ranked.p_value_adjusted)
    share = float((p_values < ALARM).mean())
    return [
        Finding(
            "likelihood (PIT)",
            graded(share, 1e-9, 0.1),
            f"{share:.1%} of {p_values.size} features are not distributed as the likelihood says",
            "The likelihood is too narrow, too wide or of the wrong shape there; or the guide is, "
            "which the ranks (SBC) tell.",
            {"pit": ranked.p_value},
        )
    ]


def samples(subject: Subject) -> list[Finding]:
    """Let a classifier and a kernel tell samples of the model from data."""
    # Imported here, scikit-learn does not add a second to the start of every program.
    from sklearn.neighbors import KNeighborsClassifier

    batch = tuple(tensor[: subject.effort.samples] for tensor in subject.batch)
    told = classifier_two_sample(
        subject.pair,
        batch,
        classifier=KNeighborsClassifier(_NEIGHBORS),
        folds=2,  # for speed: each permutation trains as many
        permutations=200,
        seed=subject.seed,
        progress=subject.progress,
    )
    accuracy, p_value = float(told.accuracy), float(told.p_value)
    tests = "with a kernel's test p"
    try:
        # Neighbors do not see samples that are too wide: those of either kind are data.
        by_kernel = mmd(subject.pair, batch, seed=subject.seed)
        p_value = min(1.0, 2 * min(p_value, float(by_kernel.p_value)))
    except ValueError:
        tests = "p"  # most datapoints are equal, which leaves a kernel without a scale
    return [
        Finding(
            "samples",
            Verdict.FINE if p_value >= ALARM else graded(accuracy, 0, 0.9),
            f"{_NEIGHBORS} nearest neighbors tell them from data in {accuracy:.0%} of cases, "
            f"where 50% is chance; {tests} = {p_value:.2g}",
            "What the model makes is not what the data are: look at samples side by side, and at "
            "the likelihood (PIT) and the aggregate for the cause.",
            {"samples": told},
        )
    ]
