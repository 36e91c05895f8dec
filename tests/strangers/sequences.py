"""Sequences: Pyro's deep Markov model, its FactorMuE, and states in Markov chains."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.contrib.mue.missingdatahmm import MissingDataDiscreteHMM
from pyro.infer import TraceEnum_ELBO
from torch import nn
from torch.distributions import Bernoulli, Categorical, Normal
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tests.strangers.stranger import MASKED, Stranger, bits, exact, grid, line, paths, seeded_data

TIMES, FEATURES, WIDTH = 3, 3, 4


def reversed_in_time(sequences, lengths):
    """Turn the valid part of each sequence round."""
    turned = torch.zeros_like(sequences)
    for row, length in enumerate(lengths.tolist()):
        turned[row, :length] = sequences[row, :length].flip(0)
    return turned


def unpacked_and_reversed(output, lengths):
    """Return the output of a recurrent network in the order of the data."""
    padded, _ = pad_packed_sequence(output, batch_first=True)
    return reversed_in_time(padded, lengths)


def minibatch(rows, annealing, seed=0):
    """Return sequences, packed reversed ones, mask, lengths and the annealing factor."""
    sequences = bits(rows, TIMES, FEATURES, seed=seed)
    lengths = torch.randint(1, TIMES + 1, (rows,), generator=seeded_data(seed))
    lengths[0] = TIMES
    lengths = lengths.sort(descending=True).values
    mask = (torch.arange(TIMES) < lengths[:, None]).float()
    sequences = sequences * mask[..., None]
    turned = pack_padded_sequence(reversed_in_time(sequences, lengths), lengths, batch_first=True)
    return sequences, turned, mask, lengths, annealing


class Transition(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.shift, self.scale = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, z):
        gate = torch.sigmoid(self.gate(z))
        loc = (1 - gate) * z + gate * self.shift(torch.tanh(z))
        return loc, nn.functional.softplus(self.scale(torch.relu(loc))) + 0.3


class DMM(nn.Module):
    """A plate "z_minibatch", a site a time step, masks of the times that a sequence lacks."""

    def __init__(self):
        super().__init__()
        self.trans = Transition()
        self.emitter = nn.Sequential(nn.Linear(1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, FEATURES))
        self.rnn = nn.RNN(FEATURES, WIDTH, batch_first=True)
        self.join, self.loc, self.scale = (
            nn.Linear(1, WIDTH),
            nn.Linear(WIDTH, 1),
            nn.Linear(WIDTH, 1),
        )
        self.z_0 = nn.Parameter(torch.zeros(1))
        self.z_q_0 = nn.Parameter(torch.zeros(1))
        self.h_0 = nn.Parameter(torch.zeros(1, 1, WIDTH))

    def model(
        self,
        mini_batch,
        mini_batch_reversed,
        mini_batch_mask,
        mini_batch_seq_lengths,
        annealing_factor=1.0,
    ):
        pyro.module("dmm", self)
        z_prev = self.z_0.expand(mini_batch.size(0), self.z_0.size(0))
        with pyro.plate("z_minibatch", len(mini_batch)):
            for t in range(1, mini_batch.size(1) + 1):
                z_loc, z_scale = self.trans(z_prev)
                with poutine.scale(scale=annealing_factor):
                    z_t = pyro.sample(
                        f"z_{t}",
                        dist.Normal(z_loc, z_scale)
                        .mask(mini_batch_mask[:, t - 1 : t])
                        .to_event(1),
                    )
                pyro.sample(
                    f"obs_x_{t}",
                    dist.Bernoulli(torch.sigmoid(self.emitter(z_t)))
                    .mask(mini_batch_mask[:, t - 1 : t])
                    .to_event(1),
                    obs=mini_batch[:, t - 1, :],
                )
                z_prev = z_t

    def guide(
        self,
        mini_batch,
        mini_batch_reversed,
        mini_batch_mask,
        mini_batch_seq_lengths,
        annealing_factor=1.0,
    ):
        pyro.module("dmm", self)
        assert isinstance(mini_batch_reversed, PackedSequence)
        h_0 = self.h_0.expand(1, mini_batch.size(0), self.rnn.hidden_size).contiguous()
        output, _ = self.rnn(mini_batch_reversed, h_0)
        output = unpacked_and_reversed(output, mini_batch_seq_lengths)
        z_prev = self.z_q_0.expand(mini_batch.size(0), self.z_q_0.size(0))
        with pyro.plate("z_minibatch", len(mini_batch)):
            for t in range(1, mini_batch.size(1) + 1):
                hidden = 0.5 * (torch.tanh(self.join(z_prev)) + output[:, t - 1, :])
                z_dist = dist.Normal(
                    self.loc(hidden), nn.functional.softplus(self.scale(hidden)) + 0.3
                )
                with poutine.scale(scale=annealing_factor):
                    z_t = pyro.sample(
                        f"z_{t}", z_dist.mask(mini_batch_mask[:, t - 1 : t]).to_event(1)
                    )
                z_prev = z_t


class ByKeyword(DMM):
    """The same, the batch a dict."""


def as_dict(batch):
    names = (
        "mini_batch",
        "mini_batch_reversed",
        "mini_batch_mask",
        "mini_batch_seq_lengths",
        "annealing_factor",
    )
    return dict(zip(names, batch, strict=True))


def filtered(pair, batch, given=None):
    """Sum over a grid of states, forward in time; a masked time counts for nothing."""
    sequences, _, mask, *_ = batch.values() if isinstance(batch, dict) else batch
    nodes, step = line(-9.0, 9.0, 400)
    loc, scale = pair.trans(nodes[:, None])
    moves = Normal(loc, scale).log_prob(nodes) + step  # (from, to)
    start_loc, start_scale = pair.trans(pair.z_0[None])
    state = (Normal(start_loc, start_scale).log_prob(nodes) + step).expand(len(sequences), -1)
    emitted = Bernoulli(torch.sigmoid(pair.emitter(nodes[:, None])))
    total = torch.zeros(len(sequences))
    for t in range(sequences.shape[1]):
        if t:
            state = torch.logsumexp(state[:, :, None] + moves, 1)
        seen = emitted.log_prob(sequences[:, t, None]).sum(-1) * mask[:, t, None]
        state = state + seen
        # What a masked time would still change by the grid's own error is taken out.
        total = torch.where(mask[:, t].bool(), state.logsumexp(1), total)
    return total, torch.zeros_like(total)


STATES, LENGTH, ALPHABET = 2, 4, 3


class FactorMuE(nn.Module):
    """A factor a sequence, a global rate of insertion, and alignments that an HMM sums out."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Linear(1, STATES * ALPHABET)
        self.encoder = nn.Linear(LENGTH * ALPHABET, 2)
        self.insert_loc = nn.Parameter(torch.zeros(()))
        self.insert_scale = nn.Parameter(torch.tensor(-1.0))

    def alignment(self, insert):
        stay = torch.sigmoid(insert)
        rows = torch.stack([stay, 1 - stay], -1)
        moves = torch.stack([rows, rows.flip(-1)], -2).log()
        return torch.full((STATES,), 0.5).log(), moves

    def model(self, seq_data, local_scale=1.0, local_prior_scale=1.0):
        pyro.module("mue", self)
        insert = pyro.sample("insert", dist.Normal(torch.zeros(()), 1.0))
        with pyro.plate("batch", seq_data.shape[0]), poutine.scale(scale=local_scale):
            with poutine.scale(scale=local_prior_scale):
                z = pyro.sample("latent", dist.Normal(torch.zeros(1), torch.ones(1)).to_event(1))
            letters = self.decoder(z).reshape(*z.shape[:-1], STATES, ALPHABET)
            initial, moves = self.alignment(insert)
            pyro.sample(
                "seq",
                MissingDataDiscreteHMM(initial, moves, letters.log_softmax(-1)),
                obs=seq_data,
            )

    def guide(self, seq_data, local_scale=1.0, local_prior_scale=1.0):
        pyro.sample(
            "insert", dist.Normal(self.insert_loc, nn.functional.softplus(self.insert_scale))
        )
        with pyro.plate("batch", seq_data.shape[0]), poutine.scale(scale=local_scale):
            loc, log_scale = self.encoder(seq_data.flatten(1)).chunk(2, -1)
            with poutine.scale(scale=local_prior_scale):
                pyro.sample("latent", dist.Normal(loc, (0.3 * log_scale).exp()).to_event(1))


