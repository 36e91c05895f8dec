"""Modules described and rebuilt, or not described at all."""

import functools
import json
import math
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import ppvae
from ppvae import networks
from ppvae.likelihoods import Categorical, Columns, Normal
from tests.inference.persistence import store_pairs


class Decorated(nn.Sequential):
    """A Sequential with a keyword of its own."""

    def __init__(self, *layers, gain=1.0):
        super().__init__(*layers)
        self.gain = gain


class Layers(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.sizes = sizes


class Options(nn.Module):
    def __init__(self, **options):
        super().__init__()


class Kept(nn.Module):
    """Keeps its argument."""

    def __init__(self, value):
        super().__init__()
        self.value = value


class Beside(nn.Module):
    """Keeps two modules, of which one may hold the other."""

    def __init__(self, outer, inner):
        super().__init__()
        self.outer, self.inner = outer, inner


class Logarithm(Kept):
    """Keeps its argument changed."""

    def __init__(self, value):
        super().__init__(math.log(value))


class Noise(nn.Module):
    """Draws a number, or a buffer that is not saved."""

    def __init__(self, buffer):
        super().__init__()
        self.buffer = buffer
        self.noise = 0.0 if buffer else torch.rand(()).item()
        self.register_buffer("drawn", torch.rand(2) if buffer else None, persistent=False)


class Tied(nn.Module):
    """Two layers with one weight, tied by the constructor or later."""

    def __init__(self, size, tied=True):
        super().__init__()
        self.size = size
        self.tied = tied
        self.one, self.two = nn.Linear(size, size), nn.Linear(size, size)
        if tied:
            self.two.weight = self.one.weight


class Activated(nn.Module):
    """Keeps what its argument chooses: a lambda over it."""

    def __init__(self, gain):
        super().__init__()
        self.gain = gain
        self.activation = lambda x: x * gain


def with_(module, **attributes):
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def local_class():
    class Local(nn.Module):
        pass

    return Local()


def tied_later(by_memory):
    module = Tied(3, tied=False)
    if by_memory:
        module.two.weight.data = module.one.weight.data
    else:
        module.two.weight = module.one.weight
    return module


def hooked():
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda *_: None)
    return module


def circular():
    module = Kept(1)
    module.value = [module]
    return module


SHARED = nn.Linear(3, 3)
DESCRIBED = {
    "GRU": lambda: nn.GRU(3, 4, num_layers=2, bias=False, batch_first=True, bidirectional=True),
    "LSTM": lambda: nn.LSTM(3, 4, proj_size=2),
    "RNN": lambda: nn.RNN(3, 4, nonlinearity="relu"),
    "convolution": lambda: nn.Conv2d(1, 2, (3, 5), padding="same", bias=False),
    "embedding": lambda: nn.Embedding(5, 3, padding_idx=1),
    "Sequential with names": lambda: nn.Sequential(
        OrderedDict(second=nn.Linear(2, 3), first=nn.Tanh())
    ),
    "Sequential shortened": lambda: nn.Sequential(nn.ReLU(), nn.Identity(), nn.Tanh())[1:],
    "ModuleList": lambda: nn.ModuleList([nn.Linear(2, 3), nn.ModuleDict({"a": nn.ReLU()})]),
    "an argument shared with an argument": lambda: Beside(Kept(SHARED), SHARED),
    "shared modules": lambda: nn.ModuleList([SHARED, nn.Sequential(SHARED, nn.ReLU())]),
    "tied by the constructor": lambda: Tied(3),
    "classes with arguments": lambda: Columns(
        nn.Linear(2, 3 + 2),
        [(1, functools.partial(Categorical, levels=3)), (1, functools.partial(Normal))],
    ),
    "a tuple": lambda: Kept((1, 2.5, (None, "x"))),
    "a list": lambda: Kept([1, [2]]),
    "a function of its argument": lambda: Activated(2.0),
    "PyroModule": lambda: store_pairs.Attributes(0.5),
}


@pytest.mark.parametrize("make", DESCRIBED.values(), ids=DESCRIBED.keys())
def test_module_is_rebuilt_alike(make, tmp_path):
    module = make()
    ppvae.save(module, tmp_path)
    before = torch.get_rng_state()
    loaded = ppvae.load(tmp_path, trust=["tests"])
    assert torch.equal(before, torch.get_rng_state())
    assert str(loaded) == str(module)
    assert [*loaded.state_dict()] == [*module.state_dict()]
    assert [*dict(loaded.named_parameters())] == [*dict(module.named_parameters())]
    pairs = zip(module.state_dict().values(), loaded.state_dict().values(), strict=True)
    assert all(torch.equal(saved, read) for saved, read in pairs)
    assert getattr(loaded, "value", None) == getattr(module, "value", None)


