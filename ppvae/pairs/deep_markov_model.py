"""A VAE of sequences, whose latent states follow each other."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.data import Dataset, with_lengths
from ppvae.data.series_lengths import each_step
from ppvae.engine import Array, as_tensor
from ppvae.likelihoods import EachStep, Likelihood, Normal, StudentT
from ppvae.networks import MLP, BackwardGRU, GatedTransition, Joined
from ppvae.pairs.arguments import tensors_of
from ppvae.pairs.parts import Parts
from ppvae.pairs.programs import evaluating
from ppvae.pairs.vae import VAE
from ppvae.posteriors import Markov as MarkovPosterior
from ppvae.posteriors import Posterior
from ppvae.priors import Markov, Prior


class DeepMarkovModel(VAE):
    """The model prod_t p(z_t|z_{t-1}) p(x_t|z_t) with the guide prod_t q(z_t|z_{t-1}, x_t, ...).

        log p(x) >= E_q[sum_t log p(x_t|z_t) + log p(z_t|z_{t-1}) - log q(z_t|z_{t-1}, x_t, ...)]

    (Krishnan, Shalit and Sontag, "Structured inference networks for nonlinear state space models",
    2017). Sequences are of unequal length, padded at their end with any finite values, which enter
    neither objective nor gradients. The site "z" holds all states, `(data, T, latent)`: densities
    are computed of all steps at once, and states of padded steps are N(0, I) in model and guide.

    A batch is x, `(data, T, features)`, or `(x, length)`, where length `(data,)` says how many
    steps there are.

    Args:
        prior: p(z), `priors.Markov`.
        likelihood: p(x|z), `likelihoods.EachStep`.
        posterior: q(z|x), such as `posteriors.Markov`.

    Raises:
        TypeError: if a factor is not of its role.

    Example:
        >>> from ppvae import data
        >>> real = torch.distributions.constraints.real
        >>> series = data.split("noise", torch.randn(50, 6, 3), real)
        >>> pair = DeepMarkovModel.of(series, latent=2)
        >>> pair.forecast(series.test, 4, draws=10).shape
        torch.Size([10, 5, 4, 3])
    """

    def __init__(self, prior: Prior, likelihood: Likelihood, posterior: Posterior) -> None:
        super().__init__(prior, likelihood, posterior)
        if not isinstance(prior, Markov) or not isinstance(likelihood, EachStep):
            raise TypeError(
                "DeepMarkovModel needs a priors.Markov and a likelihoods.EachStep, got "
                f"{type(prior).__name__} and {type(likelihood).__name__}"
            )

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        latent: int = 8,
        width: int = 64,
        network: Callable[[int, int], nn.Module] = MLP,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
    ) -> Self:
        """Build the pair for sequences, `(T, features)` each.

        Real features get units of their own, as `pairs.assemble` gives them: their mean and
        standard deviation over all steps that are there, or `dataset.standardization`, if that is
        the same at every step. The pair takes and gives values in the units of the data.

        Args:
            dataset: the data; a condition, if there is one, is the length of each sequence.
            latent: size of a state.
            width: of the recurrent network, and of the transition's hidden layers.
            network: called with the sizes of input and output, for the emission and for the
                posterior's transition.
            likelihood: of one step, called with the emission network; what suits the data unless
                given. Of ours `Normal` and `StudentT` have units.

        Raises:
            Unsupported: if the dataset has a standardization and the likelihood no units, or none
                is given and none is known for the support.
            ValueError: if the data are no sequences.
        """
        dataset = with_lengths(dataset)
        if len(dataset.event_shape) != 2:
            raise ValueError(
                f"DeepMarkovModel needs sequences (data, steps, features), dataset "
                f"{dataset.name!r} has datapoints of shape {tuple(dataset.event_shape)}; "
                "data.sequences reads them, in a command `ppvae fit sequences --data.source FILE`"
            )
        steps, each = dataset.event_shape[0], each_step(dataset)
        chosen = None if likelihood is None else likelihood(nn.Identity())
        if isinstance(chosen, Normal | StudentT) and each.support is constraints.real:
            each = each.standardized(each.standardization)
        parts = Parts(each, latent=latent, network=network, likelihood=likelihood)
        encoder = BackwardGRU(dataset.event_shape, width, parts.in_units(nn.Identity()))
        transition = Joined(network(latent + width, 2 * latent))
        return cls(
            Markov(GatedTransition(latent, width), latent, steps),
            EachStep(parts.likelihood()),
            MarkovPosterior(encoder, transition, latent),
        )

    @classmethod
    def batches_of(cls, dataset: Dataset) -> Dataset:
        """Return series as `(data, T, features)`; their lengths are the condition."""
        return with_lengths(dataset)

    def conditions_of(self, conditions: Sequence[Array]) -> Sequence[Array]:
        """Return which steps there are, `(data, T)`, 1 or 0, of the lengths that a user passes."""
        if not conditions:
            return ()
        length = as_tensor(conditions[0], "length")
        if len(conditions) > 1 or length.dim() != 1:
            raise ValueError(
                "DeepMarkovModel takes one condition, the length of each sequence, (data,), got "
                f"{len(conditions)}, the first of shape {tuple(length.shape)}"
            )
        assert isinstance(self.prior, Markov)
        steps = torch.arange(self.prior.steps, device=length.device)
        return ((steps < length.unsqueeze(-1)).to(self.prior.start.dtype),)

    @torch.no_grad()
    def forecast(
        self, x: Array, steps: int, length: Array | None = None, draws: int = 100
    ) -> Tensor:
        """Draw how sequences go on, by states of the guide: `(draws, data, steps, features)`.

        Intervals are quantiles of the draws. The guide's draws stand for the posterior's: refine
        them where it is not trusted.

        Args:
            x: the sequences so far, `(data, T, features)`.
            steps: how many further ones.
            length: of each sequence, `(data,)`; T unless given.
            draws: how many.

        Raises:
            ValueError: if a number is less than 1.
        """
        if steps < 1 or draws < 1:
            raise ValueError(f"forecast needs steps and draws of at least 1, got {steps}, {draws}")
        given = () if length is None else self.conditions_of((length,))
        tensors = tensors_of(self, (x, *given), "x")
        assert isinstance(self.prior, Markov) and isinstance(self.likelihood, EachStep)
        with evaluating(self):
            states = self.posterior(*tensors).sample((draws,))
            last = torch.full((len(tensors[0]),), states.shape[-2] - 1, device=states.device)
            if length is not None:
                last = as_tensor(length, "length").to(states.device) - 1
            index = last[:, None, None].expand(draws, -1, 1, states.shape[-1])
            z, ahead = states.gather(-2, index).squeeze(-2), []
            for _ in range(steps):
                z = self.prior.after(z).sample()
                ahead.append(z)
            x_ahead: Tensor = self.likelihood(torch.stack(ahead, -2)).sample()
        return x_ahead
