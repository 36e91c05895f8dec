"""Graphs in two parts: what runs share, and what each computes."""

import torch

from ppvae.engine.compilation import CompiledProgram, replay


def program(mode, z, x):
    return [z * x.lgamma(), (z - x).square()]


def test_what_depends_on_shared_inputs_alone_is_computed_once():
    z, x = torch.rand(3), 1 + torch.rand(3)
    made = CompiledProgram(program, [z, x], replay, varying=1)
    names = {str(node.target) for node in made.graph.module.graph.nodes}
    assert "aten.lgamma.default" not in names
    other, elsewhere = torch.rand(3), 2 + torch.rand(3)
    found = made([other, *made.shared([elsewhere])])
    expected = program(None, other, elsewhere)
    assert all(map(torch.equal, found, expected))


def test_an_output_of_shared_inputs_alone_stays_an_output():
    made = CompiledProgram(
        lambda mode, z, x: [x + 1, z], [torch.ones(2), torch.ones(2)], replay, varying=1
    )
    one, other = made([torch.zeros(2), *made.shared([torch.full((2,), 5.0)])])
    assert one.tolist() == [6, 6] and other.tolist() == [0, 0]


def test_draws_are_never_shared():
    made = CompiledProgram(
        lambda mode, z, x: [z + torch.rand(2), x], [torch.ones(2)] * 2, replay, varying=1
    )
    assert made.random
    shared = made.shared([torch.ones(2)])
    first, second = (made([torch.zeros(2), *shared])[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_a_program_that_changes_what_it_made_is_not_split_there():
    def changes(mode, z, x):
        made = x + 1
        made.add_(z)
        return [made]

    made = CompiledProgram(changes, [torch.ones(2)] * 2, replay, varying=1)
    shared = made.shared([torch.ones(2)])
    for _ in range(2):
        assert made([torch.ones(2), *shared])[0].tolist() == [3, 3]
