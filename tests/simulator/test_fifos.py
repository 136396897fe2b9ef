"""FIFOs: M110–M116, M149."""

import pytest

from onewafer.errors import HazardError, SimulationError
from onewafer.image import (
    RESULT_SHIFT,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    FifoAction,
    FifoBuffer,
    Opcode,
    ScalarType,
    TaskKind,
    fifo_length,
)
from onewafer.simulator import StallReason
from onewafer.trace import EventKind
from tests.simulator.assembly import (
    WSE3,
    Kernel,
    Pointer,
    Register,
    Vector,
    background,
    boot,
    eastward,
    receiver,
    sender,
)

COLOR, OTHER = 3, 4
MOV16, MOV32, ADD16 = DsdOperation.MOV16, DsdOperation.MOV32, DsdOperation.ADD16


class FifoKernel(Kernel):
    """A kernel with one FIFO."""

    def __init__(self, num_bytes=16, **options):
        super().__init__("fifo")
        self.make_log()
        self.ring = self.data("ring", ScalarType.U32, num_elements=num_bytes // 4)
        self.number = self.fifo(FifoBuffer(self.ring, num_bytes, **options))

    def ring_operand(self):
        dsd = self.dsd(DsdDescriptor(DsdKind.FIFO, fifo=self.number))
        return Vector(self.dsd_value(dsd, extent=0, stride=0))

    def finish_function(self):
        """Accept the next command and return."""
        self.emit(Opcode.UNBLOCK_COMMAND_STREAM)
        self.emit(Opcode.RETURN)

    def set_length(self, length, *, is_written):
        which = fifo_length(self.number, is_written=is_written)
        self.emit(Opcode.FIFO_SET_LENGTH, ra=self.immediate(ScalarType.U16, length), imm=which)

    def array(self, name, values, kind=ScalarType.U32):
        return self.vector(self.data(name, kind, values), len(values))

    def put(self, values, *, kind=MOV32, config=None):
        element = ScalarType.U16 if kind is MOV16 else ScalarType.U32
        source = self.array(f"in{self.pc}", values, element)
        self.operate(kind, self.ring_operand(), src1=source, config=config, line=10)

    def take(self, name, count, *, kind=MOV32, config=None):
        element = ScalarType.U16 if kind is MOV16 else ScalarType.U32
        target = self.array(name, [0] * count, element)
        self.operate(kind, target, src1=self.ring_operand(), config=config, line=20)


def test_fifo_keeps_order(engine):
    """M110: what goes in first comes out first, also around the end of the ring."""
    kernel = FifoKernel()
    kernel.function("main")
    kernel.put([1, 2, 3])
    kernel.take("first", 2)
    kernel.put([4, 5])
    kernel.take("second", 3)
    run = boot(kernel.finish(), engine=engine).launch()
    assert (run.words("first"), run.words("second")) == ([1, 2], [3, 4, 5])


def test_fifo_lies_in_memory(engine):
    """M110: elements of the operation's width, from the start of the stretch on."""
    kernel = FifoKernel()
    kernel.function("main")
    kernel.put([7, 8, 9], kind=MOV16)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("ring", num_bytes=2) == [7, 8, 9, 0, 0, 0, 0, 0]


def test_another_width_stops(engine):
    """M110: a FIFO that holds halves gives no words; an empty one takes any width."""
    kernel = FifoKernel()
    kernel.function("main")
    kernel.put([7], kind=MOV16)
    kernel.take("halves", 1, kind=MOV16)
    kernel.put([1, 2])
    kernel.take("words", 1)
    kernel.take("halves2", 1, kind=MOV16)
    run = boot(kernel.finish(), engine=engine)
    with pytest.raises(SimulationError, match="holds elements of 32 bits, the operation has 16"):
        run.launch()
    assert (run.words("halves", num_bytes=2), run.words("words")) == ([7], [1])


def relay(num_words, *, extent=None):
    """Return a program that passes words of a color on through a FIFO of four."""
    kernel = FifoKernel()
    kernel.function("main")
    source = kernel.incoming(COLOR, extent or num_words)
    target = kernel.outgoing(OTHER, extent or num_words)
    kernel.operate(MOV32, kernel.ring_operand(), src1=source, config=background(0))
    kernel.operate(MOV32, target, src1=kernel.ring_operand(), config=background(1))
    return kernel.finish()


@pytest.mark.parametrize("extent", [None, 0x7FFF])
def test_fifo_couples_two_operations(engine, extent):
    """M111: one operation fills it, another empties it; each waits for the other."""
    programs = {
        (0, 0): sender(COLOR, 20),
        (1, 0): relay(20, extent=extent),
        (2, 0): receiver(OTHER, 20),
    }
    routes = eastward(COLOR, 0, 1) | eastward(OTHER, 1, 2)
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    assert run.words("received", 2) == list(range(1, 21))
    stalls = run.machine.statistics().stall_cycles[StallReason.FIFO]
    assert stalls[0].tolist()[0] == 0
    assert stalls[0, 1] > 0


def test_full_fifo_holds_up_its_filler(engine):
    """M111: the FIFO is never emptied, so the filler waits at the fifth element."""
    kernel = FifoKernel()
    kernel.function("main")
    kernel.put([1, 2, 3, 4, 5, 6], config=background(0))
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("ring") == [1, 2, 3, 4]
    assert run.machine.statistics().dsd_elements.tolist() == [[4]]


def test_fifo_to_itself(engine):
    """M111: an operation may take from the full FIFO that it fills."""
    kernel = FifoKernel()
    kernel.function("main")
    kernel.put([1, 2, 3, 4], kind=MOV16)
    ones = kernel.array("ones", [10, 10, 10], ScalarType.U16)
    kernel.operate(ADD16, kernel.ring_operand(), kernel.ring_operand(), ones)
    kernel.take("result", 4, kind=MOV16)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("result", num_bytes=2) == [4, 11, 12, 13]


@pytest.mark.parametrize("num_asked", [2, 3, 7])
def test_synchronous_operation_ends_early(engine, num_asked):
    """M112: it takes what there is, and the main thread goes on."""
    kernel = FifoKernel()
    kernel.function("main")
    kernel.put([1, 2, 3])
    kernel.take("result", num_asked)
    kernel.log(99)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("result") == [*range(1, min(num_asked, 3) + 1), *[0] * (num_asked - 3)]
    assert run.log() == [99]
    (start,) = run.cycles(EventKind.DSD_START, subject=8)[1:]
    (end,) = run.cycles(EventKind.DSD_END, subject=8)[1:]
    assert end - start == (num_asked if num_asked <= 3 else 4)


def test_early_end_beside_an_operation_in_memory(engine):
    """M112: it is heard in its cycle, so a task that the other one activates begins no earlier."""
    kernel = FifoKernel()
    kernel.function("main")
    target, source = (kernel.array(name, range(60)) for name in ("target", "source"))
    config = background(0, activate=9)
    kernel.operate(DsdOperation.FADDS, target, source, target, config=config)
    kernel.take("nothing", 1)
    kernel.finish_function()
    kernel.label("task9")
    kernel.emit(Opcode.END_TASK)
    kernel.task(TaskKind.LOCAL, 9, "task9")
    run = boot(kernel.finish(), engine=engine).launch()
    (early,) = run.cycles(EventKind.DSD_END, subject=8)
    (late,) = run.cycles(EventKind.DSD_END, subject=0)
    (begun,) = run.cycles(EventKind.TASK_START, subject=9)
    assert early < late <= begun


@pytest.mark.parametrize(("num_asked", "found"), [(2, 2), (3, 3), (4, 55)])
def test_scalar_is_set_by_the_last_element_only(engine, num_asked, found):
    """M112: what an operation took out of a FIFO that ran empty does not reach it."""
    kernel = FifoKernel()
    address = kernel.data("scalar", ScalarType.U32, [55])
    kernel.function("main")
    kernel.put([1, 2, 3])
    kernel.set_length(num_asked, is_written=False)
    target = Pointer(kernel.immediate(ScalarType.U16, address))
    kernel.operate(MOV32, target, src1=kernel.ring_operand())
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("scalar") == [found]


def test_fifo_activates_tasks(engine):
    """M113: the first element in, or out, after an operation found nothing, or no place."""
    kernel = FifoKernel(activate_push=9, activate_pop=10)
    kernel.function("fill")
    kernel.put([1, 2, 3, 4])
    kernel.finish_function()
    kernel.function("overfill")
    kernel.put([5])
    kernel.finish_function()
    kernel.function("drain")
    kernel.take("few", 4)
    kernel.finish_function()
    for task_id in (9, 10):
        kernel.label(f"task{task_id}")
        kernel.log(task_id)
        kernel.emit(Opcode.END_TASK)
        kernel.task(TaskKind.LOCAL, task_id, f"task{task_id}")
    run = boot(kernel.build(), engine=engine)
    names = ("fill", "drain", "drain", "fill", "fill", "drain", "overfill")
    logs = [len(run.launch(name).log()) for name in names]
    assert logs == [0, 0, 0, 1, 1, 2, 2]
    assert run.log() == [9, 10]


def test_activation_comes_with_the_element(engine):
    """M113: the task starts while the operation is still going on."""
    kernel = FifoKernel(256, activate_push=9)
    kernel.function("look")
    kernel.take("nothing", 1)
    kernel.finish_function()
    kernel.function("main")
    source = kernel.incoming(COLOR, 60)
    kernel.operate(MOV32, kernel.ring_operand(), src1=source, config=background(0))
    kernel.finish_function()
    kernel.label("task9")
    kernel.emit(Opcode.END_TASK)
    kernel.task(TaskKind.LOCAL, 9, "task9")
    programs = {(0, 0): sender(COLOR, 60), (1, 0): kernel.build()}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1))
    run.launch("look").launch()
    (start,) = run.cycles(EventKind.DSD_START, 1)
    (task,) = run.cycles(EventKind.TASK_START, 1, subject=9)
    assert task == start + 1 + WSE3.timing.task_start_cycles


