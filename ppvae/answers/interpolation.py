"""Rows between two rows: a straight line in latent space, decoded."""

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.answers.decoding import categories_of, decoded
from ppvae.answers.encoding import latent_columns
from ppvae.answers.measuring import on_cpu
from ppvae.answers.reconstruction import expectation, most_probable
from ppvae.answers.rows import Frame, Rows
from ppvae.engine import Pair, Unsupported, as_batch, isolated
from ppvae.pairs import VAE, MissingDataVAE, MixtureVAE

_DRAWS = 200  # that tell the most probable level of a category


def interpolate(
    pair: Pair,
    rows: Rows,
    first: str | int,
    second: str | int,
    *,
    steps: int = 10,
    seed: int = 0,
) -> Frame:
    """Return E[p(x|z)] at points z on the line between the posterior means of two rows.

        z_t = (1 - t) E[q(z|x_first)] + t E[q(z|x_second)],    t = 0, ..., 1

    Conditions and sizes are interpolated too. Of a category, the most probable level is given.

    Args:
        pair: a VAE, `MixtureVAE` or `MissingDataVAE` whose latents fill R^d.
        rows: among which the two are, such as `rows_of(dataset, "all")`.
        first: the name or number of a row.
        second: of the other.
        steps: number of points, both ends included.
        seed: of the draws that decide on levels.

    Returns:
        A pandas frame: `step`, the latents such as `z_0`, then all columns in their units.

    Raises:
        Unsupported: if the pair is none that decodes a latent, or its latents do not fill R^d.
        ValueError: if there is no such row, or `steps` is below 2.

    Example:
        >>> from ppvae import answers, data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> interpolate(pair, answers.rows_of(digits, "all"), 0, 7, steps=5).shape
        (5, 67)
    """
    import pandas

    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    if not isinstance(pair, VAE | MixtureVAE | MissingDataVAE):
        raise Unsupported(
            "interpolate needs a pair that decodes one latent, a VAE, MixtureVAE or "
            f"MissingDataVAE, got {type(pair).__name__}"
        )
    if pair.prior.support is not constraints.real_vector:
        raise Unsupported(
            f"interpolate needs latents that fill R^d, these lie in {pair.prior.support}: a "
            "straight line leaves it"
        )
    places = torch.tensor([place_of(first, rows), place_of(second, rows)])
    batch = as_batch(tuple(tensor[places] for tensor in rows.batch), pair, split="test")
    kept = categories_of(rows.schema)
    with isolated(pair, seed):
        posterior = pair.encode(*batch)
        try:
            ends = posterior.mean
        except NotImplementedError:
            ends = posterior.sample((1000,)).mean(0)
        z = _line(ends, steps)
        others = [_line(tensor, steps) for tensor in batch[1:]]
        if rows.masked:
            others[-1] = torch.ones_like(others[-1])
        factor = pair.decode(z, *others)
        draws = _DRAWS if kept else 1
        shares = sum(expectation(factor, kept, lambda x: x) for _ in range(draws)) / draws
    assert isinstance(shares, Tensor)
    x = most_probable(shares, kept).float()
    columns = {"step": np.arange(steps), **latent_columns("z", on_cpu(z))}
    return pandas.DataFrame({**columns, **decoded(x, rows.columns, rows.schema)})


def place_of(row: str | int, rows: Rows) -> int:
    """Return the place of a row that is given by its name, or its number in the file.

    Raises:
        ValueError: if there is none.
    """
    if str(row) in rows.names:
        return rows.names.index(str(row))
    if str(row).isdecimal():
        found = np.flatnonzero(rows.numbers == int(row))
        if len(found):
            return int(found[0])
    named = f", or a name such as {rows.names[0]!r}" if rows.names else ""
    raise ValueError(
        f"there is no row {str(row)!r}; expected a number from {rows.numbers.min()} to "
        f"{rows.numbers.max()}{named}"
    )


def _line(ends: Tensor, steps: int) -> Tensor:
    """Return points from the first row of `ends` to the second, `(steps, *)`."""
    share = torch.linspace(0, 1, steps).to(ends).reshape(-1, *(1,) * (ends.dim() - 1))
    return (1 - share) * ends[0] + share * ends[1]
