"""What an encoder gets of a datapoint: numbers of unit scale, levels one-hot, conditions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LOG1P, LOG = 1, 2
"""Features that are counts, and positive ones: what `logged` says of them."""


class EncoderInput(nn.Module):
    """Applies a network to features of unit scale, one-hot levels and conditions, side by side.

    Numbers become (f(x) - loc) / scale, where f is the identity, log(1 + x) of counts or log x of
    positive numbers; levels are one-hot. Of features that are not known these are 0, and an
    indicator says which they are. The maps are fixed and kept with the network.

    Called with `(x, *conditions, size, seen)`; size and seen are there as the arguments say.

    Shapes: x `(*, features)`, conditions `(*, c)`, size `(*, 1)`, seen `(*, features)`, to the
    network's output for `(*, width + all c)`.

    Args:
        network: module of one tensor.
        levels: for each feature its number of levels, or 0 if it is a number.
        sized: whether the size of each datapoint is given; the network does not get it.
        masked: whether it is given which features are known.

    Example:
        >>> layer = EncoderInput(nn.Identity(), levels=[0, 3], masked=True)
        >>> layer(torch.tensor([0.5, 2.0]), torch.tensor([0.0, 1.0]))
        tensor([0., 0., 0., 1., 1., 0.])
    """

    loc: Tensor
    scale: Tensor
    logged: Tensor
    numbers: Tensor
    places: Tensor
    codes: Tensor

    def __init__(
        self,
        network: nn.Module,
        levels: Sequence[int],
        sized: bool = False,
        masked: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.levels = network, list(levels)
        self.sized, self.masked = sized, masked
        features = len(self.levels)
        self.register_buffer("loc", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("logged", torch.zeros(features, dtype=torch.uint8))
        numbers = [place for place, count in enumerate(self.levels) if not count]
        pairs = [(place, code) for place, count in enumerate(self.levels) for code in range(count)]
        places, codes = [place for place, _ in pairs], [float(code) for _, code in pairs]
        self.register_buffer("numbers", torch.tensor(numbers).long(), persistent=False)
        self.register_buffer("places", torch.tensor(places).long(), persistent=False)
        self.register_buffer("codes", torch.tensor(codes), persistent=False)

    @classmethod
    def width_of(cls, levels: Sequence[int], masked: bool) -> int:
        """Return how many numbers the network gets of x."""
        return sum(max(1, count) for count in levels) + masked * len(levels)

    def set_maps(self, loc: Tensor, scale: Tensor, logged: Tensor) -> None:
        """Set the maps of the features that are numbers, `(features,)` each."""
        self.loc.copy_(loc)
        self.scale.copy_(scale)
        self.logged.copy_(logged)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Map what is known of x, and the conditions."""
        given = list(others)
        seen = given.pop() if self.masked else None
        if self.sized:
            given.pop()
        tiny = torch.finfo(x.dtype).tiny
        y = torch.where(self.logged == LOG1P, torch.log1p(x.clamp(min=0)), x)
        y = torch.where(self.logged == LOG, x.clamp(min=tiny).log(), y)
        y = (y - self.loc) / self.scale
        hot = (x.index_select(-1, self.places) == self.codes).to(x.dtype)
        if seen is not None:
            y, hot = y * seen, hot * seen.index_select(-1, self.places)
        parts = [y.index_select(-1, self.numbers), hot]
        if seen is not None:
            parts.append((1 - seen).expand_as(x))
        leading = torch.broadcast_shapes(*(part.shape[:-1] for part in (*parts, *given)))
        joined = [part.expand(*leading, -1) for part in (*parts, *given)]
        output: Tensor = self.network(torch.cat(joined, -1))
        return output
