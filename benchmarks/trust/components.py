"""Mixtures of normals: components that are latents themselves, or modes of the prior."""

import pyro
import pyro.distributions as dist
import torch

from benchmarks.trust.exact import Pair, Right

NOISE = 0.7


class Components(Pair):
    """c ~ Categorical(w), z | c ~ N(m_c, s_c), x | z ~ N(z, noise), in two dimensions."""

    shape = (2,)
    shares = torch.tensor([0.6, 0.3, 0.1]).double()
    centers = torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.5, -2.5]]).double()
    scales = torch.tensor([0.5, 0.8, 0.3]).double()
    noise = NOISE

    def model(self, x):
        shares, centers, scales = (
            part.to(x.dtype) for part in (self.shares, self.centers, self.scales)
        )
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.Categorical(shares), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(centers[c], scales[c][..., None]).to_event(1))
            pyro.sample("x", dist.Normal(z, self.noise).to_event(1), obs=x)

    def posterior(self, x):
        """Return log P(x, c) `(data, c)`, mean `(data, c, 2)` and sd `(c,)` of z given c and x."""
        shares, centers, scales = (
            part.to(x.dtype) for part in (self.shares, self.centers, self.scales)
        )
        spread = (scales**2 + self.noise**2).sqrt()[:, None]
        log_joint = shares.log() + dist.Normal(centers, spread).log_prob(x[:, None]).sum(-1)
        gain = (scales**2 / (scales**2 + self.noise**2))[:, None]
        mean = centers + gain * (x[:, None] - centers)
        return log_joint, mean, scales * self.noise / (scales**2 + self.noise**2).sqrt()

    def right(self, x):
        log_joint, mean, sd = self.posterior(x)
        shares = log_joint.softmax(1)
        z = (shares[..., None] * mean).sum(1)
        second = (shares[..., None] * (mean.square() + sd.square()[:, None])).sum(1)
        index = torch.arange(3).double()
        c = shares @ index
        c_sd = (shares @ index.square() - c.square()).clamp(min=0).sqrt()
        return Right(
            log_joint.logsumexp(1),
            {"z": z, "c": c[:, None]},
            {"z": (second - z.square()).sqrt(), "c": c_sd[:, None]},
        )


class DrawnComponent(Components):
    """The guide draws c, with too even probabilities, and then z, a little off and too wide."""

    infer = None

    def guide(self, x):
        log_joint, mean, sd = self.posterior(x)
        with pyro.plate("data", len(x)):
            uneven = dist.Categorical(logits=log_joint / 2)
            c = pyro.sample("c", uneven, infer=self.infer)
            rows = torch.arange(len(x))
            loc = mean[rows, c] + 0.2 * sd[c][..., None]
            pyro.sample("z", dist.Normal(loc, 1.2 * sd[c][..., None]).to_event(1))


class EnumeratedComponent(DrawnComponent):
    """The same with a guide that enumerates c."""

    infer = {"enumerate": "parallel"}  # noqa: RUF012


class SummedComponent(Components):
    """The guide has z alone, a normal around the most probable component."""

    def guide(self, x):
        log_joint, mean, sd = self.posterior(x)
        likely = log_joint.argmax(1)
        with pyro.plate("data", len(x)):
            loc = mean[torch.arange(len(x)), likely]
            pyro.sample("z", dist.Normal(loc, sd[likely][:, None]).to_event(1))


class ThreeModes(Components):
    """The prior of z is the mixture, its modes narrow; the guide knows the largest mode."""

    centers = torch.tensor([[-1.5, 0.0], [1.5, 0.5], [0.3, -2.0]]).double()
    scales = torch.tensor([0.3, 0.3, 0.2]).double()
    noise = 3.0

    def model(self, x):
        shares, centers, scales = (
            part.to(x.dtype) for part in (self.shares, self.centers, self.scales)
        )
        with pyro.plate("data", len(x)):
            modes = dist.Normal(centers, scales[:, None]).to_event(1)
            prior = dist.MixtureSameFamily(dist.Categorical(shares), modes)
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Normal(z, self.noise).to_event(1), obs=x)

    guide = SummedComponent.guide

    def right(self, x):
        found = super().right(x)
        return Right(found.log_evidence, {"z": found.means["z"]}, {"z": found.sds["z"]})


COMPONENTS = {
    "three modes, guide knows one": ThreeModes,
    "component drawn by the guide": DrawnComponent,
    "component enumerated by the guide": EnumeratedComponent,
    "component summed out": SummedComponent,
}
