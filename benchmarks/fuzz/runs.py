"""Files of runs: configurations, pairs, checkpoints and measurements."""

import functools
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import xarray as xr
import yaml

import ppvae
from ppvae import data, networks, pairs
from ppvae.cli import configuration
from ppvae.cli.checking import Checker
from ppvae.diagnostics import QUICK
from ppvae.inference.persistence import ClosedList
from ppvae.inference.persistence.files import read_metadata
from ppvae.reports import Run
from ppvae.reports.formula_two import FormulaTwo
from ppvae.reports.kept import keep_formula_two, kept_diagnosis, kept_formula_two
from ppvae.reports.metrics import read_metrics as read_metrics_of

MARK = {"weights": "0", "split": "test"}
ROWS = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
CONFIGURATION = {
    "data": {"class_path": "ppvae.data.array", "init_args": {"path": "x.npy", "shuffle": True}},
    "latent": 2,
    "network": {
        "class_path": "ppvae.networks.MLP",
        "init_args": {"hidden": [8, 8], "activation": "torch.nn.Tanh"},
    },
    "prior": {"class_path": "ppvae.priors.NormalMixture", "init_args": {"components": 3}},
    "optimizer": {
        "class_path": "torch.optim.Adam",
        "init_args": {"lr": 1e-3, "betas": [0.5, 0.9]},
    },
    "objective": {"class_path": "pyro.infer.RenyiELBO", "init_args": {"alpha": 0.5}},
    "kl_weight": {"class_path": "ppvae.inference.LinearWarmup", "init_args": {"steps": 7}},
    "steps": 3,
    "compile": False,
    "seed": 0,
    "draws": 5,
}
_listed = functools.cache(ClosedList)


def configurations():
    text = yaml.safe_dump(CONFIGURATION, sort_keys=False).encode()
    return [text, json.dumps(CONFIGURATION).encode(), b"data: digits\nlatent: 2\n"]


def read_configuration(path):
    return Checker(path, _listed()).options(configuration.read(path))


@functools.cache
def _pair():
    """Return a small pair."""
    dataset = data.split("rows", ROWS, torch.distributions.constraints.unit_interval)
    return pairs.assemble(dataset, latent=2, network=functools.partial(networks.MLP, hidden=(4,)))


def _files(write):
    """Return the content of the files that a function writes into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@functools.cache
def _saved():
    return _files(lambda folder: ppvae.save(_pair(), folder))


def _without_digest():
    content = json.loads(_saved()["pair.json"])
    del content["weights"]
    return json.dumps(content, indent=2).encode()


def structures():
    return [_saved()["pair.json"], _without_digest()]


def weights():
    return [_saved()["pair.safetensors"]]


def pair(folder):
    (folder / "pair.safetensors").write_bytes(_saved()["pair.safetensors"])


def pair_without_digest(folder):
    (folder / "pair.json").write_bytes(_without_digest())


def read_pair(path):
    return ppvae.load(path.parent)


def _fit(folder, **options):
    return ppvae.fit(
        _pair(), ROWS, steps=3, batch_size=20, compile=False, progress=False, **options
    )


@functools.cache
def _checkpoint():
    return _files(lambda folder: _fit(folder, checkpoint=folder))


def checkpoint(folder):
    for name, content in _checkpoint().items():
        (folder / name).write_bytes(content)


def checkpoint_states():
    """Return the state as version 0.1 wrote it, which has no checksum: changes are looked into."""
    (name, content) = next(iter(_checkpoint().items()))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        state = json.loads(read_metadata(Path(folder) / name)["state"])
    return [json.dumps({"tensors": name, "state": state}).encode()]


def checkpoint_tensors():
    return [_checkpoint()["checkpoint-3.safetensors"]]


def read_checkpoint(path):
    with tempfile.TemporaryDirectory() as folder:  # a training writes where it reads
        for other in path.parent.iterdir():
            (Path(folder) / other.name).write_bytes(other.read_bytes())
        try:
            return _fit(folder, resume=folder)
        except Exception as error:
            if folder in str(error):  # the file is named
                raise type(error)(str(error).replace(folder, str(path.parent))) from error
            raise


def metrics():
    records = [{"step": 12 * n, "train_elbo": -9.5 - n, "seconds": 0.1} for n in range(4)]
    return ["".join(json.dumps(record) + "\n" for record in records).encode()]


def read_metrics(path):
    return read_metrics_of(path.parent)


def standardizations():
    return [json.dumps({"loc": [0.5, 1.0], "scale": [1.0, 2.0]}).encode()]


def read_standardization(path):
    found = Run(path.parent).standardization
    assert found is not None
    return found


def _numbers():
    return xr.Dataset({"kl": ("data", np.arange(5.0)), "trusted": ("data", np.arange(5) % 2)})


def diagnoses():
    remedy = {
        "reason": "search",
        "call": "ppvae.refine(pair, data)",
        "command": "ppvae refine {run}",
        "nats": 0.5,
        "cause": "",
    }
    finding = {
        "name": "kl",
        "verdict": "look",
        "answer": "0.5 nats",
        "advice": "more",
        "p_value": None,
        "remedy": remedy,
        "results": ["kl"],
    }
    content = {
        "of": MARK,
        "effort": asdict(QUICK),
        "datapoints": 5,
        "findings": [finding, finding | {"verdict": "fine", "p_value": 0.25, "results": []}],
        "left": {"sbc": "too long"},
        "next_step": remedy,
    }
    return [json.dumps(content, indent=2).encode()]


@functools.cache
def _groups():
    def write(folder):
        _numbers().to_netcdf(folder / "x.nc", group="kl", engine="h5netcdf")

    return _files(write)["x.nc"]


def diagnosis_numbers():
    return [_groups()]


def diagnosis(folder):
    (folder / "diagnosis-test.json").write_bytes(diagnoses()[0])
    (folder / "diagnosis-test.nc").write_bytes(_groups())


def read_diagnosis(path):
    found = kept_diagnosis(Run(path.parent), "test", MARK)
    if found is not None:  # it can be shown
        assert all(finding.shown("runs/x") for finding in found.findings)
        assert found.level and found.alarms is not None and found.results is not None
    return found


@functools.cache
def evidences():
    def write(folder):
        keep_formula_two(Run(folder), "test", MARK, FormulaTwo(_numbers(), unrefined="asked"))

    return [_files(write)["evidence-test.nc"]]


def read_evidence(path):
    return kept_formula_two(Run(path.parent), "test", MARK)
