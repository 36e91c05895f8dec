"""VAEs of two latents, trained on images; what is right is an integral over both latents."""

import torch
from torch.nn.functional import softplus

import ppvae
from benchmarks.trust.exact import Exact
from benchmarks.trust.quadrature import plane, right_of
from ppvae import data, pairs
from ppvae.engine import seeded

AXIS = torch.linspace(-6.0, 6.0, 801)


def trained(dataset, train, epochs):
    """Return the default pair of two latents after so many epochs."""
    with seeded(0):
        pair = pairs.assemble(dataset, latent=2)
    ppvae.fit(pair, train, batch_size=100, epochs=epochs, seed=0, progress=False)
    return pair.eval()


@torch.no_grad()
def right(pair, x):
    """Integrate N(z; 0, I) Binomial(x; n, sigmoid(decoder(z))) over z."""
    count = getattr(pair.likelihood, "total_count", 1)
    x = x.double()
    choices = torch.lgamma(x + 1) + torch.lgamma(count - x + 1)
    log_choices = (torch.lgamma(torch.tensor(count + 1.0)).double() - choices).sum(-1)
    single = x.float()

    def log_joint(z):
        logits = pair.likelihood.network(z)
        log_lik = single @ logits.T - count * softplus(logits).sum(-1)
        return log_lik + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)

    moments = plane(log_joint, AXIS)
    found = right_of(moments)
    return type(found)(found.log_evidence + log_choices, found.means, found.sds)


class Digits:
    """The default pair on scikit-learn's digits."""

    def exact(self, rows, seed):
        digits = data.digits()
        pair = trained(digits, digits.train, epochs=20)
        held_out = torch.cat([digits.test, digits.validation])
        x = held_out[torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))]
        return Exact(pair, x[:rows], right(pair, x[:rows]))


class MNIST:
    """The default pair on a few hundred images of MNIST.

    Args:
        folder: of MNIST's files.
        images: number of training images.
    """

    def __init__(self, folder, images=500):
        self.folder, self.images = folder, images

    def exact(self, rows, seed):
        digits = data.mnist(self.folder)
        pair = trained(digits, digits.train[: self.images], epochs=40)
        start = seed * rows % (len(digits.test) - rows)
        x = digits.test[start : start + rows]
        return Exact(pair, x, right(pair, x))
