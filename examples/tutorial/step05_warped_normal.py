"""Any hidden factor from a normal one.

Which distribution p(z) should we assume? It does not matter: draw w ~ N(0, I) and transform it by
a function, z = h(w). In one dimension an increasing h reaches every distribution exactly. Let C be
the normal's cumulative curve and F that of z: then

    h(w) = F^-1(C(w)),    and the density of z is    N(w; 0, 1) / h'(w)

In more dimensions a function can turn a round cloud into a ring. A decoder f is a network of many
layers: its first layers can be h and the others the true f, so w itself may take the place of z.
From here on z is the normal one.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.special import log_ndtr, ndtr

from . import page


def normal(w: Tensor) -> Tensor:
    """Return the density N(w; 0, 1)."""
    return torch.exp(-(w**2) / 2) / math.sqrt(2 * math.pi)


def exponential(w: Tensor) -> Tensor:
    """Transform the normal into the exponential distribution: F(z) = 1 - exp(-z)."""
    return -log_ndtr(-w)  # -log(1 - C(w)), without rounding 1 - C(w) to 0


def length(w: Tensor) -> Tensor:
    """Transform it into the length of step 1, uniform from 1 to 5: F(z) = (z - 1) / 4."""
    return 1 + 4 * ndtr(w)


def mixture_cumulative(z: Tensor) -> Tensor:
    """Return F(z) of two normal clusters: at -2, spread 0.5, and at +2, spread 0.8."""
    return 0.5 * ndtr((z + 2) / 0.5) + 0.5 * ndtr((z - 2) / 0.8)


def mixture(w: Tensor) -> Tensor:
    """Transform it into these two clusters; F^-1 has no formula, so it is found by halving."""
    low, high = torch.full_like(w, -20.0), torch.full_like(w, 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        left = mixture_cumulative(middle) < ndtr(w)
        low, high = torch.where(left, middle, low), torch.where(left, high, middle)
    return (low + high) / 2


def ring(w: Tensor) -> Tensor:
    """Turn a round cloud in the plane into a ring: push every point out to a distance of 3."""
    distance = w.norm(dim=-1, keepdim=True)
    return w / distance * (3 + 0.2 * (distance - 1))


def cumulative_error(
    h: Callable[[Tensor], Tensor], cumulative: Callable[[Tensor], Tensor]
) -> float:
    """Return the largest |F(h(w)) - C(w)|: 0 where h hits its distribution exactly."""
    w = torch.linspace(-4, 4, 1001, dtype=torch.float64)
    return (cumulative(h(w)) - ndtr(w)).abs().max().item()


def density_error() -> float:
    """Return the largest relative error of N(w; 0, 1) / h'(w) against the density exp(-z)."""
    w = torch.linspace(-4, 4, 1001, dtype=torch.float64, requires_grad=True)
    z = exponential(w)
    (slope,) = torch.autograd.grad(z.sum(), w)
    return (normal(w) / slope / torch.exp(-z) - 1).abs().max().item()


def show(folder: Path, size: float) -> dict[str, float]:
    """Check each h against the distribution it is meant to make."""
    page.begin(5, __doc__)
    torch.manual_seed(0)
    w = torch.randn(page.share(50_000, size, 5000), 2)
    radius = ring(w).norm(dim=-1)
    measured = {
        "exponential": cumulative_error(exponential, lambda z: -torch.expm1(-z)),
        "density": density_error(),
        "length": cumulative_error(length, lambda z: (z - 1) / 4),
        "mixture": cumulative_error(mixture, mixture_cumulative),
        "radius": radius.mean().item(),
        "radius_spread": radius.std().item(),
    }
    page.table(
        ("z = h(w)", "largest error"),
        ("exponential: cumulative curve", f"{measured['exponential']:.0e}"),
        ("exponential: density, relative", f"{measured['density']:.0e}"),
        ("length, uniform from 1 to 5: cumulative curve", f"{measured['length']:.0e}"),
        ("two clusters: cumulative curve", f"{measured['mixture']:.0e}"),
    )
    page.say(
        f"""Exact to rounding. The ring's radius is {measured["radius"]:.2f} with a spread of
        {measured["radius_spread"]:.2f}: no point is left in the middle, where the cloud was
        densest."""
    )
    page.draw(warp_figure(w), folder, "05-warped-normal")
    return measured


def warp_figure(w: Tensor) -> Figure:
    """Draw three distributions made of the same normal draws, and their exact densities."""
    figure, axes = page.panels(3)
    near, far = torch.linspace(0, 6, 400), torch.linspace(-5, 6, 400)
    clusters = 0.5 * normal((far + 2) / 0.5) / 0.5 + 0.5 * normal((far - 2) / 0.8) / 0.8
    for panel, h, z, density, title in (
        (axes[0], exponential, near, torch.exp(-near), "an exponential"),
        (axes[1], mixture, far, clusters, "two clusters"),
    ):
        values, ends = h(w[:, 0]).tolist(), (z[0].item(), z[-1].item())
        panel.hist(values, bins=60, range=ends, density=True, color="0.75", label="h(w)")
        panel.plot(z.tolist(), density.tolist(), "k", linewidth=1, label="exact density")
        panel.set_title(f"N(0, 1) turned into {title}")
        panel.set_xlabel("z = h(w)")
        panel.set_ylabel("density")
        panel.set_ylim(0, 1.35 * density.max().item())
        panel.legend(frameon=False, loc="upper right")
    for cloud, color, label in ((w, "0.7", "w"), (ring(w), "black", "h(w)")):
        across, up = cloud[:1500].T.tolist()
        axes[2].plot(across, up, ".", color=color, markersize=2, label=label)
    axes[2].set(aspect="equal", xlabel="first dimension", ylabel="second dimension")
    axes[2].set_title("N(0, I) turned into a ring")
    axes[2].legend(frameon=False, markerscale=5, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
