"""The command line as its user types it."""

import errno
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import ppvae
from ppvae import data, diagnostics
from ppvae.cli import main
from ppvae.engine.compilation import replay
from ppvae.inference import default_training
from ppvae.inference.persistence import Lock
from tests.inference.test_interruption import handled
from tests.marks import slow_but

DRAWN = ["fit", "digits", "--epochs", "2", "--draws", "20", "--network.width", "16"]
PLAIN = ["--figures", "false"]
QUICK = [*DRAWN, *PLAIN]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    path = list(sys.path)
    here = os.getcwd()
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = path
    os.chdir(here)


@pytest.mark.slow
def test_fit_writes_a_run_and_diagnose_reads_it(capsys):
    assert main(DRAWN) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    table = shown.out.splitlines()
    assert table[-1] == "runs/digits-1"
    assert all(len(line) <= 100 for line in table)
    first = [line.partition(" ")[0] for line in table[:6]]
    assert first == ["data", "likelihood", "pair", "scaling", "run", "finished"]
    run = Path("runs/digits-1")
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    split = ("evidence", "kl", "latents", "reconstructions", "samples", "traversals")
    figures = ("training", *(f"{name}-test" for name in (*split, "worst-and-best")))
    assert files == {
        "config.yaml",
        "metrics.jsonl",
        "pair.json",
        "data.json",
        "pair.safetensors",
        "checkpoint-24.safetensors",
        "evidence-test.json",
        "evidence-test.nc",
        *(f"figures/{name}.png" for name in figures),
    }
    assert all((run / f"figures/{name}.png").read_bytes()[:4] == b"\x89PNG" for name in figures)
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in metrics] == [1, 2]
    assert main(["diagnose", str(run), "--draws", "20"]) == 0
    measured = capsys.readouterr().out.splitlines()
    assert len(measured) > 5 and measured == table[-len(measured) :]


def test_what_is_printed_is_what_the_library_measures(capsys):
    assert main(QUICK) == 0
    pair = ppvae.load("runs/digits-1")
    evidence = diagnostics.evidence(pair, data.digits().test, draws=20, seed=0)
    expected = diagnostics.summarize(evidence).sel(term="log_evidence")
    written = json.loads(Path("runs/digits-1/evidence-test.json").read_text())
    assert written["terms"]["log_evidence"]["mean"] == pytest.approx(float(expected["mean"]))
    assert f"{float(expected['mean']):.3f}" in capsys.readouterr().out


