"""Each private part of torch does what is needed of it: the test that fails names the part."""

import ast
import logging
import os
import re
import threading
import warnings
from pathlib import Path

import pyro
import pytest
import torch
import torch.distributions as dist
from torch import nn

import ppvae
from ppvae.engine.compilation import capture, generate, torch_generator, torch_internals


def test_trace():
    """`make_fx`, `FakeTensorMode` and `tracing`: one fake mode describes all results."""
    graph = torch_internals.trace(lambda x: [(2 * x).exp()], [torch.ones(3)])
    operations = ["placeholder", "call_function", "call_function", "output"]
    assert [node.op for node in graph.graph.nodes] == operations
    results = [node.meta["val"] for node in list(graph.graph.nodes)[:-1]]
    assert len({id(result.fake_mode) for result in results}) == 1
    torch.testing.assert_close(graph(torch.zeros(3))[0], torch.ones(3))


def test_node_of_and_without_modes():
    """`get_proxy_mode`, `get_proxy_slot` and `_disable_current_modes`."""
    found = []

    def program(x):
        assert torch_internals.capturing()
        y = x + 1
        found.append(torch_internals.node_of(y))
        with torch_internals.without_modes():
            found.append((x.detach() * 7).tolist())
        return [y]

    graph = torch_internals.trace(program, [torch.ones(2)])
    node, values = found
    assert node.target is torch.ops.aten.add.Tensor and values == [7.0, 7.0]
    assert not any(node.target is torch.ops.aten.mul.Tensor for node in graph.graph.nodes)
    assert torch_internals.node_of(torch.ones(2)) is None and not torch_internals.capturing()


