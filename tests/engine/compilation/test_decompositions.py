"""What generated code is made of, beside torch's own operations."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from ppvae.engine.compilation import capture, generate

pytestmark = pytest.mark.slow


def compiled(program, *inputs):
    graph = capture(lambda watch, *values: program(*values), list(inputs))
    flat = [*inputs, *graph.lifted]
    return generate(graph, flat).result()(flat)


def reduced(logits, target):
    return [
        binary_cross_entropy_with_logits(logits, target, reduction=reduction)
        for reduction in ("none", "mean", "sum")
    ]


def test_cross_entropy_is_exact_to_single_precision_far_out_too():
    generator = torch.Generator().manual_seed(0)
    logits = torch.cat([torch.linspace(-80, 80, 4001), torch.randn(4095, generator=generator)])
    target = torch.rand(8096, generator=generator)
    binary = (target < 0.5).float()
    for values, relative_to_logits in ((target, 2e-7), (binary, 0.0)):
        wide = logits.double()
        terms = (1 - values.double()) * wide - wide.clamp(max=0)
        exact = terms + (-wide.abs()).exp().log1p()
        each, mean, total = compiled(reduced, logits, values)
        assert ((each - exact).abs() <= 4e-7 * exact + relative_to_logits * wide.abs()).all()
        torch.testing.assert_close(mean.double(), exact.mean(), rtol=1e-6, atol=0)
        torch.testing.assert_close(total.double(), exact.sum(), rtol=1e-6, atol=0)


def test_other_cross_entropies_are_torchs():
    generator = torch.Generator().manual_seed(0)
    logits, target, weight = torch.rand(3, 40, 7, generator=generator)

    def program(logits, target, weight):
        return [
            *reduced(logits.double(), target.double()),
            binary_cross_entropy_with_logits(logits, target, weight=weight),
            binary_cross_entropy_with_logits(logits, target, pos_weight=weight[0]),
        ]

    for value, expected in zip(
        compiled(program, logits, target, weight), program(logits, target, weight), strict=True
    ):
        tolerance = 1e-14 if value.dtype == torch.double else 1e-6
        torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)


def test_a_bias_is_added_as_ever():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(50, 9, generator=generator), torch.randn(7, 9, generator=generator)
    bias = torch.randn(7, generator=generator)

    def program(x, weight, bias):
        return [
            linear(x, weight, bias),
            torch.addmm(bias, x, weight.T, beta=0.5, alpha=2),
            torch.addmm(bias / 0, x, weight.T, beta=0),  # ignored, infinite as it is
        ]

    for value, expected in zip(
        compiled(program, x, weight, bias), program(x, weight, bias), strict=True
    ):
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
