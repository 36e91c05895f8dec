import functools
import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO
from torch.distributions import Bernoulli, Normal

import ppvae
from ppvae.engine import (
    MEMORY,
    PLATE,
    Way,
    draw,
    draw_latents,
    seeded,
    simulated_sites,
    simulations,
    structure_of,
)
from ppvae.engine.draws.vectorization import way_of
from tests.engine.discrete_pairs import (
    Chain,
    Classes,
    CountingClasses,
    MaskedWords,
    WordClasses,
    Words,
)


@pytest.fixture(autouse=True)
def apart():
    with pyro.get_param_store().scope():
        torch.manual_seed(0)
        yield


def data(pair, rows=5):
    torch.manual_seed(1)
    width = {Chain: (4,), Classes: (), CountingClasses: ()}.get(type(pair), (3,))
    return 1.5 * torch.randn(rows, *width, dtype=torch.double)


PAIRS = {
    Classes: Way.AT_ONCE,
    CountingClasses: Way.FOLDED,
    Words: Way.AT_ONCE,
    MaskedWords: Way.AT_ONCE,
    WordClasses: Way.AT_ONCE,
    Chain: Way.AT_ONCE,
}


@pytest.mark.parametrize("kind", PAIRS)
def test_densities_are_sums_over_all_labels(kind):
    pair = kind().double()
    x = data(pair)
    structure = structure_of(pair, (x,))
    assert way_of(pair, (x,), structure) is PAIRS[kind]
    for way in {PAIRS[kind], Way.ONE_BY_ONE}:
        drawn = draw(pair, (x,), structure, 3, way=way)
        log_prior, log_joint, log_posterior = pair.densities(x, drawn.latents)
        torch.testing.assert_close(drawn.log_prior, log_prior)
        torch.testing.assert_close(drawn.log_prior + drawn.log_likelihood, log_joint)
        torch.testing.assert_close(drawn.log_posterior, log_posterior)
        if len(drawn.log_likelihoods) == 1:
            torch.testing.assert_close(*drawn.log_likelihoods.values(), *[log_joint - log_prior])


def test_each_observation_of_a_chain_has_its_own_density():
    pair = Chain().double()
    x = data(pair)
    drawn = draw(pair, (x,), structure_of(pair, (x,)), 2)
    z = drawn.latents["z"]
    torch.testing.assert_close(
        drawn.log_prior + drawn.log_likelihood, pair.forward_algorithm(x, z)
    )
    state = torch.eye(3, dtype=x.dtype)[0]
    for t in range(4):
        state = state @ pair.transitions.double()
        scores = Normal(pair.means + z.unsqueeze(-1), 0.8).log_prob(x[:, t].unsqueeze(-1))
        expected = (state.log() + scores).logsumexp(-1)
        torch.testing.assert_close(drawn.log_likelihoods[f"x_{t}"], expected)


def test_weights_of_a_guide_that_is_enumerated_average_to_the_evidence():
    pair = Classes().double()
    x = data(pair)
    weights = draw(pair, (x,), structure_of(pair, (x,)), 4000).log_weights.exp()
    error = weights.std(0) / math.sqrt(len(weights))
    assert bool(((weights.mean(0) - pair.log_evidence(x).exp()).abs() < 4 * error).all())
    # At least as tight as the bound that keeps k: here by this much.
    assert bool((weights.log().mean(0) < pair.log_evidence(x)).all())


ROWS = 6000


def frequencies(pair, row, *names):
    """Return how often labels are drawn together from p(k | x, z), and z, of one datapoint."""
    x = row.expand(ROWS, *row.shape[1:])
    structure = structure_of(pair, (x,))
    sites = draw_latents(pair, (x,), structure)
    labels = torch.stack([sites[name]["value"].reshape(ROWS, -1) for name in names], 1)
    return labels.flatten(1).long(), sites


def check_frequencies(labels, expected):
    """Compare the counts of rows of labels with their probabilities, by configuration."""
    for configuration, probability in expected.items():
        share = (labels == torch.tensor(configuration)).all(1).double().mean()
        error = math.sqrt(probability * (1 - probability) / len(labels))
        assert abs(float(share) - probability) < 4.5 * error + 1e-9, configuration


def at(pair, value):
    """Return the pair with a guide that draws z at about this value."""

    def guide(x):
        loc = torch.full((len(x),) + (1,) * (x.dim() - 1 if type(pair) is Words else 0), value)
        with pyro.plate(PLATE, len(x), dim=-loc.dim()):
            pyro.sample("z", dist.Normal(loc.to(x), 1e-9))

    pair.guide = guide
    return pair


def test_states_of_a_chain_are_drawn_from_their_joint_posterior():
    pair = at(Chain().double(), 0.4)
    row = data(pair, 1)
    labels, _ = frequencies(pair, row, *(f"k_{t}" for t in range(4)))
    joint = pair.path_densities(row, torch.tensor([0.4]).double()).softmax(0)[:, 0]
    check_frequencies(
        labels, dict(zip(itertools.product(range(3), repeat=4), joint.tolist(), strict=True))
    )


