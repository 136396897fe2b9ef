"""A valid image that uses every table, to be broken or stored."""

import pytest

from onewafer.arch import load_architecture
from onewafer.geometry import Direction
from onewafer.image import (
    ChannelKind,
    ColorConfig,
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    FifoBuffer,
    Opcode,
    OperandMode,
    RangeFilter,
    ScalarType,
    SourceLocation,
    SwitchPosition,
    TaskKind,
    channel,
    operand,
)
from tests.image.builder import ProgramBuilder, make_image


@pytest.fixture
def architecture():
    return load_architecture("wse3")


def add_tables(builder):
    """Add descriptors 0–3, configurations 0–1, queues and a blocked channel."""
    builder.dsd(DsdDescriptor(DsdKind.MEM1D))
    builder.dsd(DsdDescriptor(DsdKind.MEM4D, extents=(2, 2), strides=(2, 1)))
    builder.dsd(DsdDescriptor(DsdKind.FABOUT, color=1, queue=2))
    builder.dsd(DsdDescriptor(DsdKind.FABIN, color=1, queue=3))
    builder.config(DsdConfig(microthread=4, activate=9, priority=1))
    builder.config(DsdConfig(microthread=5, unblock=channel(ChannelKind.INPUT_QUEUE, 3)))
    builder.queue(2, color=1, is_input=False)
    builder.queue(3, color=1, is_input=True)
    builder.block_channel(channel(ChannelKind.LOCAL_TASK, 10))


def add_fifo(builder, values):
    ring = builder.fifo(FifoBuffer(values, 16, activate_push=9))
    builder.dsd(DsdDescriptor(DsdKind.FIFO, fifo=ring))


def add_map_loop(builder, count, pair):
    element = builder.register()
    builder.emit(Opcode.MAP_BEGIN, ra=count, imm="mapped")
    builder.label("map")
    builder.emit(Opcode.MAP_READ, ScalarType.U16, rd=element, ra=pair)
    builder.emit(Opcode.MAP_WRITE, ScalarType.U16, ra=pair, rb=element)
    builder.emit(Opcode.MAP_STEP, ra=count, imm="map")
    builder.label("mapped")


@pytest.fixture
def program():
    memory, block, send, receive, config = 0, 1, 2, 3, 0
    builder = ProgramBuilder("everything.csl (n=4)")
    add_tables(builder)
    values = builder.data("values", ScalarType.F32, [1.0, 2.0, 3.0, 4.0])
    count = builder.data("count", ScalarType.U16, [7], is_exported=False)
    argument = builder.register()
    builder.function("main", argument_registers=(argument,), argument_types=(ScalarType.I16,))
    place = SourceLocation("everything.csl", 12, 5)
    pair = builder.dsd_value(memory, base=values, extent=4)
    out = builder.dsd_value(send, extent=4)
    dest = builder.dsr_load(OperandMode.DSR_DEST, 1, out)
    src1 = builder.dsr_load(OperandMode.DSR_SRC1, 1, pair)
    builder.dsr_load_constant(OperandMode.DSR_SRC1, 2, memory, base=values, extent=4)
    builder.emit(Opcode.DSD, DsdOperation.MOV32, rd=dest, rb=src1, imm=config, location=place)
    scalar = builder.immediate(ScalarType.F32, 2.5)
    total = builder.immediate(ScalarType.U16, values)
    builder.emit(
        Opcode.DSD,
        DsdOperation.FADDS,
        rd=operand(OperandMode.POINTER, total),
        ra=operand(OperandMode.REGISTER, scalar),
        rb=src1,
        imm=-1,
    )
    builder.label("loop")
    builder.emit(Opcode.ADD, ScalarType.I16, rd=argument, ra=argument, rb=argument)
    builder.emit(Opcode.BRANCH_NONZERO, ra=argument, imm="loop")
    builder.emit(Opcode.CONVERT, ScalarType.I16, rd=argument, ra=argument, imm=ScalarType.F16)
    message = builder.message("argument is zero")
    builder.emit(Opcode.TRAP, ra=argument, imm=message)
    builder.emit(Opcode.BLOCK, imm=channel(ChannelKind.LOCAL_TASK, 9))
    builder.emit(Opcode.ACTIVATE, imm=9)
    builder.emit(Opcode.COORDINATE, rd=argument, imm=1)
    builder.emit(Opcode.TIMESTAMP_CONTROL, imm=1)
    add_map_loop(builder, argument, pair)
    add_fifo(builder, values)
    patched = builder.emit(Opcode.LOAD_IMMEDIATE, ScalarType.I16, rd=argument, imm=0)
    builder.emit(Opcode.RETURN)
    builder.label("done")
    builder.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    builder.emit(Opcode.END_TASK)
    builder.label("receive")
    more = builder.dsd_value(block, base=values, extent=4)
    builder.emit(Opcode.DSD_ADVANCE, rd=more, ra=more, rb=argument, imm=4)
    builder.dsd_value(receive, extent=1)
    builder.emit(Opcode.END_TASK)
    builder.task(TaskKind.LOCAL, 9, "done", is_active=True)
    builder.task(
        TaskKind.DATA,
        3,
        "receive",
        argument_registers=(argument,),
        argument_types=(ScalarType.F32,),
        is_blocked=True,
    )
    builder.task(TaskKind.CONTROL, 5, "done")
    builder.patch_immediate(patched, ScalarType.I16, [-1, 2])
    builder.patch_data(count, ScalarType.U16, [1, 65535])
    return builder.build()


@pytest.fixture
def image(architecture, program):
    east, west, ramp = 1 << Direction.EAST, 1 << Direction.WEST, 1 << Direction.RAMP
    sender = ColorConfig(positions=(SwitchPosition(rx=ramp, tx=east),))
    receiver = ColorConfig(
        positions=(SwitchPosition(rx=west, tx=ramp), None, SwitchPosition(rx=west, tx=0)),
        ring_mode=True,
        filter=RangeFilter(0, 3),
    )
    return make_image(
        architecture,
        program,
        width=2,
        routes={(0, 0, 1): sender, (1, 0, 1): receiver},
        uses_memcpy=True,
    )
