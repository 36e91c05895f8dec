"""How much a class tells of what a model simulates."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pyro.poutine as poutine
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import GivenClasses
from ppvae.engine import (
    Batch,
    Pair,
    Unsupported,
    is_masked,
    model_densities,
    observing,
    row_chunks,
    rows_at,
    run_model,
    simulated_sites,
    structure_of,
)

Densities: TypeAlias = Callable[[Batch], tuple[Tensor, Tensor]]
"""Called with a batch; returns log p(z|y) and log p(x|z, y) of simulated z, `(data,)` each."""

Values = NDArray[np.float64]


def simulated_of_class(
    pair: Pair, batch: Batch, classes: GivenClasses, number: int, count: int, memory: int
) -> Iterator[tuple[Batch, Densities]]:
    """Yield simulated datapoints of a class, and a function from a batch to densities there."""
    own = (classes.of(batch) == number).nonzero()[:, 0]
    own = own if len(own) else torch.arange(len(batch[0]), device=batch[0].device)
    template = rows_at(batch, own[torch.arange(count, device=own.device) % len(own)])
    template = classes.put(template, torch.full((count,), number))
    most = max(1, int(memory / structure_of(pair, template).bytes_per_draw))
    for part in row_chunks(template, most):
        structure = structure_of(pair, part)
        for name, reason in structure.unnormalized.items():
            raise Unsupported(f"the model cannot be simulated: at site {name!r} {reason}")
        sites = simulated_sites(pair, part, structure, None, {})
        given = poutine.Trace()
        for name in structure.latents:
            if is_masked(sites[name]):
                raise Unsupported(
                    f"latent site {name!r} is masked, so that the model does not say from where "
                    "to simulate it"
                )
            given.add_node(name, **{**sites[name], "is_observed": False})
        drawn = observing(pair, part, sites, structure)

        def densities(
            other: Batch, structure: Any = structure, given: Any = given
        ) -> tuple[Tensor, Tensor]:
            model = run_model(pair, other, structure, given)
            log_prior, log_joint, _ = model_densities(model, structure, len(other[0]), None)
            return log_prior[0].double(), (log_joint - log_prior)[0].double()

        yield drawn, densities


def information_terms(
    batch: Batch, densities: Densities, classes: GivenClasses, frequencies: Values
) -> Values:
    """Return the terms of I(z; y) and I(x; y | z), `(data, 2)`."""
    rows = len(batch[0])
    priors, likelihoods = zip(
        *(
            densities(classes.put(batch, torch.full((rows,), number)))
            for number in range(classes.count)
        ),
        strict=True,
    )
    prior, likelihood = torch.stack(priors), torch.stack(likelihoods)
    joint = torch.as_tensor(frequencies).log().to(prior)[:, None] + prior  # log p(y') p(z|y')
    marginal = joint.logsumexp(0)
    own = classes.of(batch)[None]
    of_prior = prior.gather(0, own)[0] - marginal
    mixed = (joint - marginal + likelihood).logsumexp(0)
    of_decoder = likelihood.gather(0, own)[0] - mixed
    terms: Values = torch.stack([of_prior, of_decoder], -1).cpu().numpy()
    return terms
