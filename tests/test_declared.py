"""Every package that is imported is declared, and at a version that has an upper limit."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"ppvae", "tests", "examples", "benchmarks", "docs"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


NEEDED = {name_of(line) for line in PROJECT["dependencies"]}
OF_TESTS = {name_of(line) for line in PROJECT["optional-dependencies"]["test"]}
EXTRAS = {
    name_of(line)
    for extra, lines in PROJECT["optional-dependencies"].items()
    for line in lines
    if extra != "test"
}
OF_BENCHMARKS = {
    name_of(line)
    for line in (ROOT / "benchmarks" / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
}


@functools.cache
def imported(folder):
    """Return the top-level modules that a folder's files import, with a file of each."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
                names = [ast.literal_eval(node.args[0])]
            for name in names:
                found.setdefault(name.partition(".")[0], path.relative_to(ROOT))
    return found


installed = functools.cache(packages_distributions)


def undeclared(folder, declared):
    # A package that is not installed here, such as a peer, has the name of its module.
    distributions = installed()
    return {
        name: str(path)
        for name, path in imported(folder).items()
        if name not in OURS | set(sys.stdlib_module_names)
        and not {name_of(one) for one in distributions.get(name, [name])} & declared
    }


@pytest.mark.parametrize(
    ("folder", "declared"),
    [
        ("ppvae", NEEDED | EXTRAS),
        ("examples", NEEDED),
        ("tests", NEEDED | EXTRAS | OF_TESTS | OF_BENCHMARKS),
        ("benchmarks", NEEDED | OF_BENCHMARKS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_imported_packages_are_declared(folder, declared):
    assert undeclared(folder, declared) == {}


def test_an_undeclared_package_would_be_found():
    assert "torch" in undeclared("ppvae", NEEDED - {"torch"})


def test_every_dependency_has_a_lower_and_an_upper_bound():
    for line in PROJECT["dependencies"]:
        assert ">=" in line and ("<" in line or name_of(line) == "xarray"), line


def test_constraints_pin_every_dependency_within_its_range():
    pins = {
        name_of(line): re.search(r"==([0-9.]+)", line)[1]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    numbers = lambda version: [int(part) for part in version.split(".")]  # noqa: E731
    for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]:
        pin = numbers(pins[name_of(line)])
        for kind, bound in re.findall(r"(>=|<)([0-9.]+)", line):
            assert pin >= numbers(bound) if kind == ">=" else pin < numbers(bound), line
