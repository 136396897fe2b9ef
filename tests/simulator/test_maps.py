"""Map loops and registers that save their address: M120–M125."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.image import (
    IN_MAP,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Opcode,
    OperandMode,
    operand,
)
from onewafer.image import ScalarType as T
from onewafer.trace import EventKind
from tests.simulator.assembly import MAIN, WSE2, WSE3, Kernel, background, boot

COSTS = WSE3.timing.instruction_cycles
STEP, SETUP = COSTS["map_step"], WSE3.timing.map_begin_cycles


class MapKernel(Kernel):
    """A kernel with a clock and one map loop at a time."""

    def __init__(self):
        super().__init__("map")
        self.clock = self.data("clock", T.U16, num_elements=6)
        self.function("main")

    def stamp(self, number):
        address = self.immediate(T.U16, self.clock + 6 * number)
        if not number:
            self.emit(Opcode.TIMESTAMP_CONTROL, imm=1)
        self.emit(Opcode.TIMESTAMP, ra=address)

    def map(self, count, body):
        """Emit a map loop; return the cost of what comes before it."""
        register = self.immediate(T.U16, count)
        self.stamp(0)
        self.emit(Opcode.MAP_BEGIN, ra=register, imm="end")
        self.label("top")
        body()
        self.emit(Opcode.MAP_STEP, ra=register, imm="top")
        self.label("end")
        self.emit(Opcode.TIMESTAMP, ra=self._second)

    def prepare(self):
        self._second = self.immediate(T.U16, self.clock + 6)


def elapsed(run):
    """Return the cycles from the first read of the counter to the second, less the read."""
    words = run.words("clock", num_bytes=2)
    return words[3] - words[0] - WSE3.timing.timestamp_cycles


def test_map_reads_and_writes(engine):
    """M121: elements go through registers, each DSD by its own stride."""
    kernel = MapKernel()
    kernel.prepare()
    source = kernel.data("source", T.I16, [-1, 2, -3, 4, -5, 6])
    target = kernel.data("target", T.I32, num_elements=3)
    dsd = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
    read = kernel.dsd_value(dsd, base=source + 10, extent=3, stride=-2)
    write = kernel.dsd_value(dsd, base=target, extent=3)
    value = kernel.register()

    def body():
        kernel.emit(Opcode.MAP_READ, T.I16, rd=value, ra=read)
        kernel.emit(Opcode.ADD, T.I32, rd=value, ra=value, rb=value)
        kernel.emit(Opcode.MAP_WRITE, T.I32, ra=write, rb=value)

    kernel.map(3, body)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("target") == [12, 8, 4]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_map_loop_costs(engine, count):
    """M120, M121: a set-up at the start, a step for each element; reading is free."""
    kernel = MapKernel()
    kernel.prepare()
    dsd = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
    read = kernel.dsd_value(dsd, base=kernel.clock, extent=5)
    value = kernel.register()

    def body():
        kernel.emit(Opcode.MAP_READ, T.U16, rd=value, ra=read)
        kernel.emit(Opcode.MOVE, rd=value, ra=value)

    kernel.map(count, body)
    run = boot(kernel.finish(), engine=engine).launch()
    assert elapsed(run) == SETUP + count * (COSTS["integer"] + STEP)


@pytest.mark.parametrize(("length", "count"), [(4, 6), (16, 3), (1, 9)])
def test_operation_in_a_map_loop(engine, length, count):
    """M122: N operations of n elements take N · (n / rate) and the steps, and no set-up."""
    kernel = MapKernel()
    kernel.prepare()
    base = kernel.data("y", T.F32, range(length))
    dsd = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
    for mode in (OperandMode.DSR_DEST, OperandMode.DSR_SRC0, OperandMode.DSR_SRC1):
        kernel.dsr_load_constant(mode, 0, dsd, base=base, extent=length)
    x = kernel.immediate(T.F32, 0.0)

    def body():
        kernel.emit(
            Opcode.DSD,
            DsdOperation.FMACS,
            rd=operand(OperandMode.DSR_DEST),
            ra=operand(OperandMode.DSR_SRC0),
            rb=operand(OperandMode.DSR_SRC1),
            rc=operand(OperandMode.REGISTER, x),
            imm=-1,
            aux=IN_MAP,
        )

    kernel.map(count, body)
    run = boot(kernel.finish(), engine=engine).launch()
    timing = WSE3.timing  # both sources lie in equal banks (M13)
    duration = length / timing.elements_per_cycle["fmacs"] * timing.bank_conflict_factor
    drain = timing.timestamp_drain_cycles - STEP  # of the read behind the loop (M22)
    assert elapsed(run) == SETUP + count * (duration + STEP) + drain


def test_prepared_operation_waits_for_the_data_path(engine):
    """M34, M122: another operation goes on meanwhile, and both get their turns."""
    kernel = MapKernel()
    kernel.prepare()
    base = kernel.data("y", T.F32, range(8))
    kernel.operate(
        DsdOperation.MOV32,
        kernel.vector(base, 400),
        src1=kernel.vector(base, 400),
        config=background(0, priority=2),
    )
    rd, _, rb = kernel.load(kernel.vector(base, 8), None, kernel.vector(base, 8))

    def body():
        kernel.emit(Opcode.DSD, DsdOperation.MOV32, rd=rd, rb=rb, imm=-1, aux=IN_MAP)

    kernel.map(4, body)
    run = boot(kernel.finish(), engine=engine).launch()
    (end,) = run.cycles(EventKind.DSD_END, subject=0)
    assert run.cycles(EventKind.DSD_START, subject=MAIN)[0] == end
    assert run.machine.statistics().data_path_cycles[0, 0] == 100 + 4 * 2


@pytest.mark.parametrize("architecture", [WSE2, WSE3])
@pytest.mark.parametrize("is_constant", [True, False])
def test_saved_address(engine, architecture, is_constant):
    """M123: the next operation goes on where the last one stopped."""
    kernel = Kernel()
    matrix = kernel.data("matrix", T.U32, range(1, 13))
    target = kernel.data("target", T.U32, num_elements=6)
    dsd = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
    kernel.function("main")
    rd = kernel.dsr_load_constant(
        OperandMode.DSR_DEST, 1, dsd, base=target, extent=3, saves_address=True
    )
    if is_constant:
        rb = kernel.dsr_load_constant(
            OperandMode.DSR_SRC1, 1, dsd, base=matrix + 44, extent=3, stride=-2, saves_address=True
        )
    else:
        pair = kernel.dsd_value(dsd, base=matrix + 44, extent=3, stride=-2)
        rb = kernel.dsr_load(OperandMode.DSR_SRC1, 1, pair, saves_address=True)
    for _ in range(2):
        kernel.operate_loaded(DsdOperation.MOV32, rd, 0, rb)
    run = boot(kernel.finish(), engine=engine, architecture=architecture).launch()
    assert run.words("target") == [12, 10, 8, 6, 4, 2]


@pytest.mark.parametrize("architecture", [WSE2, WSE3])
def test_saved_address_of_a_register_that_is_two_operands(engine, architecture):
    """M123: it advances once."""
    kernel = Kernel()
    numbers = kernel.data("numbers", T.U16, range(1, 7))
    dsd = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
    kernel.function("main")
    both = kernel.dsr_load_constant(
        OperandMode.DSR_SRC0, 1, dsd, base=numbers, extent=2, saves_address=True
    )
    for amount in (10, 20, 30):
        scalar = operand(OperandMode.REGISTER, kernel.immediate(T.U16, amount))
        kernel.operate_loaded(DsdOperation.ADD16, both, both, scalar)
    run = boot(kernel.finish(), engine=engine, architecture=architecture).launch()
    assert run.words("numbers", num_bytes=2) == [11, 12, 23, 24, 35, 36]


def test_registers_that_are_loaded_at_the_start(engine):
    """M125: a DSR may hold a DSD before the program starts."""
    kernel = Kernel()
    source = kernel.data("source", T.U32, range(1, 5))
    target = kernel.data("target", T.U32, num_elements=4)
    plain = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
    kernel.function("main")
    rd = kernel.dsr_load_constant(OperandMode.DSR_DEST, 1, plain, base=target, extent=4)
    rb = operand(OperandMode.DSR_SRC1, 2)
    kernel.operate_loaded(DsdOperation.MOV32, rd, 0, rb)
    words = [rb, 4 << 16 | source, plain << 16 | 1]
    program = replace(kernel.finish(), loaded_dsrs=np.array([words], np.int32))
    assert boot(program, engine=engine).launch().words("target") == [1, 2, 3, 4]


def copied(engine, architecture, *, source, extents, strides, lengths):
    """Copy elements of nested loops, operation by operation; return what came out."""
    kernel = Kernel()
    base = kernel.data("source", T.U16, source)
    zero = kernel.data("zero", T.U16, [0])
    target = kernel.data("target", T.U16, num_elements=sum(lengths))
    plain = kernel.dsd(DsdDescriptor(DsdKind.MEM1D))
    nested = kernel.dsd(DsdDescriptor(DsdKind.MEM4D, extents=extents, strides=strides))
    kernel.function("main")
    rb = kernel.dsr_load_constant(
        OperandMode.DSR_SRC1, 1, nested, base=base, extent=1, stride=0, saves_address=True
    )
    place = target
    for length in lengths:
        rd = kernel.dsr_load_constant(OperandMode.DSR_DEST, 1, plain, base=place, extent=length)
        ra = kernel.dsr_load_constant(  # which says the length
            OperandMode.DSR_SRC0, 1, plain, base=zero, extent=length, stride=0
        )
        kernel.operate_loaded(DsdOperation.OR16, rd, ra, rb)
        place += 2 * length
    run = boot(kernel.finish(), engine=engine, architecture=architecture).launch()
    return run.words("target", num_bytes=2)


@pytest.mark.parametrize("architecture", [WSE2, WSE3])
def test_saved_address_of_nested_loops(engine, architecture):
    """M124: after whole rounds of the first loop, the next operation begins behind them."""
    found = copied(
        engine,
        architecture,
        source=range(24),
        extents=(2, 3),
        strides=(4, 1),
        lengths=[6, 6, 2, 2],
    )
    rows = [[0, 1, 2], [4, 5, 6], [8, 9, 10], [12, 13, 14], [16, 17, 18], [20, 21, 22]]
    assert found == [element for row in rows for element in row][:16]


@given(
    size=st.integers(1, 7),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
)
@settings(max_examples=20)
@pytest.mark.parametrize("architecture", [WSE2, WSE3])
def test_circular_buffers_go_round(engine, architecture, size, lengths):
    """M124: an operation goes on where the last one stopped, and from the end at the start."""
    buffer = range(100, 100 + size)
    found = copied(
        engine, architecture, source=buffer, extents=(1, size), strides=(0, 1), lengths=lengths
    )
    assert found == [buffer[k % size] for k in range(sum(lengths))]
