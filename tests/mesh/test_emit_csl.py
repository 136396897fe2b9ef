from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl.syntax import parse
from onewafer.diagnostics import DiagnosticSink, SourceFile
from onewafer.errors import TooLargeError
from onewafer.graph import FLOATING
from onewafer.mesh import Arena, emit, footprint, shard
from onewafer.mesh.memories import Memories
from tests.mesh.strategies import mlp

WSE3 = load_architecture("wse3")


def emitted(sizes, width=2, height=2, **options):
    program = shard(mlp(sizes, **options), width=width, height=height, architecture=WSE3)
    return emit(program, WSE3)


@pytest.mark.parametrize("dtype", FLOATING)
def test_every_file_parses(dtype):
    for name, text in emitted([5, 4, 3], dtype=dtype).files.items():
        sink = DiagnosticSink()
        parse(SourceFile(name, text), sink)
        assert not sink.diagnostics


def test_code_does_not_grow_with_the_model():
    few, many = emitted([8] * 3).files, emitted([8] * 13).files
    assert few.keys() == many.keys()
    assert {name for name in few if few[name] != many[name]} == {"layout.csl", "model.csl"}


def test_names_are_identifiers_and_distinct():
    program = emitted([5, 4])
    symbols = [item.symbol for group in program.parameters.values() for item in group]
    assert symbols == ["parameter_0_weight", "parameter_0_bias"]
    assert program.inputs["x"].symbol == "input_x"
    assert program.outputs["0.sum"].symbol == "output_0_sum"
    sides = {"width": "2", "height": "2"}
    middles = {"middle_x": "0", "middle_y": "0", "section_x": "0", "section_y": "0"}
    no_heads = {"head_axis": "0", "head_pes": "0", "num_heads": "0"}
    assert program.params == sides | middles | no_heads


def test_parameters_never_pass_through_the_text():
    small, large = (emitted([size, 40], 1, 1).files["model.csl"] for size in (5, 50))
    assert small.count("\n") == large.count("\n")


def test_nothing_is_emitted_over_budget():
    with pytest.raises(TooLargeError, match="at least"):
        emitted([400, 400], 1, 1)


@pytest.mark.parametrize("sizes", [[5, 4], [5, 4, 3]])
def test_first_copy_holds_every_element_once(sizes):
    program = emitted(sizes, width=3, height=2, batch=2)
    weights = [placement for copies in program.parameters.values() for placement in copies]
    for placement in (*program.inputs.values(), *program.outputs.values(), *weights):
        shape = placement.placement.shape
        blocks = placement.pack(np.arange(1, np.prod(shape) + 1).reshape(shape))
        copy = placement.first_copy
        first = blocks[: copy.height, : copy.width]
        np.testing.assert_array_equal(np.broadcast_to(first, blocks.shape), blocks)
        assert np.count_nonzero(first) == np.prod(shape)  # padding is zero


def test_a_program_may_have_further_arenas():
    program = shard(mlp([6, 5]), width=2, height=1, architecture=WSE3)
    moments = Arena("moments", "f32")
    more = replace(program, arena_elements=program.arena_elements | {moments: 5})
    text = emit(more, WSE3).files["model.csl"]
    assert re.search(r"^var moments align\(\d+\) = @zeros\(\[5\]f32\);$", text, re.MULTILINE)
    assert footprint(more, WSE3).total == footprint(program, WSE3).total + 4 * 5
    assert Memories(more).arena(moments).shape == (1, 2, 5)
