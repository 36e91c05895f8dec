"""A training that was stopped anywhere and resumed equals one that never stopped, bit for bit."""

import functools
import json
import math
import random
import shutil
import uuid
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import constraints
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

import ppvae
from ppvae import likelihoods, networks, posteriors, priors
from ppvae.inference import Checkpoints, EarlyStopping, LinearWarmup
from ppvae.inference.persistence import as_columns, as_records

X = (torch.rand(90, 6, generator=torch.Generator().manual_seed(1)) < 0.4).float()
EVERY_STEP = 0.0
SAVED_BY_0_1 = Path(__file__).parent / "saved_by_0_1" / "run"


class Killed(BaseException):
    """Stops a training where no handler of its own is waiting."""


def vae():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 4))
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, 6, hidden=[8])),
        posteriors.DiagonalNormal(encoder),
    )


class InStore:
    """A pair that is no module: its parameters live in Pyro's store."""

    def model(self, x):
        loadings = pyro.param("loadings", torch.full((1, 6), 0.3))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=z @ loadings).to_event(1), obs=x)

    def guide(self, x):
        slope = pyro.param("slope", torch.zeros(6, 1))
        scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ slope, scale).to_event(1))


class Killer:
    """A KL weight that kills the training at a step."""

    def __init__(self, step, weight=None):
        self.step = step
        self.weight = weight or (lambda step: 1.0)

    def __call__(self, step):
        if step == self.step:
            raise Killed
        return self.weight(step)


def optimizer(cls, **options):
    return functools.partial(cls, **options)


def loader():
    return DataLoader(TensorDataset(X), batch_size=16, shuffle=True)


CASES = {
    "Adam": dict(steps=47),
    "epochs": dict(epochs=8),
    "SGD": dict(epochs=8, optimizer=optimizer(torch.optim.SGD, lr=1e-3, momentum=0.9)),
    "AdamW": dict(epochs=8, optimizer=optimizer(torch.optim.AdamW, lr=0.02)),
    "RMSprop": dict(epochs=8, optimizer=optimizer(torch.optim.RMSprop, lr=0.01, centered=True)),
    "Adamax": dict(epochs=8, optimizer=optimizer(torch.optim.Adamax, lr=0.01)),
    "StepLR": dict(epochs=8, schedule=optimizer(lr_scheduler.StepLR, step_size=2)),
    "MultiStepLR": dict(epochs=8, schedule=optimizer(lr_scheduler.MultiStepLR, milestones=[2, 5])),
    "cosine": dict(epochs=8, schedule=optimizer(lr_scheduler.CosineAnnealingLR, T_max=8)),
    "sequence": dict(
        epochs=8,
        schedule=lambda optim: lr_scheduler.SequentialLR(
            optim,
            [lr_scheduler.LinearLR(optim), lr_scheduler.ExponentialLR(optim, 0.5)],
            milestones=[3],
        ),
    ),
    "plateau": dict(
        epochs=8, schedule=optimizer(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.5)
    ),
    "early stopping": dict(epochs=60, optimizer=optimizer(torch.optim.Adam, lr=0.1), patience=2),
    "warm-up": dict(epochs=8, weight=LinearWarmup(30)),
    "clipped": dict(epochs=8, clip_norm=1.0),
    "DataLoader": dict(epochs=8, data=loader),
    "in Pyro's store": dict(epochs=8, pair=InStore),
}


def trained(case, tmp_path=None, killed_at=None, resume=None):
    case = dict(case)
    patience, weight = case.pop("patience", None), case.pop("weight", None)
    pair = case.pop("pair", vae)()
    data = case.pop("data", lambda: X)()
    result = ppvae.fit(
        pair,
        data,
        batch_size=16 if data is X else None,
        validation=X[:40],
        kl_weight=Killer(killed_at, weight),
        callbacks=[] if patience is None else [EarlyStopping(patience)],
        checkpoint=None if tmp_path is None else Checkpoints(tmp_path, seconds=EVERY_STEP),
        resume=resume,
        seed=4,
        **case,
    )
    if isinstance(pair, nn.Module):
        tensors = {name: value.clone() for name, value in pair.state_dict().items()}
    else:
        tensors = {n: v.detach().clone() for n, v in pyro.get_param_store().items()}
        pyro.clear_param_store()
    return result, tensors


def assert_same(first, second):
    (result, tensors), (other, others) = first, second
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)
    assert result.history.drop_vars("seconds").identical(other.history.drop_vars("seconds"))
    assert (result.steps, result.reason) == (other.steps, other.reason)


