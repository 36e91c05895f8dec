"""Check of the classes that a pair is given: does it use them?"""

import xarray as xr

from ppvae.diagnostics.checks.remedies import given_classes_of_full_rank
from ppvae.diagnostics.checks.subject import Subject
from ppvae.diagnostics.conditioning import condition_use
from ppvae.diagnostics.findings import Finding, Verdict

_NEAR, _FAR = 0.9, 0.5  # shares of what real data reach above chance
_NOTHING = 0.05  # the share of the entropy of the classes that is no information
_ERRORS = 3  # standard errors


def classes(subject: Subject) -> list[Finding]:
    """Classify samples of each class, and measure what the class tells of them."""
    assert subject.dataset is not None
    used = condition_use(
        subject.pair,
        subject.dataset,
        samples=2 * subject.effort.samples,
        rows=subject.effort.labeled,
        seed=subject.seed,
        progress=subject.progress,
    )
    verdict, advice = _verdict(used)
    shown = f"{float(used.agreement):.0%} +- {float(used.agreement_error):.0%}"
    known = float(used.prior_information + used.decoder_information)
    lost = max(0.0, float(used.class_entropy) - known)
    worst = used.share.idxmin().item()
    return [
        Finding(
            "classes",
            verdict,
            f"{shown} of samples show the class asked for, real data {float(used.accuracy):.0%}, "
            f"by chance {float(used.chance):.0%}; fewest of class {worst}, "
            f"{float(used.share.min()):.0%}. The class tells "
            f"{_with_error(used, 'decoder_information')} nats of x given z, and "
            f"{_with_error(used, 'prior_information')} of z, of {float(used.class_entropy):.2f}",
            advice,
            {"condition_use": used},
            remedy=given_classes_of_full_rank(subject, "samples lack the class", lost),
        )
    ]


def _verdict(used: xr.Dataset) -> tuple[Verdict, str]:
    chance, share, accuracy = (float(used[n]) for n in ("chance", "agreement", "accuracy"))
    error = float((used.agreement_error**2 + used.accuracy_error**2) ** 0.5)
    information = float(used.prior_information + used.decoder_information)
    ignored = information < _NOTHING * float(used.class_entropy)
    if accuracy < chance + _ERRORS * error:
        return (
            (Verdict.BAD, "The pair ignores the class: give it to the decoder (networks.Joined).")
            if ignored
            else (Verdict.UNKNOWN, "The classes of real data are not told apart either.")
        )
    reached = (share + 2 * error - chance) / (accuracy - chance)
    if reached >= _NEAR:
        return Verdict.FINE, ""
    verdict = Verdict.BAD if reached < _FAR else Verdict.LOOK
    if ignored:
        return Verdict.BAD, (
            "The pair ignores the class: give it to the decoder (networks.Joined), and check that "
            "encoder and decoder get it one-hot."
        )
    return verdict, (
        "The latents still carry the class: the encoder puts data of a class where the prior "
        "seldom draws. Use a prior of each class (priors.ConditionalFullRankNormal), fewer "
        "latents, a KL weight above 1, or a larger decoder."
    )


def _with_error(used: xr.Dataset, name: str) -> str:
    # Rounding of nothing may have a sign.
    return f"{max(0.0, float(used[name])):.2f} +- {float(used[f'{name}_error']):.2f}"
