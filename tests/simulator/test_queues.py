"""Queues that a program binds to other colors, and that tell when they are empty: M134–M137."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import CheckpointError, DeadlockError, SimulationError
from onewafer.image import (
    TEARDOWN_TASK,
    ChannelKind,
    ColorConfig,
    CounterFilter,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Opcode,
    ScalarType,
    SwitchPosition,
    TaskKind,
    channel,
)
from onewafer.simulator import Machine
from onewafer.simulator.arithmetic import queue_words
from onewafer.trace import EventKind
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    RAMP,
    WEST,
    WSE3,
    Kernel,
    Register,
    background,
    boot,
    eastward,
    route,
)
from tests.simulator.feature_generation import queue_programs
from tests.simulator.state.test_checkpoint import (
    MAKERS,
    SLICES,
    assert_cuts_change_nothing,
    assert_same,
    play,
)
from tests.simulator.test_engines_agree import LENIENT, assert_agreement

FIRST, SECOND = 3, 5
QUEUE = 2
MOV32 = DsdOperation.MOV32
OUTPUT, INPUT = 2 * (0x7B80 + QUEUE), 2 * (0x7B90 + QUEUE)
FLUSHED_INPUTS, FLUSHED_OUTPUTS, ASKED_INPUTS, ASKED_OUTPUTS, INPUTS, OUTPUTS = (
    2 * (0x7BA0 + number) for number in range(6)
)
MINE = 1 << QUEUE
BOTH_EASTWARD = eastward(FIRST, 0, 1) | eastward(SECOND, 0, 1)


def bound_to(color, *, has_filter=False):
    """Return the register of a queue."""
    return color << 4 | has_filter


class Binder(Kernel):
    """Sends and receives by one queue of each side, as told, and touches its registers."""

    def __init__(self, name="binder", num_logged=32):
        super().__init__(name)
        self.make_log(num_logged)
        self.reach_queues()
        self.function("main")

    def output(self, extent, *, color=-1):
        """Return a DSD that sends by the queue; without a color it has that of the queue."""
        self._bind(QUEUE, FIRST, is_input=False)
        dsd = self.dsd(DsdDescriptor(DsdKind.FABOUT, color, QUEUE))
        return self.of_dsd(dsd, extent)

    def input(self, extent, *, color=-1):
        self._bind(QUEUE, FIRST, is_input=True)
        return self.of_dsd(self.dsd(DsdDescriptor(DsdKind.FABIN, color, QUEUE)), extent)

    def of_dsd(self, dsd, extent):
        return self.vector_of(self.dsd_value(dsd, extent=extent, stride=0))

    def vector_of(self, value):
        template = self.vector(0, 1)
        return type(template)(value)

    def send(self, *words, config=None):
        base = self.data(f"sent{self.pc}", ScalarType.U32, list(words))
        source = self.vector(base, len(words))
        self.operate(MOV32, self.output(len(words)), src1=source, config=config)

    def receive(self, name, count, config=None):
        base = self.data(name, ScalarType.U32, num_elements=count)
        self.operate(MOV32, self.vector(base, count), src1=self.input(count), config=config)

    def write(self, address, word):
        value = self.immediate(ScalarType.U16, word)
        self.emit(Opcode.STORE, ScalarType.U16, ra=0, rb=value, imm=address)

    def log_word(self, address):
        register = self.register()
        self.emit(Opcode.LOAD, ScalarType.U16, rd=register, ra=0, imm=address)
        self.log_register(register)

    def when_empty(self, body):
        """End the launched function; then let `body` be the task that flushed queues start."""
        self.emit(Opcode.RETURN)
        self.label("empty")
        body()
        self.emit(Opcode.UNBLOCK_COMMAND_STREAM)
        self.emit(Opcode.END_TASK)
        self.task(TaskKind.LOCAL, TEARDOWN_TASK, "empty")
        return self.build()


def rebinding_sender(first, second):
    """Return a program that sends words by one queue on two colors, one after the other."""
    binder = Binder("sender")
    binder.send(*first)
    binder.write(ASKED_OUTPUTS, MINE)

    def rebind():
        binder.log_word(FLUSHED_OUTPUTS)
        binder.write(OUTPUT, bound_to(SECOND))
        binder.write(FLUSHED_OUTPUTS, MINE)
        binder.log_word(FLUSHED_OUTPUTS)
        binder.send(*second)

    return binder.when_empty(rebind)


def rebinding_receiver(first, second):
    """Return a program that receives words of two colors by one queue."""
    binder = Binder("receiver")
    binder.receive("first", first)
    binder.write(INPUT, bound_to(SECOND))
    binder.receive("second", second)
    return binder.finish()


def run_pair(engine, sending, receiving, routes=BOTH_EASTWARD):
    return boot({(0, 0): sending, (1, 0): receiving}, engine=engine, width=2, routes=routes)


def test_one_queue_of_each_side_serves_two_colors(engine):
    """M135, M136: the sender waits until its queue is empty; the receiver knows that its own is."""
    run = run_pair(engine, rebinding_sender((1, 2, 3), (4, 5)), rebinding_receiver(3, 2)).launch()
    assert run.words("first", 1) == [1, 2, 3]
    assert run.words("second", 1) == [4, 5]
    assert run.log(0) == [MINE, 0]
    arrivals = [e.subject for e in run.recorder.events(EventKind.RAMP_ARRIVAL)]
    assert arrivals == [FIRST] * 3 + [SECOND] * 2


def test_data_task_takes_what_its_queue_serves(engine):
    """M135: the task, and whether it is blocked, belong to the queue."""
    binder = Binder("receiver")
    register = binder.register()
    binder.write(INPUT, bound_to(SECOND))
    binder.spin(40)
    binder.emit(Opcode.UNBLOCK, imm=channel(ChannelKind.INPUT_QUEUE, QUEUE))
    binder.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    binder.emit(Opcode.RETURN)
    binder.label("data")
    binder.log_register(register)
    binder.emit(Opcode.END_TASK)
    binder.queue(QUEUE, color=FIRST, is_input=True)
    binder.task(TaskKind.DATA, QUEUE, "data", is_blocked=True, argument_registers=(register,),
                argument_types=(ScalarType.U32,))  # fmt: skip
    routes = {(0, 0, SECOND): route(RAMP, EAST), (1, 0, SECOND): route(WEST, RAMP)}
    sending = Kernel("sender")
    sending.function("main")
    word = Register(sending.immediate(ScalarType.U32, 7))
    for _ in range(3):
        sending.operate(MOV32, sending.outgoing(SECOND, 1), src1=word)
    run = run_pair(engine, sending.finish(), binder.build(), routes).launch()
    assert run.log(1) == [7, 7, 7]


def test_registers_of_queues_are_read(engine):
    """M134, M135: the color that a queue serves now, as of the next instruction."""
    binder = Binder()
    binder.input(1), binder.output(1)
    for address, color in ((INPUT, SECOND), (OUTPUT, FIRST), (OUTPUT, SECOND)):
        binder.log_word(address)
        binder.write(address, bound_to(color))
        binder.log_word(address)
    run = boot({(0, 0): binder.finish()}, engine=engine, routes={(0, 0, SECOND): route(RAMP, RAMP)})
    first, second = bound_to(FIRST), bound_to(SECOND)
    assert run.launch().log() == [first, second, first, first, first, second]


@pytest.mark.parametrize(
    "address",
    [INPUT + 1, INPUT + 2, OUTPUT - 2, 2 * 0x7B8F, FLUSHED_INPUTS + 12, 2 * 0x7B98],
)
def test_other_addresses_of_queues_are_outside(engine, address):
    """M134: half words, queues that were not initialised, and other places have no register."""
    binder = Binder()
    binder.input(1), binder.output(1)
    binder.log_word(address)
    with pytest.raises(SimulationError, match="outside"):
        boot({(0, 0): binder.finish()}, engine=engine).launch()


def test_program_says_that_it_reaches_queues(engine):
    """M134: else they have no registers."""
    binder = Binder()
    binder.input(1)
    binder._reaches_queues = False
    binder.log_word(INPUT)
    with pytest.raises(SimulationError, match="outside"):
        boot({(0, 0): binder.finish()}, engine=engine).launch()


def test_empty_queue_tells_in_the_next_cycle(engine):
    """M136: a queue that is empty when it is asked tells in the cycle after."""
    binder = Binder()
    binder.output(1), binder.input(1)
    binder.write(ASKED_OUTPUTS, MINE)
    binder.log_word(FLUSHED_OUTPUTS)
    binder.write(ASKED_INPUTS, MINE | 1 << 7)
    binder.log_word(FLUSHED_INPUTS)
    binder.log_word(ASKED_INPUTS)
    program = binder.when_empty(lambda: binder.log(99))
    run = boot({(0, 0): program}, engine=engine).launch()
    assert run.log() == [MINE, MINE | 1 << 7, 0, 99]


def test_queue_tells_once_when_its_last_wavelet_has_left(engine):
    """M136: however long it takes; and it has to be asked again."""
    binder = Binder("sender")
    binder.send(*range(12))
    binder.write(ASKED_OUTPUTS, MINE)
    binder.log_word(FLUSHED_OUTPUTS)
    binder.log_word(ASKED_OUTPUTS)

    def again():
        binder.log_word(FLUSHED_OUTPUTS)
        binder.write(FLUSHED_OUTPUTS, MINE)
        binder.send(1)
        binder.spin(60)
        binder.log_word(FLUSHED_OUTPUTS)

    receiver = Kernel("receiver")
    receiver.function("main")
    receiver.spin(100)
    base = receiver.data("received", ScalarType.U32, num_elements=13)
    receiver.operate(MOV32, receiver.vector(base, 13), src1=receiver.incoming(FIRST, 13))
    run = run_pair(engine, binder.when_empty(again), receiver.finish(), eastward(FIRST, 0, 1))
    assert run.launch().log(0) == [0, MINE, MINE, 0]
    (told,) = run.cycles(EventKind.TASK_START, subject=TEARDOWN_TASK)
    hops = run.cycles(EventKind.HOP)
    assert told == hops[11] + 1 + WSE3.timing.task_start_cycles


def test_input_queue_tells_when_its_last_wavelet_was_taken(engine):
    """M136: one that the program still has to read keeps it from telling."""
    binder = Binder("receiver")
    binder.spin(60)
    binder.write(ASKED_INPUTS, MINE)
    binder.spin(10)
    binder.log_word(FLUSHED_INPUTS)
    binder.receive("received", 3)
    binder.log_word(FLUSHED_INPUTS)
    program = binder.when_empty(lambda: binder.log(99))
    sending = Kernel("sender")
    base = sending.data("sent", ScalarType.U32, [1, 2, 3])
    sending.function("main")
    sending.operate(MOV32, sending.outgoing(FIRST, 3), src1=sending.vector(base, 3))
    run = run_pair(engine, sending.finish(), program, eastward(FIRST, 0, 1)).launch()
    assert run.log(1) == [0, MINE, 99]


def reader_that_waits_for_more():
    """Return an image: an operation has taken what waited for it, and the rest comes later."""
    binder = Binder("receiver")
    binder.spin(60)
    binder.receive("received", 12, config=background(2))
    binder.write(ASKED_INPUTS, MINE)
    program = binder.when_empty(lambda: binder.log(99))
    sending = Kernel("sender")
    base = sending.data("sent", ScalarType.U32, range(6))
    sending.function("main")
    for _ in range(2):
        sending.operate(MOV32, sending.outgoing(FIRST, 6), src1=sending.vector(base, 6))
        sending.spin(200)
    programs = {(0, 0): sending.finish(), (1, 0): program}
    return programs, eastward(FIRST, 0, 1)


def test_queue_tells_while_an_operation_waits_for_more(engine):
    """M136: that it is still used does not matter."""
    programs, routes = reader_that_waits_for_more()
    run = boot(programs, engine=engine, width=2, routes=routes).launch()
    assert run.log(1) == [99]
    (told,) = run.cycles(EventKind.TASK_START, x=1, subject=TEARDOWN_TASK)
    (first,) = run.cycles(EventKind.DSD_START, x=1)
    # The sixth element takes the last wavelet five cycles after the first one.
    assert told == first + 5 + 1 + WSE3.timing.task_start_cycles
    assert_agreement(WSE3, make_image(WSE3, programs, width=2, routes=routes))


def test_status_of_queues(engine):
    """M136: bits 0–7 the empty ones, 8–15 the full ones, as of the start of the cycle."""
    binder = Binder("sender")
    binder.output(1)
    binder.log_word(OUTPUTS)
    binder.send(*range(20), config=background(1))
    binder.spin(100)
    binder.log_word(OUTPUTS)
    binder.log_word(INPUTS)
    receiver = Binder("receiver")
    receiver.input(1)
    receiver.spin(200)
    receiver.log_word(INPUTS)
    run = run_pair(engine, binder.finish(), receiver.finish(), eastward(FIRST, 0, 1)).launch()
    others = 0xFF ^ MINE
    assert run.log(0) == [0xFF, others | MINE << 8, 0xFF]
    assert run.log(1) == [others | MINE << 8]


def test_color_without_a_queue_waits_for_one(engine):
    """M137: the wavelets stay in the router; they are not lost, as the program may bind a queue."""
    binder = Binder("receiver")
    binder.input(1)
    sending = Kernel("sender")
    sending.function("main")
    word = Register(sending.immediate(ScalarType.U32, 7))
    sending.operate(MOV32, sending.outgoing(SECOND, 1), src1=word)
    run = run_pair(engine, sending.finish(), binder.finish()).launch()
    (found,) = run.machine.find_leftovers()
    assert (found.color, found.has_arrived) == (SECOND, False)
    assert "a queue that serves the color" in found.text


def test_leftovers_name_the_queue_that_serves_the_color(engine):
    """M83: also where that is not the color of the start."""
    run = run_pair(engine, rebinding_sender((1,), (4, 5)), rebinding_receiver(1, 1)).launch()
    (found,) = run.machine.find_leftovers()
    assert (found.color, found.num_wavelets) == (SECOND, 1)
    assert f"in input queue {QUEUE}" in found.text
    assert "the program has read fewer" in found.text


def test_deadlock_names_the_queue_that_does_not_get_empty(engine):
    """M81: a queue that was asked and cannot get rid of its wavelets."""
    binder = Binder("sender")
    binder.send(1, 2, 3)
    binder.write(ASKED_OUTPUTS, MINE)
    program = binder.when_empty(lambda: binder.log(99))
    with pytest.raises(DeadlockError, match="@queue_flush waits for output queue 2 to become empt"):
        boot({(0, 0): program}, engine=engine, width=2).launch()


def filtered(*rx_tx):
    """Return a color of one route with a filter."""
    return ColorConfig((SwitchPosition(*rx_tx),), filter=CounterFilter(maximum=1, limit=14))


def build_still_used(binder):
    binder.receive("received", 9, config=background(1))
    binder.spin(20)
    binder.write(INPUT, bound_to(SECOND))


def build_holding(binder):
    binder.send(1, 2, 3)
    binder.write(OUTPUT, bound_to(SECOND))


def build_no_color(binder):
    binder.output(1)
    binder.write(OUTPUT, bound_to(27))


def build_taken(binder):
    binder.input(1)
    binder.queue(4, color=SECOND, is_input=True)
    binder.write(INPUT, bound_to(SECOND))


def build_filtered(binder):
    binder.input(1)
    binder.write(INPUT, bound_to(SECOND))


def build_to_host(binder):
    binder.input(1)
    binder.write(INPUT, bound_to(7))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (build_still_used, "input queue 2 cannot be bound to color 5: a DSD operation still uses"),
        (build_holding, "output queue 2 cannot be bound to color 5: it still holds wavelets"),
        (build_no_color, "output queue 2 cannot be bound to color 27: the colors are 0 to 23"),
        (build_taken, "input queue 2 cannot be bound to color 5: another input queue"),
        (build_filtered, "input queue 2 cannot be bound to color 5 without the filter"),
        (build_to_host, "input queue 2 cannot be bound to color 7: its wavelets go to the host"),
    ],
)
def test_what_keeps_a_queue_from_a_color(engine, build, message):
    """M135: the program stops where it would have to guess."""
    binder = Binder()
    build(binder)
    config = ColorConfig((SwitchPosition(1 << RAMP, 1 << RAMP),), to_host=True)
    routes = {(0, 0, SECOND): filtered(1 << WEST, 1 << RAMP), (0, 0, 7): config}
    with pytest.raises(SimulationError, match=message):
        boot({(0, 0): binder.finish()}, engine=engine, routes=routes).launch()


def test_filter_stands_before_the_queue(engine):
    """M135: a queue that is bound with the filter of the color gets what it lets pass."""
    binder = Binder("receiver")
    binder.input(1)
    binder.write(INPUT, bound_to(SECOND, has_filter=True))
    binder.log_word(INPUT)
    binder.receive("received", 2)
    routes = {(0, 0, SECOND): route(RAMP, EAST), (1, 0, SECOND): filtered(1 << WEST, 1 << RAMP)}
    sending = Kernel("sender")
    base = sending.data("sent", ScalarType.U32, list(range(15)))
    sending.function("main")
    sending.operate(MOV32, sending.outgoing(SECOND, 15), src1=sending.vector(base, 15))
    run = run_pair(engine, sending.finish(), binder.finish(), routes).launch()
    assert run.log(1) == [bound_to(SECOND, has_filter=True)]
    assert run.words("received", 1) == [0, 1]


def test_dsd_of_another_color_than_its_queue_stops(engine):
    """M43, M135: a DSD that names its color wants a queue that serves it now."""
    binder = Binder()
    binder.output(1, color=FIRST)
    binder.write(OUTPUT, bound_to(SECOND))
    word = Register(binder.immediate(ScalarType.U32, 1))
    binder.operate(MOV32, binder.output(1, color=FIRST), src1=word)
    with pytest.raises(SimulationError, match=r"color 3, .* queue 2 serves color 5 now"):
        boot({(0, 0): binder.finish()}, engine=engine).launch()


def test_queue_that_is_read_next_has_its_new_color(engine):
    """M132, M135: an operation that issues right behind the binding reads the new color."""
    binder = Binder("receiver")
    binder.input(1)
    binder.write(INPUT, bound_to(SECOND))
    binder.receive("second", 2)
    binder.write(INPUT, bound_to(FIRST))
    binder.receive("first", 2)
    sending = Kernel("sender")
    base = sending.data("sent", ScalarType.U32, [1, 2, 3, 4])
    sending.function("main")
    for color, queue, first in ((FIRST, 2, 0), (SECOND, 3, 8)):
        source = sending.vector(base + first, 2)
        sending.operate(MOV32, sending.outgoing(color, 2, queue=queue), src1=source)
    run = run_pair(engine, sending.finish(), binder.finish()).launch()
    assert run.words("first", 1) == [1, 2]
    assert run.words("second", 1) == [3, 4]


# --- words ---------------------------------------------------------------------------------------

FLUSHES = st.integers(0, (1 << 32) - 1)


@given(FLUSHES, st.integers(0, 0xFFFF))
def test_queues_that_have_told_are_asked_no_more(flushes, empty):
    after = queue_words.with_flushed(flushes, empty)
    told = flushes & 0xFFFF & empty
    assert queue_words.asked_of(after) == queue_words.asked_of(flushes) & ~empty
    assert after >> 16 == flushes >> 16 | told


@given(FLUSHES, st.integers(0, 5), st.integers(0, 0xFFFF))
def test_only_the_queues_of_a_word_are_written(flushes, number, word):
    after = queue_words.written_flushes(flushes, number, word)
    for other in range(queue_words.STATUS):
        before, now = (queue_words.flushes_word(f, other) for f in (flushes, after))
        if other != number:
            assert now == before
        elif other < queue_words.ASKED:
            assert now == before & ~word & 0xFF
        else:
            assert now == before | word & 0xFF


@given(st.integers(0, 23), st.booleans())
def test_color_and_filter_go_into_a_word_and_back(color, has_filter):
    word = queue_words.queue_word(color, has_filter)
    assert queue_words.color_in(word) == color
    assert queue_words.has_filter_in(word) == has_filter


# --- both engines, and checkpoints ---------------------------------------------------------------


@settings(LENIENT, max_examples=60)
@given(queue_programs(), st.sampled_from([None, None, 1, 13]))
def test_generated_programs_that_bind_queues(program, slices):
    assert_agreement(*program, slices)


@pytest.mark.slow
@settings(LENIENT, max_examples=4000)
@given(queue_programs(), st.sampled_from([None, None, 1, 13]))
def test_many_generated_programs_that_bind_queues(program, slices):
    assert_agreement(*program, slices)


def test_bound_queues_go_on_from_a_checkpoint(tmp_path):
    """Cut in every cycle, on the one engine and on the other, between binding and first use too."""
    programs = {
        (0, 0): rebinding_sender((1, 2, 3), (4, 5)),
        (1, 0): rebinding_receiver(3, 2),
    }
    image = make_image(WSE3, programs, width=2, routes=BOTH_EASTWARD)
    expected = play(image, WSE3, "reference")
    assert expected["error"] is None
    for cycle in range(0, expected["cycle"], 2):
        cuts = [(cycle, ("fast", "reference")[cycle // 2 % 2])]
        assert_same(play(image, WSE3, "fast", cuts, tmp_path / "a"), expected)


@pytest.mark.slow
@settings(LENIENT, max_examples=25)  # one that never ends, cut in each cycle, takes 10 s and more
@given(queue_programs(), MAKERS, SLICES)
def test_generated_programs_that_bind_queues_may_be_cut(program, makers, slice_cycles):
    assert_cuts_change_nothing(program, makers, slice_cycles)


def test_damaged_colors_of_queues_are_refused(tmp_path):
    """A color that does not exist reaches no engine."""
    image = make_image(WSE3, {(0, 0): rebinding_receiver(1, 1)}, routes={})
    machine = Machine(image, WSE3, engine="reference")
    machine._state.queue_colors[0, QUEUE] = 24
    machine.save_checkpoint(tmp_path / "a")
    with pytest.raises(CheckpointError, match="queue_colors has 24"):
        Machine.from_checkpoint(tmp_path / "a")
