"""Check of formula (2) of all data together, for pairs with latents that all datapoints share."""

from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.marginal_likelihood import joint_evidence
from ppvae.engine import Data, Pair


def together(
    pair: Pair, data: Data, effort: Effort, seed: int, progress: bool | None
) -> list[Finding]:
    """Measure log P(X) of all data together, and the tail of its weights."""
    terms = joint_evidence(pair, data, draws=effort.draws, seed=seed, progress=progress)
    shape, threshold = float(terms.pareto_k), terms.attrs["threshold"]
    trusted = shape < threshold
    missed = f"{float(terms.posterior_kl):.2f} +- {float(terms.posterior_kl_error):.2f}"
    return [
        Finding(
            "all data together",
            Verdict.FINE if trusted else Verdict.LOOK,
            f"log P(X) {float(terms.log_evidence):.2f} +- {float(terms.log_evidence_error):.2f}, "
            f"ELBO {float(terms.elbo):.2f} +- {float(terms.elbo_error):.2f} nats; the guide "
            f"misses {'' if trusted else 'at least '}{missed}; Pareto k {shape:.2f}",
            "Latents of many datapoints together have few effective draws: log P(X) is a lower "
            "bound, likely far too low. Below, datapoints are measured given one draw of what "
            "they share.",
            {"all_data": terms},
        )
    ]
