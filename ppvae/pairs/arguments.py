"""The tensors that a VAE is called with."""

import torch
from torch import Tensor, nn

from ppvae.engine import reference, refuse_unless_taken


def floating(pair: nn.Module, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the tensors of a batch, x and conditions, with whole numbers as floating values.

    They stay whole where the pair looks them up in an embedding.

    Raises:
        TypeError: if a condition holds the numbers of classes.
    """
    if all(tensor.is_floating_point() for tensor in tensors):
        return tensors
    if any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in pair.modules()):
        return tensors
    for number, condition in enumerate(tensors[1:], 1):
        if condition.dim() < 2 and not condition.is_floating_point():
            raise TypeError(
                f"condition {number} holds whole numbers of shape {tuple(condition.shape)}, as of "
                "classes; pass vectors (data, features): "
                "torch.nn.functional.one_hot(labels).float()"
            )
    like = reference(pair)
    dtype = torch.get_default_dtype() if like is None else like.dtype
    return tuple(t if t.is_floating_point() else t.to(dtype) for t in tensors)


def check_conditions(posterior: nn.Module, count: int) -> None:
    """Refuse conditions where the encoder takes x alone.

    Args:
        posterior: q(z|x).
        count: number of conditions.

    Raises:
        TypeError: if it does not take as many.
    """
    network = getattr(posterior, "network", None)
    if count and isinstance(network, nn.Module):
        name = f"the encoder, {type(network).__name__},"
        refuse_unless_taken(network, 1 + count, name, "a batch of data")
