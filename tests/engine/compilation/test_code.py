"""Code that is generated while the caller goes on."""

import time

import pytest
import torch

from ppvae.engine.compilation import capture, generate

pytestmark = pytest.mark.slow


def drawing(watch, x):
    return [x @ x.T + torch.randn(x.shape[0], x.shape[0]) + torch.rand(5).sum()]


def stream(code):
    """Draw until the code is there, and a little longer."""
    torch.manual_seed(0)
    code.start()
    drawn = []
    while len(drawn) < 200 or not code.ready:
        drawn.append(torch.randn(3))
        time.sleep(0.01)
    return torch.stack(drawn)


def test_random_numbers_go_on_while_code_is_generated(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing generated before
    x = torch.randn(7, 5)
    graph = capture(drawing, [x])
    code = generate(graph, [x, *graph.lifted])
    meanwhile = stream(code)
    torch.manual_seed(0)
    expected = torch.stack([torch.randn(3) for _ in meanwhile])
    assert torch.equal(meanwhile, expected)
    torch.manual_seed(3)
    got = code.result()([x, *graph.lifted])[0]
    torch.manual_seed(3)
    torch.testing.assert_close(got, drawing(None, x)[0])


def test_graph_survives_its_code(tmp_path):
    x = torch.randn(7, 5)
    graph = capture(drawing, [x])
    before = str(graph.module.graph)
    generate(graph, [x, *graph.lifted]).result()
    assert str(graph.module.graph) == before
