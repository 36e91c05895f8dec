"""Pictures of a pair during its training: data, reconstructions and samples."""

import math
from typing import Any

import torch
from pyro.poutine.util import site_is_factor
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import pad

from ppvae.data import Dataset
from ppvae.engine import (
    Pair,
    SimulationMessenger,
    Sites,
    Unsupported,
    as_batch,
    by_datapoint,
    isolated,
    run_pair,
    sample_sites,
    traced,
)

_ROW, _GRID = 8, 64  # images of a row, and of the samples
_LEAST = 28  # pixels of the longer side, to which smaller images are enlarged


class Pictures:
    """Draws reconstructions and samples of any pair with one observed site.

    Args:
        pair: the pair.
        dataset: the images that it is trained on; validation data are shown, if there are any.
    """

    def __init__(self, pair: Pair, dataset: Dataset) -> None:
        assert dataset.image_shape is not None
        height, width = dataset.image_shape
        channels = dataset.event_shape.numel() // (height * width)
        self.pair = pair
        split = "validation" if len(dataset.validation) else "train"
        few = tuple(part[:_GRID] for part in dataset.batch(split))
        self.batch = as_batch(few, pair, split=split)
        self.shape = (channels, height, width)
        self.limits = _limits(dataset.support, self.batch[0])

    def draw(self) -> dict[str, Tensor]:
        """Return images `(images, channel, height, width)` between 0 and 1, framed, by name.

        In the first, reconstructions E[x'|z], one draw z ~ q(z|x), stand below their data; the
        samples are E[x|z] at draws z ~ p(z), given the conditions of the data. The draws are the
        same at each call.

        Raises:
            Unsupported: if the pair has not exactly one observed site.
        """
        few = tuple(part[:_ROW] for part in self.batch)
        with isolated(self.pair, 0):
            reconstructed = _mean(run_pair(self.pair, few)[1])
        with isolated(self.pair, 0):
            model = SimulationMessenger()(self.pair.model)
            sampled = _mean(sample_sites(traced(model, self.batch, "the model was sampled")))
        both = torch.cat([few[0].flatten(1), reconstructed])
        return {"reconstructions": self._images(both), "samples": self._images(sampled)}

    def _images(self, x: Tensor) -> Tensor:
        low, high = self.limits
        images = ((x - low) / (high - low)).clamp(0, 1).reshape(-1, *self.shape).float()
        images = images if self.shape[0] in (1, 3) else images.mean(1, keepdim=True)
        times = math.ceil(_LEAST / max(self.shape[1:]))
        enlarged = images.repeat_interleave(times, 2).repeat_interleave(times, 3)
        return pad(enlarged, (1, 1, 1, 1), value=0.5)


def _mean(sites: Sites) -> Tensor:
    """Return the mean of p(x|z), `(data, features)`; a draw where it has none."""
    observed = [
        site
        for site in sites.values()
        if (site["is_observed"] or site["infer"].get("was_observed")) and not site_is_factor(site)
    ]
    if len(observed) != 1:
        raise Unsupported(f"pictures need a pair with one observed site, got {len(observed)}")
    (site,) = observed
    try:
        values: Any = site["fn"].mean
    except NotImplementedError:
        values = site["fn"].sample()
    return by_datapoint(values, site, None).flatten(1)


def _limits(support: constraints.Constraint, x: Tensor) -> tuple[float, float]:
    """Return what is drawn as black and as white: the bounds of the support, or of the data."""
    if support is constraints.boolean:
        return 0.0, 1.0
    bounds = (getattr(support, "lower_bound", x.min()), getattr(support, "upper_bound", x.max()))
    low, high = map(float, bounds)
    return low, max(high, low + 1e-6)