class Chained(FactorMuE):
    """The same without a global latent, its states enumerated in a Markov chain of the model."""

    def model(self, seq_data):
        pyro.module("mue", self)
        initial, moves = self.alignment(self.insert_loc)
        letters = seq_data.argmax(-1)
        with pyro.plate("sequences", seq_data.shape[0]):
            z = pyro.sample("latent", dist.Normal(torch.zeros(1), torch.ones(1)).to_event(1))
            logits = self.decoder(z).reshape(*z.shape[:-1], STATES, ALPHABET)
            state = None
            for t in pyro.markov(range(LENGTH)):
                probs = initial.exp() if state is None else moves.exp()[state]
                state = pyro.sample(
                    f"state_{t}", dist.Categorical(probs), infer={"enumerate": "parallel"}
                )
                chosen = (logits * nn.functional.one_hot(state, STATES)[..., None]).sum(-2)
                pyro.sample(f"letter_{t}", dist.Categorical(logits=chosen), obs=letters[:, t])

    def guide(self, seq_data):
        with pyro.plate("sequences", seq_data.shape[0]):
            loc, log_scale = self.encoder(seq_data.flatten(1)).chunk(2, -1)
            pyro.sample("latent", dist.Normal(loc, (0.3 * log_scale).exp()).to_event(1))


