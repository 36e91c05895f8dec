"""The model and the guide of a `SemiSupervisedVAE`."""

from typing import Any

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.distributions import Label
from ppvae.pairs.arguments import check_data, floating
from ppvae.pairs.programs import Program

# Nats by which a known class leads: in single precision the others have the probability 0, with a
# finite logarithm. By fewer it would be a number so small that processors multiply slowly by it.
_CERTAIN = 110.0


class _Program(Program[Any]):  # the pair's own file imports this one
    def batch(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x, which labels are known, and the labels, 0 where they are not."""
        check_data((x, label), self.pair.likelihood.event_dim)
        if label.dim() != 1:
            raise ValueError(
                f"SemiSupervisedVAE needs y of shape (data,), got {tuple(label.shape)}"
            )
        (x,) = floating(self.pair, (x,))
        return x, label >= 0, label.clamp(min=0)

    def vectors(self, y: Tensor, x: Tensor) -> Tensor:
        """Return classes one-hot, of the dtype of x: `(*, classes)`."""
        hot: Tensor = self.pair.one_hot(y.unsqueeze(-1).to(x))
        return hot


class Model(_Program):
    """p(y) p(label|y) p(z|y) p(x|z, y), the label masked where it is not known."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Observe the label and x; return x."""
        pair = self.pair
        x, known, number = self.batch(x, label)
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Categorical(logits=pair.log_shares))
            with poutine.mask(mask=known):
                pyro.sample("label", Label(y.to(x)), obs=label)
            given = self.vectors(y, x)
            z = pyro.sample("z", pair.prior(given))
            observed: Tensor = pyro.sample("x", pair.likelihood(z, given), obs=x)
            if pair.training and pair.weight:
                log_q = dist.Categorical(logits=pair.classifier(x)).log_prob(number)
                pyro.factor("classification", pair.weight * torch.where(known, log_q, 0.0))
        return observed


class Guide(_Program):
    """q(y|x) q(z|x, y), all of q(y|x) at the label where it is known."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Sum y out, and draw z for each of its values; return z."""
        pair = self.pair
        x, known, number = self.batch(x, label)
        # Bounded, so that no class has the probability 0, whose logarithm is infinite.
        chosen = pair.classifier(x).log_softmax(-1).clamp(min=-_CERTAIN)
        told = _CERTAIN * self.vectors(number, x)
        logits = torch.where(known.unsqueeze(-1), told, chosen)
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            z: Tensor = pyro.sample("z", pair.posterior(x, self.vectors(y, x)))
        return z