@pytest.mark.slow
def test_configuration_repeats_the_run_exactly():
    chosen = [
        "--seed",
        "5",
        "--kl_weight",
        "ppvae.inference.LinearWarmup",
        "--kl_weight.steps",
        "9",
    ]
    assert main([*QUICK, *chosen]) == 0
    assert main(["fit", "--config", "runs/digits-1/config.yaml"]) == 0
    first, second = (load_file(f"runs/digits-{n}/pair.safetensors") for n in (1, 2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    configs = [Path(f"runs/digits-{n}/config.yaml").read_text() for n in (1, 2)]
    assert configs[0] == configs[1]
    assert yaml.safe_load(configs[0])["seed"] == 5


def test_the_default_training_is_in_the_configuration(capsys):
    """Options of before that were left out, as they were None, stay None."""

    def shown(*words):
        assert main(["fit", *words, "--print_config"]) == 0
        options = yaml.safe_load(capsys.readouterr().out)
        rate = options["optimizer"]["init_args"]["lr"]
        return options, (rate, options["schedule"], options["patience"])

    falling = {"class_path": "ppvae.inference.CosineDecay", "init_args": {}}
    whole, chosen = shown("digits")
    assert chosen == (default_training.RATE, falling, default_training.PATIENCE)
    none = ["--schedule", "null", "--patience", "null", "--optimizer.lr", "0.01"]
    assert shown("digits", *none)[1] == (0.01, None, None)
    Path("mine.yaml").write_text("data: digits\nlatent: 3\n")
    assert shown("--config", "mine.yaml")[1] == chosen
    before = {name: whole[name] for name in whole if name not in ("schedule", "patience")}
    Path("run.yaml").write_text(yaml.safe_dump(before))
    assert shown("--config", "run.yaml")[1] == (default_training.RATE, None, None)


def test_every_part_can_be_chosen():
    chosen = """
        --latent 3 --network MLP --network.hidden [8,8] --network.activation torch.nn.Tanh
        --prior StandardNormal --posterior DiagonalNormal
        --likelihood Normal --likelihood.scale ppvae.likelihoods.LearnedScale
        --likelihood.scale.initial 2.0
        --optimizer AdamW --optimizer.lr 0.01 --schedule StepLR --schedule.step_size 1
        --objective TraceMeanField_ELBO --objective.num_particles 2
        --clip_norm 100 --batch_size 500 --patience 5 --steps 6 --draws 5
    """
    assert main(["fit", "digits", *chosen.split(), *PLAIN]) == 0
    pair = ppvae.load("runs/digits-1")
    assert isinstance(pair.likelihood, ppvae.likelihoods.Normal)
    assert isinstance(pair.likelihood.network.layers[1], torch.nn.Tanh)
    assert pair.likelihood.scale.initial == 2.0


@pytest.mark.slow
def test_pseudo_inputs_make_a_vamp_prior():
    words = [*QUICK, "--pseudo_inputs", "20", "--seed", "3"]
    assert main(words) == 0
    assert main(["fit", "--config", "runs/digits-1/config.yaml"]) == 0
    first, second = (ppvae.load(f"runs/digits-{n}") for n in (1, 2))
    assert first.prior.posterior is first.posterior
    assert first.prior.pseudo_inputs().shape == (20, 64)
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert main(["diagnose", "runs/digits-1", "--draws", "5", *PLAIN]) == 0


@pytest.mark.parametrize("highest", [16, 255])
def test_bits_per_dimension_are_reported_of_bytes_alone(highest, capsys):
    np.save("levels.npy", np.random.default_rng(0).integers(0, 17, size=(100, 6)))
    likelihood = ["--likelihood", "DiscretizedLogisticMixture", f"--likelihood.highest={highest}"]
    assert main(["fit", "levels.npy", *likelihood, "--steps", "2", "--draws", "5", *PLAIN]) == 0
    content = json.loads(Path("runs/levels-1/evidence-test.json").read_text())
    shown = re.findall(r"bits per dimension +([\d.]+)", capsys.readouterr().out)
    nats = content["terms"]["log_evidence"]["mean"]
    bits = [-nats / (6 * math.log(2))] if highest == 255 else []
    assert [float(value) for value in shown] == pytest.approx(bits, abs=5e-4)
    reported = content.get("bits_per_dimension", {"mean": None})["mean"]
    assert [reported] == pytest.approx(bits or [None])


def test_folder_is_not_overwritten_unless_asked(capsys):
    chosen = [*QUICK, "--folder", "here"]
    assert main(chosen) == 0
    assert main(chosen) == 2
    assert (
        "here exists; choose another --folder or add --overwrite true" in capsys.readouterr().err
    )
    assert main([*chosen, "--overwrite", "true"]) == 0
    assert len(Path("here/metrics.jsonl").read_text().splitlines()) == 2


OWN_PAIR = """
import pyro, pyro.distributions as dist, torch
from torch import nn

class MyPair(nn.Module):
    def __init__(self, features: int, latent: int = 2):
        super().__init__()
        self.features, self.latent = features, latent
        self.encoder, self.decoder = nn.Linear(features, latent), nn.Linear(latent, features)

    def model(self, x):
        with pyro.plate("data", len(x)):
            code = pyro.sample("code", dist.Normal(x.new_zeros(self.latent), 1.0).to_event(1))
            mean = self.decoder(code)
            pyro.sample("pixels", dist.Normal(mean, 3.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("code", dist.Normal(self.encoder(x / 16), 0.3).to_event(1))
"""


def test_own_pair_by_import_path(capsys, monkeypatch):
    Path("own_module.py").write_text(OWN_PAIR)
    chosen = ["--pair", "own_module.MyPair", "--pair.latent", "3", "--epochs", "1", "--draws", "9"]
    assert main(["fit", "digits", *chosen, *PLAIN]) == 0
    capsys.readouterr()
    run = "runs/digits-1"
    assert main(["diagnose", run]) == 2
    assert "if you trust it, add --trust own_module.MyPair" in capsys.readouterr().err
    measure = ["diagnose", run, "--draws", "9", *PLAIN, "--trust"]
    assert main([*measure, "own_module.Other"]) == 2
    assert main([*measure, '["own_module"]']) == 0
    assert main([*measure, "own_module.MyPair"]) == 0
    assert "active latent units" in capsys.readouterr().out
    monkeypatch.delitem(sys.modules, "own_module", raising=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:only the results are exported")
def test_an_exception_of_ones_own_pair_is_a_finding(capsys, monkeypatch):
    """On simulated pixels below 0 it costs one diagnostic, on all pixels the exit code tells."""
    checked = "        assert x.min() >= LEAST\n        with"
    guide = "def guide(self, x):\n"
    Path("own_checks.py").write_text(
        "LEAST = 0\n" + OWN_PAIR.replace(f"{guide}        with", f"{guide}{checked}")
    )
    fitted = ["--pair", "own_checks.MyPair", "--epochs", "1", "--draws", "9"]
    assert main(["fit", "digits", *fitted, *PLAIN]) == 0
    monkeypatch.setattr(diagnostics, "QUICK", diagnostics.Effort(20, 20, simulations=30))
    run = ["diagnose", "runs/digits-1", "--draws", "9", *PLAIN, "--trust", "own_checks.MyPair"]
    capsys.readouterr()
    assert main([*run, "--level", "quick"]) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"\?     calibration +AssertionError at\s+\S+own_checks.py:\d+:\s+assert", shown
    )
    assert "assert x.min() >= LEAST" in shown and "latents in use" in shown
    assert main([*run, "--level", "quick", "--strict", "true"]) == 1
    assert "AssertionError: assert x.min() >= LEAST (" in capsys.readouterr().err
    monkeypatch.setattr(sys.modules["own_checks"], "LEAST", 1)
    assert main([*run, "--level", "quick"]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("assert x.min() >= LEAST") == 5 and "AssertionError" in shown.err
    assert main(run) == 1
    monkeypatch.delitem(sys.modules, "own_checks", raising=False)


def test_pseudo_likelihood_is_trained_and_its_evidence_refused(capsys):
    # The pixels of digits are no gray values in [0, 1], so the run is made by hand.
    torch.manual_seed(0)
    pair = ppvae.pairs.assemble(
        data.digits(), likelihood=ppvae.likelihoods.GrayBernoulli, latent=2
    )
    with pytest.raises(ValueError, match="'x' GrayBernoulli is a pseudo-likelihood"):
        diagnostics.evidence(pair, data.digits().test / 16, draws=3)
    assert diagnostics.weights(pair, data.digits().test / 16, draws=3).sizes["draw"] == 3
    assert diagnostics.active_units(pair, data.digits().test / 16).variance.z.shape == (2,)
    assert ppvae.fit(pair, data.digits().train / 16, steps=2).steps == 2


@pytest.mark.slow
def test_failed_overwriting_leaves_the_run_that_was_there(capsys):
    assert main([*QUICK, "--folder", "here"]) == 0
    before = {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()}
    assert main([*QUICK, "--folder", "here", "--overwrite", "true", "--batch_size", "99999"]) == 2
    after = {path: path.read_bytes() for path in Path("here").rglob("*") if path.is_file()}
    assert after == before
    assert [path.name for path in Path(".").iterdir()] == ["here"]
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    assert main([*QUICK, "--folder", "mine", "--overwrite", "true"]) == 2
    assert "mine/thesis.txt is no file of a run" in capsys.readouterr().err
    # A configuration alone makes no run: many a project has a file of this name.
    Path("mine/config.yaml").write_text("data: digits")
    assert main([*QUICK, "--folder", "mine", "--overwrite", "true"]) == 2
    assert Path("mine/thesis.txt").exists()
    Path("mine/thesis.txt").unlink()
    Path("mine/config.yaml").unlink()
    Path("mine/metrics.jsonl").touch()
    assert main([*QUICK, "--folder", "mine", "--overwrite", "true"]) == 2
    assert "it holds no config.yaml" in capsys.readouterr().err


@pytest.mark.slow
def test_overwriting_leaves_nothing_of_the_run_before():
    assert main([*QUICK, "--folder", "here"]) == 0
    assert main(["diagnose", "here", "--split", "train", "--draws", "3", *PLAIN]) == 0
    assert main([*QUICK, "--folder", "here", "--overwrite", "true"]) == 0
    assert not Path("here/evidence-train.json").exists()
    assert [path.name for path in Path(".").iterdir()] == ["here"]


LEARNED_PRIOR = """
import pyro.distributions as dist, torch
from torch import nn
from ppvae.priors import Prior

class Learned(Prior):
    def __init__(self, features: int):
        super().__init__()
        self.features, self.loc = features, nn.Parameter(torch.zeros(features))

    def forward(self, *conditions):
        return dist.Normal(self.loc, 1.0).to_event(1)

class Heavy(Learned):
    def forward(self, *conditions):
        return dist.StudentT(3.0, self.loc).to_event(1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "figure"), [("Learned", True), ("Heavy", False)])
def test_prior_of_ones_own(name, figure, capsys, monkeypatch):
    Path("own_prior.py").write_text(LEARNED_PRIOR)
    assert main([*DRAWN, "--prior", f"own_prior.{name}"]) == 0
    assert "log P(X)" in capsys.readouterr().out
    assert Path("runs/digits-1/figures/kl-test.png").exists() is figure
    monkeypatch.delitem(sys.modules, "own_prior", raising=False)


@pytest.mark.slow
def test_own_pair_from_a_configuration_gets_its_features(monkeypatch, capsys):
    Path("own_module.py").write_text(OWN_PAIR)
    Path("mine.yaml").write_text(
        "data: digits\npair: own_module.MyPair\nsteps: 2\ndraws: 3\nfigures: false\n"
    )
    assert main(["fit", "--config", "mine.yaml"]) == 2
    assert "add --trust own_module.MyPair" in capsys.readouterr().err
    assert main(["fit", "--config", "mine.yaml", "--trust", "own_module.MyPair"]) == 0
    chosen = ["diagnose", "runs/digits-1", "--draws", "3", "--pair", "own_module.MyPair"]
    assert main([*chosen, *PLAIN]) == 0
    monkeypatch.delitem(sys.modules, "own_module", raising=False)


FOREIGN = {
    "kl_weight: os.system": "names 'os.system' under 'kl_weight'",
    "data: {class_path: os.system}": "names 'os.system' under 'data'",
    "optimizer: {class_path: my.Adam}": "names 'my.Adam' under 'optimizer.class_path'",
    "network: subprocess.Popen": "names 'subprocess.Popen' under 'network'",
}


@pytest.mark.parametrize(("line", "message"), FOREIGN.items(), ids=FOREIGN.keys())
def test_configuration_that_names_a_foreign_class_is_refused(line, message, capsys):
    Path("foreign.yaml").write_text(line if line.startswith("data") else f"data: digits\n{line}")
    assert main(["fit", "--config", "foreign.yaml"]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1


def test_run_that_names_a_foreign_dataset_is_refused(capsys):
    assert main(QUICK) == 0
    config = Path("runs/digits-1/config.yaml")
    config.write_text(config.read_text().replace("ppvae.data.digits", "os.getcwd"))
    for command in (["diagnose", "runs/digits-1"], ["fit", "--resume", "runs/digits-1"]):
        assert main(command) == 2
        assert "names 'os.getcwd'" in capsys.readouterr().err


@pytest.mark.slow
def test_epochs_are_counted_as_epochs(capsys):
    assert main([*QUICK, "--epochs", "10", "--batch_size", "1000"]) == 0
    assert "\nfinished after 20 steps, 10 epochs; not compiled: " in capsys.readouterr().out


def test_interrupt_while_measuring_keeps_the_pair_and_names_the_folder(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(diagnostics, "evidence", interrupted)
    assert main(QUICK) == 130
    shown = capsys.readouterr()
    assert shown.out.endswith("runs/digits-1\n")
    assert "interrupted while measuring; the pair is kept" in shown.err
    assert ppvae.load("runs/digits-1")


ENDED = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize(("number", "code"), ENDED.items(), ids=[n.name for n in ENDED])
def test_a_signal_ends_a_run_that_can_be_gone_on_with(number, code, capsys, monkeypatch):
    take = ppvae.reports.Metrics.__call__

    def asking(self, training):
        take(self, training)
        if not training.ended and training.epoch == 1:
            signal.raise_signal(number)

    words = [*QUICK, "--compile", "false", "--folder", "my run", "--checkpoint_seconds", "null"]
    with monkeypatch.context() as patch, handled():
        patch.setattr(ppvae.reports.Metrics, "__call__", asking)
        assert main(words) == code
    shown = capsys.readouterr()
    assert shown.out.endswith("\nmy run\n") and "interrupted after 13 steps" in shown.out
    assert shown.err == (
        "ppvae: error: interrupted: the pair and the checkpoint of step 13 are saved; go on with "
        "`ppvae fit --resume 'my run'`\n"
    )
    assert ppvae.load("my run") and not Path("my run/evidence-test.json").exists()
    if number == signal.SIGINT:
        with Lock(Path("my run")):
            for command in (["--resume", "my run"], [*words[1:], "--overwrite", "true"]):
                assert main(["fit", *command]) == 2
                shown = capsys.readouterr().err
                assert f"my run: process {os.getpid()} on " in shown and shown.count("\n") == 1
        assert main(["fit", "--resume", "my run"]) == 0
        lines = Path("my run/metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == [12, 24] and not Path("my run/training.lock").exists()


@pytest.mark.slow
def test_configuration_keeps_the_step_of_the_switch(monkeypatch, capsys):
    monkeypatch.setattr("ppvae.inference.training.generate", replay)
    assert main([*QUICK, "--compile", "true"]) == 0
    assert "finished after 24 steps, 2 epochs; compiled from step 2 on" in capsys.readouterr().out
    kept = yaml.safe_load(Path("runs/digits-1/config.yaml").read_text())
    assert kept["compile"] is True and kept["compile_from"] == 2
    assert main(["fit", "--config", "runs/digits-1/config.yaml"]) == 0
    first, second = (load_file(f"runs/digits-{n}/pair.safetensors") for n in (1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert main([*QUICK]) == 0
    assert yaml.safe_load(Path("runs/digits-3/config.yaml").read_text())["compile"] is False


def test_warning_of_what_cannot_be_compiled_is_one_line(capsys):
    words = ["--compile", "true", "--optimizer", "Rprop", "--optimizer.lr", "0.001"]
    assert main([*QUICK, *words]) == 0
    shown = capsys.readouterr()
    assert "; not compiled: Rprop has no compiled form" in shown.out and shown.err == ""


NAMES_OF_0_1 = """
data: {class_path: ppvae.data.colours, init_args: {rows: 200}}
latent: 2
objective:
  class_path: ppvae.inference.ImportanceWeighted_ELBO
  init_args: {num_particles: 2, doubly_reparameterised: true}
steps: 2
draws: 3
compile: 17
figures: false
"""


def test_configuration_of_version_0_1_is_read(capsys):
    Path("old.yaml").write_text(NAMES_OF_0_1)
    assert main(["fit", "--config", "old.yaml", "--print_config"]) == 0
    options = yaml.safe_load(capsys.readouterr().out)
    assert options["data"]["class_path"] == "ppvae.data.colors"
    assert options["data"]["init_args"]["rows"] == 200
    assert options["objective"]["init_args"]["doubly_reparameterized"] is True
    assert options["compile_from"] == 17 and options["compile"] == "auto"


IN_A_FILE = {
    "latent: x": "latent: expected int, got the text 'x'",
    "latent: 1.5": "--latent: expected a value of type int, got 1.5",
    "latnt: 3": "there is no option 'latnt'; did you mean latent?",
    "data: {class_path: ppvae.data.segments, init_args: {rows: x}}": "init_args.rows: expected",
    "data: {class_path: ppvae.data.segments, init_args: {rws: 3}}": "data has no option 'rws'",
    "optimizer: {class_path: torch.optim.Adam, init_args: {lrr: 3}}": "has no option 'lrr'",
    "kl_weight: ppvae.inference.LinearWarmup": "--kl_weight: the following arguments are requ",
}


@pytest.mark.parametrize(("line", "message"), IN_A_FILE.items(), ids=IN_A_FILE.keys())
def test_wrong_option_in_a_configuration_is_one_sentence(line, message, capsys):
    Path("wrong.yaml").write_text(line if line.startswith("data") else f"data: digits\n{line}")
    assert main(["fit", "--config", "wrong.yaml"]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1


@pytest.mark.slow
def test_words_count_more_than_the_configuration(capsys):
    Path("mine.yaml").write_text(
        "data: {class_path: ppvae.data.segments, init_args: {rows: 200, noise: 0.1}}\n"
        "kl_weight: {class_path: ppvae.inference.LinearWarmup, init_args: {steps: 9}}\n"
        "network: {class_path: ppvae.networks.MLP, init_args: {hidden: [4]}}\nlatent: 3\n"
    )
    words = "--latent 2 --data.noise 0.2 --kl_weight.steps 7 --network.hidden [5]"
    for order in (
        ["--config", "mine.yaml", *words.split()],
        [*words.split(), "--config=mine.yaml"],
    ):
        assert main(["fit", *order, "--print_config"]) == 0
        options = yaml.safe_load(capsys.readouterr().out)
        assert options["latent"] == 2
        assert options["data"]["init_args"]["noise"] == 0.2
        assert options["data"]["init_args"]["rows"] == 200
        assert options["kl_weight"]["init_args"]["steps"] == 7
        assert options["network"]["init_args"]["hidden"] == [5]
    assert main(["fit", "digits", "--config", "mine.yaml", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["class_path"] == "ppvae.data.digits"


@pytest.mark.slow
def test_figures_are_left_out(capsys):
    assert main([*QUICK, "--draws", "100", "--refine_seconds", "0"]) == 0
    first = capsys.readouterr().out.splitlines()
    assert "Pareto k above" in first[-3]
    diagnose = ["diagnose", "runs/digits-1", "--draws", "100"]
    assert main([*diagnose, *PLAIN]) == 0
    assert not Path("runs/digits-1/figures").exists()
    assert main(diagnose) == 0
    drawn = {path.stem: path.read_bytes() for path in Path("runs/digits-1/figures").iterdir()}
    names = ("evidence", "pareto-k", "kl", "samples")
    assert {f"{name}-test" for name in names} <= drawn.keys()
    table = capsys.readouterr().out.splitlines()
    assert table == 2 * first[-len(table) // 2 :]
    assert main([*diagnose, "--split", "validation"]) == 0
    now = {path.stem: path.read_bytes() for path in Path("runs/digits-1/figures").iterdir()}
    assert {f"{name}-validation" for name in names} <= now.keys()
    assert drawn.items() <= now.items()


@pytest.mark.slow
def test_a_fit_ends_in_what_is_trusted(capsys):
    words = "segments --data.rows 200 --latent 2 --steps 9 --draws 100"
    assert main(["fit", *words.split()]) == 0
    shown = capsys.readouterr().out
    assert "log P(X) of " in shown and "the guide's own draws would have said" in shown
    assert "few effective draws" not in shown
    assert all(len(line) <= 100 for line in shown.splitlines())
    run = Path("runs/segments-1")
    content = json.loads((run / "evidence-test.json").read_text())
    refined = content["refined"]
    assert refined["rows"] == refined["of"] == content["data"] and refined["choice"] == ""
    assert refined["trusted"] == sum(refined["levels"].values())
    assert (run / "figures/pareto-k-test.png").exists()
    assert main(["diagnose", str(run), "--refine", "--draws", "100", *PLAIN]) == 0
    table = capsys.readouterr().out
    again = json.loads((run / "evidence-test.json").read_text())["refined"]
    assert f"{again['terms']['log_evidence']['mean']:.3f}" in table
    first, second = (found["terms"]["log_evidence"] for found in (refined, again))
    error = np.hypot(first["monte_carlo_error"], second["monte_carlo_error"])
    assert abs(first["mean"] - second["mean"]) < 5 * error


FAILING = """
import ppvae.data

def failing() -> ppvae.data.Dataset:
    error = BrokenPipeError("the archive is offline\\nretry later")
    error.add_note("while rows 1 to 9 were read")
    raise error

def broken() -> ppvae.data.Dataset:
    return {}["rows"]
"""


@pytest.mark.parametrize("place", ["before the command", "after it", "nowhere"])
def test_traceback_is_shown_if_asked_for(place, capsys, monkeypatch):
    Path("own_data.py").write_text(FAILING)
    before, after = (
        ["--traceback"] * (place == "before the command"),
        ["--traceback"] * (place == "after it"),
    )
    assert main([*before, "fit", "own_data.failing", *after]) == 2
    shown = capsys.readouterr().err
    sentence = (
        "ppvae: error: BrokenPipeError: the archive is offline ... (while rows 1 to 9 were read)"
    )
    if place == "nowhere":
        assert shown == f"{sentence}; --traceback shows where\n"
    else:
        assert shown.startswith("Traceback (most recent call last):")
        assert 'own_data.py", line 7, in failing' in shown and shown.endswith(f"{sentence}\n")
    assert main([*before, "fit", "own_data.broken", *after]) == 1
    shown = capsys.readouterr().err
    assert "ppvae: error: KeyError: 'rows'" in shown and ("Traceback" in shown) == (
        place != "nowhere"
    )
    monkeypatch.delitem(sys.modules, "own_data", raising=False)


@pytest.mark.slow
def test_only_a_refusal_is_taken_for_one(capsys, monkeypatch):
    def refusing(*_, **__):
        raise ppvae.Unsupported("site 'z' is discrete")

    def broken(*_, **__):
        raise ValueError("operands do not match")

    assert main(QUICK) == 0
    monkeypatch.setattr(diagnostics, "active_units", refusing)
    assert main(["diagnose", "runs/digits-1", "--draws", "5", *PLAIN]) == 0
    assert "active units not counted: site 'z' is discrete" in capsys.readouterr().out
    monkeypatch.setattr(diagnostics, "active_units", broken)
    assert main(["diagnose", "runs/digits-1", "--draws", "5", *PLAIN]) == 2
    shown = capsys.readouterr()
    assert "operands do not match" in shown.err and "not counted" not in shown.out


DATA = {
    "segments --data.rows 200 --data.noise 0.05 --data.lengths [1,3,5]": "segments",
    "colors --data.rows 200 --latent 2": "colors",
    "factors --data.rows 200": "factors",
    "numbers.csv --label kind": "numbers",
    "ppvae.data.digits": "digits",
}


@pytest.mark.parametrize(
    ("words", "name"),
    slow_but({"colors", "numbers"}, {name: (words, name) for words, name in DATA.items()}),
)
def test_every_dataset_is_fitted_and_diagnosed_alike(words, name, capsys):
    rows = "".join(f"{n % 7},{n % 5 + 0.5},{n % 2}\n" for n in range(100))
    Path("numbers.csv").write_text(f"a,b,kind\n{rows}")
    assert main(["fit", *words.split(), "--steps", "3", "--draws", "5", *PLAIN]) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[-1] == f"runs/{name}-1"
    assert main(["diagnose", f"runs/{name}-1", "--draws", "5", *PLAIN]) == 0
    table = capsys.readouterr().out.splitlines()
    assert f"{name}, test data" in table[0]
    assert table == first[-len(table) :]
    assert main(["sample", f"runs/{name}-1", "-n", "250"]) == 0
    written = Path(capsys.readouterr().out.splitlines()[0])  # a table's own, else an array
    samples = np.load(written) if written.suffix == ".npy" else pd.read_csv(written).to_numpy()
    assert samples.shape[0] == 250 and np.isfinite(samples).all()


def test_folder_of_pictures_is_fitted_and_its_options_are_told(capsys):
    Path("photos/red").mkdir(parents=True)
    for number in range(12):
        Image.new("RGB", (6, 4), (200 + number, 0, 0)).save(f"photos/red/{number}.png")
    assert main(["fit", "--data.help", "photos"]) == 0
    assert "--data.color" in capsys.readouterr().out
    words = ["--data.size", "[2,3]", "--network.width", "16", "--steps", "2", "--draws", "5"]
    assert main(["fit", "photos", *words, *PLAIN]) == 0
    table = capsys.readouterr().out.splitlines()
    saved = yaml.safe_load(Path("runs/photos-1/config.yaml").read_text())["data"]
    assert saved["class_path"] == "ppvae.data.images" and saved["init_args"]["size"] == [2, 3]
    assert main(["diagnose", "runs/photos-1", "--draws", "5", *PLAIN]) == 0
    again = capsys.readouterr().out.splitlines()
    assert again == table[-len(again) :] and "bits per dimension" in "".join(again)
    Path("config.yaml").write_text("data: ./photos\n")
    assert main(["fit", "--config", "config.yaml", "--print_config"]) == 0
    assert "ppvae.data.images" in capsys.readouterr().out


@pytest.mark.slow
def test_standardization_is_remembered_when_the_file_changes(capsys):
    table = np.random.default_rng(0).normal(5, 3, (100, 2)).astype(np.float32)
    np.save("x.npy", table)
    words = ["fit", "x.npy", "--data.standardize", "true", "--steps", "2", "--draws", "5"]
    assert main([*words, *PLAIN]) == 0
    shown = capsys.readouterr().out.splitlines()
    np.save("x.npy", np.concatenate([table[:50], table[50:]]))
    assert main(["diagnose", "runs/x-1", "--draws", "5", *PLAIN]) == 0
    measured = capsys.readouterr().out.splitlines()
    assert len(measured) > 5 and measured == shown[-len(measured) :]
    np.save("x.npy", table * 10)
    assert main(["diagnose", "runs/x-1", "--draws", "5", *PLAIN]) == 0
    assert capsys.readouterr().out.splitlines() != measured  # ten times as far out, not the same


def test_pair_of_a_standardized_run_takes_values_as_they_are(capsys):
    """log p(x) of the data in their units is that of standardized data minus log of the scale."""
    table = np.random.default_rng(0).normal(5, 3, (100, 2)).astype(np.float32) * [1, 1000]
    np.save("x.npy", table)
    words = ["--data.standardize", "true", "--steps", "2", "--draws", "5"]
    assert main(["fit", "x.npy", *words, *PLAIN]) == 0
    shown = capsys.readouterr()
    assert "\nlikelihood  Normal: real numbers" in shown.out and not shown.err
    assert "Normal" in json.loads(Path("runs/x-1/data.json").read_text())["notes"][0]
    raw, pair = data.array("x.npy"), ppvae.load("runs/x-1")
    values = diagnostics.evidence(pair, raw.test, draws=5).log_evidence
    assert f"{float(values.mean()):.3f}" in shown.out
    drawn = pair.sample(500)
    assert drawn[:, 1].std() > 100 * drawn[:, 0].std()
    assert main(["sample", "runs/x-1", "-n", "500"]) == 0
    samples = np.load("runs/x-1/samples.npy")
    assert samples[:, 1].std() > 100 * samples[:, 0].std()


@pytest.mark.slow
def test_old_run_keeps_its_standardization(capsys):
    """Its pair takes standardized values, and the run holds how to make them."""
    np.save("x.npy", np.random.default_rng(0).normal(5, 3, (100, 2)).astype(np.float32))
    assert main(["fit", "x.npy", "--steps", "2", "--draws", "5", *PLAIN]) == 0
    run = Path("runs/x-1")
    torch.manual_seed(0)
    old = pair_of_normals()
    ppvae.save(old, run)
    (run / "standardization.json").write_text('{"loc": [5.0, 5.0], "scale": [3.0, 3.0]}')
    assert main(["diagnose", "runs/x-1", "--draws", "5", *PLAIN]) == 0
    rows = (data.array("x.npy").test - 5) / 3
    value = float(diagnostics.evidence(old, rows, draws=5).log_evidence.mean())
    assert f"{value:.2f}" in capsys.readouterr().out
    assert main(["sample", "runs/x-1", "-n", "500"]) == 0
    assert abs(np.load(run / "samples.npy").mean() - 5) < 1
    (run / "standardization.json").write_text("{}")
    assert main(["diagnose", "runs/x-1"]) == 2
    assert "does not fit the data of the run: 'loc'" in capsys.readouterr().err
    (run / "standardization.json").write_text('{"loc": [5.0], "scale": [3.0]}')
    assert main(["diagnose", "runs/x-1"]) == 2
    assert "it has shape (1,), a datapoint has (2,)" in capsys.readouterr().err


def pair_of_normals():
    return ppvae.VAE(
        ppvae.priors.StandardNormal(1),
        ppvae.likelihoods.Normal(torch.nn.Linear(1, 4)),
        ppvae.posteriors.DiagonalNormal(torch.nn.Linear(2, 2)),
    )


@pytest.mark.slow
def test_resumed_run_equals_the_whole_one(capsys, monkeypatch):
    whole = [*QUICK, "--epochs", "4", "--patience", "9"]
    assert main([*whole, "--folder", "whole"]) == 0

    class Killed(BaseException):
        pass

    class Bomb:
        def __init__(self):
            self.left = 30

        def __call__(self, step):
            self.left -= 1
            if self.left < 0:
                raise Killed
            return 1.0

    fit = ppvae.inference.fit
    with monkeypatch.context() as patch:
        patch.setattr(
            ppvae.inference, "fit", lambda *a, **k: fit(*a, **{**k, "kl_weight": Bomb()})
        )
        with pytest.raises(Killed):
            main([*whole, "--folder", "cut", "--checkpoint_seconds", "0"])
    assert len(Path("cut/metrics.jsonl").read_text().splitlines()) == 2
    with open("cut/metrics.jsonl", "a") as file:
        file.write('{"step": 36, "half a li')
    assert main(["fit", "--resume", "cut"]) == 0
    first, second = (load_file(f"{name}/pair.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    metrics = [
        [
            {name: value for name, value in json.loads(line).items() if name != "seconds"}
            for line in Path(f"{folder}/metrics.jsonl").read_text().splitlines()
        ]
        for folder in ("whole", "cut")
    ]
    assert metrics[0] == metrics[1]
    assert main(["fit", "--resume", "cut", "--epochs", "5"]) == 0
    assert "after 60 steps, 5 epochs" in capsys.readouterr().out


@pytest.mark.slow
def test_run_without_a_checkpoint_is_resumed_from_its_start():
    assert main([*QUICK, "--folder", "whole"]) == 0
    Path("cut").mkdir()
    Path("cut/config.yaml").write_text(Path("whole/config.yaml").read_text())
    assert main(["fit", "--resume", "cut"]) == 0
    first, second = (load_file(f"{name}/pair.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resumed_run_that_is_refused_stays(capsys):
    assert main([*QUICK, "--folder", "whole"]) == 0
    Path("cut").mkdir()
    Path("cut/config.yaml").write_text(Path("whole/config.yaml").read_text())
    assert main(["fit", "--resume", "cut", "--batch_size", "99999"]) == 2
    assert Path("cut/config.yaml").exists()


def test_options_of_a_dataset_are_told(capsys):
    assert main(["fit", "--data.help", "mnist"]) == 0
    assert "--data.binarized" in capsys.readouterr().out


def test_diverged_training_keeps_its_run(capsys):
    assert main([*QUICK, "--optimizer.lr", "1e30"]) == 1
    shown = capsys.readouterr()
    assert re.search(
        r"training diverged at step \d+: \w+ of Normal at site 'z' .*\. Lower --optimizer.lr "
        r"\(1e\+30\), or bound the gradient with --clip_norm. The table below is of the last",
        shown.err,
    )
    assert shown.err.count("\n") == 1
    assert "diverged after" in shown.out and shown.out.endswith("runs/digits-1\n")
    assert all(t.isfinite().all() for t in load_file("runs/digits-1/pair.safetensors").values())


WRONG = {
    "": "expected a command, one of {",
    "fit": "arguments are required: data",
    "fit mnistt": "there is no dataset 'mnistt'; expected one of digits, mnist,",
    "fit digits --latnt 3": "unrecognized option --latnt; did you mean --latent?",
    "fit digits --lat 3": "unrecognized option --lat; did you mean --latent?",
    "fit digits --latent x": "--latent: expected a value of type int, got x",
    "fit digits --latent 0": "latent must be at least 1, got 0",
    "fit digits --epochs 1.5": "--epochs: expected a value of type int, got 1.5",
    "fit digits --epochs -3": "epochs must be at least 1, got -3",
    "fit digits --epochs 3 --steps 3": "pass epochs or steps, not both",
    "fit digits --batch_size 100000": "between 1 and the 1439 rows of the data, got 100000",
    "fit digits --likelihood Binomal": "--likelihood: there is no class Binomal; expected one of",
    "fit digits --likelihood Bernoulli": "site 'x' lie outside the support of Bernoulli",
    "fit digits --likelihood Binomial": "--likelihood: the following arguments are required: ",
    "fit digits --likelihood GrayBernoulli": "outside the support of GrayBernoulli",
    "fit digits --prior StudentT --pseudo_inputs 3": "pass them or a prior, not both",
    "fit digits --pseudo_inputs 0": "between 1 and the 1439 training data, got 0",
    "fit digits --prior ConditionalNormal": "needs network to be a module from conditions",
    "fit digits --optimizer Adan": "--optimizer: there is no class Adan; expected one of ASGD,",
    "fit digits --optimizer.lrr 3": "--optimizer: Option 'lrr' is not accepted",
    "fit digits --optimizer.lr abc": "--optimizer.lr: expected a value of type float, got abc",
    "fit digits --network.width x": "--network.width: expected a value of type int, got x",
    "fit digits --network.width 0": "ResidualMLP needs positive layer sizes and depth",
    "fit digits --network MLP --network.hidden [0]": "positive layer sizes, got [10, 0, 64]",
    "fit digits --kl_weight -1": "kl_weight is -1.0; expected a finite number of at least 0",
    "fit digits --kl_weight ppvae.inference.LinearWarmup": "arguments are required: steps",
    "fit digits --schedule StepLR": "--schedule: the following arguments are required: step_size",
    "fit digits --pair nowhere.Pair": "--pair: No module named 'nowhere'",
    "fit digits --config nowhere.yaml": "nowhere.yaml: No such file or directory",
    "fit digits --device nowhere": "device 'nowhere' cannot be used",
    "fit digits --compile maybe": "--compile: expected one of true, false, 'auto', got maybe",
    "fit digits --compile -1": "--compile: expected one of true, false, 'auto', got -1",
    "fit digits --compile_from -1": "must be at least 0, got -1",
    "fit digits --figures no": "--figures: expected one of true, false, got no",
    "fit digits --patience 0": "EarlyStopping needs patience >= 1",
    "fit digits --draws 0": "draws must be at least 1, got 0",
    "fit digits --clip_norm 0": "clip_norm must be positive, got 0.0",
    "fit digits --folder .": "exists; choose another --folder",
    "fit digits --folder /dev/null/run": "/dev/null",
    "fit digits --data.sed 3": "--data: ppvae.data.digits has no option 'sed'",
    "fit segments --data.sed 3": "ppvae.data.segments has no option 'sed'; did you mean seed?",
    "fit segments --data.noise -1": "segments needs noise to be a finite number of at least 0",
    "fit segments --data.noise loud": "--data.noise: expected a value of type float, got loud",
    "fit segments --data.lengths [9]": "segments needs lengths in (0, 5]",
    "fit mnist --data.folder nowhere": "nowhere is no folder",
    "fit nowhere.npy": "nowhere.npy: No such file or directory",
    "fit nowhere.csv": "nowhere.csv: No such file or directory",
    "fit os.getcwd": "--data: os.getcwd is no function that returns a ppvae.data.Dataset",
    "fit digits --checkpoint_seconds -1": "checkpoint_seconds must be at least 0, got -1.0",
    "fit digits --checkpoint_steps 0": "checkpoint_steps must be at least 1, got 0",
    "fit digits --checkpoint_keep 0": "checkpoint_keep must be at least 1, got 0",
    "fit digits --refine_seconds -1": "refine_seconds must be at least 0, got -1.0",
    "fit --resume nowhere": "nowhere is not the folder of a run",
    "fit --resume .": ". holds no config.yaml to resume from",
    "fit --data.help nowhere": "there is no dataset 'nowhere'",
    "sample": "arguments are required: run",
    "sample nowhere": "nowhere is not the folder of a run",
    "sample nowhere -n x": "--n: expected a value of type int, got x",
    "diagnose": "arguments are required: run",
    "diagnose nowhere": "nowhere is not the folder of a run",
    "diagnose .": "config.yaml: No such file or directory",
    "diagnose . --split tests": "'validation', 'test', got tests",
    "--bogus": "unrecognized option --bogus",
    "fitt digits": "; did you mean fit?",
    "fit digits mnist": "unrecognized argument 'mnist'",
    "fit digits --latent": "--latent: expected one argument",
    "fit digits --pair.latent 3": "--pair.latent needs a pair, chosen by --pair",
}


@pytest.mark.parametrize(("words", "message"), WRONG.items(), ids=WRONG.keys())
def test_wrong_use_is_one_sentence_and_exit_code_2(words, message, capsys):
    assert main(words.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == "" or shown.out.startswith("data        digits: 1,439 training, ")
    assert shown.err.startswith("ppvae: error: ")
    assert shown.err.count("\n") == 1
    assert len(shown.err) < 400
    assert message in shown.err
    assert not list(Path(".").iterdir()) or list(Path("runs").iterdir()) == []


DAMAGED = {
    "config.yaml": (b"data: [", "config.yaml is damaged"),
    "config.yaml of another kind": (b"- 1", "config.yaml is damaged: it names no dataset"),
    "config.yaml of other data": (b"data: nowhere", "there is no dataset 'nowhere'"),
    "pair.json": (b'{"pair": ', "pair.json is damaged"),
    "pair.json of text": (b"\xff\xfe", "pair.json is damaged"),
    "pair.json with a list": (b"[]", "pair.json is damaged: expected an object"),
    "pair.json with a foreign class": (
        b'{"pair": {"class": "os.system", "arguments": {"command": "touch hacked"}}}',
        "'os.system' is not among those of ppvae and torch.nn",
    ),
    "pair.json with a function": (
        b'{"pair": {"class": "torch.nn.functional.relu", "arguments": {}}}',
        "'torch.nn.functional.relu' is not among those of ppvae",
    ),
    "pair.json with an import": (
        b'{"pair": {"class": "ppvae.inference.persistence.files.os", "arguments": {}}}',
        "'ppvae.inference.persistence.files.os' is not among those of ppvae",
    ),
    "pair.json with an unknown class": (
        b'{"pair": {"class": "ppvae.pairs.vae.VEA", "arguments": {}}}',
        "does not describe a pair",
    ),
    "pair.json with unknown arguments": (
        b'{"pair": {"class": "ppvae.networks.MLP", "arguments": {"depth": 3}}}',
        "does not describe a pair",
    ),
    "pair.json of another pair": (
        b'{"pair": {"class": "torch.nn.Linear", "arguments": {"in_features": 2, '
        b'"out_features": 2, "bias": true}}}',
        "belongs to another pair",
    ),
    "pair.safetensors": (b"\x10\x00", "pair.safetensors is damaged"),
    "pair.safetensors cut": (None, "pair.safetensors is damaged"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*QUICK, "--folder", str(folder)]) == 0
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(("name", "case"), DAMAGED.items(), ids=DAMAGED.keys())
def test_damaged_run_is_one_sentence_and_runs_nothing(name, case, trained, capsys):
    content, message = case
    Path("run").mkdir()
    for file, original in trained.items():
        (Path("run") / file).write_bytes(original)
    target = Path("run") / name.split()[0]
    target.write_bytes(trained[target.name][:-10] if content is None else content)
    capsys.readouterr()
    assert main(["diagnose", "run"]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1
    assert not Path("hacked").exists()


def limited(words, size):
    """Run the program where no file may grow past `size` bytes: the system refuses the write."""
    program = Path(sys.executable).parent / "ppvae"
    return subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


FULL = {
    "configuration": (100, "run/config.yaml: File too large"),
    "checkpoint": (20_000, "run/checkpoint-1.safetensors: File too large"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("size", "message"), FULL.values(), ids=FULL.keys())
def test_write_that_the_system_refuses_is_one_sentence(size, message):
    words = [*QUICK, "--folder", "run", "--checkpoint_seconds", "0"]
    refused = limited(words, size)
    assert refused.returncode == 2 and refused.stdout.count("\n") in (0, 5)
    assert message in refused.stderr and refused.stderr.count("\n") == 1
    assert not list(Path(".").iterdir())  # nothing half-written, nor a run that never began


@pytest.mark.slow
def test_full_disk_keeps_the_run(capsys, monkeypatch):
    """The disk fills up while the second checkpoint is written; room is made; the run goes on."""
    assert main([*QUICK, "--folder", "whole"]) == 0
    fsync, left = os.fsync, [7]  # new folder 1, data and configuration 4, a checkpoint 2

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main([*QUICK, "--folder", "cut", "--checkpoint_seconds", "0"]) == 2
    shown = capsys.readouterr()
    assert "No space left on device" in shown.err and shown.err.count("\n") == 1
    assert "go on with `ppvae fit --resume cut`" in shown.err and "--traceback" in shown.err
    assert not list(Path("cut").glob(".*"))
    assert main(["fit", "--resume", "cut"]) == 0
    first, second = (load_file(f"{name}/pair.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="only Linux has this folder")
def test_unwritable_folder_is_one_sentence(capsys):
    # Not even root may write there, unlike in a folder whose permissions say so.
    assert main([*QUICK, "--folder", "/sys/kernel/run"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("ppvae: error: /sys/kernel/run: ") and shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.slow
def test_program_itself():
    program = Path(sys.executable).parent / "ppvae"
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == f"ppvae {ppvae.__version__}"
    wrong = subprocess.run([program, "fit", "nowhere"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr


QUICKLY = {
    "--help": (0, "Train a VAE, or a pair of your own, and"),
    "fit --help": (0, "--optimizer.lr X    learning rate (default: 0.001)"),
    "fit digits --help-all": (0, "ZeroInflatedNegativeBinomial"),
    "sample --help": (0, "Example: ppvae sample runs/"),
    "--version": (0, f"ppvae {ppvae.__version__}"),
    "fit digits --nosuch 1": (2, "unrecognized option --nosuch"),
    "fit digits --latnt 3": (2, "did you mean --latent?"),
    "diagnose here --split tests": (2, "expected one of 'train', 'validation', 'test', got tests"),
    "nosuch": (2, "there is no command 'nosuch'"),
}


@pytest.mark.parametrize(("words", "expected"), QUICKLY.items(), ids=QUICKLY.keys())
def test_answer_that_needs_no_torch_does_not_import_it(words, expected):
    program = (
        "import sys\nfrom ppvae.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\n"
        "except SystemExit as stopped:\n    code = stopped.code\n"
        "heavy = {'torch', 'pyro', 'numpy', 'matplotlib', 'jsonargparse'} & sys.modules.keys()\n"
        "print(code or 0, sorted(heavy))"
    )
    here = Path(ppvae.__file__).parent.parent
    shown = subprocess.run(
        [sys.executable, "-c", program, *words.split()],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(here)},
    )
    code, message = expected
    assert message in shown.stdout + shown.stderr
    assert shown.stdout.splitlines()[-1] == f"{code} []"


def test_rooms_are_found_in_the_package():
    assert {"VAE", "fit", "data", "__version__"} <= set(dir(ppvae))
    assert ppvae.likelihoods.Normal and ppvae.fit is ppvae.inference.fit
    with pytest.raises(AttributeError, match="module 'ppvae' has no attribute 'nosuch'"):
        _ = ppvae.nosuch
