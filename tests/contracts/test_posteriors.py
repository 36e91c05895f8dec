"""What every posterior promises; a new one joins by an entry in POSTERIORS."""

import pytest
import torch
from torch import nn

from ppvae import posteriors

POSTERIORS = {"DiagonalNormal": lambda: posteriors.DiagonalNormal(nn.Linear(4, 6))}


@pytest.fixture(params=POSTERIORS.values(), ids=POSTERIORS.keys())
def posterior(request):
    return request.param()


@pytest.mark.parametrize("leading", [(), (5,), (4, 5), (2, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_under_leading_dimensions(posterior, leading, dtype):
    distribution = posterior.to(dtype)(torch.randn(*leading, 4, dtype=dtype))
    assert distribution.batch_shape == leading
    assert distribution.event_shape == (3,)
    z = distribution.rsample()
    assert z.dtype == dtype
    assert distribution.log_prob(z).shape == leading


def test_draws_are_reparameterised_in_every_parameter(posterior):
    z = posterior(torch.randn(7, 4)).rsample()
    z.square().sum().backward()
    for name, parameter in posterior.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


def test_diagonal_normal_reads_loc_and_raw_scale():
    posterior = posteriors.DiagonalNormal(nn.Identity())
    base = posterior(torch.tensor([1.0, 2.0, 0.0, 3.0])).base_dist
    assert torch.equal(base.loc, torch.tensor([1.0, 2.0]))
    assert torch.allclose(base.scale, torch.tensor([0.0, 3.0]).exp().log1p())


def test_odd_output_is_refused():
    with pytest.raises(ValueError, match=r"even last dimension .* \(2, 5\)"):
        posteriors.DiagonalNormal(nn.Linear(4, 5))(torch.zeros(2, 4))
