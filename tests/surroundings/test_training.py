"""Training in surroundings that lack something ends as anywhere, and one line says what."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.verify

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
STEPS = 12
FAILING = """#!/bin/sh
case "$1" in --version) echo 'g++ (of nobody) 13.0.0'; exit 0;; esac
for n in 1 2 3 4 5 6 7 8 9; do echo "x.cpp:$n:1: error: nothing compiles here" >&2; done
exit 1
"""


def run(words, folder, before=(), **changes):
    """Run a program in a folder; return how it ended and the lines that it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **changes}
    environment = {name: value for name, value in environment.items() if value is not None}
    ended = subprocess.run(
        [*before, sys.executable, *words],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        timeout=300,
    )
    return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()


def program(manner="plain", compile="compiled"):
    return [str(HERE / "program.py"), manner, str(STEPS), compile]


@pytest.fixture(scope="module")
def uncompiled(tmp_path_factory):
    """The fingerprint of the weights of an uncompiled training."""
    code, out, _ = run(program(compile="uncompiled"), tmp_path_factory.mktemp("whole"))
    assert code == 0
    return out[0].split()[0]


def without_compiler(folder):
    return {"CXX": str(folder / "nonexistent")}, ()


def with_failing_compiler(folder):
    compiler = folder / "compiler"
    compiler.write_text(FAILING)
    compiler.chmod(0o755)
    return {"CXX": str(compiler), "TORCHINDUCTOR_CACHE_DIR": str(folder / "code")}, ()


def with_a_file_for_the_folder(folder):
    (folder / "file").touch()
    return {"TORCHINDUCTOR_CACHE_DIR": str(folder / "file" / "code")}, ()


def with_a_full_folder(folder):
    """A file system of its own that has no room."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    place = folder / "full"
    place.mkdir()
    mount = f'mount -t tmpfs -o size=64k tmpfs {place} && exec "$@"'
    return {"TORCHINDUCTOR_CACHE_DIR": str(place / "code")}, (
        *("unshare", "-m", "sh", "-c", mount, "sh"),
    )


def with_the_folder_of_another_user(folder):
    """A user who may write nowhere, and has no home."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs the right to be another user")
    place = folder / "code"
    place.mkdir()
    for each in (place, *folder.parents[:2], folder):  # pytest's are the owner's alone
        each.chmod(0o755)
    nobody = ("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups")
    changes = {"TORCHINDUCTOR_CACHE_DIR": str(place), "HOME": "/nonexistent"}
    return {**changes, "TMPDIR": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}, nobody


LACKING = {
    "no compiler": (without_compiler, "nonexistent' cannot be run"),
    "a failing compiler": (with_failing_compiler, "error: nothing compiles here"),
    "a file in place of the folder": (with_a_file_for_the_folder, "Not a directory"),
    "a full folder": (with_a_full_folder, "No space left on device"),
    "another user's folder": (with_the_folder_of_another_user, "cannot be written to"),
}


@pytest.mark.parametrize("case", LACKING)
def test_without_code_training_goes_on_with_one_line(case, uncompiled, tmp_path):
    prepare, message = LACKING[case]
    changes, before = prepare(tmp_path)
    code, out, err = run(program(), tmp_path, before, **changes)
    assert code == 0, err
    digest, said = out[0].split(maxsplit=1)
    assert digest == uncompiled and len(out) == 1
    assert said.startswith("not compiled: ") and message in said
    # A warning: its place and text, and the line of the program.
    assert len(err) <= 2 and sum(message in line for line in err) == 1, err


@pytest.mark.parametrize(
    "changes",
    [
        {"HOME": None},
        {"HOME": "/dev/null/home"},
        {"TMPDIR": "/dev/null/temporary"},
        {"MPLCONFIGDIR": None, "HOME": "/dev/null/home", "XDG_CACHE_HOME": "/dev/null/cache"},
    ],
    ids=str,
)
def test_home_and_temporary_folder_are_not_needed(changes, uncompiled, tmp_path):
    code, out, err = run(program(), tmp_path, **changes)
    assert code == 0 and err == [] and len(out) == 1
    assert out[0].split(maxsplit=1)[1].startswith("compiled from step")


MANNERS = ("fork", "fork after training", "thread", "event loop", "no current folder")


@pytest.mark.parametrize("manner", MANNERS)
def test_where_a_training_runs_does_not_matter(manner, uncompiled, tmp_path):
    code, out, err = run(program(manner, "uncompiled"), tmp_path)
    assert (code, out, err) == (0, [f"{uncompiled} not compiled: as asked"], [])
    code, out, err = run(program(manner), tmp_path, OMP_NUM_THREADS="2")
    removed = manner == "no current folder"
    said = "the current folder was removed" if removed else "compiled from step"
    assert code == 0 and len(err) == 2 * removed and said in out[0]


def test_optimized_python_changes_nothing(uncompiled, tmp_path):
    code, out, err = run(["-O", *program(compile="uncompiled")], tmp_path)
    assert code == 0 and err == [] and out[0].split()[0] == uncompiled


def test_the_command_goes_on_too(tmp_path):
    words = "-m ppvae fit digits --steps 12 --compile true --figures false --draws 3 --folder run"
    changes, before = with_a_file_for_the_folder(tmp_path)
    code, out, err = run(words.split(), tmp_path, before, **changes)
    assert code == 0 and (tmp_path / "run" / "pair.safetensors").is_file()
    assert sum("Not a directory" in line for line in [*out, *err]) <= 2
    assert not any("Traceback" in line for line in [*out, *err])