def test_topics_of_words_are_drawn_each_from_its_posterior():
    pair = at(Words().double(), -0.3)
    row = data(pair, 1)
    labels, _ = frequencies(pair, row, "k")
    z, expected = torch.tensor(-0.3).double(), {}
    for configuration in itertools.product((0, 1), repeat=3):
        density = 1.0
        for word, k in enumerate(configuration):
            both = [
                Bernoulli(logits=z).log_prob(torch.tensor(float(c)).double())
                + Normal(pair.topics[c] + 0.5 * z, 0.7).log_prob(row[0, word])
                for c in (0, 1)
            ]
            density *= float(torch.stack(both).softmax(0)[k])
        expected[configuration] = density
    check_frequencies(labels, expected)


def test_a_class_that_the_guide_enumerates_is_drawn_given_the_data():
    pair = Classes().double()
    x = torch.full((ROWS,), 0.8).double()
    sites = draw_latents(pair, (x,), structure_of(pair, (x,)))
    z, k = sites["z"]["value"], sites["k"]["value"]
    # z is a draw of the mixture sum_k q(k|x) q(z|x, k).
    shares = (x[:1, None] * pair.slope.detach()).softmax(-1)[0]
    means = (0.8 + pair.locs.double()) / 2
    mean = float(shares @ means)
    spread = math.sqrt(1 + float(shares @ means.square()) - mean**2)
    assert abs(float(z.mean()) - mean) < 4 * spread / math.sqrt(ROWS)
    # k is a draw of p(k | x, z), so that its share is the mean of these probabilities.
    scores = [
        pair.weights[c].log()
        + Normal(pair.locs[c], 1.0).log_prob(z)
        + Normal(z + pair.shift * c, pair.scale).log_prob(x)
        for c in range(3)
    ]
    expected = torch.stack(scores).softmax(0).detach()
    for c in range(3):
        gap = (k == c).double() - expected[c]
        assert abs(float(gap.mean())) < 4 * float(gap.std()) / math.sqrt(ROWS)


@pytest.mark.parametrize("kind", [Classes, CountingClasses])
def test_a_model_is_simulated_at_one_value_of_what_is_enumerated(kind):
    pair = kind().double()
    x = torch.zeros(ROWS).double()
    sites = simulated_sites(pair, (x,), structure_of(pair, (x,)), None, {})
    k, z, drawn = (sites[name]["value"] for name in ("k", "z", "x"))
    assert k.shape == z.shape == drawn.shape == x.shape
    for c in range(3):
        chosen = k == c
        count = int(chosen.sum())
        share = float(pair.weights[c])
        assert abs(count / ROWS - share) < 4 * math.sqrt(share * (1 - share) / ROWS)
        assert abs(float(z[chosen].mean() - pair.locs[c])) < 4 / math.sqrt(count)
        rest = (drawn - z)[chosen].detach()
        assert abs(float(rest.mean()) - 0.3 * c) < 4 * pair.scale / math.sqrt(count)


class MaskedClasses(Classes):
    """The mask stands in the distribution of what is observed."""

    def model(self, x, seen):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(self.weights))
            z = pyro.sample("z", dist.Normal(self.locs[k], 1.0))
            pyro.sample("x", dist.Normal(z + self.shift * k, self.scale).mask(seen > 0), obs=x)

    def guide(self, x, seen):
        super().guide(x)


def test_what_a_mask_hides_stays_in_data_simulated_beside_an_enumerated_site():
    pair, x = MaskedClasses().double(), torch.arange(100.0).double()
    seen = (torch.arange(100) % 3 > 0).double()
    batch = x, seen
    (simulated,) = simulations(pair, batch, 100, MEMORY)
    assert torch.equal(simulated.batch[0] == x, seen == 0)


