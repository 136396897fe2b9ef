from __future__ import annotations

import dataclasses
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh import Arena, Axis, schedule, shard
from onewafer.mesh.attention import ReduceScores
from onewafer.mesh.blocks import Block
from onewafer.mesh.collectives import Broadcast, ChainMax, ChainReduce
from onewafer.mesh.elementwise import Add
from onewafer.mesh.entry import ENTRY_WORDS, MAX_WORD, Entry
from onewafer.mesh.kinds import REPEAT, STOP, Task
from onewafer.mesh.schedule import build_schedule
from tests.graph.strategies import graphs
from tests.mesh.strategies import mlp

WSE3 = load_architecture("wse3")
AFTER_CHAINS = [Task.AFTER_CHAIN_X, Task.AFTER_CHAIN_Y, Task.AFTER_HEAD_CHAIN]
TASK_AFTER = {
    kind: task
    for chain in (ChainReduce, ChainMax, ReduceScores)
    for kind, task in zip(chain.kinds, AFTER_CHAINS, strict=False)
}


def unfold(schedule):
    """Walk a schedule as the state machine does; return the entries with absolute offsets."""
    executed, index, turn, offset, state = [], 0, 0, 0, 0
    while schedule[index].kind is not STOP:
        entry = schedule[index]
        index += 1
        if entry.kind is not REPEAT:
            words = list(entry.words)
            for word in entry.parameter_words:
                words[word] = (words[word] + offset) & MAX_WORD
            for word in entry.state_words:
                words[word] = (words[word] + state) & MAX_WORD
            executed.append(words)
        elif turn < entry.n:
            turn, offset, state = turn + 1, offset + entry.right, state + entry.result
            back = entry.left
            while back:
                index -= 1
                back -= len(schedule[index].words)
        else:
            turn, offset, state = 0, 0, 0
    return executed


def check(program):
    plain = [operation.entry(program) for operation in program.operations]
    written = build_schedule(program)
    assert unfold(written) == [list(entry.words) for entry in plain]
    for before, after in pairwise(written):
        assert after.kind.task is TASK_AFTER.get(before.kind, Task.STEP)
    offsets = [
        placement.block.offset
        for placement in program.placements
        if placement.block.arena is Arena.PARAMETERS
    ]
    assert all(entry.words[word] in offsets for entry in plain for word in entry.parameter_words)


@given(graphs(max_features=3, max_operations=12), st.integers(1, 3), st.integers(1, 3))
def test_folding_keeps_the_operations(graph, width, height):
    check(shard(graph, width=width, height=height, architecture=WSE3))


def test_no_repetition_begins_right_after_a_chain():
    program = shard(mlp([8, 8]), width=2, height=2, architecture=WSE3)
    block = Block(Arena.ACTIVATIONS, 0, 1, 4)
    add, broadcast = Add(block, block, block), Broadcast(block, Axis.X)
    layer = (broadcast, add, ChainReduce(block, Axis.X))
    operations = (ChainMax(block, Axis.X), *layer * 3, broadcast)
    program = dataclasses.replace(program, operations=operations)
    check(program)
    (repeat,) = [entry for entry in build_schedule(program) if entry.kind is REPEAT]
    assert repeat.n == 2


def test_equal_layers_are_written_once():
    few, many = (
        build_schedule(shard(mlp([8] * (layers + 1)), width=2, height=2, architecture=WSE3))
        for layers in (8, 40)
    )
    assert len(few) == len(many)
    (repeat,) = [entry for entry in many if entry.kind is REPEAT]
    assert repeat.n == 18  # pairs of layers, the last of which lacks a ReLU


def test_an_entry_is_eight_words():
    assert len(Entry(STOP).words) == ENTRY_WORDS


def test_parameters_and_state_repeat_at_strides_of_their_own():
    """Three rounds 10 elements of parameters and 6 of the state apart, then one that differs."""
    offsets = [(0, 0), (10, 6), (20, 12), (31, 18)]
    operations = tuple(
        Add(
            Block(Arena.ACTIVATIONS, 0, 1, 4),
            Block(Arena.PARAMETERS, parameters, 1, 4),
            Block(Arena.STATE, state, 1, 4),
        )
        for parameters, state in offsets
    )
    program = shard(mlp([4, 4]), width=1, height=1, architecture=WSE3)
    program = dataclasses.replace(program, operations=operations, placements=())
    schedule = build_schedule(program)
    assert [entry.kind for entry in schedule] == [*Add.kinds, REPEAT, *Add.kinds, STOP]
    assert (schedule[1].right, schedule[1].result, schedule[1].n) == (10, 6, 2)
    plain = [operation.entry(program) for operation in operations]
    assert unfold(schedule) == [list(entry.words) for entry in plain]


@given(st.integers(-40, 40), st.integers(-40, 40))
def test_rounds_may_go_back(parameters, state):
    """A backward pass begins with the last layer; gradients lie as parameters do."""
    starts = [(120 + turn * parameters, 120 + turn * state) for turn in range(4)]
    operations = tuple(
        Add(
            Block(Arena.GRADIENTS, first, 1, 4),
            Block(Arena.PARAMETERS, first, 1, 4),
            Block(Arena.STATE, second, 1, 4),
        )
        for first, second in starts
    )
    program = shard(mlp([4, 4]), width=1, height=1, architecture=WSE3)
    program = dataclasses.replace(program, operations=operations, placements=())
    schedule = build_schedule(program)
    assert [entry.kind for entry in schedule] == [*Add.kinds, REPEAT, STOP]
    assert all(0 <= word <= MAX_WORD for entry in schedule for word in entry.words)
    assert unfold(schedule) == [list(one.entry(program).words) for one in operations]


def test_the_work_of_folding_grows_as_the_program_does(monkeypatch):
    compared = []

    def count(body, again):
        compared.append(len(body))
        return strides(body, again)

    strides = schedule._strides
    monkeypatch.setattr(schedule, "_strides", count)
    work = []
    for layers in (40, 160):
        compared.clear()
        build_schedule(shard(mlp([8] * (layers + 1)), width=2, height=2, architecture=WSE3))
        work.append(sum(compared))
    assert work[1] < 5 * work[0]
