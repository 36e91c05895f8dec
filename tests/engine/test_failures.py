"""Which rows a pair fails on."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import Unsupported
from ppvae.engine import on_sound_rows, run_pair, sound_rows
from tests.strangers import FixedPlate


class Fragile:
    """z ~ N(0, 1), x | z ~ N(z, 1); the guide is exact for |x| below 50.

    On rows above its scale is 0, on rows below -50 it is NaN.
    """

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("seen", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        scale = torch.where(x < -50, torch.nan, torch.where(x > 50, 0.0, 0.5**0.5))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, scale))


def rows(bad, count=40):
    x = 2**0.5 * torch.randn(count, generator=torch.Generator().manual_seed(0))
    for row, value in bad.items():
        x[row] = value
    return x


@pytest.mark.parametrize("bad", [{}, {3: 90.0}, {0: 90.0, 17: -80.0, 39: 1e9}])
def test_sound_rows_are_all_but_those_that_fail(bad):
    found = sound_rows(Fragile(), (rows(bad),)).tolist()
    assert found == [row for row in range(40) if row not in bad]


def test_others_are_measured_as_without_the_failed_rows():
    batch = (rows({3: 90.0, 20: -80.0}),)
    measured, sound, failure = on_sound_rows(
        Fragile(), batch, lambda part: run_pair(Fragile(), part)[0]["z"]["fn"].loc
    )
    assert torch.equal(measured, batch[0][sound] / 2)
    assert len(sound) == 38
    assert "scale" in failure and "while the guide ran on data of shape (40,)" in failure
    whole, _, none = on_sound_rows(Fragile(), (rows({}),), lambda part: part)
    assert none is None and len(whole[0]) == 40


def test_what_fails_on_every_row_is_raised():
    with pytest.raises(ValueError, match="parameter scale"):
        on_sound_rows(Fragile(), (torch.full((3,), 99.0),), lambda part: run_pair(Fragile(), part))


class Faulty(Fragile):
    """A mistake in the guide, whatever the data."""

    def guide(self, x):
        raise ValueError("wrong everywhere")


def refuse(part):
    raise Unsupported("does not apply")


@pytest.mark.parametrize(
    ("pair", "measure", "message"),
    [
        (Faulty(), lambda part: run_pair(Faulty(), part), "wrong everywhere"),
        (Fragile(), refuse, "does not apply"),
        (Fragile(), lambda part: int("seven"), "invalid literal"),
        (FixedPlate(), lambda part: int("seven"), "invalid literal"),
    ],
    ids=["faulty", "refusal", "own", "fixed"],
)
def test_errors_that_are_of_no_row_come_up_as_they_are(pair, measure, message):
    with pytest.raises(ValueError, match=message):
        on_sound_rows(pair, (torch.zeros(64, 1) if "Fixed" in repr(pair) else rows({}),), measure)
