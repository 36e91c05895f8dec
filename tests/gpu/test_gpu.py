"""Training and diagnostics on a GPU give what they give on the processor."""

import numpy as np
import pytest
import torch

import ppvae
from ppvae import data, diagnostics, networks, pairs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU of CUDA here"),
]


@pytest.mark.parametrize("compile", [False, True])
def test_a_training_is_that_of_the_processor(compile):
    digits = data.digits()
    elbos = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        pair = pairs.assemble(digits, latent=5)
        fit = ppvae.fit(pair, digits, epochs=30, device=device, compile=compile)
        assert next(pair.parameters()).device.type == device
        elbos.append(float(fit.history.validation_elbo[-1]))
    assert elbos[1] == pytest.approx(elbos[0], abs=1.5)  # nats; other random draws


def test_terms_of_the_formula_are_those_of_the_processor():
    digits = data.digits()
    pair = pairs.assemble(digits, latent=5)
    ppvae.fit(pair, digits, epochs=20)
    before = diagnostics.evidence(pair, digits.test, draws=2000)
    after = diagnostics.evidence(pair.cuda(), digits.test, draws=2000)
    error = np.hypot(before.elbo_error, after.elbo_error)
    assert float((abs(before.elbo - after.elbo) / error).max()) < 5


def test_products_in_bfloat16_learn_the_same():
    digits = data.digits()
    elbos = []
    for network in (networks.MLP, lambda *sizes: networks.Autocast(networks.MLP(*sizes))):
        torch.manual_seed(0)
        pair = pairs.assemble(digits, latent=5, network=network)
        fit = ppvae.fit(pair, digits, epochs=30, device="cuda")
        elbos.append(float(fit.history.validation_elbo[-1]))
    assert elbos[1] == pytest.approx(elbos[0], abs=1.5)
