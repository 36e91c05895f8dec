"""What was found is kept in a file, which may come from somebody else."""

import json
import math

import pytest
import xarray as xr

from ppvae.diagnostics import QUICK, Finding, Remedy, Verdict
from ppvae.reports.found import Found

COMMANDS = (
    "",
    "ppvae sample {run}",
    "ppvae refine {run} --split test --draws 500",
    "ppvae fit --config {run}/config.yaml --kl_weight LinearWarmup --kl_weight.steps 40",
    "ppvae fit --config {run}/config.yaml --likelihood StudentT --likelihood.highest 1.5",
)
EVIL = (
    "rm -rf ~",
    "ppvae sample {run}; rm -rf ~",
    "ppvae sample {run}\nrm -rf ~",
    "ppvae sample `rm`",
    "ppvae sample {run.__class__}",
    "ppvae fit digits --folder important --overwrite true",
    "ppvae fit digits --trust evil",
    "ppvae fit --config /tmp/evil.yaml",
)


def kept(command="", **changed):
    remedy = Remedy("search", "ppvae.refine(pair, data)", command, math.inf)
    finding = Finding("kl", Verdict.LOOK, "0.5 nats", "more", {}, 0.25, remedy)
    content = Found((finding,), {"sbc": "too long"}, 5, remedy, QUICK).content()
    content["findings"][0] |= changed
    return json.loads(json.dumps(content))


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_kept_is_read(command):
    read = Found.read(kept(command), {"kl": xr.Dataset()})
    assert read.next_step.command == command and read.level == "level quick"
    assert read.findings[0].shown("runs/x").startswith("look  kl")
    assert json.loads(json.dumps(read.content())) == kept(command)


@pytest.mark.parametrize("command", EVIL)
def test_no_command_of_another_is_shown(command):
    with pytest.raises(ValueError, match=r"is no command of ppvae"):
        Found.read(kept(command), {})


@pytest.mark.parametrize(
    "changed",
    [{"answer": 3}, {"name": ["a"]}, {"p_value": "x"}, {"remedy": {"nats": 1}}, {"verdict": 1}],
)
def test_other_types_are_refused(changed):
    with pytest.raises((TypeError, ValueError, KeyError)):
        Found.read(kept(**changed), {})