@pytest.mark.parametrize("way", ["put", "take"])
def test_two_users_of_a_fifo_are_a_hazard(engine, way):
    """M114: two operations that fill, or that empty, one FIFO at a time."""
    kernel = FifoKernel()
    kernel.function("main")
    for thread in (0, 1):
        if way == "put":
            kernel.put(range(9), config=background(thread))
        else:
            kernel.take(f"to{thread}", 3, config=background(thread))
    run = boot(kernel.finish(), engine=engine)
    what = "puts into FIFO 0" if way == "put" else "takes from FIFO 0"
    with pytest.raises(HazardError, match=what):
        run.launch()


@pytest.mark.parametrize("way", ["put", "take"])
def test_terminated_operation_is_complete(engine, way):
    """M115: an asynchronous operation that does not wait ends, and activates its task."""
    terminate = FifoAction.TERMINATE
    kernel = FifoKernel(empty_action=terminate, full_action=terminate)
    kernel.function("main")
    config = background(0, activate=9)
    if way == "put":
        kernel.put(range(1, 10), config=config)
    else:
        kernel.put([1, 2])
        kernel.take("result", 3, config=config)
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    kernel.label("task9")
    kernel.log(9)
    kernel.emit(Opcode.END_TASK)
    kernel.task(TaskKind.LOCAL, 9, "task9")
    run = boot(kernel.build(), engine=engine).launch()
    assert run.log() == [9]
    assert run.words("ring" if way == "put" else "result") == (
        [1, 2, 3, 4] if way == "put" else [1, 2, 0]
    )


