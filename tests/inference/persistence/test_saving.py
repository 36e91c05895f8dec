"""Pairs saved and loaded."""

import json
import os
import pickle
import stat

import pytest
import torch
from torch import nn

import ppvae
from ppvae import likelihoods, networks, posteriors, priors
from ppvae.inference.persistence.files import atomic_write


def pair_with(decoder, encoder):
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(decoder),
        posteriors.DiagonalNormal(encoder),
    )


NETWORKS = {
    "linear": lambda: (nn.Linear(2, 6), nn.Linear(6, 4, bias=False)),
    "MLP": lambda: (networks.MLP(2, 6, hidden=()), networks.MLP(6, 4, activation=nn.Tanh)),
    "residual": lambda: (
        networks.ResidualMLP(2, 6, width=5),
        networks.ResidualMLP(6, 4, depth=1, activation=nn.Tanh),
    ),
    "sequential": lambda: (
        nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.3), nn.Dropout(0.2), nn.Linear(8, 6)),
        nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8, eps=0.1), nn.LayerNorm(8), nn.Linear(8, 4)
        ),
    ),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loaded_pair_is_the_saved_one(make, dtype, tmp_path):
    pair = pair_with(*make()).to(dtype)
    x = (torch.rand(9, 6) < 0.5).to(dtype)
    ppvae.fit(pair, x, steps=2)  # moves weights, and the buffers of normalization
    ppvae.save(pair, tmp_path)
    loaded = ppvae.load(tmp_path)
    assert str(loaded) == str(pair)
    saved, read = pair.state_dict(), loaded.state_dict()
    assert saved.keys() == read.keys()
    assert all(torch.equal(saved[name], read[name]) for name in saved)
    assert torch.equal(pair.eval().encode(x).mean, loaded.eval().encode(x).mean)


def test_shared_network_stays_shared(tmp_path):
    network = nn.Linear(4, 4)
    pair = pair_with(nn.Sequential(nn.Linear(2, 4), network), nn.Sequential(network))
    ppvae.save(pair, tmp_path)
    loaded = ppvae.load(tmp_path)
    assert loaded.likelihood.network[1] is loaded.posterior.network[0]
    assert torch.equal(loaded.posterior.network[0].weight, network.weight)
    other = nn.Linear(4, 4)
    mine = pair_with(nn.Sequential(nn.Linear(2, 4), other), nn.Sequential(other))
    loaded = ppvae.load(tmp_path, pair=mine)
    assert loaded is mine
    assert torch.equal(other.weight, network.weight)


class Forgetful(nn.Module):
    """Does not keep its argument, so it cannot be rebuilt from its attributes."""

    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(size, 4)

    def forward(self, x):
        return self.linear(x)


def test_pair_that_cannot_be_rebuilt_is_loaded_into_mine(tmp_path):
    pair = pair_with(nn.Linear(2, 6), Forgetful(6))
    ppvae.save(pair, tmp_path)
    with pytest.raises(ValueError, match="Forgetful does not keep its argument 'size'.*pair=mine"):
        ppvae.load(tmp_path)
    mine = ppvae.load(tmp_path, pair=pair_with(nn.Linear(2, 6), Forgetful(6)))
    assert torch.equal(mine.posterior.network.linear.weight, pair.posterior.network.linear.weight)


def test_foreign_class_is_built_only_if_trusted(tmp_path):
    pair = pair_with(nn.Linear(2, 6), Own(6))
    ppvae.save(pair, tmp_path)
    module = "tests.inference.persistence.test_saving"
    with pytest.raises(ValueError, match=rf"trust=\['{module}.Own'\]"):
        ppvae.load(tmp_path)
    for trust in (f"{module}.Own", module):
        assert isinstance(ppvae.load(tmp_path, trust=[trust]).posterior.network, Own)
    with pytest.raises(ValueError, match="is not among those of ppvae and torch.nn"):
        ppvae.load(tmp_path, trust=[f"{module}.Ow", "test_saving", "Own"])


class Own(Forgetful):
    def __init__(self, size):
        super().__init__(size)
        self.size = size


def test_weights_of_another_pair_are_refused_by_name(tmp_path):
    ppvae.save(pair_with(nn.Linear(2, 6), nn.Linear(6, 4)), tmp_path)
    wider = pair_with(nn.Linear(2, 6), nn.Linear(7, 4))
    with pytest.raises(ValueError, match=r"of other shape \['posterior.network.weight'\]"):
        ppvae.load(tmp_path, pair=wider)
    before = wider.likelihood.network.weight.detach().clone()
    assert torch.equal(wider.likelihood.network.weight, before)


