"""The site has a place for every public name, every example and every page."""

import doctest
import importlib
import pkgutil
import re
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

import ppvae
from docs.machinery import entries, plain_text, signatures, tutorial

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TOCTREE = re.compile(
    r"^```\{toctree\}\n(.*?)^```$|^\.\. toctree::\n((?:   .*\n|\n)*)", re.M | re.S
)


@pytest.fixture(scope="module")
def pages():
    """Return the text of each page by its name: those in the folder, and those of the build."""
    made = {f"reference/{name}": text for name, text in entries.pages().items()}
    made |= {f"tutorial/{name}": text for name, text in tutorial.pages().items()}
    made["reference/command_line"] = entries.command_line()
    for path in DOCS.rglob("*.md"):
        name = path.relative_to(DOCS).with_suffix("").as_posix()
        if not name.startswith("_build") and name not in made:
            made[name] = path.read_text()
    return made


def public_names():
    inner = pkgutil.walk_packages(ppvae.__path__, "ppvae.")
    for room in ["ppvae", *(module.name for module in inner if module.ispkg)]:
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", ()) if room != "ppvae.cli" else ():
            if not isinstance(getattr(module, name), ModuleType):
                yield room, name


def test_every_public_name_has_one_entry(pages):
    written = [
        f"{room}.{name}"
        for text in pages.values()
        for room, name in re.findall(r"currentmodule:: (\S+)\n\n\.\. py:data:: (\S+)", text)
    ]
    for text in pages.values():
        written += re.findall(r"^\.\. auto(?:class|function):: (\S+)", text, re.M)
    assert len(written) == len(set(written)) > 300
    for room, name in public_names():
        row = re.search(rf"\* - :py:obj:`{name} <(\S+)>`", pages[f"reference/{room}"])
        assert row and row[1] in written, (room, name)


def test_every_page_is_in_one_toctree(pages):
    listed = []
    for page, text in pages.items():
        folder = page.rpartition("/")[0]
        for found in TOCTREE.finditer(text):
            for line in found[found.lastindex].splitlines():
                entry = re.sub(r".*<(.*)>", r"\1", line.strip())
                if entry and not entry.startswith(":"):
                    entry = f"{folder}/{entry}".strip("/")
                    listed += [name for name in pages if fnmatch(name, entry)] or [entry]
    assert sorted(listed) == sorted(set(pages) - {"index"})


def test_every_example_has_a_page(pages):
    examples = {f"gallery/{path.stem}" for path in ROOT.glob("examples/[!_]*.py")}
    assert {page for page in pages if page.startswith("gallery/")} == {*examples, "gallery/index"}
    listed = re.search(r"\{cards\}\n(.*?)```", pages["gallery/index"], re.S)[1].split()
    assert {f"gallery/{name}" for name in listed} == examples


def test_the_command_line_is_shown_as_it_is_printed(pages):
    assert "usage: ppvae fit" in pages["reference/command_line"]


def test_docstrings_show_formulas_as_they_are_written():
    text = [
        "Returns E_Q[log p(x|z)] of *all* `(*, data)`, by",
        "`Fit.converged`; see `x_`.",
        "",
        "    q(z) = sum_k w_k,   w_k_ * |z|",
        "",
        "Args:",
        "    *args: what x_ is,",
        "        of `(data,)` | None.",
        "",
        "Returns:",
        "    A dict: as `dict[str, int]`.",
        "",
        "Example:",
        "    >>> a | b * c_",
    ]
    links = {"Fit.converged": "ppvae.inference.Fit.converged"}.get
    assert plain_text.as_rest(text, links) == [
        r"Returns E_Q[log p(x\|z)] of \*all\* ``(*, data)``, by",
        r":py:obj:`Fit.converged <ppvae.inference.Fit.converged>`; see ``x_``.",
        "",
        "::",
        "",
        "    q(z) = sum_k w_k,   w_k_ * |z|",
        "",
        "Args:",
        r"    *args: what x\_ is,",
        r"        of ``(data,)`` \| None.",
        "",
        ":returns:",
        "    A dict: as ``dict[str, int]``.",
        "",
        "Example:",
        "    >>> a | b * c_",
    ]


@pytest.mark.parametrize("module", [plain_text, signatures, tutorial], ids=lambda m: m.__name__)
def test_examples_of_the_machinery(module):
    assert doctest.testmod(module).failed == 0
