"""Microthreads that are blocked: M146."""

import pytest

from onewafer.errors import ImageError
from onewafer.image import ChannelKind, DsdOperation, Opcode, ScalarType, channel
from onewafer.trace import EventKind
from tests.simulator.assembly import (
    RAMP,
    WSE2,
    WSE3,
    Kernel,
    Register,
    background,
    boot,
    route,
)

COLOR, THREAD = 3, 4
MOV32, MOV16 = DsdOperation.MOV32, DsdOperation.MOV16
GATE = channel(ChannelKind.MICROTHREAD, THREAD)
LOOP = {(0, 0, COLOR): route(RAMP, RAMP)}


class Blocker(Kernel):
    """Sends to itself, or moves memory, in the background."""

    def __init__(self):
        super().__init__("blocker")
        self.make_log(16)
        self.function("main")
        self.queue(2, color=COLOR, is_input=True)
        self.unblock_channel(channel(ChannelKind.INPUT_QUEUE, 2))

    def send(self, count, **options):
        source = Register(self.immediate(ScalarType.U32, 7))
        target = self.outgoing(COLOR, count)
        self.operate(MOV32, target, src1=source, config=background(THREAD, **options))

    def move(self, count):
        base = self.data("words", ScalarType.U16, num_elements=2 * count)
        target, source = self.vector(base, count), self.vector(base + 2 * count, count)
        self.operate(MOV16, target, src1=source, config=background(THREAD))


def times(run, kind=EventKind.DSD_START):
    return run.cycles(kind)


def test_blocked_microthread_waits(engine):
    """M146: the operation issues, and begins when the microthread is let go."""
    for work in (Blocker.send, Blocker.move):
        kernel = Blocker()
        kernel.emit(Opcode.BLOCK, imm=GATE)
        work(kernel, 3)
        kernel.spin(30)
        kernel.emit(Opcode.UNBLOCK, imm=GATE)
        run = boot(kernel.finish(), engine=engine, width=1, routes=LOOP).launch()
        free = Blocker()
        work(free, 3)
        free_run = boot(free.finish(), engine=engine, width=1, routes=LOOP).launch()
        (start,), (sooner,) = times(run), times(free_run)
        assert start > sooner + 30


def test_microthread_that_is_blocked_on_its_way(engine):
    """M146: between two elements of a fabric operation; not within one of memory."""
    found = {}
    for work in (Blocker.send, Blocker.move):
        kernel = Blocker()
        work(kernel, 14 if work is Blocker.send else 400)
        kernel.spin(1)
        kernel.emit(Opcode.BLOCK, imm=GATE)
        kernel.spin(100)
        kernel.emit(Opcode.UNBLOCK, imm=GATE)
        run = boot(kernel.finish(), engine=engine, width=1, routes=LOOP).launch()
        (start,), (end,) = times(run), times(run, EventKind.DSD_END)
        found[work] = end - start
    assert found[Blocker.move] < 100
    assert found[Blocker.send] > 400


@pytest.mark.parametrize("is_let_go", [True, False])
def test_microthread_is_blocked_from_the_start(engine, is_let_go):
    """M146: and an operation that is never let go is no deadlock by itself."""
    kernel = Blocker()
    kernel.block_channel(GATE)
    kernel.send(2)
    if is_let_go:
        kernel.emit(Opcode.UNBLOCK, imm=GATE)
    run = boot(kernel.finish(), engine=engine, width=1, routes=LOOP).launch()
    assert len(times(run)) == is_let_go


def test_end_of_an_operation_unblocks_a_microthread(engine):
    """M146: as it unblocks tasks."""
    kernel = Blocker()
    kernel.block_channel(GATE)
    kernel.send(2)
    base = kernel.data("x", ScalarType.U16, num_elements=80)
    vector = kernel.vector(base, 80)
    kernel.operate(MOV16, vector, src1=vector, config=background(5, unblock=GATE))
    run = boot(kernel.finish(), engine=engine, width=1, routes=LOOP).launch()
    starts, ends = times(run), times(run, EventKind.DSD_END)
    assert starts[1] == ends[0]


def test_microthreads_that_cannot_be_blocked():
    """M146: of the WSE-2, one that is not there, and unblocked at the start."""
    for architecture, number, is_blocked in ((WSE2, 4, True), (WSE3, 8, True), (WSE3, 4, False)):
        kernel = Kernel("nothing")
        kernel.function("main")
        kernel.emit(Opcode.RETURN)
        gate = channel(ChannelKind.MICROTHREAD, number)
        (kernel.block_channel if is_blocked else kernel.unblock_channel)(gate)
        with pytest.raises(ImageError, match="blocked at start-up"):
            boot(kernel.build(), engine="reference", architecture=architecture, width=1)