def test_what_is_no_pair_is_refused(tmp_path):
    with pytest.raises(TypeError, match="a model and a guide, got object"):
        ppvae.save(object(), tmp_path)
    with pytest.raises(FileNotFoundError):
        ppvae.load(tmp_path / "nowhere")


def test_files_are_complete_or_absent(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"new, but not")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_of_a_file_follow_the_umask_which_is_not_touched(umask, tmp_path, monkeypatch):
    def touched(_):
        raise AssertionError("the umask is that of all threads of the process")

    before = os.umask(umask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", touched)
            with atomic_write(tmp_path / "file") as file:
                file.write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


def test_temporary_file_never_follows_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr("ppvae.inference.persistence.files.secrets.token_hex", lambda _: "known")
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / ".file.known").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError), atomic_write(tmp_path / "file"):
        pass
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"


def test_structure_is_readable(tmp_path):
    ppvae.save(pair_with(nn.Linear(2, 6), networks.MLP(6, 4, hidden=[3])), tmp_path)
    structure = json.loads((tmp_path / "pair.json").read_text())
    network = structure["pair"]["arguments"]["posterior"]["arguments"]["network"]
    assert network["arguments"]["hidden"] == [3]
    assert network["arguments"]["activation"] == {"type": "torch.nn.ReLU"}


def test_saving_leaves_no_trace(tmp_path):
    pair = pair_with(nn.Linear(2, 6), nn.Sequential(nn.Linear(6, 4), nn.Dropout()))
    pair.posterior.eval()
    modes = [module.training for module in pair.modules()]
    before = torch.get_rng_state()
    ppvae.save(pair, tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert modes == [module.training for module in pair.modules()]
    assert set(json.loads((tmp_path / "pair.json").read_text())) == {
        *("dtype", "frozen", "evaluating", "pair", "weights")
    }


def test_frozen_parameters_and_modes_are_restored(tmp_path):
    def make():
        return pair_with(nn.Linear(2, 6), nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)))

    pair = make()
    pair.likelihood.network.bias.requires_grad_(False)
    pair.posterior.eval()
    ppvae.save(pair, tmp_path)
    mine = make()
    mine.posterior.network[0].weight.requires_grad_(False)
    mine.prior.eval()
    for loaded, own in ((ppvae.load(tmp_path), 0), (ppvae.load(tmp_path, pair=mine), 1)):
        frozen = {name for name, p in loaded.named_parameters() if not p.requires_grad}
        expected = {"likelihood.network.bias", "posterior.network.0.weight"}
        assert frozen == (expected if own else {"likelihood.network.bias"})
        assert loaded.training and loaded.likelihood.network.training
        assert not any(module.training for module in loaded.posterior.modules())
        assert loaded.prior.training == (not own)


DAMAGED = {
    "nowhere": ({"class": "torch.nn.nowhere.X"}, "'torch.nn.nowhere.X' is not among"),
    "no name": ({"class": "torch.nn..Linear"}, "is no name of a class"),
    "a class that is a list": ({"class": ["torch.nn.Linear"]}, "is no name of a class"),
    "a null byte": ({"class": "torch.nn.\0.Linear"}, "is no name of a class"),
    "a number": (3, "expected the class of a module, got 3"),
    "a list": ([1, 2], "expected the class of a module"),
    "null": (None, "expected the class of a module"),
    "an empty object": ({}, "expected a class"),
    "a class alone": ({"type": "torch.nn.ReLU"}, "expected the class of a module"),
    "the base class": ({"class": "torch.nn.Module", "children": {}}, "cannot be built"),
    "negative sizes": (
        {"class": "torch.nn.Linear", "arguments": {"in_features": -2, "out_features": 3}},
        "torch.nn.Linear cannot be built of it",
    ),
    "terabytes": (
        {"class": "torch.nn.Linear", "arguments": {"in_features": 10**6, "out_features": 10**6}},
        "it asks for more than its weights have",
    ),
    "very many layers": (
        {
            "class": "ppvae.networks.MLP",
            "arguments": {"in_features": 2, "out_features": 3, "hidden": [4096] * 50},
        },
        "it asks for more than its weights have",
    ),
    "sizes in words": (
        {"class": "torch.nn.Linear", "arguments": {"in_features": "two", "out_features": 3}},
        "torch.nn.Linear cannot be built of it",
    ),
    "arguments in a list": ({"class": "torch.nn.ReLU", "arguments": [1]}, "expected a dict"),
    "children in a list": ({"class": "torch.nn.Sequential", "children": [1]}, "expected a dict"),
    "a number for a child": (
        {"class": "torch.nn.Sequential", "children": {"0": 1}},
        "cannot be built of it",
    ),
    "a number for a list": (
        {"class": "torch.nn.ReLU", "arguments": {"inplace": {"list": 3}}},
        "expected a list",
    ),
    "a repetition of nothing": (
        {"class": "torch.nn.Sequential", "children": {"0": {"same": "9"}}},
        "repeats '9'",
    ),
    "a foreign class": ({"class": "os.path.X"}, r"trust=\['os.path.X'\]"),
    "a function": ({"class": "torch.nn.functional.relu"}, "is not among those of ppvae"),
    "an optimizer": ({"class": "torch.optim.SGD"}, "which is no nn.Module"),
    "an import of a module": ({"class": "torch.nn.modules.rnn.Module"}, "is not among those"),
    "a private class": ({"class": "ppvae.pairs.vae._Program"}, "is not among those of ppvae"),
    "letters of another alphabet": ({"class": "torch.ｎｎ.Linear"}, "is not among those"),
    "a module alone": ({"class": "os"}, "is not among those"),
}


