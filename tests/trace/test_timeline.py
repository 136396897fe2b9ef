"""A timeline loses no cycle: its waits are the stall counters, its slices nest."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import HealthCheck, given, settings

from onewafer.image import DsdConfig, DsdOperation, ScalarType
from onewafer.simulator import StallReason
from onewafer.trace import Detail, EventKind
from onewafer.trace.formats import build_timelines, summarize
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3, Kernel, eastward, sender
from tests.simulator.feature_generation import feature_programs
from tests.trace.fixtures import run_traced

LENIENT = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


def check_nesting(slices):
    """Slices of a track lie beside or inside of each other."""
    ends = []
    for slice_ in slices:
        assert slice_.start <= slice_.end
        while ends and ends[-1] <= slice_.start:
            ends.pop()
        assert not ends or slice_.end <= ends[-1], slices
        ends.append(slice_.end)


@LENIENT
@given(feature_programs())
def test_waits_are_the_stall_counters_and_slices_nest(tmp_path, case):
    architecture, image = case
    trace, machine = run_traced(image, architecture, tmp_path / "t", Detail.CAUSES)
    if trace is None:
        return
    statistics = machine.statistics()
    waited = np.zeros((len(StallReason), image.height, image.width), np.int64)
    names = {name: reason for reason, name in enumerate(trace.header.reasons)}
    num_tasks = num_operations = 0
    for pe in build_timelines(trace):
        for slices in (*pe.threads.values(), *pe.router.values()):
            check_nesting(slices)
            for slice_ in slices:
                num_tasks += slice_.category == "task"
                num_operations += slice_.category == "operation"
                if slice_.category in {"wait", "held"}:
                    reason = slice_.name.split(": ")[1].split(" C")[0]
                    is_open = ("ends", "never") in slice_.arguments
                    if not (is_open and names[reason] == StallReason.MICROTHREAD_BUSY):
                        waited[names[reason], pe.y, pe.x] += slice_.cycles
    expected = np.stack([statistics.stall_cycles[reason] for reason in StallReason])
    np.testing.assert_array_equal(waited, expected)
    assert num_tasks == statistics.task_starts.sum()
    kinds = trace.rows[:, 3]
    assert num_operations == (kinds == EventKind.DSD_START).sum()


_RATES = WSE3.timing.elements_per_cycle | {"fmacs": Fraction(1, 2)}
SLOW = replace(WSE3, timing=replace(WSE3.timing, elements_per_cycle=_RATES))
"""A machine that takes two cycles for a word of a multiply-add."""


def slow_reader(num_words=60):
    """Return an image whose sender waits for its receiver on `SLOW`, word by word."""
    kernel = Kernel("slow.csl")
    base = kernel.data("received", ScalarType.F32, [1.0] * num_words)
    kernel.function("main")
    vector = kernel.vector(base, num_words)
    factor = kernel.immediate(ScalarType.F32, 0.5)
    incoming = kernel.incoming(3, num_words)
    kernel.operate(DsdOperation.FMACS, vector, vector, incoming, factor, line=7)
    placed = {(0, 0): sender(3, num_words), (3, 0): kernel.finish()}
    return make_image(SLOW, placed, width=4, routes=eastward(3, 0, 3))


def test_a_slow_reader_is_one_wait_and_not_sixty(tmp_path):
    trace, machine = run_traced(slow_reader(), SLOW, tmp_path / "t", Detail.CAUSES)
    timelines = {pe.x: pe for pe in build_timelines(trace)}
    (launched, operation) = [s for s in timelines[3].threads[8] if s.category != "wait"]
    assert launched.name == "main (launched)"
    assert (operation.name, dict(operation.arguments)["elements"]) == ("fmacs", 60)
    assert dict(operation.arguments)["source"] == "kernel.csl:7"
    held = [s for slices in timelines[1].router.values() for s in slices]
    assert len(held) < 5
    counted = machine.statistics().stall_cycles[StallReason.NO_CREDIT][0, 1]
    assert sum(s.cycles for s in held) == counted
    assert max(s.times for s in held) > 10
    text = summarize(trace)
    assert text.startswith(f"{trace.end_cycle:,} cycles; ")
    assert "held: no credit" in text


def test_what_never_ends_says_so(tmp_path):
    kernel = Kernel("alone.csl")
    base = kernel.data("received", ScalarType.U32, num_elements=4)
    kernel.function("main")
    config = DsdConfig(microthread=1)
    kernel.operate(DsdOperation.MOV32, kernel.vector(base, 4), src1=kernel.incoming(3, 4))
    kernel.operate(
        DsdOperation.MOV32, kernel.vector(base, 4), src1=kernel.incoming(4, 4), config=config
    )
    image = make_image(WSE3, {(0, 0): kernel.finish()}, width=2, routes=eastward(3, 1, 0))
    trace, _ = run_traced(image, WSE3, tmp_path / "t", Detail.CAUSES)
    assert not trace.ended_well
    (pe,) = build_timelines(trace)
    assert [(s.name, ("ends", "never") in s.arguments) for s in pe.threads[8]] == [
        ("main (launched)", True),
        ("wait: input empty C3", True),
    ]
    text = summarize(trace)
    assert "; 1 never ended" in text
    assert " cycles; 1 task, 0 DSD operations, 0 moves of wavelets; " in text
