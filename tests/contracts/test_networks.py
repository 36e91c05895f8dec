"""What every network promises; a new one joins by an entry in NETWORKS."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import likelihoods, networks, posteriors, priors
from tests.contracts.graphs import of_two_classes, trained_both_ways


@dataclass(frozen=True)
class Network:
    """How to build a network, the shapes before and after it, and what it refuses."""

    name: str
    build: Callable[..., nn.Module]
    arguments: dict[str, Any]
    inputs: tuple[tuple[int, ...], ...]  # of each of its tensors
    output: tuple[int, ...]
    wrong: tuple[dict[str, Any], ...] = ()  # arguments that are refused
    refused: tuple[tuple[int, ...], ...] = ()  # shapes that are refused

    def made(self, **changed):
        return self.build(**self.arguments | changed)

    def random(self, leading, dtype=torch.float32):
        return [torch.randn(*leading, *shape, dtype=dtype) for shape in self.inputs]


def joined(outputs=2, kind=networks.Joined):
    return kind(nn.Sequential(nn.Linear(3 if kind is networks.First else 5, outputs), nn.Tanh()))


def sizes(*names, values=(0, -1)):
    return tuple({name: value} for name in names for value in values)


SHAPES = [(0, 8, 8), (8, 8), (1, 8, -8), (1, 8.0, 8), 8]
IMAGE = (2, 8, 12)
CONV = tuple({"shape": shape} for shape in [*SHAPES, (2, 9, 12), (2, 8, 6)])
HIDDEN = ({"hidden": ()}, {"hidden": (4, 0)})
RESIDUAL = ({"depth": -1}, {"groups": 0}, {"groups": 3})
SEQUENCE = (5, 3)
TIMES = tuple({"shape": shape} for shape in [(0, 3), (5, 0), (5, 3, 1), (5.0, 3), 5])
BAD_IMAGES = ((2, 8, 8), (8, 12), (192,), (4, 2, 12, 8))

NETWORKS = {
    "MLP": Network(
        "MLP",
        networks.MLP,
        {"in_features": 3, "out_features": 2, "hidden": [8]},
        ((3,),),
        (2,),
        (*sizes("in_features", "out_features"), {"hidden": (4, 0)}),
        ((4,), (3, 5), ()),
    ),
    "MLP, linear": Network(
        "MLP", networks.MLP, {"in_features": 3, "out_features": 2, "hidden": ()}, ((3,),), (2,)
    ),
    "OneHot": Network(
        "OneHot",
        networks.OneHot,
        {"levels": (0, 0, 0)},
        ((3,),),
        (3,),
        ({"levels": ()}, {"levels": (2, -1)}),
        ((4,),),
    ),
    "ResidualMLP": Network(
        "ResidualMLP",
        networks.ResidualMLP,
        {"in_features": 3, "out_features": 2, "width": 8},
        ((3,),),
        (2,),
        (*sizes("in_features", "out_features", "width"), {"depth": -1}),
        ((4,), (3, 5), ()),
    ),
    "ConvEncoder": Network(
        "ConvEncoder",
        networks.ConvEncoder,
        {"shape": IMAGE, "out_features": 3, "hidden": [4, 6]},
        (IMAGE,),
        (3,),
        (*sizes("out_features"), *CONV, *HIDDEN),
        BAD_IMAGES,
    ),
    "ConvDecoder": Network(
        "ConvDecoder",
        networks.ConvDecoder,
        {"in_features": 3, "shape": IMAGE, "hidden": (6, 4), "activation": nn.Tanh},
        ((3,),),
        IMAGE,
        (*sizes("in_features"), *CONV, *HIDDEN),
        ((4,), (3, 5), ()),
    ),
    "ResidualConvEncoder": Network(
        "ResidualConvEncoder",
        networks.ResidualConvEncoder,
        {"shape": IMAGE, "out_features": 3, "hidden": (4, 8), "groups": 2},
        (IMAGE,),
        (3,),
        (*sizes("out_features"), *CONV, *HIDDEN, *RESIDUAL),
        BAD_IMAGES,
    ),
    "ResidualConvDecoder": Network(
        "ResidualConvDecoder",
        networks.ResidualConvDecoder,
        {"in_features": 3, "shape": IMAGE, "hidden": (8, 4), "groups": 2},
        ((3,),),
        IMAGE,
        (*sizes("in_features"), *CONV, *HIDDEN, *RESIDUAL),
        ((4,), (3, 5), ()),
    ),
    "BackwardGRU": Network(
        "BackwardGRU",
        networks.BackwardGRU,
        {"shape": SEQUENCE, "width": 7},
        (SEQUENCE,),
        (5, 7),
        (*sizes("width"), *TIMES),
        ((5, 4), (3,), (6, 3), (15,)),
    ),
    "GatedTransition": Network(
        "GatedTransition",
        networks.GatedTransition,
        {"latent": 3, "width": 7},
        ((3,),),
        (6,),
        sizes("latent", "width"),
        ((4,), ()),
    ),
    "SpatialDecoder": Network(
        "SpatialDecoder",
        lambda **given: networks.SpatialDecoder(networks.Joined(nn.Linear(4, 2)), **given),
        {"shape": (4, 6), "content": 2, "scale": 0.3},
        ((6,),),
        (48,),
        (*sizes("content"), {"shape": (4,)}, {"shape": (1, 4)}, {"rotation": -1.0}),
        ((5,), ()),
    ),
    "Canvas": Network(
        "Canvas",
        lambda shape=(3, 4): networks.Canvas(nn.Linear(2, 24), shape),
        {},
        ((5, 2), (1, 2)),
        (5, 2),
        ({"shape": (4,)}, {"shape": (1, 4)}),
    ),
    "GRUEncoder": Network(
        "GRUEncoder",
        networks.GRUEncoder,
        {"shape": SEQUENCE, "out_features": 2, "width": 7, "depth": 2},
        (SEQUENCE,),
        (2,),
        (*sizes("out_features", "width", "depth"), *TIMES),
        ((5, 4), (3,), (6, 3), (15,)),
    ),
    "GRUDecoder": Network(
        "GRUDecoder",
        networks.GRUDecoder,
        {"in_features": 4, "shape": SEQUENCE, "width": 7},
        ((4,),),
        SEQUENCE,
        (*sizes("in_features", "width", "depth"), *TIMES),
        ((5,), (4, 5), ()),
    ),
    "Joined": Network("Joined", joined, {}, ((3,), (2,)), (2,), refused=((),)),
    "Joined, one tensor": Network("Joined", joined, {}, ((5,),), (2,)),
    "LinearGiven": Network(
        "LinearGiven",
        lambda: networks.LinearGiven(nn.Sequential(nn.Linear(3, 4), nn.Tanh())),
        {},
        ((3,), (10,)),
        (2,),
    ),
    "EncoderInput": Network(
        "EncoderInput",
        lambda: networks.EncoderInput(nn.Linear(5, 2), levels=[0, 0, 0]),
        {},
        ((3,), (2,)),
        (2,),
    ),
    "Scaled": Network(
        "Scaled",
        lambda scale=4.0: networks.Scaled(nn.Linear(3, 2), scale),
        {},
        ((3,),),
        (2,),
        ({"scale": 0},),
    ),
    "Standardized": Network(
        "Standardized",
        lambda: networks.Standardized.of(nn.Linear(3, 2), torch.ones(3), torch.full((3,), 4.0)),
        {},
        ((3,),),
        (2,),
    ),
    "Autocast": Network("Autocast", lambda: networks.Autocast(nn.Linear(3, 2)), {}, ((3,),), (2,)),
    "Recomputed": Network(
        "Recomputed",
        lambda: networks.Recomputed(nn.Sequential(nn.Linear(3, 2), nn.Tanh())),
        {},
        ((3,),),
        (2,),
    ),
    "Topics": Network(
        "Topics",
        networks.Topics,
        {"topics": 3, "words": 4},
        ((3,),),
        (4,),
        sizes("topics", "words"),
        ((4,), ()),
    ),
    "First": Network("First", joined, {"kind": networks.First}, ((3,), (4,)), (2,)),
}
LEADING = [(), (5,), (4, 5), (2, 1, 5)]


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS.keys())
def network(request):
    torch.manual_seed(0)
    return request.param


@pytest.mark.parametrize("leading", LEADING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_under_leading_dimensions(network, leading, dtype):
    output = network.made().to(dtype)(*network.random(leading, dtype))
    assert output.shape == (*leading, *network.output)
    assert output.dtype == dtype


def test_no_datapoints_are_mapped_to_none(network):
    assert network.made()(*network.random((0,))).shape == (0, *network.output)


@pytest.mark.parametrize("leading", LEADING)
@torch.no_grad()
def test_a_datapoint_does_not_depend_on_the_others(network, leading):
    made, inputs = network.made().double(), network.random(leading, torch.float64)
    together = made(*inputs)
    for index in np.ndindex(*leading):
        alone = made(*(x[index] for x in inputs))
        torch.testing.assert_close(together[index], alone, rtol=1e-12, atol=1e-13)


@torch.no_grad()
def test_datapoints_are_told_apart(network):
    output = network.made().double()(*network.random((6,), torch.float64)).flatten(1)
    assert bool((torch.cdist(output, output) + torch.eye(6) > 1e-4).all())


def test_gradient_reaches_every_parameter_and_input(network):
    made, inputs = network.made(), [x.requires_grad_() for x in network.random((7,))]
    made(*inputs).square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name
    assert bool((inputs[0].grad != 0).flatten(1).any(1).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_save_and_load(network, dtype, tmp_path):
    made = network.made().to(dtype)
    ppvae.save(made, tmp_path)
    loaded, inputs = ppvae.load(tmp_path), network.random((4, 5), dtype)
    assert str(loaded) == str(made)
    assert torch.equal(loaded(*inputs), made(*inputs))


@pytest.mark.parametrize("name", ["MLP", "ResidualMLP"])
def test_pairs_saved_when_networks_were_one_file_are_loaded(name, tmp_path):
    made = NETWORKS[name].made()
    ppvae.save(made, tmp_path)
    path = tmp_path / "pair.json"
    structure = json.loads(path.read_text())
    structure["pair"]["class"] = f"ppvae.networks.{name}"
    path.write_text(json.dumps(structure))
    x = torch.randn(5, 3)
    assert torch.equal(ppvae.load(tmp_path)(x), made(x))


@pytest.mark.parametrize("name", networks.__all__)
def test_every_public_network_is_here(name):
    assert name in {network.name for network in NETWORKS.values()}


def cases(kind):
    return [
        pytest.param(network, wrong, id=f"{name}, {wrong}")
        for name, network in NETWORKS.items()
        for wrong in getattr(network, kind)
    ]


@pytest.mark.parametrize(("network", "wrong"), cases("wrong"))
def test_bad_sizes_are_refused(network, wrong):
    with pytest.raises(ValueError, match=r"(needs|must|of at least) .*, got") as caught:
        network.made(**wrong)
    assert str(*wrong.values()).strip("(,)") in str(caught.value)


@pytest.mark.parametrize(("network", "wrong"), cases("refused"))
def test_input_of_another_shape_is_refused(network, wrong):
    with pytest.raises(ValueError, match=f"^{network.name} needs .*, got ") as caught:
        network.made()(torch.zeros(wrong))
    assert str(wrong) in str(caught.value)


class Between(nn.Module):
    """A network between linear layers, so that vectors go in and come out of any."""

    def __init__(self, network, features, outputs):
        super().__init__()
        self.first = nn.ModuleList(
            nn.Sequential(nn.Linear(features, math.prod(shape)), nn.Unflatten(-1, shape))
            for shape in network.inputs
        )
        self.network = network.made()
        self.flatten = nn.Flatten(-len(network.output))
        self.last = nn.Linear(math.prod(network.output), outputs)

    def forward(self, x):
        return self.last(self.flatten(self.network(*(layer(x) for layer in self.first))))


@pytest.mark.parametrize("network", of_two_classes(NETWORKS))
def test_graph_of_a_training_is_the_training(network, monkeypatch):
    x = (torch.rand(40, 6) < 0.5).float()

    def build():
        return ppvae.VAE(
            priors.StandardNormal(2),
            likelihoods.Bernoulli(Between(network, 2, 6)),
            posteriors.DiagonalNormal(nn.Linear(6, 4)),
        )

    pair = trained_both_ways(build, x, monkeypatch)
    assert np.isfinite(ppvae.diagnostics.evidence(pair, x, draws=20).log_evidence).all()