@pytest.mark.parametrize(("pair", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_structure_is_one_sentence(pair, message, tmp_path):
    ppvae.save(nn.Linear(2, 3), tmp_path)
    refused_after(tmp_path, f"does not describe a pair that can be built: .*{message}", pair=pair)


def refused_after(folder, message, **changes):
    path = folder / "pair.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=message) as refused:
        ppvae.load(folder)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


MISTYPED = {
    "dtype of a function": ({"dtype": "load"}, "no floating dtype, but 'load'"),
    "dtype of integers": ({"dtype": "int64"}, "no floating dtype"),
    "dtype of a list": ({"dtype": ["float32"]}, "no floating dtype"),
    "frozen": ({"frozen": 3}, "expected a list of names under 'frozen'"),
    "evaluating": ({"evaluating": [3]}, "expected a list of names under 'evaluating'"),
    "store": ({"store": [3]}, "expected the parameters of Pyro's store by name"),
    "store of numbers": ({"store": {"a": 3}}, "the parameter 'a' of Pyro's store has no tensor"),
    "store without tensor": ({"store": {"a": {"tensor": "b"}}}, "'a' .* has no tensor"),
    **{
        f"constraint {constraint}": (
            {"store": {"a": {"tensor": "weight", "constraint": constraint}}},
            "'a' of Pyro's store has no known constraint",
        )
        for constraint in (
            *(None, 3, [], [3], [[]], ["Constraint"], ["positive", 1], ["interval", 1]),
            *(["interval", "a", "b"], ["interval", ["a"], 1], ["independent", ["real"], "1"]),
            ["independent", ["real"], -1],
        )
    },
}


@pytest.mark.parametrize(("changes", "message"), MISTYPED.values(), ids=MISTYPED.keys())
def test_damaged_rest_is_one_sentence(changes, message, tmp_path):
    ppvae.save(nn.Linear(2, 3), tmp_path)
    refused_after(tmp_path, f"pair.json is damaged: .*{message}", **changes)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_deep_nesting_is_one_sentence(depth, tmp_path):
    ppvae.save(nn.Linear(2, 3), tmp_path)
    (tmp_path / "pair.json").write_text('{"pair": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(ValueError, match=r"pair.json .*nested (too deeply|deeper than 100)"):
        ppvae.load(tmp_path)


def test_old_structure_is_never_mixed_with_new_weights(tmp_path, monkeypatch):
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    ppvae.save(first, tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ppvae.inference.persistence.saving.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        ppvae.save(second, tmp_path)
    for pair in (None, nn.Linear(2, 3)):
        with pytest.raises(ValueError, match="cut off between the two.*save the pair again"):
            ppvae.load(tmp_path, pair=pair)
    monkeypatch.undo()
    ppvae.save(second, tmp_path)
    assert torch.equal(ppvae.load(tmp_path).weight, second.weight)


def test_parameter_without_shape_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'weight' has no shape yet"):
        ppvae.save(nn.LazyLinear(3), tmp_path)


def pickled(state, path):
    path.write_bytes(pickle.dumps(state))


@pytest.mark.parametrize("write", [torch.save, pickled])
def test_weights_in_a_pickle_are_refused_by_name(write, tmp_path):
    pair = pair_with(nn.Linear(2, 6), nn.Linear(6, 4))
    ppvae.save(pair, tmp_path)
    write(pair.state_dict(), tmp_path / "pair.safetensors")
    with pytest.raises(ValueError, match=r"pair.safetensors is a file of torch.save or pickle"):
        ppvae.load(tmp_path)
