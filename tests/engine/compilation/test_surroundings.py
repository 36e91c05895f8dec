"""Without what code needs there is none, and one line says why."""

import errno
import logging
import os
import threading

import pytest
import torch

from ppvae.engine.compilation import (
    CaptureError,
    Code,
    NoCode,
    capture,
    code,
    surroundings,
    torch_internals,
)
from ppvae.engine.compilation.surroundings import check_surroundings, no_code, without_log

X = torch.ones(3, 2)


def program(mode, x):
    return [x.sin()]


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Make a program the only compiler; code is not kept."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))

    def choose(name, script=None):
        path = tmp_path / name
        if script is not None:
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        monkeypatch.setattr(surroundings, "compilers", lambda: (str(path),))
        return path

    return choose


def refused(message):
    graph = capture(program, [X])
    with pytest.raises(NoCode, match=message) as error:
        Code(graph, [X])
    said = str(error.value)
    assert said.startswith("no code could be generated: ") and "\n" not in said
    assert len(said) < 400


def test_no_compiler_is_found_before_anything_is_generated(compiler, monkeypatch, tmp_path):
    monkeypatch.setattr(code.torch_generator, "generate_code", pytest.fail)
    compiler("none")
    refused(r"the C\+\+ compiler '.*none' cannot be run \(No such file or directory\)$")
    compiler("fails", "echo pages; echo of >&2; exit 1")
    refused(r"the C\+\+ compiler '.*fails' fails$")
    path = compiler("no program", "exit 0")
    path.chmod(0o644)
    refused(r"cannot be run \(Permission denied\)$")


def test_a_folder_that_cannot_be_made_or_written(compiler, monkeypatch, tmp_path):
    monkeypatch.setattr(code.torch_generator, "generate_code", pytest.fail)
    compiler("works", "exit 0")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "code"))
    refused(r"Not a directory: .*file/code")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    refused(r"its folder .* cannot be written to; TORCHINDUCTOR_CACHE_DIR names another$")


def test_a_full_disk_and_a_compiler_that_fails_are_one_line(compiler, monkeypatch):
    compiler("works", "exit 0")

    def full(*arguments, **options):
        logging.getLogger("torch._inductor.codecache").warning("pages of a log")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/code/x.cpp")

    monkeypatch.setattr(code.torch_generator, "generate_code", full)
    refused(r"No space left on device: '/code/x.cpp'$")
    error = RuntimeError("C++ compile error\n\nCommand:\ng++ ...")
    error.output = "In file included from x.h:1:\nx.cpp:3:1: error: what is this\n 3 | x\n"
    said = no_code(error)
    assert str(said).endswith("the C++ compiler failed: x.cpp:3:1: error: what is this")
    assert isinstance(said, NoCode)
    said = no_code(ValueError("of this graph\nalone"))
    assert type(said) is CaptureError and str(said).endswith("generated: of this graph")


def test_code_without_a_thread(monkeypatch):
    """Where no thread can be started, the compiler is waited for."""
    made = object.__new__(Code)
    made._functions, made._run, made._thread = [code._Postponed(lambda: len)], sum, None

    def no_thread(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    made.start()
    assert made.ready and made.result() is sum


def test_the_log_of_this_thread_is_kept_back(monkeypatch):
    logger, seen = logging.getLogger("torch._inductor.codecache"), []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    above = logging.getLogger("torch._inductor")
    above.addHandler(handler)
    try:
        with without_log():
            logger.warning("of this thread")
            other = threading.Thread(target=logger.warning, args=("of another",))
            other.start()
            other.join()
        logger.warning("afterwards")
        monkeypatch.setenv("TORCH_LOGS", "inductor")
        with without_log():
            logger.warning("asked for")
    finally:
        above.removeHandler(handler)
    assert seen == ["of another", "afterwards", "asked for"] and not handler.filters


def test_surroundings_that_have_it_all(compiler):
    compiler("works", "exit 0")
    assert check_surroundings() is None


def test_programs_are_captured_without_folders(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "code"))
    assert torch.equal(capture(program, [X]).module(X)[0], X.sin())
    with torch_internals._some_folders():
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == os.sep
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "file" / "code")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))
    before = os.getcwd()
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    try:
        (tmp_path / "gone").rmdir()
        with torch_internals._some_folders():
            assert os.getcwd() == os.sep
        with pytest.raises(FileNotFoundError):
            os.getcwd()
        with pytest.raises(NoCode, match="the current folder was removed"):
            check_surroundings()
    finally:
        os.chdir(before)
