"""Fully connected networks of residual layers."""

from torch import Tensor, nn

from ppvae.networks.shapes import check_input


class ResidualMLP(nn.Module):
    """A fully connected network with residual hidden layers.

    h = a(L(x)), then `depth` times h <- h + a(L(h)), and L(h) at the end. Each L is another
    linear layer and a is the activation (He et al., "Deep Residual Learning for Image
    Recognition", 2016).

    Shapes: `(*, in_features)` to `(*, out_features)`.

    Args:
        in_features: size of the input's last dimension.
        out_features: size of the output's last dimension.
        width: size of every hidden layer.
        depth: number of residual layers.
        activation: class of the activation, built without arguments.

    Raises:
        ValueError: if a size is not positive, `depth` is negative, or the input is of another
            shape.

    Example:
        >>> import torch
        >>> ResidualMLP(64, 20, width=128)(torch.zeros(5, 3, 64)).shape
        torch.Size([5, 3, 20])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int = 256,
        depth: int = 2,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.width = width
        self.depth = depth
        self.activation = activation
        sizes = [in_features, width, out_features]
        if min(sizes) < 1 or depth < 0:
            raise ValueError(
                "ResidualMLP needs positive layer sizes and depth of at least 0, got "
                f"{sizes} and {depth}"
            )
        self.first = nn.Sequential(nn.Linear(in_features, width), activation())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), activation()) for _ in range(depth)
        )
        self.last = nn.Linear(width, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(*, in_features)` to `(*, out_features)`."""
        check_input(self, x, (self.in_features,))
        hidden: Tensor = self.first(x)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        output: Tensor = self.last(hidden)
        return output
