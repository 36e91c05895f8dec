"""What weighted draws say of features: values, intervals and probabilities of levels."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.draws.chunks import MEMORY, draw_chunks
from ppvae.engine.errors import Unsupported
from ppvae.engine.pair import Pair
from ppvae.engine.structure import refuse_degenerate

_WIDE = 16  # features up to which the memory of a chunk is not cut further


def predicted_features(
    pair: Pair,
    batch: Batch,
    *,
    levels: Mapping[int, int],
    draws: int,
    imputations: int = 0,
    interval: float = 0.9,
    seed: int = 0,
    memory: int = MEMORY,
    given: Mapping[str, Tensor] | None = None,
    log_weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return what p(x'|x) says of every feature of another draw x' at the same latent.

        sum_k w_k p(x'|z_k) / sum_k w_k,    w_k = p(x, z_k) / q(z_k|x),    z_k ~ q(z|x)

    Args:
        pair: the pair, as the engine takes it, with one observed site.
        batch: the datapoints.
        levels: the number of levels of features that are categories, by their place.
        draws: number of draws of each datapoint.
        imputations: so many draws of x', too.
        interval: the probability of the intervals, as much of the rest below as above.
        seed: of the draws from the model.
        memory: bound in bytes on the intermediate tensors.
        given: latents in place of the guide's draws, by site, with `log_weights`.
        log_weights: of the latents that are given, `(draw, data)`.

    Returns:
        `value` (the mean, of categories the most probable level), the ends `low` and `high` of
        intervals, and the `probability` of levels, `(data, features)` each;
        `effective_sample_size`, `(data,)`; and `imputed`, `(data, imputation, features)`.

    Raises:
        Unsupported: if there is not one observed site, or the pair's structure does not allow it.
    """
    memory = max(1, memory * _WIDE // max(_WIDE, batch[0][0].numel()))
    parts: dict[str, list[Tensor]] = {}
    done = 0
    for _, structure, runs in draw_chunks(
        pair, batch, draws, memory, simulation_seed=seed, given=given
    ):
        refuse_degenerate(structure)
        drawn = list(runs)
        name = observed_site(drawn[0].predicted)
        x = torch.cat([run.predicted[name].flatten(2) for run in drawn]).double()
        own = torch.cat([run.log_weights for run in drawn])
        if log_weights is not None:
            own = log_weights[:, done : done + x.shape[1]]
        done += x.shape[1]
        weights = own.double().softmax(0)
        for key, value in _summarized(x, weights, levels, imputations, interval).items():
            parts.setdefault(key, []).append(value)
    return {key: torch.cat(values).detach() for key, values in parts.items()}


def observed_site(names: Iterable[str]) -> str:
    """Return the name of a pair's only observed site.

    Raises:
        Unsupported: if there are several or none.
    """
    names = list(names)
    if len(names) != 1:
        raise Unsupported(
            f"this needs a pair with one observed site, this one has {len(names)}: "
            f"{', '.join(names) or 'none'}"
        )
    return str(names[0])


def _summarized(
    x: Tensor, weights: Tensor, levels: Mapping[int, int], imputations: int, interval: float
) -> dict[str, Tensor]:
    """Reduce draws `(draw, data, features)` with weights `(draw, data)` to what is asked for."""
    value = torch.einsum("sd,sdf->df", weights, x)
    ordered, order = x.sort(0)
    mass = weights.unsqueeze(-1).expand_as(x).gather(0, order).cumsum(0)
    ends = [_quantile(ordered, mass, (1 + side * interval) / 2) for side in (-1, 1)]
    probability = torch.full_like(value, torch.nan)
    for place, count in levels.items():
        each = torch.arange(count, device=x.device)
        votes = torch.einsum("sd,sdl->dl", weights, (x[..., place, None] == each).double())
        probability[:, place], best = votes.max(1)
        value[:, place] = best.to(value)
    found = {
        "value": value,
        "low": ends[0],
        "high": ends[1],
        "probability": probability,
        "effective_sample_size": 1 / weights.square().sum(0),
    }
    if imputations:
        index = torch.multinomial(weights.T, imputations, replacement=True)  # (data, imputation)
        rows = torch.arange(len(index), device=x.device)[:, None]
        found["imputed"] = x[index, rows]
    return found


def _quantile(ordered: Tensor, mass: Tensor, level: float) -> Tensor:
    """Return the least value below which lies a share of the weight, `(data, features)`."""
    place = (mass < level).sum(0).clamp(max=len(ordered) - 1)
    return ordered.gather(0, place.unsqueeze(0))[0]
