"""Pairs of ours that `--pair NAME` builds for the data."""

import re

import numpy as np
import pytest
import yaml

from ppvae import data, pairs
from ppvae.cli import main
from ppvae.cli.structures import structure_of, structures

SHORT = "--steps 4 --draws 20 --refine_seconds 0 --figures false --compile false".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "classes"
    words = ["fit", "digits", "--pair", "conditionalvae", "--latent", "3"]
    assert main([*words, *SHORT, "--folder", str(folder)]) == 0
    return folder


def test_a_run_repeats_and_answers(run, tmp_path, capsys):
    content = yaml.safe_load((run / "config.yaml").read_text())
    assert content["pair"] == {"class_path": "ppvae.pairs.ConditionalVAE"}
    assert not content.keys() & {"conditional", "pseudo_inputs"}
    again = tmp_path / "again"
    assert main(["fit", "--config", str(run / "config.yaml"), "--folder", str(again)]) == 0
    weights = [(folder / "pair.safetensors").read_bytes() for folder in (run, again)]
    assert weights[0] == weights[1]
    assert main(["score", str(run), "--draws", "20"]) == 0
    assert main(["sample", str(run), "-n", "3", "--label", "7"]) == 0
    assert np.load(run / "samples-labels.npy").tolist() == [7, 7, 7]
    assert "error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--pair Conditional", "expected one of .*did you mean ConditionalVAE"),
        ("--pair VAE", "is what `ppvae fit` builds by itself"),
        ("--pair ConditionalVAE --pair.components 3", "ConditionalVAE has no option 'components'"),
        ("--pair ConditionalVAE --pair.latent 3", "no option 'latent'; it is --latent"),
        ("--pair ConditionalVAE --pseudo_inputs 30", "ConditionalVAE takes no --pseudo_inputs"),
        ("--pair ConditionalVAE --known_labels 30", "finds the classes of the others"),
        ("--known_labels 30", "known_labels is for --pair SemiSupervisedVAE"),
    ],
)
def test_what_does_not_fit_is_one_sentence(words, said, capsys):
    assert main(["fit", "digits", *words.split(), *SHORT]) == 2
    captured = capsys.readouterr()
    message = " ".join((captured.out + captured.err).split())
    assert message.count("error:") == 1
    assert re.search(said, message), message


def test_help_tells_the_pairs_and_the_options_of_each(capsys):
    assert main(["fit", "--pair.help"]) == 0
    listed = capsys.readouterr().out
    assert "ProgramPair" not in listed and all(name in listed for name in structures())
    for name in structures():
        assert main(["fit", "--pair.help", name]) == 0
        shown = capsys.readouterr().out
        assert f"ppvae.pairs.{name}" in shown
        assert [own for own in structure_of(name).own if f"--pair.{own}" not in shown] == []


def test_the_users_own_pair_is_none_of_ours():
    assert structure_of("mymodule.ConditionalVAE") is None
    assert structure_of({"class_path": "mymodule.MyPair", "init_args": {"latent": 3}}) is None


def test_every_pair_of_ours_that_a_dataset_builds_is_known():
    assert structures()["ConditionalVAE"] is pairs.ConditionalVAE
    assert "VAE" not in structures()
    given = data.given_classes(structure_of("ConditionalVAE").batches(data.digits()))
    assert (given.place, given.count, given.one_hot) == (1, 10, False)


def test_sequences_of_a_table_are_read(tmp_path, capsys):
    path = tmp_path / "steps.csv"
    rows = [f"s{n},{t},{n / 7},{t / 3}" for n in range(30) for t in range(2 + n % 3)]
    path.write_text("\n".join(["id,time,a,b", *rows]))
    words = ["fit", "sequences", "--data.source", str(path), "--pair", "DeepMarkovModel"]
    assert main([*words, "--data.values", '["b"]', "--print_config"]) == 0
    chosen = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert chosen["values"] == ["b"]


def test_padded_sequences_of_an_archive_are_fitted(tmp_path, capsys):
    path, length = tmp_path / "walks.npz", 2 + np.arange(40) % 3
    np.savez(path, x=290 + np.random.default_rng(0).normal(size=(40, 4, 2)), length=length)
    words = ["fit", "sequences", "--data.source", str(path), "--pair", "DeepMarkovModel"]
    assert main([*words, "--latent", "2", *SHORT, "--folder", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "scaling     within the pair" in said and "standard deviation" in said
    assert main(["sample", str(tmp_path / "run"), "-n", "3"]) == 0
    assert main(["fit", str(path), "--pair", "DeepMarkovModel", *SHORT]) == 2
