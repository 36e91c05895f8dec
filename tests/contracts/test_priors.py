"""What every prior promises; a new one joins by an entry in PRIORS."""

import pytest
import torch

from ppvae import priors

PRIORS = {"StandardNormal": lambda: priors.StandardNormal(3)}


@pytest.fixture(params=PRIORS.values(), ids=PRIORS.keys())
def prior(request):
    return request.param()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes(prior, dtype):
    distribution = prior.to(dtype)()
    assert distribution.batch_shape == ()
    assert distribution.event_shape == (3,)
    z = distribution.sample((5, 4))
    assert z.dtype == dtype
    assert distribution.log_prob(z).shape == (5, 4)


def test_standard_normal_is_the_standard_normal():
    z = torch.randn(50, 3)
    reference = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    assert torch.allclose(priors.StandardNormal(3)().log_prob(z), reference.log_prob(z), atol=1e-5)


def test_features_must_be_positive():
    with pytest.raises(ValueError, match="features >= 1, got 0"):
        priors.StandardNormal(0)
