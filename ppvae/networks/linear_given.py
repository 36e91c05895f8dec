"""A last layer whose weights are given."""

from torch import Tensor, nn


class LinearGiven(nn.Module):
    """Applies a network, then a linear layer whose weights are the last of its arguments.

        W h(u) + b

    For a likelihood whose weights are a latent of the pair, such as that of `pairs.BayesianVAE`.

    Shapes: the network maps `(*, features)` to `(*, width)`; the weights are one vector of
    `outputs` rows of W and b side by side, `(*, outputs * (width + 1))`; the result is
    `(*, outputs)`. The leading dimensions are broadcast against each other: weights that all
    datapoints share have none, or size 1 there.

    Args:
        network: module of all arguments but the last.

    Raises:
        ValueError: if the weights are not of so many rows.

    Example:
        >>> import torch
        >>> layer = LinearGiven(nn.Identity())
        >>> layer(torch.ones(5, 2), torch.tensor([1.0, 2.0, 3.0]))[0]  # 1 * 1 + 2 * 1 + 3
        tensor([6.])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *arguments: Tensor) -> Tensor:
        """Map all but the weights, and apply these."""
        *inputs, weights = arguments
        hidden = self.network(*inputs)
        width = hidden.shape[-1] + 1
        if weights.shape[-1] % width:
            raise ValueError(
                f"LinearGiven needs rows of {width} weights, for {width - 1} features and 1, got "
                f"{weights.shape[-1]} weights"
            )
        rows = weights.unflatten(-1, (-1, width))
        matrix, bias = rows[..., :-1], rows[..., -1]
        if weights.dim() > 1 and weights.shape[-2] != 1:  # a layer of its own for each datapoint
            each: Tensor = (matrix @ hidden.unsqueeze(-1)).squeeze(-1) + bias
            return each
        shared = matrix if weights.dim() == 1 else matrix.squeeze(-3)
        output: Tensor = hidden @ shared.mT + bias
        return output
