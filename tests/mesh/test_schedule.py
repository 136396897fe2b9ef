from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh import shard
from onewafer.mesh.schedule import ENTRY_WORDS, Entry, Kind, build_schedule, kind_of
from tests.graph.strategies import graphs
from tests.mesh.strategies import mlp

WSE3 = load_architecture("wse3")


def unfold(schedule):
    """Walk a schedule as the state machine does; return the entries with absolute offsets."""
    executed, index, turn, offset = [], 0, 0, 0
    while schedule[index].kind is not Kind.STOP:
        entry = schedule[index]
        index += 1
        if entry.kind is not Kind.REPEAT:
            shift = offset if entry.kind.reads_parameters else 0
            executed.append(dataclasses.replace(entry, right=entry.right + shift))
        elif turn < entry.n:
            turn, offset, index = turn + 1, offset + entry.right, index - entry.left // ENTRY_WORDS
        else:
            turn, offset = 0, 0
    return executed


def check(program):
    executed = unfold(build_schedule(program))
    assert [entry.kind for entry in executed] == [kind_of(item) for item in program.operations]
    offsets = [placement.block.offset for placement in program.placements]
    assert all(entry.right in offsets for entry in executed if entry.kind.reads_parameters)


@given(graphs(max_features=3, max_operations=12), st.integers(1, 3), st.integers(1, 3))
def test_folding_keeps_the_operations(graph, width, height):
    check(shard(graph, width=width, height=height, architecture=WSE3))


def test_equal_layers_are_written_once():
    few, many = (
        build_schedule(shard(mlp([8] * (layers + 1)), width=2, height=2, architecture=WSE3))
        for layers in (8, 40)
    )
    assert len(few) == len(many)
    (repeat,) = [entry for entry in many if entry.kind is Kind.REPEAT]
    assert repeat.n == 18  # pairs of layers, the last of which lacks a ReLU


def test_an_entry_is_eight_words():
    assert len(Entry(Kind.STOP).words) == ENTRY_WORDS
