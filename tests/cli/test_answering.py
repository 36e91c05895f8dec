"""The commands that answer for rows, as their user types them."""

import io
import os
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest

from ppvae.cli import main
from ppvae.cli.first_look import look

QUICK = ["--steps", "4", "--draws", "21", "--figures", "false", "--compile", "false"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table in which cells are missing, and two runs on it."""
    folder = tmp_path_factory.mktemp("place")
    generator = np.random.default_rng(0)
    size = np.round(generator.normal(5, 1, 80), 1)
    size[::9] = np.nan
    table = pandas.DataFrame(
        {
            "id": [f"car {number}" for number in range(80)],
            "kind": ["van", "bus"] * 40,
            "size": size,
            "weight": np.round(1000 + 10 * generator.normal(0, 1, 80), 1),
        }
    )
    table.to_csv(folder / "cars.csv", index=False)
    before = os.getcwd()
    os.chdir(folder)
    options = ["--label", "kind", "--conditional", "true", *QUICK]
    for name, latent in (("two", "2"), ("three", "3")):
        assert main(["fit", "cars.csv", "--latent", latent, "--folder", name, *options]) == 0
    os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def there(place, monkeypatch, capsys):
    here = os.getcwd()
    monkeypatch.chdir(place)
    capsys.readouterr()
    yield
    os.chdir(here)


def written(capsys):
    """Return what was printed, the last lines being files."""
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out.splitlines()


def test_rows_of_a_run_are_encoded_and_scored_with_their_names(place, capsys):
    assert main(["encode", "two", "--split", "all", "--draws", "2"]) == 0
    assert written(capsys) == ["two/latents-all.csv", "two/latents-all-draws.csv"]
    table = pandas.read_csv("two/latents-all.csv")
    assert list(table) == ["row", "id", "kind", "z_0", "z_1", "z_0_sd", "z_1_sd"]
    assert table["id"][7] == "car 7" and len(pandas.read_csv("two/latents-all-draws.csv")) == 160
    assert main(["score", "two", "--draws", "30"]) == 0
    lines = written(capsys)
    assert lines[-1] == "two/scores-test.csv" and "of 8 rows with the lowest" in lines[0]
    scores = pandas.read_csv("two/scores-test.csv")
    first = scores.sort_values("rank").iloc[0]
    assert lines[2].split()[:4] == ["1", str(first["row"]), *first["id"].split()]


def test_new_rows_come_from_a_file_or_the_standard_input(place, capsys, monkeypatch):
    text = "weight,kind,size,id\n1000.5,bus,,new\n"
    Path("new.csv").write_text(text)
    for words in (["new.csv", "--draws", "30"], ["--draws", "30", "new.csv"]):
        assert main(["score", "two", *words, "--output", "-"]) == 0
        assert capsys.readouterr().out.splitlines()[1].startswith("0,new,bus,-")
    stream = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr("sys.stdin", stream)
    assert main(["impute", "two", "-", "--output", "-", "--draws", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "row,id,kind,size,weight" and len(lines) == 2
    assert lines[1].startswith("0,new,bus,") and lines[1].endswith(",1000.5")


def test_a_table_is_completed(place, capsys):
    assert main(["impute", "two", "--draws", "30"]) == 0
    lines = written(capsys)
    assert lines[0] == "9 missing cells filled in: size (9)"
    assert lines[-2:] == ["two/imputed-all.csv", "two/imputed-all-cells.csv"]
    before, after = pandas.read_csv("cars.csv"), pandas.read_csv("two/imputed-all.csv")
    assert after["size"].notna().all()
    known = before["size"].notna()
    assert after.loc[known, list(before)].equals(before[known])
    assert main(["reconstruct", "two", "--draws", "3"]) == 0
    assert written(capsys) == ["two/reconstructions-test.csv"]


def test_samples_of_a_class_a_line_and_a_comparison(place, capsys):
    assert main(["sample", "two", "-n", "5", "--label", "van"]) == 0
    assert written(capsys) == ["two/samples.csv"]
    assert pandas.read_csv("two/samples.csv").kind.tolist() == ["van"] * 5
    assert main(["interpolate", "two", "car 3", "70", "--steps", "3", "--output", "-"]) == 0
    assert len(written(capsys)) == 4
    assert main(["compare", "two", "three", "--draws", "30"]) == 0
    lines = written(capsys)
    assert "of 8 test rows" in lines[0] and "best at the 5 % level" in lines[-1]


def test_what_does_not_fit_is_one_sentence(place, capsys):
    for words, said in (
        (["compare", "two"], "needs the folders of two runs or more, got 1"),
        (["compare"], "the following arguments are required: run"),
        (["sample", "two", "--label", "ship"], "there is no class 'ship'; expected one of bus"),
        (["interpolate", "two", "car 3", "car 99"], "there is no row 'car 99'"),
        (["encode", "two", "none.csv"], "none.csv: No such file or directory"),
        (["score", "two", "--output", "s.xls"], "ends in '.xls'"),
    ):
        assert main(words) == 2
        shown = capsys.readouterr()
        assert said in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_posteriors_of_rows_are_refined(place, capsys):
    words = ["--draws", "50", "--effort", "brief"]
    assert main(["refine", "two", *words]) == 0
    lines = written(capsys)
    assert lines[0].startswith("Refined: ") and lines[0].endswith(" of 8 datapoints trusted")
    assert lines[-2:] == ["two/refined-test.csv", "two/refined-test.nc"]
    table = pandas.read_csv("two/refined-test.csv")
    assert list(table)[:3] == ["row", "id", "kind"]
    assert list(table)[-4:] == ["z_0", "z_1", "z_0_sd", "z_1_sd"]
    assert {"log_p", "log_p_error", "pareto_k", "level", "trusted", "reason"} < {*table}
    assert table.trusted.sum() == int(lines[0].split()[1])
    with h5py.File("two/refined-test.nc") as file:
        draws = file["posterior/z"][0]
        assert draws.shape == (50, 8, 2)
    error = table.z_0_sd / np.sqrt(table.effective_sample_size)
    assert (np.abs(draws.mean(0)[:, 0] - table.z_0) < 5 * error).all()
    Path("one.csv").write_text("weight,kind,size,id\n1000.5,bus,5.0,new\n")
    assert main(["refine", "two", "one.csv", *words, "--output", "-"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("0,new,bus,-")
    assert not Path("two/refined-one.nc").exists()


@pytest.mark.slow
def test_a_run_with_answers_may_be_overwritten(place, tmp_path, capsys):
    assert main(["fit", "cars.csv", "--folder", "again", "--label", "kind", *QUICK]) == 0
    for words in (["encode", "again"], ["score", "again", "--draws", "21"], ["impute", "again"]):
        assert main(words) == 0
    assert main(["refine", "again", "--draws", "50", "--effort", "brief"]) == 0
    assert main(["sample", "again"]) == 0 and main(["interpolate", "again", "0", "1"]) == 0
    options = ["--folder", "again", "--overwrite", "true", "--label", "kind", *QUICK]
    assert main(["fit", "cars.csv", *options]) == 0
    assert not list(Path("again").glob("latents-*")) + list(Path("again").glob("refined-*"))


def test_the_words_of_no_option_may_stand_anywhere():
    seen = look(["compare", "--draws", "5", "a", "--seed=1", "b"])
    assert seen.given["run"] == ["a", "b"] and list(seen.words)[:2] == ["a", "b"]
    assert "source" not in look(["score", "a"]).given


def test_a_switch_that_no_value_follows_is_true():
    assert look(["diagnose", "a", "--refine"]).last("refine") == "true"
    seen = look(["diagnose", "--refine", "--seed", "3", "a"])
    assert seen.last("refine") == "true" and seen.last("run") == "a"
