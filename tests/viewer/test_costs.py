"""The costs of a listing are the cycles of a run, wherever the program alone decides them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.image import (
    DSD_OPERATIONS,
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    FifoBuffer,
    Opcode,
    OperandMode,
    ScalarType,
    fifo_length,
    operand,
)
from onewafer.trace import EventKind
from onewafer.viewer import Cost, instruction_costs, total
from tests.simulator.assembly import SILICON, WSE2, WSE3, Kernel, boot

FIRST, NUM_BYTES = 0x400, 0x3000
MEM1D = DsdDescriptor(DsdKind.MEM1D)
SCALAR = (Opcode.ADD, Opcode.MUL, Opcode.DIV, Opcode.LESS)
TYPES = (ScalarType.U16, ScalarType.I32, ScalarType.F16, ScalarType.F32)


def constant(kernel, mode, *, base, extent, stride, descriptor=MEM1D):
    """Load a DSR with a value that the code names, mem1d by default."""
    number = kernel.dsd(descriptor)
    register = operand(mode, 1)
    kernel.emit(
        Opcode.DSR_LOAD_CONSTANT,
        rd=register,
        imm=extent << 16 | base,
        aux=number << 16 | stride & 0xFFFF,
    )
    return register


def place(base, stride, row):
    """Return what a DSR is loaded with: a vector, or a block from within its first row on."""
    if row == 0:
        return {"base": base, "stride": stride}
    descriptor = DsdDescriptor(DsdKind.MEM4D, extents=(40, row), strides=(row * stride, stride))
    return {"base": base, "stride": row // 2, "descriptor": descriptor}


vectors = st.builds(
    place,
    st.integers(FIRST, FIRST + NUM_BYTES),
    st.integers(1, 5),
    st.sampled_from((0, 0, 1, 3, 8)),
)
operations = st.tuples(
    st.sampled_from(DsdOperation),
    st.integers(1, 40),
    st.tuples(vectors, vectors, vectors),
    st.booleans(),
)
scalars = st.tuples(st.sampled_from(SCALAR), st.sampled_from(TYPES))


def emit_operation(kernel, address, drawn):
    kind, extent, (dest, left, right), into_scalar = drawn
    operation = DSD_OPERATIONS[kind]
    modes = OperandMode.DSR_DEST, OperandMode.DSR_SRC0, OperandMode.DSR_SRC1
    used = True, operation.src0 is not None, operation.src1 is not None
    encoded = [
        constant(kernel, mode, extent=extent, **vector) if is_used else 0
        for mode, vector, is_used in zip(modes, (dest, left, right), used, strict=True)
    ]
    if into_scalar:
        encoded[0] = operand(OperandMode.POINTER, address)
    scalar = operand(OperandMode.REGISTER, address) if operation.scalar is not None else 0
    rd, ra, rb = encoded
    kernel.emit(Opcode.DSD, kind, rd=rd, ra=ra, rb=rb, rc=scalar, imm=-1)


@given(
    st.lists(st.one_of(operations, scalars), min_size=1, max_size=8),
    st.sampled_from((WSE2, WSE3, SILICON)),
)
def test_straight_code_takes_what_the_listing_says(drawn, architecture):
    """The listing says the cycles of a run, and its reasons are all of them."""
    kernel = Kernel("straight.csl")
    kernel.function("main")
    address = kernel.immediate(ScalarType.U16, FIRST)
    for item in drawn:
        if len(item) == 2:
            kernel.emit(*item, rd=kernel.register(), ra=address, rb=address)
        else:
            emit_operation(kernel, address, item)
    end = kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    program = kernel.build()
    costs = instruction_costs(program, program.code.tolist(), architecture.timing)
    run = boot(program, architecture=architecture).launch()
    (start,) = run.cycles(EventKind.TASK_START)
    (unblocked,) = run.cycles(EventKind.STREAM_UNBLOCKED)
    cost = total(costs[:end])
    assert cost.least == cost.most == unblocked - start
    assert sum(cycles for _, cycles in cost.why) == cost.least


@pytest.mark.parametrize("has_length", [True, False])
def test_only_a_run_knows_the_length_of_a_fifo(has_length):
    kernel = Kernel("fifo.csl")
    kernel.function("main")
    kernel.data("before", ScalarType.U32, num_elements=64)
    fifo = kernel.fifo(FifoBuffer(kernel.data("ring", ScalarType.U32, num_elements=4), 16))
    if has_length:
        length = kernel.immediate(ScalarType.U16, 3)
        which = fifo_length(fifo, is_written=False)
        kernel.emit(Opcode.FIFO_SET_LENGTH, ra=length, imm=which)
    dest = constant(kernel, OperandMode.DSR_DEST, base=FIRST, extent=5, stride=1)
    ring = DsdDescriptor(DsdKind.FIFO, fifo=fifo)
    source = constant(kernel, OperandMode.DSR_SRC1, base=0, extent=0, stride=0, descriptor=ring)
    kernel.operate_loaded(DsdOperation.MOV32, dest, 0, source)
    program = kernel.finish()
    rows = program.code.tolist()
    costs = instruction_costs(program, rows, WSE3.timing)
    (cost,) = [c for c, row in zip(costs, rows, strict=True) if row[0] == Opcode.DSD]
    around = WSE3.timing.memory_setup_cycles + WSE3.timing.resume_cycles
    assert cost.least == around + (1 if has_length else 5)


@pytest.mark.parametrize("is_known", [True, False])
def test_what_only_a_run_knows_is_a_range(is_known):
    kernel = Kernel("unknown.csl")
    kernel.function("main")
    incoming = kernel.incoming(1, 5)
    vector = kernel.vector(FIRST, 12)
    dest, _, source = kernel.load(vector, None, vector if is_known else incoming)
    kernel.operate_loaded(DsdOperation.MOV32, dest, 0, source)
    program = kernel.finish()
    costs = instruction_costs(program, program.code.tolist(), WSE3.timing)
    # The registers are loaded from other registers: nothing but a run knows with what.
    (operation,) = [
        cost for cost, row in zip(costs, program.code.tolist(), strict=True) if row[0] == Opcode.DSD
    ]
    assert operation.most is None
    assert str(operation).startswith("≥ ")


def test_a_branch_has_two_costs_and_an_asynchronous_operation_goes_on_beside():
    kernel = Kernel("both.csl")
    kernel.function("main")
    kernel.label("again")
    kernel.emit(Opcode.BRANCH_ZERO, ra=0, imm="again")
    dest = constant(kernel, OperandMode.DSR_DEST, base=FIRST, extent=12, stride=1)
    source = constant(kernel, OperandMode.DSR_SRC1, base=FIRST, extent=12, stride=1)
    config = kernel.config(DsdConfig(microthread=3))
    kernel.emit(Opcode.DSD, DsdOperation.MOV32, rd=dest, rb=source, imm=config)
    program = kernel.finish()
    timing = WSE3.timing
    branch, _, _, move, *_ = instruction_costs(program, program.code.tolist(), timing)
    taken, straight = timing.branch_taken_cycles, timing.instruction_cycles["branch"]
    assert branch == Cost(min(taken, straight), max(taken, straight))
    assert move.least == move.most == timing.instruction_cycles["dsd"]
    assert move.beside is not None
    assert move.beside.least > timing.memory_setup_cycles
    assert str(total([branch, move])) == f"{branch.least + 1}–{branch.most + 1}"