def test_suspended_operation_waits_in_the_foreground(engine):
    """M115: a synchronous operation waits for a microthread that fills the FIFO."""
    kernel = FifoKernel(empty_action=FifoAction.SUSPEND)
    kernel.function("main")
    source = kernel.incoming(COLOR, 6)
    kernel.operate(MOV32, kernel.ring_operand(), src1=source, config=background(0))
    kernel.take("result", 6)
    programs = {(0, 0): sender(COLOR, 6), (1, 0): kernel.finish()}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert run.words("result", 1) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("way", ["empty", "full"])
def test_fault_of_a_fifo_stops(engine, way):
    """M115: the error names the FIFO, what it is, and the operation's place."""
    kernel = FifoKernel(empty_action=FifoAction.FAULT, full_action=FifoAction.FAULT)
    kernel.function("main")
    kernel.put(range(1, 5 if way == "empty" else 6))
    kernel.take("result", 5)
    run = boot(kernel.finish(), engine=engine)
    with pytest.raises(SimulationError, match=f"FIFO 0 is {way}, and its .{way}_action") as caught:
        run.launch()
    assert f"kernel.csl:{20 if way == 'empty' else 10}" in str(caught.value)


@pytest.mark.parametrize("action", [FifoAction.TEST_OR_SUSPEND, FifoAction.TERMINATE])
@pytest.mark.parametrize("num_asked", [3, 4])
def test_result_of_an_operation(engine, action, num_asked):
    """M116: false for what a test ended, true for everything else."""
    kernel = FifoKernel(empty_action=action)
    result = kernel.register()
    kernel.function("main")
    kernel.put([1, 2, 3])
    target = kernel.array("result", [0] * num_asked)
    rd, ra, rb = kernel.load(target, None, kernel.ring_operand())
    kernel.emit(Opcode.DSD, MOV32, rd=rd, ra=ra, rb=rb, imm=-1, aux=result << RESULT_SHIFT)
    kernel.log_register(result)
    run = boot(kernel.finish(), engine=engine).launch()
    is_cut = num_asked == 4 and action is FifoAction.TEST_OR_SUSPEND
    assert run.log() == [0 if is_cut else 1]


