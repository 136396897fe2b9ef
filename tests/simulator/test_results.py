"""When results can be read: by the operation behind (M152), by the cycle counter (M22)."""

from dataclasses import replace

import pytest

from onewafer.image import DsdOperation, Opcode, ScalarType
from onewafer.trace import EventKind
from tests.simulator.assembly import MAIN, WSE3, Kernel, Pointer, background, boot

MOV32 = DsdOperation.MOV32
N = 16
TIMING = WSE3.timing


def boot_pair(engine, first, second, *, config=None, architecture=WSE3):
    """Run two copies, (to, from, elements, stride) in words, of which all registers are loaded."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=4 * N)
    kernel.function("main")
    loaded = [
        kernel.load(
            kernel.vector(base + 4 * to, count, stride),
            None,
            kernel.vector(base + 4 * from_, count),
        )
        for to, from_, count, stride in (first, second)
    ]
    kernel.emit(Opcode.JUMP, imm="behind")  # so that nothing waits for a register (M30)
    kernel.label("behind")
    kernel.operate_loaded(MOV32, *loaded[0])
    kernel.operate_loaded(MOV32, *loaded[1], config=config)
    return boot(kernel.finish(), engine=engine, architecture=architecture).launch()


def gap(run):
    """Return the cycles from the first element of one operation to that of the next."""
    first, second = run.cycles(EventKind.DSD_START)
    return second - first


@pytest.mark.parametrize(
    ("first", "second", "cycles"),
    [
        ((0, 32, 1, 1), (48, 0, 1, 1), 3),  # one element is read by the next operation
        ((0, 32, 1, 1), (48, 1, 1, 1), 1),  # it reads another one
        ((0, 32, 1, 1), (0, 48, 1, 1), 1),  # it writes the same one
        ((0, 32, 8, 1), (48, 0, 8, 1), 3),  # two cycles of elements
        ((0, 32, 8, 1), (48, 8, 8, 1), 2),
        ((0, 32, 12, 1), (48, 0, 12, 1), 3),  # as long as a result takes
        ((0, 32, 16, 1), (48, 0, 16, 1), 4),
        ((0, 32, 2, 1), (48, 1, 2, 1), 3),  # they have one of two elements in common
        ((3, 32, 2, -1), (48, 2, 1, 1), 3),  # backwards
        ((3, 32, 2, -1), (48, 4, 1, 1), 1),
    ],
)
def test_operation_waits_for_what_it_reads(engine, first, second, cycles):
    """M152: `result_cycles` after the element that wrote it, as STN's operations of one element."""
    assert TIMING.result_cycles == 3
    assert gap(boot_pair(engine, first, second)) == cycles


def test_asynchronous_operation_waits_for_what_it_reads(engine):
    """M152: on its microthread; the main thread goes on."""
    pair = (0, 32, 1, 1), (48, 0, 1, 1)
    assert gap(boot_pair(engine, *pair, config=background(2))) == TIMING.result_cycles


def test_results_of_silicon_were_not_measured(engine):
    """M152: a machine for which `result_cycles` is 0 waits for nothing."""
    machine = replace(WSE3, timing=replace(TIMING, result_cycles=0))
    pair = (0, 32, 1, 1), (48, 0, 1, 1)
    assert gap(boot_pair(engine, *pair, architecture=machine)) == 1


@pytest.mark.parametrize("is_read", [True, False])
def test_sum_waits_where_it_is_read(engine, is_read):
    """M152: the place of a scalar is a result as every other."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=N)
    kernel.function("main")
    target = kernel.immediate(ScalarType.U16, base)
    loaded = [
        kernel.load(Pointer(target), None, kernel.vector(base + 8, 1)),
        kernel.load(kernel.vector(base + 16, 1), None, kernel.vector(base + 4 * (not is_read), 1)),
    ]
    kernel.emit(Opcode.JUMP, imm="behind")
    kernel.label("behind")
    for operands in loaded:
        kernel.operate_loaded(MOV32, *operands)
    run = boot(kernel.finish(), engine=engine).launch()
    assert gap(run) == (TIMING.result_cycles if is_read else 1)


def test_read_of_the_counter_waits_for_an_operation(engine):
    """M22: `timestamp_drain_cycles` after its end; one instruction stands between."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, num_elements=N)
    times = kernel.data("times", ScalarType.U16, num_elements=3)
    kernel.function("main")
    kernel.operate(MOV32, kernel.vector(base, 4), src1=kernel.vector(base + 32, 4))
    kernel.emit(Opcode.TIMESTAMP, ra=kernel.immediate(ScalarType.U16, times), imm=1)
    run = boot(kernel.finish(), engine=engine).launch()
    (end,) = run.cycles(EventKind.DSD_END, subject=MAIN)
    (read,) = run.cycles(EventKind.TIMESTAMP)
    assert read == end + TIMING.timestamp_drain_cycles + TIMING.timestamp_wait_cycles
    assert run.words("times", num_bytes=6) == [read]
