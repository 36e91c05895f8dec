"""Checks of the model: does it generate data like the user's?"""

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.diagnostics.checks.remedies import other_likelihood
from ppvae.diagnostics.checks.subject import ALARM, Subject, all_values
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.model_fit import PIT, mmd, nearest_neighbor_two_sample, pit
from ppvae.engine import MEMORY, Unsupported, isolated, simulations

_NEIGHBORS = 10
_NAMED = 3  # features
_SMALL, _LARGE = 0.02, 0.07  # a normal whose scale is off by 10 %, and by 35 %
_CERTAIN = 1e-5  # the p-value below which a large deviation is bad: an alarm of few data is large
_EVEN = 0.5  # effective draws, as a share, from which on weights correct the guide
_MORE, _SIMULATED = 10, 1000  # datapoints to compare with: so many times more, up to so many


def predictions(subject: Subject) -> list[Finding]:
    """Rank each observed feature among replicates; grade how far from uniform the ranks are."""
    ranked = pit(subject.pair, subject.batch, seed=subject.seed, progress=subject.progress)
    alarms = all_values(ranked.p_value_adjusted) < ALARM
    deviation = np.where(alarms, all_values(ranked.deviation), 0.0)
    answer = (
        f"{alarms.mean():.1%} of {alarms.size} features do not follow the predictive distribution"
    )
    advice = "The likelihood is too narrow, too wide or of the wrong shape there."
    if alarms.any():
        answer += f"; their distribution functions differ by up to {deviation.max():.2f}"
        answer += _worst(subject, deviation)
        proposals = ranked.ranks.attrs["proposals"]
        if float(ranked.effective_sample_size.median()) < _EVEN * proposals:
            try:
                deviation = np.where(_as_simulated(subject, ranked), 0.0, deviation)
            except Unsupported:
                advice += " Or the guide is off, which its weights cannot correct."
            else:
                if deviation.max() == 0:
                    answer += ", as on data of the model itself: the guide is off there"
    certain = all_values(ranked.p_value_adjusted) < _CERTAIN
    large = float(((deviation >= _LARGE) & certain).mean())
    small = Verdict.LOOK if deviation.max() >= _SMALL else Verdict.FINE
    verdict = Verdict.BAD if large > 0.1 else small
    gain = float((all_values(ranked.recalibration) * (deviation > 0)).sum())
    return [
        Finding(
            "likelihood (PIT)",
            verdict,
            answer,
            advice,
            {"pit": ranked.p_value},
            float(all_values(ranked.p_value_adjusted).min()),
            other_likelihood(subject, "the likelihood has the wrong shape", gain),
        )
    ]


def _worst(subject: Subject, deviation: NDArray[np.float64]) -> str:
    """Name the features that deviate most, where they have names."""
    columns = subject.names.columns
    if len(columns) != len(deviation):
        return ""
    worst = [place for place in np.argsort(-deviation)[:_NAMED] if deviation[place] > 0]
    return f" ({', '.join(columns[place] for place in worst)})"


def _as_simulated(subject: Subject, ranked: PIT) -> NDArray[np.bool_]:
    """Tell for which features the ranks are like those of data that the model simulates.

    Their deviation from uniform is then the guide's, whose weights do not correct it.
    """
    count = len(ranked.effective_sample_size)
    count = max(count, min(_MORE * count, _SIMULATED))
    with isolated(subject.pair, subject.seed):
        drawn = simulations(subject.pair, subject.batch, count, MEMORY)
        columns = zip(*(part.batch for part in drawn), strict=True)
        simulated = tuple(torch.cat(column) for column in columns)
    others = pit(subject.pair, simulated, seed=subject.seed, progress=subject.progress)
    distance = all_values(ranked.distance(others))
    numbers = [
        np.concatenate([(array >= 0).sum("data").values.ravel() for array in part.ranks.values()])
        for part in (ranked, others)
    ]
    # The test of Kolmogorov and Smirnov for two samples, at level 1 %.
    chance = 1.63 * np.sqrt(sum(1 / np.maximum(number, 1) for number in numbers))
    alike: NDArray[np.bool_] = (distance < chance) | (distance < all_values(ranked.deviation) / 2)
    return alike


def samples(subject: Subject) -> list[Finding]:
    """Test samples of the model against data, with a classifier and with a kernel."""
    batch = subject.first(subject.effort.samples)
    told = nearest_neighbor_two_sample(
        subject.pair, batch, neighbors=_NEIGHBORS, seed=subject.seed
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
            p_value,
            other_likelihood(subject, "samples differ from the data"),
        )
    ]
