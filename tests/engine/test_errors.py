"""The one line of an error names the cause, wherever the message or the code has it."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from ppvae.engine import Unsupported, first_line, noted
from ppvae.engine.errors import at_site


def raised(function, *arguments):
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return caught.value


def wrong_shape():
    def model():
        pyro.sample("x y", dist.Normal(torch.zeros(100, 3), 1.0), obs=torch.zeros(100, 4))

    trace = pyro.poutine.trace(model).get_trace()
    trace.compute_log_prob()


def test_the_cause_stands_behind_pyros_own_line():
    error = raised(wrong_shape)
    assert str(error).splitlines()[0] == "Error while computing log_prob at site 'x y':"
    cause = "shape mismatch of value and distribution, [100, 4] vs [100, 3]"
    assert first_line(error) == f"at site 'x y': {cause}"


def test_a_site_noted_is_said_once():
    def score(text):
        with at_site("x"), noted("while the model ran"):
            raise ValueError(text)

    assert first_line(raised(score, "no such value\nat all")) == "at site 'x': no such value"
    assert first_line(raised(score, "no value at site 'x'")) == "no value at site 'x'"


def test_a_line_goes_on_in_the_next():
    weights = raised(nn.Linear(2, 3).load_state_dict, {"weight": torch.zeros(3, 2)})
    assert first_line(weights) == (
        'Error(s) in loading state_dict for Linear: Missing key(s) in state_dict: "bias".'
    )
    unplated = ValueError('at site "x", invalid shape\n  Expected [5], actual [5, 3]\n  Try')
    assert first_line(unplated) == 'at site "x", invalid shape: Expected [5], actual [5, 3]'
    invalid = raised(dist.Normal, torch.tensor([torch.nan]), 1.0)
    assert first_line(invalid).endswith("but found invalid values:")
    assert first_line(ValueError("first\nsecond")) == "first"
    assert first_line(ValueError("first\n Trace Shapes:\n")) == "first"


class Broken:
    def __len__(self):
        return 4

    def __getitem__(self, row):
        raise KeyError(f"no row {row}")


@pytest.mark.slow
def test_the_error_of_another_process_is_found_in_its_traceback():
    error = raised(next, iter(DataLoader(Broken(), num_workers=1)))
    assert str(error).startswith("Caught KeyError in DataLoader worker")
    assert first_line(error) == "KeyError: 'no row 0'"


def test_what_another_error_hides_is_said():
    hidden = RuntimeError()
    hidden.__cause__ = KeyError("z")
    assert first_line(hidden) == "'z'"
    hidden = RuntimeError("it failed:")
    hidden.__context__ = KeyError("z")
    assert first_line(hidden) == "it failed: 'z'"


def test_an_assertion_without_a_message_is_shown_as_it_stands(tmp_path):
    source = "def check(x):\n    assert (\n        x.dim() == 2\n        and 'a' != 'b'\n    )\n"
    file = tmp_path / "network.py"
    for written, shown in (
        (source, "assert ( x.dim() == 2 and 'a' != 'b' )"),
        (source.replace("and 'a' != 'b'", ""), "assert ( x.dim() == 2 )"),
        ("def check(x):\n    raise AssertionError", "raise AssertionError"),
    ):
        file = file.with_stem(file.stem + "_")
        file.write_text(written)
        names = {}
        exec(compile(written, str(file), "exec"), names)
        assert first_line(raised(names["check"], torch.zeros(3))) == shown
    exec("def check(x): assert x is None", names)  # no file
    assert first_line(raised(names["check"], 1)) == "AssertionError"


@pytest.mark.parametrize("kind", [NotImplementedError, Unsupported, KeyError, AssertionError])
def test_no_line_is_empty(kind):
    assert first_line(kind()) == kind.__name__
    assert first_line(kind("")) == ("''" if kind is KeyError else kind.__name__)
