"""Help, and sentences that name the option or class that is meant."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import ppvae
from ppvae import data
from ppvae.cli import class_names, help, main
from ppvae.cli.commands import COMMANDS
from ppvae.cli.docstrings import docstring_of
from ppvae.cli.meant import CLASSES, OF_DATA, OPTIONS
from ppvae.inference.persistence import ClosedList


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path):
    path, here = list(sys.path), os.getcwd()
    os.chdir(tmp_path)
    yield
    sys.path[:] = path
    os.chdir(here)


def shown_by(words, capsys):
    try:
        assert main(words.split()) == 0
    except SystemExit as stopped:
        assert stopped.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 100])
def test_first_screen_of_fit(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown_by("fit --help", capsys).splitlines()
    assert lines[0] == "usage: ppvae fit DATA [OPTIONS]"
    assert len(lines) - 1 <= 24 and max(map(len, lines)) <= columns
    options = [line for line in lines if line.startswith("  ")]
    assert 10 <= len(options) <= 16
    assert "..." not in "".join(options)
    assert all("(default: " in line for line in options if not re.search("DATA|--resume", line))
    assert "  --latent N          number of latent dimensions (default: 10)" in options
    assert lines[-1] == "All options: ppvae fit --help-all"


def test_all_options_have_an_explanation_and_a_group(capsys):
    text = shown_by("fit --help-all", capsys)
    assert text == shown_by("fit digits --help all", capsys)
    assert len(text.splitlines()) < 150
    names = set(inspect.signature(COMMANDS["fit"]).parameters) - {"chosen"}
    shown = dict(re.findall(r"^  --(\w+) \S+\s+(\S.*)$", text, re.M))
    assert names <= shown.keys()
    last = text.index("Further options:")
    assert all(text.index(f"  --{name} ") < last for name in names)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_explained_by_its_signature(command, capsys):
    text = shown_by(f"{command} --help", capsys)
    assert docstring_of(COMMANDS[command]).summary in " ".join(text.split())
    assert f"Example: ppvae {command} " in text
    assert f"  {command}" in help.help_of_program()


def test_a_command_without_an_example_is_explained_too(monkeypatch):
    def score(chosen, run: Path, data: str | None = None, *, draws: int = 9) -> int:
        """Score rows.

        Args:
            chosen: the data.
            run: the run's folder.
            data: new rows; those of the run unless given.
            draws: draws of each; more are slower.
        """

    monkeypatch.setitem(COMMANDS, "score", score)
    monkeypatch.setitem(help.CHOICES, "score", {})
    lines = help.help_of_command("score").splitlines()
    assert lines[0] == "usage: ppvae score RUN [DATA] [OPTIONS]"
    assert "  DATA       new rows (default: those of the run)" in lines
    assert "  --draws N  draws of each (default: 9)" in lines
    assert "Example: ppvae score RUN [DATA] [OPTIONS]" in lines


def test_classes_are_told_by_their_role(capsys):
    types, listed = class_names.types_of_fit(), ClosedList()
    told = docstring_of(COMMANDS["fit"]).arguments
    for option in ("prior", "likelihood", "posterior", "objective"):
        names = class_names.classes_for(option, types[option], listed)
        ours = [n for n, found in names.items() if found.__module__.startswith("ppvae.")]
        assert re.findall(r"\w+", told[option].split("f ours:")[1]) == ours
    assert list(class_names.classes_for("network", types["network"], listed)) == [
        "MLP",
        "ResidualMLP",
        "Topics",
    ]
    weights = class_names.classes_for("kl_weight", types["kl_weight"], listed)
    assert list(weights) == ["CyclicWarmup", "LinearWarmup"]
    text = shown_by("fit --network.help", capsys)
    assert "MLP" in text and "torch" not in text
    text = shown_by("fit digits --likelihood.help Normal", capsys)
    assert "--likelihood.scale" in text and "--likelihood.network" not in text
    text = shown_by("fit --network.help mlp", capsys)
    assert re.search(r"--network.hidden .*\(default: \[256,256\]\)", text, re.S)
    assert "--data.binarized" in shown_by("fit --data.help mnist", capsys)
    assert main(["fit", "--latent.help"]) == 2


def test_what_others_call_a_class_is_one_of_ours():
    types, listed = class_names.types_of_fit(), ClosedList()
    for option, words in CLASSES.items():
        assert set(words.values()) <= class_names.classes_for(option, types[option], listed).keys()


MEANT = {
    "--likelihood Gaussian": "did you mean Normal?",
    "--likelihood MSE": "did you mean Normal?",
    "--likelihood=BCE": "did you mean Bernoulli?",
    "--network Dense": "there is no class Dense; expected one of MLP, ResidualMLP, Topics; did",
    "--network ppvae.networks.MPL": "did you mean MLP?",
    "--prior Gaussian": "did you mean StandardNormal?",
    "--posterior FullRank": "did you mean FullRankNormal?",
    "--schedule cosine": "did you mean CosineAnnealingLR?",
    "--objective iwae": "did you mean ImportanceWeighted_ELBO?",
    "--network.activation Sine": "--network.activation: there is no class Sine; expected one of",
    "--likelihood Normal --likelihood.scale Learned": "did you mean LearnedScale?",
    "--network.help Foo": "--network.help: there is no class Foo; expected one of MLP, Res",
    "--data.help": "tells the options of data",
}


@pytest.mark.parametrize(("words", "message"), MEANT.items())
def test_unknown_class_ends_in_the_one_that_is_meant(words, message, capsys):
    data = [] if words == "--data.help" else ["digits"]
    assert main(["fit", *data, *words.split()]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1


def test_unknown_class_in_a_file_ends_in_the_one_that_is_meant(capsys):
    Path("mine.yaml").write_text("data: digits\nlikelihood: Gaussian\n")
    assert main(["fit", "--config", "mine.yaml"]) == 2
    shown = capsys.readouterr().err
    assert "names 'Gaussian' under 'likelihood'" in shown and "did you mean Normal?" in shown
    Path("mine.yaml").write_text("data: digits\nnetwork: {class_path: Dense}\n")
    assert main(["fit", "--config", "mine.yaml"]) == 2
    assert "did you mean MLP?" in capsys.readouterr().err


def test_last_names_in_any_letters_name_classes(capsys):
    words = "--optimizer adam --network mlp --network.activation relu --kl_weight LinearWarmup"
    assert main(["fit", "digits", *words.split(), "--kl_weight.steps=9", "--print_config"]) == 0
    options = yaml.safe_load(capsys.readouterr().out)
    assert options["optimizer"]["class_path"] == "torch.optim.Adam"
    assert options["network"]["class_path"] == "ppvae.networks.MLP"
    assert options["network"]["init_args"]["activation"] == "torch.nn.ReLU"
    assert options["kl_weight"]["class_path"] == "ppvae.inference.LinearWarmup"
    Path("mine.yaml").write_text("data: digits\noptimizer: adamw\n")
    assert main(["fit", "--config", "mine.yaml", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["optimizer"]["class_path"].endswith("AdamW")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--lr", "--optimizer.lr"),
        ("--learning-rate", "--optimizer.lr"),
        ("--n_hidden", "--network.width"),
        ("--hidden_dims", "--network MLP --network.hidden"),
        ("--beta", "--kl_weight"),
        ("--n_latent", "--latent"),
        ("--max-epochs", "--epochs"),
        ("--random_state", "--seed"),
        ("--gpu", "--device cuda"),
        ("--batch-size", "--batch_size"),
        ("--target", "--label"),
    ],
)
def test_other_names_of_an_option_name_it(word, meant, capsys):
    assert main(["fit", "digits", word, "1"]) == 2
    shown = capsys.readouterr().err
    assert f"unrecognized option {word}; did you mean {meant}?" in shown


def test_option_that_is_named_instead_exists():
    owners = {
        "optimizer": torch.optim.Adam,
        "network": ppvae.networks.ResidualMLP,
        "data": data.table,
        "objective": ppvae.inference.ImportanceWeighted_ELBO,
    }
    of_fit = {*inspect.signature(COMMANDS["fit"]).parameters, "config"}
    for meant in set(OPTIONS.values()) - {"network MLP --network.hidden", "n", *OF_DATA}:
        root, _, name = meant.partition(" ")[0].partition(".")
        if name:
            assert name in inspect.signature(owners[root]).parameters
        else:
            assert root in of_fit


def test_options_of_data_may_stand_without_the_word_data(capsys):
    rows = "".join(f"{n / 7:.3f},{n * n % 11 / 3:.3f},{'ab'[n % 2]},k{n}\n" for n in range(60))
    Path("c.csv").write_text(f"x,y,kind,key\n{rows}")
    words = "c.csv --label kind --id=key --types.y real"
    assert main(["fit", *words.split(), "--print_config"]) == 0
    arguments = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert (arguments["label"], arguments["id"]) == ("kind", "key")
    assert arguments["types"] == {"y": "real"}
    assert main(["fit", "digits", "--label", "kind"]) == 2
    assert "ppvae.data.digits has no option 'label'; it has none" in capsys.readouterr().err


def test_help_goes_into_a_pipe_that_is_closed():
    program = (
        "from ppvae.cli import main\nimport sys\nsys.stdin.read()\nmain(['fit', '--help-all'])"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(ppvae.__file__).parent.parent)},
    )
    run.stdout.close()
    run.stdin.close()
    assert run.wait() == 0 and run.stderr.read() == b""
    run.stderr.close()
