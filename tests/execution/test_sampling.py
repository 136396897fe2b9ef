"""Samples against the exact story: the start of every step on every PE, from the trace."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.execution.sampling import PurposeSampler
from onewafer.host import Device
from onewafer.mesh import Purpose, emit, shard
from onewafer.mesh.budget import LOCAL_TASK_IDS
from onewafer.mesh.purposes import CONTROL, purposes
from onewafer.mesh.schedule import build_schedule, steps_of
from onewafer.simulator import Machine
from onewafer.trace import EventKind, EventRecorder
from tests.mesh.fabric import compile_emitted
from tests.mesh.models import llama

WSE3 = load_architecture("wse3")
LAUNCH = (2, 1)


def program_of(layers=2):
    return shard(llama(layers=layers), width=2, height=3, architecture=WSE3)


def traced_shares(program, image):
    """Return the share of all PEs' cycles by purpose, exactly."""
    recorder = EventRecorder()
    machine = Machine(image, WSE3, sink=recorder)
    machine.run()
    begin = machine.cycle
    machine.launch("infer", LAUNCH)
    machine.run()
    starts: dict[tuple[int, int], list[int]] = {}
    for event in recorder.events(EventKind.TASK_START):
        if event.cycle >= begin and event.subject in LOCAL_TASK_IDS:
            starts.setdefault((event.x, event.y), []).append(event.cycle)
    spent: Counter[Purpose] = Counter()
    known = purposes(program)
    indices = steps_of(build_schedule(program))
    steps = [CONTROL if index is None else known[index] for index in indices]
    for cycles in starts.values():
        assert len(cycles) == len(steps)
        spent[CONTROL] += cycles[0] - begin
        for purpose, start, end in zip(steps, cycles, [*cycles[1:], machine.cycle], strict=True):
            spent[purpose] += end - start
    return {purpose: cycles / spent.total() for purpose, cycles in spent.items()}, machine


@pytest.mark.parametrize("layers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_samples_tell_what_the_trace_tells(layers):
    program = program_of(layers)
    emitted = emit(program, WSE3)
    image = compile_emitted(emitted, WSE3)
    expected, traced = traced_shares(program, image)
    device = Device(image, WSE3)
    device.load()
    sampler = PurposeSampler(program, image, emitted.position, looks=1500)
    sampler.begin(device.machine, 8000 * layers)
    before = device.machine.statistics().busy_cycles
    report = device.launch("infer", *LAUNCH, sampler=sampler)
    busy = (device.machine.statistics().busy_cycles - before).mean()
    assert device.machine.cycle == traced.cycle
    spent = sampler.spent(report.cycles)
    assert sum(item.cycles for item in spent.values()) == pytest.approx(report.cycles)
    assert spent.keys() == expected.keys()
    for purpose, share in expected.items():
        assert spent[purpose].cycles / report.cycles == pytest.approx(share, abs=0.02), purpose
    assert sum(item.busy_cycles for item in spent.values()) == pytest.approx(busy, rel=0.02)


@pytest.mark.slow
def test_looking_changes_neither_cycles_nor_values():
    program = program_of()
    emitted = emit(program, WSE3)
    image = compile_emitted(emitted, WSE3)
    memories, cycles = [], []
    for looks in (0, 7, 100):
        device = Device(image, WSE3)
        device.load()
        sampler = PurposeSampler(program, image, emitted.position, looks=max(looks, 1))
        if looks:
            sampler.begin(device.machine, 8000)
        report = device.launch("infer", *LAUNCH, sampler=sampler if looks else None)
        memories.append(device.machine.memory.copy())
        cycles.append((report.start_cycle, report.end_cycle))
    assert len(set(cycles)) == 1
    assert all(np.array_equal(memory, memories[0]) for memory in memories)


@pytest.mark.slow
def test_launches_are_looked_at_in_different_cycles():
    program = program_of()
    emitted = emit(program, WSE3)
    device = Device(compile_emitted(emitted, WSE3), WSE3)
    device.load()
    sampler = PurposeSampler(program, device.image, emitted.position)
    offsets = []
    for _ in range(4):
        sampler.begin(device.machine, 64_000)
        offsets.append(sampler.next_look - device.machine.cycle)
        assert not sampler.spent(64_000)
    assert len(set(offsets)) == len(offsets)
    assert max(offsets) <= 1001
