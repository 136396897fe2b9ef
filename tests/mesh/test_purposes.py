"""Cycles by purpose: the words of the schedule and the closed form tell the same story."""

from __future__ import annotations

from collections import Counter

import pytest

from onewafer.arch import load_architecture
from onewafer.graph import LayerPart
from onewafer.mesh import Launch, Purpose, estimate, purposes_of_words, shard, split_estimate
from onewafer.mesh.kinds import REPEAT
from onewafer.mesh.purposes import CONTROL, purposes
from onewafer.mesh.schedule import build_schedule, operations_of, steps_of
from tests.mesh.models import bert, gpt2, llama

WSE3 = load_architecture("wse3")


@pytest.mark.parametrize("build", [llama, gpt2, bert])
@pytest.mark.parametrize("rectangle", [(1, 1), (3, 2)])
def test_cycles_by_purpose_add_up(build, rectangle):
    width, height = rectangle
    program = shard(build(), width=width, height=height, architecture=WSE3)
    launch = Launch.at(2, 1) if build is not bert else None
    result = estimate(program, WSE3, launch)
    cycles = split_estimate(program, result)
    assert cycles.total() == result.cycles
    assert {purpose.part for purpose in cycles} == {
        None, LayerPart.EMBEDDING, LayerPart.ATTENTION, LayerPart.MLP, LayerPart.NORMS,
        LayerPart.HEAD,
    }  # fmt: skip
    has_collectives = any(purpose.is_collective for purpose in cycles)
    assert has_collectives == (rectangle != (1, 1))


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_entries_know_their_operations_whatever_repeats(layers):
    program = shard(llama(layers=layers), width=2, height=2, architecture=WSE3)
    schedule = build_schedule(program)
    indices = operations_of(schedule)
    for entry, index in zip(schedule, indices, strict=True):
        if index is not None:
            first = program.operations[index].entry(program)
            assert first.words == entry.words
    named = [index for index in indices if index is not None]
    assert named == sorted(set(named))
    assert named[-1] == len(program.operations) - 1


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_steps_are_all_operations_in_order(layers):
    program = shard(llama(layers=layers), width=2, height=2, architecture=WSE3)
    schedule = build_schedule(program)
    steps = steps_of(schedule)
    assert [index for index in steps if index is not None] == [*range(len(program.operations))]
    repeats = [entry for entry in schedule if entry.kind is REPEAT]
    assert steps.count(None) == sum(entry.n + 1 for entry in repeats) + 1
    assert steps[-1] is None


def test_every_word_has_the_purpose_of_its_entry():
    program = shard(llama(), width=2, height=2, architecture=WSE3)
    words = purposes_of_words(program)
    assert len(words) == sum(len(entry.words) for entry in build_schedule(program))
    assert words[-1] == CONTROL
    assert set(words) == {CONTROL, *purposes(program)}


def test_what_is_worked_out_once_a_launch_belongs_to_attention():
    program = shard(llama(), width=2, height=2, architecture=WSE3)
    known = Counter(purposes(program)[: len(program.operations) // 10])
    assert known[Purpose(LayerPart.ATTENTION)] >= 3  # shares, and both tables of angles