FAST = {"plateau", "in Pyro's store"}
ALIKE = {"epochs", "AdamW", "Adamax", "StepLR", "MultiStepLR"}  # as others of these


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            n, marks=pytest.mark.verify if n in ALIKE else [pytest.mark.slow][n in FAST :]
        )
        for n in CASES
    ],
)
def test_resumed_training_equals_the_uninterrupted_one(name, tmp_path):
    case = CASES[name]
    whole = trained(case)
    # The twelfth step ends an epoch, where an evaluation follows.
    moments = sorted({12, *random.Random(name).sample(range(1, whole[0].steps), 2)})
    resume = None
    for moment in moments:
        with pytest.raises(Killed):
            trained(case, tmp_path, killed_at=moment, resume=resume)
        pyro.clear_param_store()
        torch.rand(7), np.random.rand(3), random.random()  # another process has another state
        resume = tmp_path
    assert_same(trained(case, tmp_path, resume=tmp_path), whole)


def test_checkpoints_change_nothing(tmp_path):
    assert_same(trained(CASES["Adam"], tmp_path), trained(CASES["Adam"]))


def test_finished_training_has_nothing_left_to_do(tmp_path):
    whole = trained(CASES["early stopping"], tmp_path)
    assert whole[0].reason == "stopped"
    assert_same(trained(CASES["early stopping"], resume=tmp_path), whole)