def aligned(pair, batch, given=None):
    """Sum over all paths and a grid of the factor."""
    letters = batch[0].argmax(-1)
    insert = pair.insert_loc if given is None else given["insert"].reshape(())
    initial, moves = pair.alignment(insert)
    nodes, weights = grid(1, points=121)
    emission = pair.decoder(nodes).reshape(-1, STATES, ALPHABET).log_softmax(-1)
    terms = []
    for path in paths(STATES, LENGTH):
        prior = initial[path[0]] + moves[path[:-1], path[1:]].sum()
        seen = sum(emission[:, path[t], letters[:, t]] for t in range(LENGTH))
        terms.append(prior + seen + weights[:, None])
    return exact(torch.stack(terms).logsumexp(0))


def letters(seed):
    drawn = Categorical(torch.tensor([0.6, 0.3, 0.1]))
    generator = seeded_data(seed)
    index = torch.multinomial(drawn.probs.expand(10, -1), LENGTH, True, generator=generator)
    return nn.functional.one_hot(index, ALPHABET).float()


STRANGERS = (
    Stranger(
        "dmm",
        DMM,
        lambda: [minibatch(8, 0.5), minibatch(8, 1.0, seed=1)],
        log_evidence=filtered,
        expected={"diagnose": (MASKED,), "compiled": ("reads a tensor's value by `bool`",)},
    ),
    Stranger(
        "dmm_by_keyword",
        ByKeyword,
        lambda: [as_dict(minibatch(8, 1.0)), as_dict(minibatch(8, 1.0, seed=1))],
        log_evidence=filtered,
        expected={"diagnose": (MASKED,), "compiled": ("reads a tensor's value by `bool`",)},
    ),
    Stranger(
        "factor_mue",
        FactorMuE,
        lambda: [(letters(0),)],
        log_evidence=aligned,
        shared=True,
        expected={"diagnose": ("has the shape (1, 3) where it is drawn",)},
    ),
    Stranger(
        "markov_states",
        Chained,
        lambda: [(letters(0),), (letters(1),)],
        objective=lambda: TraceEnum_ELBO(max_plate_nesting=1),
        log_evidence=aligned,
    ),
)
