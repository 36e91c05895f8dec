"""Pairs saved and loaded."""

import json
import stat

import pytest
import torch
from torch import nn

import ppvae
from ppvae import likelihoods, networks, posteriors, priors
from ppvae.files import whole


def pair_with(decoder, encoder):
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(decoder),
        posteriors.DiagonalNormal(encoder),
    )


NETWORKS = {
    "linear": lambda: (nn.Linear(2, 6), nn.Linear(6, 4, bias=False)),
    "MLP": lambda: (networks.MLP(2, 6, hidden=()), networks.MLP(6, 4, activation=nn.Tanh)),
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
    ppvae.fit(pair, x, steps=2)  # moves weights, and the buffers of normalisation
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
    with pytest.raises(ValueError, match=r"trust=\['tests.inference.test_saving'\]"):
        ppvae.load(tmp_path)
    loaded = ppvae.load(tmp_path, trust=["tests.inference.test_saving"])
    assert isinstance(loaded.posterior.network, Own)


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


def test_what_is_no_module_is_refused(tmp_path):
    with pytest.raises(TypeError, match="nn.Module, got object"):
        ppvae.save(object(), tmp_path)
    with pytest.raises(FileNotFoundError):
        ppvae.load(tmp_path / "nowhere")


def test_files_are_whole_or_absent(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), whole(path) as file:
        file.write(b"new, but not")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with whole(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) & 0o400


def test_structure_is_readable(tmp_path):
    ppvae.save(pair_with(nn.Linear(2, 6), networks.MLP(6, 4, hidden=[3])), tmp_path)
    structure = json.loads((tmp_path / "pair.json").read_text())
    network = structure["pair"]["arguments"]["posterior"]["arguments"]["network"]
    assert network["arguments"]["hidden"] == [3]
    assert network["arguments"]["activation"] == {"type": "torch.nn.modules.activation.ReLU"}
