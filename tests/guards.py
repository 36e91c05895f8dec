"""What tests must leave as they found it; and what a process that runs tests imports first."""

import contextlib
import functools
import importlib
import os
import random
import warnings

import matplotlib
import numpy as np
import pyro
import scipy.sparse
import scipy.special  # noqa: F401, with scipy.sparse, as below
import sympy  # noqa: F401, torch imports it late, and it adds a warning filter
import torch
from torch import nn

from ppvae import diagnostics
from ppvae.engine import modules_of

# Two workers with two threads each would fight for two cores; results do not depend on it.
torch.set_num_threads(1)
# Where whole suites run, no test pays for the import of what others need too.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("arviz", "sklearn.ensemble", "torch._dynamo", "torch._inductor.compile_fx"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)


def global_settings():
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "validation of torch": torch.distributions.Distribution._validate_args,
        "settings of pyro": pyro.settings.get(),
        "handlers of pyro": len(pyro.poutine.runtime._PYRO_STACK),
        "parameter store": sorted(pyro.get_param_store().keys()),
        "NumPy's errors": np.geterr(),
        "matplotlib": dict(matplotlib.rcParams),
        "folder": os.getcwd(),
    }


def random_states():
    numpy = np.random.get_state()
    return (
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        (numpy[0], numpy[1].tobytes(), *numpy[2:]),
    )


def pair_state(pair):
    store = {name: value.detach().clone() for name, value in pyro.get_param_store().items()}
    modules = nn.ModuleList(modules_of(pair))
    tensors = {
        name: tensor.detach().clone()
        for name, tensor in (*modules.named_parameters(), *modules.named_buffers())
    }
    gradients = {name: p.grad for name, p in modules.named_parameters()}
    modes = {name: module.training for name, module in modules.named_modules() if name}
    return store | tensors, gradients, modes


def guarded(function):
    """Wrap an evaluation so that it fails the test if it changes anything."""

    @functools.wraps(function)
    def wrapper(pair, *args, **kwargs):
        settings, states, filters = global_settings(), random_states(), list(warnings.filters)
        tensors, gradients, modes = pair_state(pair)
        try:
            return function(pair, *args, **kwargs)
        finally:
            assert global_settings() == settings
            assert random_states() == states
            assert warnings.filters == filters
            after, gradients_after, modes_after = pair_state(pair)
            assert after.keys() == tensors.keys()
            assert all(torch.equal(after[name], tensors[name]) for name in tensors)
            assert gradients_after == gradients
            assert modes_after == modes

    return wrapper


@contextlib.contextmanager
def guarded_state(monkeypatch):
    """Check global settings at the end, and every diagnostic at each of its calls."""
    for name in diagnostics.__all__:
        function = getattr(diagnostics, name)
        if callable(function) and not isinstance(function, type):
            monkeypatch.setattr(diagnostics, name, guarded(function))
    with pyro.get_param_store().scope():
        before = global_settings()
        states = torch.get_rng_state()
        torch.manual_seed(0)
        yield
        pyro.clear_param_store()
        after = global_settings()
    torch.set_rng_state(states)
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"the test left these global settings changed: {changed}"
