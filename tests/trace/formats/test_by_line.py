"""Cycles by source line: each cycle of a main thread has one line and one reason."""

import io

import pytest
from hypothesis import given

from onewafer.errors import TraceError
from onewafer.image import DsdOperation, Opcode, ScalarType
from onewafer.trace import Detail, EventKind
from onewafer.trace.formats import Reason, costs_by_line, write_costs_by_line
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3, Kernel
from tests.simulator.feature_generation import feature_programs
from tests.trace.fixtures import run_traced
from tests.trace.test_timeline import LENIENT, SLOW, slow_reader


def cycles_of_tasks(trace):
    """Return the cycles from the pick of each task to its end, or that of the run."""
    total = 0
    for _, _, rows in trace.of_pes():
        began = None
        tasks = (EventKind.TASK_END, EventKind.TASK_START)
        for cycle, kind in sorted((r[0], -r[3]) for r in rows if r[3] in tasks):
            if -kind == EventKind.TASK_START:
                began = cycle - trace.header.task_start_cycles
            elif began is not None:
                total += cycle - began
                began = None
        total += trace.end_cycle - began if began is not None else 0
    return total


@LENIENT
@given(feature_programs())
def test_cycles_of_lines_are_those_of_tasks(tmp_path, case):
    architecture, image = case
    trace, machine = run_traced(image, architecture, tmp_path / "t", Detail.INSTRUCTIONS)
    if trace is None:
        return
    lines = costs_by_line(trace)
    assert all(cycles >= 0 for line in lines for cycles in line.spent.values())
    assert sum(line.cycles for line in lines) == cycles_of_tasks(trace)
    issued = sum(line.num_instructions for line in lines)
    assert issued == machine.statistics().instructions.sum()


def test_each_reason_of_an_operation(tmp_path):
    """Three copies: one after the load of its registers, one whose sources share banks, one that
    reads what was just written."""
    kernel = Kernel("pe.csl")
    base = kernel.data("x", ScalarType.F32, num_elements=64)
    kernel.function("main")
    kernel.operate(DsdOperation.MOV32, kernel.vector(base, 8), src1=kernel.vector(base + 64, 8))
    kernel.operate(
        DsdOperation.FADDS,
        kernel.vector(base, 8),
        kernel.vector(base + 64, 8),
        kernel.vector(base + 128, 8),
        line=2,
    )
    registers = kernel.load(kernel.vector(base, 1), None, kernel.vector(base + 64, 1))
    others = kernel.load(kernel.vector(base + 128, 1), None, kernel.vector(base, 1))
    kernel.emit(Opcode.JUMP, imm="behind")
    kernel.label("behind")
    kernel.operate_loaded(DsdOperation.MOV32, *registers, line=3)
    kernel.operate_loaded(DsdOperation.MOV32, *others, line=4)
    image = make_image(WSE3, {(0, 0): kernel.finish()})
    trace, _ = run_traced(image, WSE3, tmp_path / "t", Detail.INSTRUCTIONS)
    lines = {line.place: line.spent for line in costs_by_line(trace)}
    operations = {n: {r: c for r, c in lines[f"kernel.csl:{n}"].items() if c} for n in range(1, 5)}
    assert operations == {
        1: {Reason.ELEMENTS: 2},
        2: {Reason.ELEMENTS: 4, Reason.BANK_CONFLICT: 4},
        3: {Reason.ELEMENTS: 1},
        4: {Reason.ELEMENTS: 1, Reason.RESULT: 2},
    }
    assert lines[""][Reason.DSR_WAIT] == 6


def test_a_line_that_waits_for_the_fabric_has_the_wait(tmp_path):
    trace, machine = run_traced(slow_reader(), SLOW, tmp_path / "t", Detail.INSTRUCTIONS)
    (line,) = [line for line in costs_by_line(trace) if line.place == "kernel.csl:7"]
    assert line.spent[Reason.FABRIC] > 0
    text = io.StringIO()
    write_costs_by_line(trace, text)
    (shown,) = [words for words in text.getvalue().splitlines() if words.endswith("kernel.csl:7")]
    assert shown.split()[0] == f"{line.cycles:,}"
    assert machine.cycle >= line.cycles


def test_a_trace_without_instructions_is_refused(tmp_path):
    trace, _ = run_traced(slow_reader(), SLOW, tmp_path / "t", Detail.CAUSES)
    with pytest.raises(TraceError, match=r"with an output that ends in \.txt"):
        costs_by_line(trace)
