"""Guards around every test: what library code must leave as it found it, and the time it takes."""

import importlib
import os
import time

import pytest

pytest.register_assert_rewrite("tests.guards")
WORKER = "PYTEST_XDIST_WORKER" in os.environ
# The processor time that a test without a mark may take; a shared machine may allow more.
SECONDS = float(os.environ.get("TEST_SECONDS", "3"))
LOOP = 0.03  # that of `slowness` there


def processor_time():
    """Return the seconds used so far by this process and by those it started that have ended."""
    return sum(os.times()[:4])


def slowness():
    """Return how many times slower this machine is at the moment, 1 at least."""
    started = time.process_time()
    for _ in range(10**6):
        pass
    return max(1.0, (time.process_time() - started) / LOOP)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    """Import what tests need, but not where they are only handed to workers, which wait for it."""
    if not session.config.pluginmanager.has_plugin("dsession"):
        importlib.import_module("tests.guards")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail a slow test without a mark, where whole suites run."""
    started = processor_time()
    result = yield
    seconds = processor_time() - started
    marked = item.get_closest_marker("slow") or item.get_closest_marker("verify")
    if WORKER and not marked and seconds > SECONDS and seconds > SECONDS * slowness():
        pytest.fail(f"took {seconds:.1f} s of processor time: mark it slow, or make it faster")
    return result


@pytest.fixture(autouse=True)
def guard(monkeypatch):
    """Check global settings after each test, and every diagnostic at each of its calls."""
    from tests import guards

    with guards.guarded_state(monkeypatch):
        yield


@pytest.fixture(scope="module")
def browser():
    """A browser for the tests of a module, which open files with `browser.visit`."""
    from tests.browser import started

    with started() as one:
        yield one
