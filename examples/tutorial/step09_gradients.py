"""Two ways through a random draw.

To maximize the right side of (2), its gradient must pass the draw z ~ Q(z|X). A draw is not a
function of Q's parameters, so it blocks the gradient. There are two solutions:

    score function     f(z) * gradient of log Q(z|X),     z drawn and then fixed
    reparameterized    gradient of f(loc + scale * e),    e ~ N(0, I) drawn instead

where f(z) = log P(X|z) + log P(z) - log Q(z|X). The first uses only the value of f at each z. The
second moves the randomness into e, so that the gradient goes through f itself. Both have the same
mean. A baseline b subtracted from f, the mean f of the other draws, changes nothing in the mean
of the first but much in its variance.
"""

from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pyro.distributions.testing.fakes import NonreparameterizedNormal
from pyro.infer import Trace_ELBO
from torch import Tensor

from . import page
from .measures import average

LATENT = 10
SCALE = 0.7
X = torch.linspace(-2, 2, LATENT)
WAYS = ("score function", "score function, baseline", "reparameterized")


def log_joint(z: Tensor) -> Tensor:
    """Return log P(X, z) of the model z ~ N(0, I), X ~ N(z, I)."""
    return (dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(z, 1.0).log_prob(X)).sum(-1)


def exact_gradient(loc: Tensor) -> Tensor:
    """Return the gradient in loc by formula: E_Q[f] = -(loc^2 + (X - loc)^2) / 2 + constant."""
    return X - 2 * loc


def gradients(draws: int, way: str) -> Tensor:
    """Return the gradient in loc that each draw gives on its own, `(draw, latent)`."""
    loc = torch.zeros(draws, LATENT, requires_grad=True)  # the same point, once a draw
    guide = dist.Normal(loc, SCALE).to_event(1)
    if way == "reparameterized":
        z = guide.rsample()
        target = log_joint(z) - guide.log_prob(z)
    else:
        z = guide.sample()
        f = (log_joint(z) - guide.log_prob(z)).detach()
        others = (f.sum() - f) / (draws - 1)
        baseline = others if way == "score function, baseline" else 0.0
        target = (f - baseline) * guide.log_prob(z)
    (gradient,) = torch.autograd.grad(target.sum(), loc)
    return gradient


def gradients_in_pyro(draws: int, normal: type[dist.Normal]) -> Tensor:
    """Return the same from Pyro's `Trace_ELBO`, which asks the guide for `has_rsample`."""
    loc = torch.zeros(LATENT, requires_grad=True)

    def model() -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(LATENT), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=X)

    def guide() -> None:
        pyro.sample("z", normal(loc, SCALE).to_event(1))

    elbo = Trace_ELBO()
    losses = (elbo.differentiable_loss(model, guide) for _ in range(draws))
    return torch.stack([-torch.autograd.grad(loss, loc)[0] for loss in losses])


def blocked() -> tuple[bool, bool]:
    """Tell whether a gradient can pass through `sample` and through `rsample`."""
    guide = dist.Normal(torch.zeros(1, requires_grad=True), 1.0)
    return guide.sample().requires_grad, guide.rsample().requires_grad


def show(folder: Path, size: float) -> dict[str, Tensor]:
    """Compare the means and the variances of all gradients at the same point, loc = 0."""
    page.begin(9, __doc__)
    torch.manual_seed(0)
    draws, runs = page.share(100_000, size, 5000), page.share(3000, size, 300)
    measured = {way: gradients(draws, way) for way in WAYS}
    for normal in (NonreparameterizedNormal, dist.Normal):
        has_rsample = normal.has_rsample
        measured[f"Pyro, has_rsample = {has_rsample}"] = gradients_in_pyro(runs, normal)
    passes = blocked()
    page.say(
        f"""A gradient passes sample(): {passes[0]}. It passes rsample(): {passes[1]}. The
        gradient of the right side of (2) in the last of {LATENT} dimensions of loc, at loc = 0,
        where its exact value is {exact_gradient(torch.zeros(LATENT))[-1]:.1f}:"""
    )
    page.table(
        ("way", "draws", "mean", "variance of one draw"),
        *(
            (way, f"{len(values):,}", average(values[:, -1]), f"{values[:, -1].var():.2f}")
            for way, values in measured.items()
        ),
    )
    page.say(
        """The same mean, but the variance decides how many draws a step of training needs. In
        Pyro nothing has to be chosen: Trace_ELBO reparameterizes where the guide's distribution
        can (has_rsample) and falls back on the score function where it cannot, as for a discrete
        latent."""
    )
    page.draw(diagram(measured), folder, "09-gradients")
    return measured


def diagram(measured: dict[str, Tensor]) -> Figure:
    """Draw how each way passes the draw, above the gradients that it gives."""
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 6, height_ratios=(1, 1.1))
    sampled, reparameterized = (
        figure.add_subplot(grid[0, columns]) for columns in (slice(3), slice(3, 6))
    )
    flow(sampled, "z ~ N(loc, scale$^2$)", None)
    flow(reparameterized, "z = loc + scale e", "e ~ N(0, I)")
    sampled.set_title("A draw blocks the gradient")
    reparameterized.set_title("Reparameterized: the randomness comes from outside")
    for column, way in enumerate(WAYS):
        panel, values = figure.add_subplot(grid[1, 2 * column : 2 * column + 2]), measured[way]
        panel.hist(values[:, -1].tolist(), bins=160, range=(-100, 100), density=True, color="0.6")
        panel.axvline(X[-1].item(), color="black", linestyle="--", linewidth=1, label="exact mean")
        panel.set_title(f"{way}:\nvariance {values[:, -1].var():.1f}", fontsize="medium")
        panel.set(xlabel="gradient of one draw, nats per loc", ylabel="density")
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_ylim(0, 1.3 * panel.get_ylim()[1])
        panel.legend(frameon=False, loc="upper left", handlelength=1.2)
    return figure


def flow(axes: Axes, draw: str, chance: str | None) -> None:
    """Draw data, encoder, latent and decoder as boxes, and the way back of the gradient."""
    axes.set(xlim=(0, 10), ylim=(0, 4))
    axes.axis("off")
    for x, text in (0.5, "X"), (2.5, "encoder"), (5.5, draw), (8.7, "decoder"):
        gray = "0.85" if text == draw and chance is None else "white"
        box = {"boxstyle": "round,pad=0.5", "facecolor": gray, "edgecolor": "black"}
        axes.text(x, 2, text, ha="center", va="center", bbox=box)
    forward = {"arrowstyle": "->", "color": "black"}
    for start, end in ((0.9, 1.6), (3.4, 3.95), (7.05, 7.75)):
        axes.annotate("", (end, 2), (start, 2), arrowprops=forward)
    back = {"arrowstyle": "->", "color": "0.4", "linestyle": "--"}
    if chance is None:
        axes.annotate("", (6.0, 0.9), (8.7, 0.9), arrowprops=back)
        axes.text(5.5, 0.9, "\u2717", ha="center", va="center", fontsize=16)
        axes.text(5.5, 0.2, "the gradient ends at the draw", ha="center", va="center")
    else:
        axes.annotate("", (2.5, 0.9), (8.7, 0.9), arrowprops=back)
        axes.text(5.5, 0.2, "the gradient reaches the encoder", ha="center", va="center")
        axes.text(5.5, 3.7, chance, ha="center", va="center")
        axes.annotate("", (5.5, 2.6), (5.5, 3.4), arrowprops=forward)