class Sizeless(Classes):
    """The plate takes its size from the shapes of its sites, and has another name."""

    def model(self, x):
        with pyro.plate("rows"):
            k = pyro.sample("k", dist.Categorical(self.weights.to(x).expand(len(x), 3)))
            z = pyro.sample("z", dist.Normal(self.locs.to(x)[k], 1.0))
            pyro.sample("x", dist.Normal(z + self.shift * k, self.scale), obs=x)

    def guide(self, x):
        with pyro.plate("rows"):
            logits = x.unsqueeze(-1) * self.slope
            k = pyro.sample("k", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            pyro.sample("z", dist.Normal((x + self.locs.to(x)[k]) / 2, 1.0))


def test_sites_of_a_plate_without_a_size_are_summed_out():
    pair = Sizeless().double()
    x = data(pair).flatten()
    found = ppvae.diagnostics.evidence(pair, x, draws=2000, progress=False)
    gap = torch.tensor(found["log_evidence"].values) - pair.log_evidence(x).detach()
    assert bool((gap.abs() < 4 * torch.tensor(found["log_evidence_error"].values)).all())


class Deeper(Classes):
    """The model alone has a plate left of the data's."""

    def model(self, x):
        pyro.module("net", self)
        with pyro.plate(PLATE, len(x), dim=-1):
            k = pyro.sample("k", dist.Categorical(self.weights.to(x)))
            z = pyro.sample("z", dist.Normal(self.locs.to(x)[k], 1.0))
            with pyro.plate("copies", 3, dim=-2):
                obs = x.expand(3, -1)
                pyro.sample("x", dist.Normal(z + self.shift * k, self.scale), obs=obs)


def test_enumerated_dimensions_stand_left_of_plates_that_the_model_alone_has():
    pair = Deeper().double()
    x = data(pair)[:, 0] if data(pair).dim() > 1 else data(pair)
    structure = structure_of(pair, (x,))
    assert structure.draw_dim == -3
    drawn = draw(pair, (x,), structure, 2)
    terms = [
        pair.weights[k].log()
        + Normal(pair.locs[k], 1.0).log_prob(drawn.latents["z"])
        + 3 * Normal(drawn.latents["z"] + pair.shift * k, pair.scale).log_prob(x)
        for k in range(3)
    ]
    log_joint = drawn.log_prior + drawn.log_likelihood
    torch.testing.assert_close(log_joint, torch.stack(terms).logsumexp(0))


class Contradicting(Chain):
    """Two observations that rule out each other's state by 200 nats."""

    steps = 2

    def model(self, x):
        with pyro.plate(PLATE, len(x)), pyro.plate("copies", 1, dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            infer = {"enumerate": "parallel"}
            k = pyro.sample("k", dist.Bernoulli(torch.tensor(0.5)), infer=infer)
            pyro.sample("first", dist.Normal(20 * k, 1.0), obs=x[:, 0])
            pyro.sample("second", dist.Normal(20 * k + 0 * z, 1.0), obs=x[:, 1])

    def guide(self, x):
        with pyro.plate(PLATE, len(x)), pyro.plate("copies", 1, dim=-2):
            pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))


def test_observations_that_contradict_each_other_leave_a_density():
    pair, x = Contradicting(), torch.tensor([[0.0, 20.0]])
    drawn = draw(pair, (x,), structure_of(pair, (x,)), 1)
    expected = Normal(0.0, 1.0).log_prob(torch.tensor([0.0, 20.0])).sum()
    torch.testing.assert_close(drawn.log_likelihood, expected.reshape(1, 1))


class Crossed(Classes):
    """A label for each row and one for each column of a table within a datapoint."""

    def model(self, x):
        infer = {"enumerate": "parallel"}
        rows = pyro.plate("rows", 2, dim=-1)
        columns = pyro.plate("columns", 2, dim=-2)
        with pyro.plate(PLATE, len(x), dim=-3):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1, 1), 1.0))
            with rows:
                first = pyro.sample("first", dist.Bernoulli(logits=z), infer=infer)
            with columns:
                second = pyro.sample("second", dist.Bernoulli(logits=z), infer=infer)
            with rows, columns:
                pyro.sample("x", dist.Normal(first + second, 1.0), obs=x.expand(-1, 2, 2))

    def guide(self, x):
        with pyro.plate(PLATE, len(x), dim=-3):
            pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1, 1), 1.0))


def test_labels_of_crossed_plates_are_refused_by_name():
    pair, x = Crossed(), torch.zeros(4, 1, 1)
    structure = structure_of(pair, (x,))
    with pytest.raises(ppvae.Unsupported, match="'first', 'second' cannot be summed out"):
        draw(pair, (x,), structure, 1)


@pytest.mark.parametrize("kind", [Classes, CountingClasses, Words, WordClasses, Chain])
def test_training_is_that_of_pyro(kind):
    x = data(kind()).float()
    objective = TraceEnum_ELBO(max_plate_nesting=2 if issubclass(kind, Words) else 1)
    theirs, ours = kind(), kind()
    svi = SVI(theirs.model, theirs.guide, pyro.optim.Adam({"lr": 0.1}), objective)
    with seeded(0):
        for _ in range(3):
            svi.step(x)  # all rows in one batch keep their order
    pyro.clear_param_store()
    optimizer = functools.partial(torch.optim.Adam, lr=0.1)
    ppvae.fit(
        ours,
        x,
        steps=3,
        batch_size=len(x),
        objective=objective,
        optimizer=optimizer,
        compile=False,
    )
    for (name, value), (_, other) in zip(
        theirs.named_parameters(), ours.named_parameters(), strict=True
    ):
        assert not torch.equal(value, dict(kind().named_parameters())[name])
        torch.testing.assert_close(value, other)
