"""Check of overfitting: is the ELBO of held-out data below that of training data?"""

import numpy as np

from ppvae.diagnostics.checks.remedies import stopped_early
from ppvae.diagnostics.checks.subject import ALARM, Subject, chosen_rows, latent_numbers
from ppvae.diagnostics.failed_rows import sound_or_all
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.marginal_likelihood import evidence
from ppvae.engine import Adapted, Unsupported, adapted, rows_at

_DRAWS = 20  # the ELBO needs few
_FEWEST = 20  # datapoints; the difference of fewer is not nearly normal


def held_out(subject: Subject) -> list[Finding]:
    """Compare the ELBO of the datapoints with that of as many training datapoints."""
    # Imported here: scipy.stats takes long to import, and most programs do not need it.
    from scipy.stats import norm

    assert subject.dataset is not None
    pair = subject.pair.pair if isinstance(subject.pair, Adapted) else subject.pair
    pair, batch = adapted(pair, subject.dataset, split="train", seed=subject.seed, in_chunks=True)
    rows = rows_at(batch, chosen_rows(pair, batch, len(subject.batch[0]), subject.seed))
    rows = rows_at(rows, sound_or_all(pair, rows))
    trained, others = (
        evidence(one, data, draws=_DRAWS, seed=subject.seed, progress=False).elbo.values
        for one, data in ((pair, rows), (subject.pair, subject.batch))
    )
    fewest = min(len(trained), len(others))
    if fewest < _FEWEST:
        raise Unsupported(f"it needs at least {_FEWEST} datapoints of both, got {fewest}")
    gap = float(trained.mean() - others.mean())
    error = float(np.hypot(*(part.std(ddof=1) / len(part) ** 0.5 for part in (trained, others))))
    p_value = float(norm.sf(gap / error)) if error > 0 else 1.0
    # Like what the guide misses: a tenth of a nat for each latent, with ten latents or more one.
    large = gap >= min(1, 0.1 * max(1, latent_numbers(subject)))
    side = "above" if gap >= 0 else "below"
    return [
        Finding(
            "held-out data",
            Verdict.LOOK if p_value < ALARM and large else Verdict.FINE,
            f"the ELBO of training data is {abs(gap):.2f} +- {error:.2f} nats {side} that of "
            f"{subject.split} data",
            "The pair is overfitted: stop early, or use more data or smaller networks.",
            p_value=p_value,
            remedy=stopped_early(subject, "the pair is overfitted"),
        )
    ]
