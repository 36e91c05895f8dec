"""Recurrent networks: sequences to vectors and back."""

from collections.abc import Sequence

from torch import Tensor, nn

from ppvae.networks.shapes import check_input, check_sizes, fold, shape_of

_SEQUENCE = ("time", "features")


class GRUEncoder(nn.Module):
    """A recurrent network from sequences to vectors.

    h_t = GRU(x_t, h_{t-1}) from h_0 = 0, and a linear layer of the last h (Cho et al., "Learning
    phrase representations using RNN encoder-decoder for statistical machine translation", 2014).

    Shapes: `(*, time, features)` to `(*, out_features)`.

    Args:
        shape: `(time, features)` of one sequence. The weights fit any length; the shape is
            required to tell a batch of flat data from one long sequence.
        out_features: size of the output's last dimension.
        width: size of h.
        depth: number of recurrent layers, each reading the h of the one before.

    Raises:
        ValueError: if a size is not positive, or the input is of another shape.

    Example:
        >>> import torch
        >>> GRUEncoder((12, 3), 20)(torch.zeros(5, 2, 12, 3)).shape
        torch.Size([5, 2, 20])
    """

    def __init__(
        self, shape: Sequence[int], out_features: int, width: int = 128, depth: int = 1
    ) -> None:
        super().__init__()
        self.shape = shape_of(self, shape, _SEQUENCE)
        self.out_features = out_features
        self.width = width
        self.depth = depth
        check_sizes(self, out_features=out_features, width=width, depth=depth)
        self.recurrent = nn.GRU(self.shape[1], width, depth, batch_first=True)
        self.last = nn.Linear(width, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(*, time, features)` to `(*, out_features)`."""
        check_input(self, x, self.shape)
        return fold(self._read, x, event_dim=2)

    def _read(self, x: Tensor) -> Tensor:
        states, _ = self.recurrent(x)
        output: Tensor = self.last(states[:, -1])
        return output


class GRUDecoder(nn.Module):
    """A recurrent network from vectors to sequences, which reads the vector at every step.

    h_t = GRU(z, h_{t-1}) from h_0 = 0, and the same linear layer of every h (Cho et al., "Learning
    phrase representations using RNN encoder-decoder for statistical machine translation", 2014,
    but outputs are not fed back: given z, the steps are independent).

    Shapes: `(*, in_features)` to `(*, time, features)`. A likelihood of sequences takes
    `event_dim=2`. What it needs beside one output per feature, such as a scale, must be an
    argument of the likelihood: outputs of the network for it would be taken as further time
    steps.

    Args:
        in_features: size of the input's last dimension.
        shape: `(time, features)` of one sequence.
        width: size of h.
        depth: number of recurrent layers, each reading the h of the one before.

    Raises:
        ValueError: if a size is not positive, or the input is of another shape.

    Example:
        >>> import torch
        >>> GRUDecoder(10, (12, 3))(torch.zeros(5, 2, 10)).shape
        torch.Size([5, 2, 12, 3])
    """

    def __init__(
        self, in_features: int, shape: Sequence[int], width: int = 128, depth: int = 1
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.shape = shape_of(self, shape, _SEQUENCE)
        self.width = width
        self.depth = depth
        check_sizes(self, in_features=in_features, width=width, depth=depth)
        self.recurrent = nn.GRU(in_features, width, depth, batch_first=True)
        self.last = nn.Linear(width, self.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """Map `(*, in_features)` to `(*, time, features)`."""
        check_input(self, x, (self.in_features,))
        return fold(self._write, x, event_dim=1)

    def _write(self, x: Tensor) -> Tensor:
        states, _ = self.recurrent(x[:, None].expand(-1, self.shape[0], -1))
        output: Tensor = self.last(states)
        return output
