"""What a pair's own code raises comes out as it was raised, with a note of where and on what."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppvae
from ppvae import diagnostics
from ppvae.engine import first_line, run_pair

X = torch.zeros(5)


class Offline(Exception):
    """An error whose constructor takes more than a message."""

    def __init__(self, host, code):
        super().__init__(f"{host} is offline\nretry later")
        self.code = code


class Plain:
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            self.observe(z, x)

    def observe(self, z, x):
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encode(x), 1.0))

    def encode(self, x):
        return x


class Raises(Plain):
    """A pair whose encoder or decoder raises."""

    def __init__(self, error, of_model):
        self.error, self.of_model = error, of_model

    def encode(self, x):
        if not self.of_model:
            raise self.error
        return x

    def observe(self, z, x):
        raise self.error


ERRORS = [
    (Offline, "db", 7),
    (ValueError, "two\nlines"),
    (RuntimeError, "CUDA out of memory"),
    (KeyError, "missing"),
    (NotImplementedError,),
    (AttributeError, "no such layer"),
]


@pytest.mark.parametrize("made", ERRORS, ids=lambda made: made[0].__name__)
@pytest.mark.parametrize("of_model", [False, True])
@pytest.mark.parametrize("call", [run_pair, lambda pair, x: diagnostics.weights(pair, x[0])])
def test_an_exception_of_the_pair_is_kept(call, of_model, made):
    kind, *arguments = made
    error = kind(*arguments)
    with pytest.raises(type(error)) as caught:
        call(Raises(error, of_model), (X,))
    assert caught.value is error
    program, after = ("model", ", after site 'z'") if of_model else ("guide", "")
    assert f"while the {program} ran on data of shape (5,){after}" in caught.value.__notes__
    assert caught.traceback[-1].name in ("encode", "observe")


def test_a_refusal_has_no_note():
    with pytest.raises(ppvae.Unsupported) as caught:
        run_pair(Raises(ppvae.Unsupported("labels are missing"), False), (X,))
    assert not hasattr(caught.value, "__notes__")
    assert str(caught.value) == "labels are missing"


class NoSampler(dist.Normal):
    has_rsample = False

    def sample(self, *args, **kwargs):
        raise NotImplementedError

    def expand(self, batch_shape, _instance=None):
        return NoSampler(*(part.expand(batch_shape) for part in (self.loc, self.scale)))


class Unsampled(Plain):
    def observe(self, z, x):
        pyro.sample("x", NoSampler(z, 1.0), obs=x)


def test_a_family_without_a_sampler_cannot_be_simulated():
    with pytest.raises(ppvae.Unsupported, match=r"drawn from \(NotImplementedError\)"):
        diagnostics.sbc(Unsampled(), X, simulations=50, draws=9)


class Unwritten(Plain):
    """A branch that only draws of x meet, and that nobody has written."""

    def observe(self, z, x):
        if pyro.sample("x", dist.Normal(z, 1.0), obs=x) is not x:
            raise NotImplementedError


def test_code_that_is_not_written_is_no_family_without_a_sampler():
    with pytest.raises(NotImplementedError) as caught:
        diagnostics.sbc(Unwritten(), X, simulations=50, draws=9)
    assert any("the model was simulated" in note for note in caught.value.__notes__)


class BreaksWhenSimulated(Plain):
    """A bug that only draws of x meet."""

    def observe(self, z, x):
        drawn = pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        if drawn is not x:
            raise IndexError("the bug")


def test_a_bug_that_only_simulations_meet_is_no_refusal():
    with pytest.raises(IndexError, match="the bug") as caught:
        diagnostics.sbc(BreaksWhenSimulated(), X, simulations=50, draws=9)
    note = "while the model was simulated on data of shape (50,), after site 'x'"
    assert note in caught.value.__notes__
    assert first_line(caught.value) == "the bug"