def test_shared_modules_are_shared_again(tmp_path):
    for name in ("an argument shared with an argument", "shared modules"):
        ppvae.save(DESCRIBED[name](), tmp_path / name)
    beside = ppvae.load(tmp_path / "an argument shared with an argument", trust=["tests"])
    assert beside.outer.value is beside.inner
    listed = ppvae.load(tmp_path / "shared modules")
    assert listed[0] is listed[1][0]


def test_module_in_the_place_of_a_shared_one_is_not_shared(tmp_path):
    apart = Beside(Kept(nn.Linear(3, 3)), nn.Linear(3, 3))
    ppvae.save(apart, tmp_path)
    loaded = ppvae.load(tmp_path, trust=["tests"])
    assert loaded.outer.value is not loaded.inner
    assert torch.equal(loaded.inner.weight, apart.inner.weight)


INDESCRIBABLE = {
    "Sequential with an own keyword": (lambda: Decorated(nn.ReLU(), gain=2.0), "takes \\*layers"),
    "*args": (lambda: Layers(3, 4), "Layers takes \\*sizes"),
    "**kwargs": (Options, "Options takes \\*\\*options"),
    "a changed argument": (lambda: Logarithm(3.0), "the attribute 'value' of Logarithm is 1.09"),
    "a changed Sequential": (
        lambda: with_(networks.MLP(2, 3), layers=nn.Linear(2, 3)),
        "layers is torch.nn.Linear, but would be torch.nn.*Sequential",
    ),
    "an attribute set later": (lambda: with_(nn.Linear(2, 2), beta=4), "'beta' of Linear is 4"),
    "a function set later": (
        lambda: with_(Activated(1.0), activation=torch.tanh),
        "'activation' of Activated",
    ),
    "a function of something else": (
        lambda: with_(Activated(1.0), activation=Activated(2.0).activation),
        "'activation' of Activated",
    ),
    "a tensor that is no buffer": (lambda: with_(Kept(1), mask=torch.ones(2)), "'mask' of Kept"),
    "a function": (lambda: Kept(torch.tanh), "is no number, string, class or module"),
    "a function with arguments": (
        lambda: Kept(functools.partial(torch.add, 1)),
        "is no number, string, class or module",
    ),
    "a foreign class with arguments": (
        lambda: Kept(functools.partial(dict, a=1)),
        "dict.* is no nn.Module",
    ),
    "a foreign class": (lambda: Kept(dict), "dict.* is no nn.Module"),
    "a drawn number": (lambda: Noise(False), "the attribute 'noise' of Noise"),
    "a drawn buffer": (lambda: Noise(True), r"the attribute 'drawn \(buffer\)' of Noise"),
    "tied later": (lambda: tied_later(False), "two.weight is .* tied to one.weight, but"),
    "tied by memory": (lambda: tied_later(True), "two.weight is .* tied to one.weight, but"),
    "weight_norm": (lambda: weight_norm(nn.Linear(2, 2)), "ParametrizedLinear is not found"),
    "two dtypes": (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()),
        "1.weight is .* torch.float64, but would be",
    ),
    "a local class": (local_class, "Local is not found under its name"),
    "a hook": (hooked, "_forward_hooks' of Linear is 1, but would be 0"),
    "a circle": (circular, "it repeats ''"),
    "a tower": (
        lambda: functools.reduce(lambda inner, _: nn.Sequential(inner), range(150), nn.ReLU()),
        "nested deeper than 100",
    ),
}


@pytest.mark.parametrize(("make", "reason"), INDESCRIBABLE.values(), ids=INDESCRIBABLE.keys())
def test_what_would_be_another_is_saved_without_structure(make, reason, tmp_path):
    module = make()
    ppvae.save(module, tmp_path)
    assert "pair" not in json.loads((tmp_path / "pair.json").read_text())
    with pytest.raises(ValueError, match=f"{reason}.*pair=mine"):
        ppvae.load(tmp_path, trust=["tests"])
    own = module.state_dict()
    values = {name: tensor.clone() for name, tensor in own.items()}
    for tensor in own.values():
        tensor.zero_()
    assert ppvae.load(tmp_path, pair=module) is module
    assert all(torch.equal(own[name], value) for name, value in values.items())


def test_table_whose_families_have_arguments_is_loaded(tmp_path):
    table = DESCRIBED["classes with arguments"]()
    ppvae.save(table, tmp_path)
    loaded, z, x = ppvae.load(tmp_path), torch.randn(4, 2), torch.tensor([2.0, 0.5])
    assert torch.equal(loaded(z).log_prob(x), table(z).log_prob(x))


@pytest.mark.parametrize("found", [3, [{"type": "ppvae.networks.MLP"}], {"type": "os.system"}])
def test_partial_of_no_trusted_class_is_refused(found, tmp_path):
    ppvae.save(DESCRIBED["classes with arguments"](), tmp_path)
    path = tmp_path / "pair.json"
    content = json.loads(path.read_text())
    content["pair"]["arguments"]["groups"]["list"][0][1]["partial"] = found
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="partial of a class|not among those of ppvae"):
        ppvae.load(tmp_path)