def test_TorchDispatchMode():
    class Names(torch_internals.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    seen, x = [], torch.ones(2)
    with Names():
        x.add(1)
    assert seen == [torch.ops.aten.add.Tensor]


def test_storage_id():
    """`untyped_storage()._cdata`."""
    x = torch.ones(4)
    assert torch_internals.storage_id(x) == torch_internals.storage_id(x[2:])
    assert torch_internals.storage_id(x) != torch_internals.storage_id(x.clone())


def test_written_arguments():
    """`_schema.is_mutable`, `.arguments` and `.alias_info`."""
    aten = torch.ops.aten
    assert list(torch_internals.written_arguments(aten.add_.Tensor)) == [(0, "self")]
    assert list(torch_internals.written_arguments(aten.add.out)) == [(3, "out")]
    assert list(torch_internals.written_arguments(aten.add.Tensor)) == []
    assert list(torch_internals.written_arguments("no operation")) == []


def test_returns_views():
    """`_schema.returns` and `.alias_info`."""
    aten = torch.ops.aten
    assert torch_internals.returns_views(aten.view.default)
    assert not torch_internals.returns_views(aten.add.Tensor)
    assert not torch_internals.returns_views("no operation")


def test_all_true():
    """`torch._is_all_true`, by which distributions check values: it can be seen, and refused."""
    graph = capture(lambda mode, x: [dist.Exponential(2.0, True).log_prob(x)], [torch.ones(3)])
    assert graph.checked
    assert bool(torch_internals.all_true(torch.tensor([True, True])))


def test_slots():
    """`nn.Module._parameters` and `._buffers`."""
    module = nn.BatchNorm1d(2)
    parameters, buffers = torch_internals.slots(module)
    assert list(parameters) == ["weight", "bias"]
    assert buffers["running_mean"] is module.running_mean


def test_trees():
    """`torch.utils._pytree`."""
    flat, tree = torch_internals.tree_flatten(((1, {"a": 2}), {"b": [3]}))
    assert flat == [1, 2, 3]
    assert torch_internals.tree_unflatten([4, 5, 6], tree) == ((4, {"a": 5}), {"b": [6]})


def test_each_of_several_tensors():
    """`torch._foreach_add_`, `_foreach_mul_` and `_foreach_norm`."""
    tensors = [torch.tensor([3.0, 4.0]), torch.tensor([6.0])]
    assert [norm.item() for norm in torch_internals.norm_of_each(tensors)] == [5.0, 6.0]
    torch_internals.multiply_each(tensors, 2.0)
    torch_internals.add_to_each(tensors, 1)
    assert [tensor.tolist() for tensor in tensors] == [[7.0, 9.0], [13.0]]


def drawing(mode, x):
    return [(x @ x.T).sin() + torch.randn(x.shape[0], x.shape[0])]


def test_decomposition_table():
    """`torch._inductor.decomposition.select_decomp_table`."""
    table = torch_generator.decomposition_table()
    assert torch.ops.aten.addmm.default in table
    table.clear()  # a copy
    assert torch_generator.decomposition_table()


def test_code_folder(monkeypatch):
    """`torch._inductor.runtime.cache_dir_utils`: the folder that torch makes is known before."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert torch_internals.code_folder() == default_cache_dir()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "here")
    assert torch_internals.code_folder() == f"{os.getcwd()}/here"


@pytest.mark.slow
def test_generate_code_and_PostponedCodeCache(tmp_path, monkeypatch):
    """`compile_fx`, `compile_fx_inner`, `CustomSchedulerPass` and `V.graph.wrapper_code`."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    x = torch.randn(7, 5)
    graph = capture(drawing, [x])
    code = generate(graph, [x])
    assert not code.ready, "the C++ was compiled at once"
    torch.manual_seed(0)
    got = code.result()([x])[0]
    torch.manual_seed(0)
    torch.testing.assert_close(got, drawing(None, x)[0])
    assert code.ready


@pytest.mark.slow
def test_other_threads_see_torch_as_it_is(tmp_path, monkeypatch):
    """While code is generated here, another thread finds torch's functions, settings and logs."""
    from torch._functorch import config as functorch_config
    from torch._inductor import config
    from torch._inductor.codecache import CppWrapperCodeCache

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def look():
        settings = config.cpp_wrapper, config.fallback_random, config._pre_fusion_custom_pass
        return (
            CppWrapperCodeCache.load_pybinding.__func__,
            *settings,
            functorch_config.enable_autograd_cache,
            logging.getLogger("torch._inductor").level,
        )

    before, seen, compiled, x = look(), [], [], torch.randn(7, 5)
    within, done = threading.Event(), threading.Event()

    def other():
        within.wait(60)
        seen.append(look())
        warnings.warn("shown", UserWarning, stacklevel=1)
        compiled.append(torch.compile(lambda y: (y + 1).cos() * 3)(x))
        seen.append(look())
        done.set()

    def interrupted(*arguments, **options):
        within.set()
        assert done.wait(300)
        return check(*arguments, **options)

    thread = threading.Thread(target=other)
    # `torch.compile` switches the validation of distributions off for the whole process.
    with pyro.validation_enabled(), pytest.warns(UserWarning, match="shown"):
        thread.start()
        graph = capture(drawing, [x])
        generate_code = torch_generator.generate_code

        def with_a_pause(*arguments, **options):
            nonlocal check
            check = options["check"]
            return generate_code(*arguments, **{**options, "check": interrupted})

        check = None
        monkeypatch.setattr(torch_generator, "generate_code", with_a_pause)
        code = generate(graph, [x])
        thread.join()
    assert seen == [before, before]
    torch.testing.assert_close(compiled[0], (x + 1).cos() * 3)
    assert not code.ready  # and here the compiler was still put off
    code.result()


def private_imports(path):
    """Yield the private names of torch that a file imports or reads off `torch`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        for name in names:
            if re.match(r"torch(\.\w+)*\._(?!_)[\w.]+$", name):
                yield name


def test_no_other_file_uses_private_parts_of_torch():
    package = Path(ppvae.__file__).parent
    found = {
        str(path.relative_to(package)): names
        for path in package.rglob("*.py")
        if (names := set(private_imports(path)))
    }
    assert found.pop("engine/compilation/torch_internals.py")
    assert found.pop("engine/compilation/torch_generator.py")
    assert found == {}