def test_more_steps_go_on_where_fewer_ended(tmp_path):
    trained({"steps": 20}, tmp_path)
    _, tensors = trained({"steps": 47}, resume=tmp_path)
    _, expected = trained({"steps": 47})
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_folder_holds_one_whole_checkpoint(tmp_path):
    (tmp_path / ".checkpoint-3.safetensors.abc").write_bytes(b"left by a killed process")
    trained(CASES["Adam"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-47.safetensors"]


def state(step):
    return {"step": step, "weights": torch.arange(6.0).reshape(2, 3).T + step, "one": (1, [2.5])}


def kept(folder, *steps, keep=3):
    """Write checkpoints of some steps; return what is kept of them."""
    checkpoints = Checkpoints(folder, keep=keep)
    for step in steps:
        checkpoints.write(step, state(step))
    return checkpoints


def steps_in(folder):
    return sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob("checkpoint-*"))


def test_the_last_checkpoints_are_kept(tmp_path):
    kept(tmp_path, 300, 400)  # of another training, which is not gone on with
    (tmp_path / "checkpoint-best.safetensors").touch()  # the user's own
    checkpoints = kept(tmp_path, *range(0, 50, 10))
    assert checkpoints.step == 40 and checkpoints.exists
    (tmp_path / "checkpoint-best.safetensors").unlink()
    assert steps_in(tmp_path) == [20, 30, 40]
    read = Checkpoints(tmp_path).read()
    assert torch.equal(read.pop("weights"), state(40)["weights"])
    assert read == {"step": 40, "one": (1, [2.5])}


def cut(content):
    return content[:-20]


def changed(content):
    return content[:-1] + bytes([content[-1] ^ 1])  # one bit of the last weight


@pytest.mark.parametrize("damage", [cut, changed, lambda content: b""])
def test_training_goes_on_from_the_newest_checkpoint_that_is_whole(damage, tmp_path, caplog):
    kept(tmp_path, 1, 2, 3)
    path = tmp_path / "checkpoint-3.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.read()["step"] == 2
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{path} is damaged: ")
    assert record.getMessage().endswith("; training goes on from checkpoint-2.safetensors")
    checkpoints.write(3, state(3))
    assert steps_in(tmp_path) == [2, 3] and checkpoints.read()["step"] == 3
    for other in tmp_path.iterdir():
        other.write_bytes(damage(other.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint-3.safetensors is damaged"):
        checkpoints.read()


def test_checkpoints_after_a_damaged_one_are_not_resumed_from_later(tmp_path):
    kept(tmp_path, 1, 2, 3)
    (tmp_path / "checkpoint-3.safetensors").write_bytes(b"")
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.read()
    checkpoints.write(2, state(2))  # fewer steps than the damaged one
    assert steps_in(tmp_path) == [1, 2]


def test_a_checkpoint_of_version_0_1_is_read_and_then_replaced(tmp_path):
    run = shutil.copytree(SAVED_BY_0_1, tmp_path / "run")
    checkpoints = Checkpoints(run)
    assert checkpoints.exists and checkpoints.read()["step"] == 6
    checkpoints.write(7, state(7))
    assert not (run / "checkpoint.json").exists() and steps_in(run) == [7]


def test_a_hundred_thousand_evaluations_take_ten_megabytes(tmp_path):
    names = ("step", "epoch", *(f"number {i}" for i in range(11)))
    records = [dict.fromkeys(names, 1 / 3) | {"step": i, "epoch": i} for i in range(1000)]
    records += [{"step": 1000, "epoch": 1000}, {"step": 1001, "epoch": math.nan}]
    kept(tmp_path)
    Checkpoints(tmp_path).write(1, {"records": as_columns(records)})
    assert (tmp_path / "checkpoint-1.safetensors").stat().st_size < 110 * len(records)
    read = as_records(Checkpoints(tmp_path).read()["records"])
    assert repr(read) == repr(records)  # types too, and NaN


def test_checkpoint_is_written_when_it_is_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    checkpoints = Checkpoints(tmp_path, seconds=30, steps=4)
    assert [step for step in range(1, 9) if checkpoints.due(step)] == [4, 8]
    now[0] = 30.0
    assert checkpoints.due(1)
    checkpoints.write(1, {"step": 1})
    assert not checkpoints.due(1) and checkpoints.due(4) and checkpoints.exists
    assert checkpoints.read() == {"step": 1}
    now[0] = 1e9
    assert not Checkpoints(tmp_path, seconds=None).due(1)


def test_diverged_training_returns_to_good_weights_after_a_resume(tmp_path):
    with pytest.raises(Killed):
        trained({"steps": 47}, tmp_path, killed_at=20)
    pair = vae()
    with pytest.raises(ppvae.inference.Diverged):
        ppvae.fit(
            pair,
            X,
            batch_size=16,
            validation=X[:40],
            kl_weight=lambda step: 1e300 if step > 21 else 1.0,
            resume=tmp_path,
            steps=47,
            seed=4,
        )
    assert all(torch.isfinite(tensor).all() for tensor in pair.state_dict().values())


def moved(folder, **options):
    """Train 6 steps beyond a checkpoint of 3; return the fit and the weights."""
    pair, folder = vae(), shutil.copytree(folder, folder.parent / uuid.uuid4().hex)
    chosen = {"batch_size": 16, "steps": 9, "seed": 4, "compile": False} | options
    fit = ppvae.fit(pair, X, resume=folder, **chosen)
    return fit, torch.cat([p.detach().flatten() for p in pair.parameters()])


OPTIONS = {
    "learning rate": dict(lr=1e-5),
    "betas": dict(betas=(0.5, 0.9)),
    "weight decay": dict(weight_decay=1.0),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options_of_the_optimizer_are_those_of_the_call(options, folder):
    """As torch's own optimizer does that takes the options over in its groups."""
    fit, weights = moved(folder, optimizer=optimizer(torch.optim.Adam, **options))
    assert float(fit.history.learning_rate[-1]) == options.get("lr", 1e-3)

    class Changed(torch.optim.Adam):
        def load_state_dict(self, state):
            super().load_state_dict(state)
            self.param_groups[0].update(options)

    Changed.__name__ = "Adam"
    _, expected = moved(folder, optimizer=optimizer(Changed, lr=1e-3))
    assert torch.equal(weights, expected)
    assert not torch.equal(weights, moved(folder)[1])


def test_options_of_a_resumed_training_last(folder):
    _, expected = moved(folder, optimizer=optimizer(torch.optim.Adam, lr=1e-5))
    pair = vae()
    for steps in (5, 9):
        slower = optimizer(torch.optim.Adam, lr=1e-5)
        ppvae.fit(pair, X, batch_size=16, steps=steps, seed=4, resume=folder, optimizer=slower)
    assert torch.equal(torch.cat([p.detach().flatten() for p in pair.parameters()]), expected)


def test_each_group_keeps_the_moments_of_its_own_parameters(tmp_path):
    def divided(parameters):
        parameters = [*parameters]
        return torch.optim.Adam([{"params": parameters[1::2]}, {"params": parameters[::2]}])

    whole = trained({"steps": 20, "optimizer": divided})
    trained({"steps": 12, "optimizer": divided}, tmp_path)
    assert_same(trained({"steps": 20, "optimizer": divided}, resume=tmp_path), whole)


REFUSED = {
    "another seed": (dict(seed=5), "another training, with seed 4, not 5"),
    "another batch size": (dict(batch_size=30), "with steps an epoch 6, not 3"),
    "other data": (dict(data=X[:80]), "with rows of data 90, not 80"),
    "another optimizer": (dict(optimizer=torch.optim.Adamax), "with optimizer Adam, not Adamax"),
    "another schedule": (
        dict(schedule=lambda optim: lr_scheduler.StepLR(optim, 2)),
        "with schedule NoneType, not StepLR",
    ),
    "other callbacks": (dict(callbacks=[EarlyStopping()]), "with number of callbacks 0, not 1"),
    "another pair": (
        dict(pair=ppvae.VAE(
            priors.StandardNormal(2),
            likelihoods.Bernoulli(nn.Linear(2, 6)),
            posteriors.DiagonalNormal(nn.Linear(6, 4)),
        )),
        "another training, with parameters",
    ),
}  # fmt: skip


STEPPED = {
    "lr=0.001, not 0.01, and the StepLR goes on from it": dict(
        optimizer=optimizer(torch.optim.Adam, lr=0.01)
    ),
    "step_size=2, not 3; continue": dict(schedule=optimizer(lr_scheduler.StepLR, step_size=3)),
    "amsgrad=False, not True": dict(optimizer=optimizer(torch.optim.Adam, amsgrad=True)),
}


@pytest.mark.parametrize(("message", "change"), STEPPED.items())
def test_changes_with_which_a_training_cannot_go_on_are_refused(message, change, tmp_path):
    options = dict(batch_size=16, seed=4, schedule=optimizer(lr_scheduler.StepLR, step_size=2))
    ppvae.fit(vae(), X, epochs=2, checkpoint=tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        ppvae.fit(vae(), X, epochs=4, resume=tmp_path, **options | change)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    ppvae.fit(vae(), X, batch_size=16, steps=3, seed=4, checkpoint=folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(checkpoint, tmp_path):
    for name, content in checkpoint.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_checkpoint_of_another_training_is_refused(change, message, folder):
    arguments = dict(pair=vae(), data=X, batch_size=16, steps=9, seed=4) | change
    pair, data = arguments.pop("pair"), arguments.pop("data")
    before = {name: tensor.clone() for name, tensor in pair.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        ppvae.fit(pair, data, resume=folder, **arguments)
    assert all(torch.equal(before[name], tensor) for name, tensor in pair.state_dict().items())


def test_damaged_checkpoint_is_refused_by_name(folder):
    path = folder / "checkpoint-3.safetensors"
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(ValueError, match="checkpoint-3.safetensors is damaged"):
        ppvae.fit(vae(), X, batch_size=16, steps=9, seed=4, resume=folder)


def test_state_without_a_part_is_refused(folder):
    checkpoints = Checkpoints(folder)
    whole = checkpoints.read()
    checkpoints.write(3, {name: part for name, part in whole.items() if name != "records"})
    with pytest.raises(ValueError, match="does not fit this training: 'records'"):
        ppvae.fit(vae(), X, batch_size=16, steps=9, seed=4, resume=folder)


FIRST = {
    "cut": (lambda text: text[:-20], "checkpoint.json is damaged"),
    "another kind": (lambda text: "[]", "expected an object"),
    "without tensors": (
        lambda text: text.replace("weights/", "w/"),
        "checkpoint.json is damaged: it lacks",
    ),
}


@pytest.mark.parametrize(("change", "message"), FIRST.values(), ids=FIRST.keys())
def test_damaged_checkpoint_of_version_0_1_is_refused_by_name(change, message, tmp_path):
    run = shutil.copytree(SAVED_BY_0_1, tmp_path / "run")
    (run / "checkpoint.json").write_text(change((run / "checkpoint.json").read_text()))
    with pytest.raises(ValueError, match=message):
        Checkpoints(run).read()


def test_state_names_no_file_outside_its_folder(tmp_path):
    content = {"tensors": "../../elsewhere.safetensors", "state": {"dict": []}}
    (tmp_path / "checkpoint.json").write_text(json.dumps(content))
    with pytest.raises(FileNotFoundError) as error:
        Checkpoints(tmp_path).read()
    assert error.value.filename == str(tmp_path / "elsewhere.safetensors")


def test_two_trainings_into_one_folder_are_refused(folder):
    with Checkpoints(folder).lock:
        for place in ({"resume": folder}, {"checkpoint": folder}):
            with pytest.raises(OSError, match="trains into this folder") as error:
                ppvae.fit(vae(), X, batch_size=16, steps=9, seed=4, **place)
            assert error.value.filename == str(folder)
    with pytest.raises(FileNotFoundError, match="holds no checkpoint to resume from"):
        ppvae.fit(vae(), X, resume=folder / "not" / "there")
    assert [path.name for path in folder.iterdir()] == ["checkpoint-3.safetensors"]


def test_what_has_no_state_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint to resume from"):
        ppvae.fit(vae(), X, steps=3, resume=tmp_path)
    with pytest.raises(ValueError, match="checkpoints need a torch optimizer"):
        ppvae.fit(vae(), X, steps=3, optimizer=pyro.optim.Adam({}), checkpoint=tmp_path)
    with pytest.raises(TypeError, match=r"cannot be saved: callbacks/0/why is a function"):
        Checkpoints(tmp_path).write(1, {"callbacks": [{"why": len.__call__.__init__ and vae}]})
    for wrong in ({"seconds": -1}, {"steps": 0}, {"keep": 0}):
        with pytest.raises(ValueError, match=r"Checkpoints needs \w+ of at least [01], got "):
            Checkpoints(tmp_path, **wrong)
