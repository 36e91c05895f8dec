"""What is right, by another way: averages over draws of the prior, for pairs of few latents."""

import math

import pyro
import torch


@torch.no_grad()
def by_prior(exact, rows, draws, seed=0):
    """Return log P(X) of the first rows with its error, and posterior means with theirs.

    The means have an entry for each site, `(rows, values)`, as in `exact.Right`.
    """
    x = exact.x[:rows]
    repeated = x.repeat(draws, *(1,) * (x.dim() - 1))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trace = pyro.poutine.trace(exact.pair.model).get_trace(repeated)
    trace.compute_log_prob()
    log_lik = sum(trace.nodes[name]["log_prob"] for name in trace.observation_nodes)
    log_lik = log_lik.reshape(draws, rows, -1).sum(-1).double()
    log_evidence = log_lik.logsumexp(0) - math.log(draws)
    weights = log_lik.softmax(0)
    error = (draws * weights - 1).std(0) / math.sqrt(draws)
    means, errors = {}, {}
    for name in exact.right.means:
        values = trace.nodes[name]["value"].reshape(draws, rows, -1).double()
        means[name] = (weights[..., None] * values).sum(0)
        off = weights[..., None] * (values - means[name])
        errors[name] = off.square().sum(0).sqrt()
    return log_evidence, error, means, errors