def lengths_of(run):
    """Return the lengths of the FIFO: for reads, for writes."""
    return run.machine._state.fifo_lengths[0].tolist()


def fill_by_length(kernel, value, length):
    """Put equal elements in: nothing but the FIFO has a length."""
    kernel.set_length(length, is_written=True)
    word = Register(kernel.immediate(ScalarType.U32, value))
    kernel.operate(MOV32, kernel.ring_operand(), src1=word)


def take_by_length(kernel, name, room, *, extent=0):
    """Take elements to memory that has room for some; the FIFO has the length."""
    target = kernel.vector(kernel.data(name, ScalarType.U32, [0] * room), extent)
    kernel.operate(MOV32, target, src1=kernel.ring_operand())


def test_length_of_a_fifo_is_that_of_an_operation(engine):
    """M149: each end has one, which stays after a complete operation."""
    kernel = FifoKernel(32)
    kernel.function("main")
    fill_by_length(kernel, 7, 5)
    kernel.set_length(2, is_written=False)
    take_by_length(kernel, "first", 4)
    take_by_length(kernel, "second", 4)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("ring") == [7] * 5 + [0] * 3
    assert (run.words("first"), run.words("second")) == ([7, 7, 0, 0], [7, 7, 0, 0])
    assert lengths_of(run) == [2, 5]


def test_length_of_a_fifo_counts_in_its_turn(engine):
    """M149: that of a source before that of the destination."""
    kernel = FifoKernel(32)
    kernel.function("main")
    kernel.set_length(2, is_written=True)
    kernel.put([1, 2, 3, 4])
    kernel.set_length(3, is_written=False)
    take_by_length(kernel, "result", 4, extent=1)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("ring")[:4] == [1, 2, 3, 4]
    assert run.words("result") == [1, 2, 3, 0]
    assert lengths_of(run) == [3, 2]
    assert run.machine.statistics().dsd_elements.tolist() == [[7]]


@pytest.mark.parametrize("action", [FifoAction.TEST_OR_SUSPEND, FifoAction.TERMINATE])
def test_what_remains_is_the_length_after_an_early_end(engine, action):
    """M149: of the end at which the operation stopped, and so the next one goes on."""
    kernel = FifoKernel(16, empty_action=action, full_action=action)
    kernel.function("overfill")
    fill_by_length(kernel, 7, 6)
    kernel.finish_function()
    kernel.function("drain")
    kernel.set_length(9, is_written=False)
    take_by_length(kernel, "result", 9)
    kernel.finish_function()
    kernel.function("refill")
    kernel.operate(MOV32, kernel.ring_operand(), src1=Register(kernel.immediate(ScalarType.U32, 8)))
    kernel.finish_function()
    run = boot(kernel.build(), engine=engine)
    assert lengths_of(run.launch("overfill")) == [0, 2]
    assert lengths_of(run.launch("drain")) == [5, 2]
    assert lengths_of(run.launch("refill")) == [5, 2]
    assert run.words("ring")[:2] == [8, 8]


def test_fifo_without_a_length_gets_none(engine):
    """M149: an early end leaves a length of zero as it is."""
    kernel = FifoKernel()
    kernel.function("main")
    kernel.put([1, 2, 3, 4, 5, 6])
    kernel.take("result", 9)
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("result")[:4] == [1, 2, 3, 4]
    assert lengths_of(run) == [0, 0]


def test_asynchronous_operation_leaves_the_length(engine):
    """M149: also one that a FIFO ends."""
    kernel = FifoKernel(empty_action=FifoAction.TERMINATE)
    kernel.function("main")
    kernel.put([1, 2])
    kernel.set_length(5, is_written=False)
    kernel.take("result", 5, config=background(0))
    run = boot(kernel.finish(), engine=engine).launch()
    assert run.words("result") == [1, 2, 0, 0, 0]
    assert lengths_of(run) == [5, 0]
