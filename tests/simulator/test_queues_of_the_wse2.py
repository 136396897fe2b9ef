"""Queues of the WSE-2: DSDs say the color, and a queue serves several (M43, M134, M135)."""

import pytest

from onewafer.errors import SimulationError
from onewafer.image import (
    ChannelKind,
    DsdDescriptor,
    DsdKind,
    Opcode,
    ScalarType,
    TaskKind,
    channel,
)
from tests.simulator.assembly import EAST, RAMP, WEST, WSE2, Kernel, Register, boot, route
from tests.simulator.test_queues import (
    BOTH_EASTWARD,
    FIRST,
    INPUT,
    INPUTS,
    MOV32,
    OUTPUT,
    QUEUE,
    SECOND,
    Binder,
    bound_to,
    run_pair,
)


def test_output_queues_of_the_wse2_have_no_registers(engine):
    """M134: there DSDs say the color; who is empty can be read, though."""
    binder = Binder()
    binder.queue(QUEUE, color=FIRST, is_input=True)
    binder.log_word(INPUTS)
    run = boot({(0, 0): binder.finish()}, engine=engine, architecture=WSE2).launch()
    assert run.log() == [0xFF]
    binder = Binder()
    binder.output(1, color=FIRST)
    binder.log_word(OUTPUT)
    with pytest.raises(SimulationError, match="outside"):
        boot({(0, 0): binder.finish()}, engine=engine, architecture=WSE2).launch()


def two_colors():
    """Return a program that sends 1, 2, 3 on the first color and 4, 5, 6 on the second one."""
    sending = Kernel("sender")
    base = sending.data("sent", ScalarType.U32, [1, 2, 3, 4, 5, 6])
    sending.function("main")
    for color, queue, first in ((FIRST, 2, 0), (SECOND, 3, 12)):
        source = sending.vector(base + first, 3)
        sending.operate(MOV32, sending.outgoing(color, 3, queue=queue), src1=source)
    return sending.finish()


def run_wse2(engine, receiving):
    programs = {(0, 0): two_colors(), (1, 0): receiving}
    return boot(programs, engine=engine, architecture=WSE2, width=2, routes=BOTH_EASTWARD).launch()


def test_input_queue_of_the_wse2_serves_two_colors(engine):
    """M134, M135: if the DSDs that read through it name none."""
    binder = Binder("receiver")
    binder.receive("first", 3)
    binder.log_word(INPUT)
    binder.write(INPUT, bound_to(SECOND))
    binder.receive("second", 3)
    run = run_wse2(engine, binder.finish())
    assert run.words("first", 1) == [1, 2, 3]
    assert run.words("second", 1) == [4, 5, 6]
    assert run.log(1) == [bound_to(FIRST)]


def test_named_colors_of_the_wse2_share_a_queue(engine):
    """M43, M134: such a queue is bound to none, and has no register."""
    binder = Binder("receiver")
    for name, color in (("first", FIRST), ("second", SECOND)):
        base = binder.data(name, ScalarType.U32, num_elements=3)
        binder.operate(MOV32, binder.vector(base, 3), src1=binder.input(3, color=color))
    run = run_wse2(engine, binder.finish())
    assert run.words("second", 1) == [4, 5, 6]
    binder = Binder("receiver")
    binder.operate(MOV32, binder.vector(0x2000, 3), src1=binder.input(3, color=FIRST))
    binder.log_word(INPUT)
    with pytest.raises(SimulationError, match="outside"):
        run_wse2(engine, binder.finish())


def test_input_without_a_color_stops_the_wse2_where_it_is_used(engine):
    """M43: nothing else of such a DSD does harm."""
    binder = Binder("receiver")
    dsd = binder.dsd(DsdDescriptor(DsdKind.FABIN, -1, QUEUE))
    binder.operate(MOV32, binder.vector(0x2000, 3), src1=binder.of_dsd(dsd, 3))
    with pytest.raises(SimulationError, match=r"serves no color; .* or \.fabric_color in the DSD"):
        run_wse2(engine, binder.finish())


def test_unblocked_color_is_that_which_a_queue_serves_now(engine):
    """M135: by a color that no queue serves any more, a program unblocks none."""
    binder = Binder("receiver")
    register = binder.register()
    binder.write(INPUT, bound_to(SECOND))
    for encoded in (
        channel(ChannelKind.COLOR, FIRST),
        channel(ChannelKind.INPUT_QUEUE, QUEUE),
    ):
        binder.spin(60)
        binder.log(0)
        binder.emit(Opcode.UNBLOCK, imm=encoded)
        binder.emit(Opcode.ACTIVATE, imm=9)
        binder.emit(Opcode.RETURN) if encoded & 0xFF == QUEUE else None
    binder.label("data")
    binder.log_register(register)
    binder.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    binder.emit(Opcode.END_TASK)
    binder.queue(QUEUE, color=FIRST, is_input=True)
    binder.task(TaskKind.DATA, QUEUE, "data", is_blocked=True, argument_registers=(register,),
                argument_types=(ScalarType.U32,))  # fmt: skip
    routes = {(0, 0, SECOND): route(RAMP, EAST), (1, 0, SECOND): route(WEST, RAMP)}
    sending = Kernel("sender")
    sending.function("main")
    word = Register(sending.immediate(ScalarType.U32, 7))
    sending.operate(MOV32, sending.outgoing(SECOND, 1), src1=word)
    run = run_pair(engine, sending.finish(), binder.build(), routes).launch()
    assert run.log(1) == [0, 0, 7]
