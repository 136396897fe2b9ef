"""Teardown, and routes that change while the program runs: M102, M130–M133."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import DeadlockError, SimulationError
from onewafer.image import (
    TEARDOWN_TASK,
    ColorConfig,
    CounterFilter,
    DsdOperation,
    Opcode,
    PopMode,
    RangeFilter,
    ScalarType,
    SwitchPosition,
    TaskKind,
)
from onewafer.simulator import Checking, Machine, StallReason
from onewafer.simulator.arithmetic import registers
from onewafer.trace import EventKind
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    NORTH,
    RAMP,
    SOUTH,
    WEST,
    WSE3,
    Kernel,
    Register,
    background,
    boot,
    commands,
    eastward,
    route,
    switched,
)
from tests.simulator.test_engines_agree import assert_agreement

COLOR = 3
MOV32 = DsdOperation.MOV32
ADVANCE, TEARDOWN = 1, 3
ROUTES = 2 * (0x7F20 + COLOR)
POSITIONS = 2 * (0x7F40 + COLOR)
SIDES = 2 * (0x7F60 + COLOR)
PENDING = 2 * (0x7F20 + 24)
TORN = 1 << 14
TEARDOWN_WORD = commands(TEARDOWN, 0)


class Talker(Kernel):
    """Sends words and touches its router, as told."""

    def __init__(self):
        super().__init__("talker")
        self.make_log(32)
        self.reach_registers()
        self.function("main")

    def send(self, *words, control=False):
        for word in words:
            target = self.outgoing(COLOR, 1, is_control=control)
            source = Register(self.immediate(ScalarType.U32, word))
            self.operate(MOV32, target, src1=source)

    def write(self, address, word):
        value = self.immediate(ScalarType.U16, word)
        self.emit(Opcode.STORE, ScalarType.U16, ra=0, rb=value, imm=address)

    def log_word(self, address):
        register = self.register()
        self.emit(Opcode.LOAD, ScalarType.U16, rd=register, ra=0, imm=address)
        self.log_register(register)

    def log_data(self):
        """End the launched function; then let a data task log what comes in on queue 2."""
        register = self.register()
        self.emit(Opcode.UNBLOCK_COMMAND_STREAM)
        self.emit(Opcode.RETURN)
        self.label("data")
        self.log_register(register)
        self.emit(Opcode.END_TASK)
        self.task(
            TaskKind.DATA,
            2,
            "data",
            argument_registers=(register,),
            argument_types=(ScalarType.U32,),
        )

    def on_teardown(self, body):
        """End the launched function; then let `body` be the teardown task."""
        self.emit(Opcode.UNBLOCK_COMMAND_STREAM)
        self.emit(Opcode.RETURN)
        self.label("teardown")
        body()
        self.emit(Opcode.END_TASK)
        self.task(TaskKind.LOCAL, TEARDOWN_TASK, "teardown")
        return self.build()


def listener():
    """Return a program that logs the low halves of what comes, in the background."""
    kernel = Kernel("listener")
    kernel.make_log(32)
    kernel.function("main")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    register = kernel.register()
    kernel.label("data")
    kernel.log_register(register)
    kernel.emit(Opcode.END_TASK)
    kernel.queue(2, color=COLOR, is_input=True)
    kernel.task(
        TaskKind.DATA,
        2,
        "data",
        argument_registers=(register,),
        argument_types=(ScalarType.U32,),
    )
    return kernel.build()


def routes_word(receive, *transmit, extra=0):
    """Return the register of a color with these routes."""
    return sum(1 << d for d in transmit) | sum(1 << d + 5 for d in receive) | extra


def row(engine, program, config, *, num_listeners=1):
    """Run a talker at the west end of a row of listeners that pass everything on."""
    width = 1 + num_listeners
    routes = {(0, 0, COLOR): config}
    for x in range(1, width):
        routes[x, 0, COLOR] = route(WEST, RAMP, *([EAST] if x + 1 < width else []))
    programs = {(0, 0): program} | {(x, 0): listener() for x in range(1, width)}
    return boot(programs, engine=engine, width=width, routes=routes).launch()


def test_torn_down_color_holds_its_wavelets(engine):
    """M130: nothing passes the router from the cycle after the command on; the rest waits there."""
    talker = Talker()
    talker.send(1)
    talker.send(TEARDOWN_WORD, control=True)
    talker.send(2)
    run = row(engine, talker.finish(), route(RAMP, EAST))
    assert run.log(1) == [1]
    assert run.machine.statistics().stall_cycles[StallReason.SWITCH][0, 0] > 0
    (found,) = run.machine.find_leftovers()
    assert found.color == COLOR
    assert "for the end of a teardown" in found.text


def test_color_that_is_loaded_torn_down_starts_no_task(engine):
    """M130: `.teardown` holds wavelets from the start, without a teardown task."""
    talker = Talker()
    talker.send(7)
    image = talker.on_teardown(lambda: talker.log(99))
    config = switched((RAMP, EAST), teardown=True)
    run = row(engine, image, config)
    assert run.log(0) == []
    assert run.log(1) == []


def test_teardown_starts_its_task(engine):
    """M130: the command makes local task 29 pending in the next cycle."""
    talker = Talker()
    talker.send(TEARDOWN_WORD, control=True)
    program = talker.on_teardown(lambda: talker.log(99))
    run = row(engine, program, route(RAMP, EAST))
    assert run.log(0) == [99]
    (hop,) = run.cycles(EventKind.HOP)
    (start,) = run.cycles(EventKind.TASK_START, subject=TEARDOWN_TASK)
    # It is picked when the launched function is over; a task costs what it costs.
    assert start > hop


def test_teardown_wavelet_goes_on_and_holds_what_is_behind_it(engine):
    """M130: it takes the old route to the next routers, and each of them is torn down in turn."""
    talker = Talker()
    talker.send(1)
    talker.send(TEARDOWN_WORD, control=True)
    programs = {(0, 0): talker.finish(), (2, 0): listener()}
    watcher = Talker()
    programs[1, 0] = watcher.on_teardown(lambda: watcher.log(5))
    routes = {(0, 0, COLOR): route(RAMP, EAST), (1, 0, COLOR): route(WEST, EAST),
              (2, 0, COLOR): route(WEST, RAMP)}  # fmt: skip
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    assert run.log(1) == [5]
    assert run.log(2) == [1]


def test_program_lets_a_color_go(engine):
    """M131, M132: bit 14 of the color's register holds it; without it, its wavelets go on."""
    talker = Talker()
    talker.send(TEARDOWN_WORD, control=True)
    talker.send(2, 3)

    def exit_teardown():
        talker.log_word(ROUTES)
        talker.write(ROUTES, routes_word((RAMP,), EAST))
        talker.log_word(ROUTES)

    # Popped, so that the next router does not see the command.
    config = switched((RAMP, EAST), pop_mode=PopMode.ALWAYS_POP)
    run = row(engine, talker.on_teardown(exit_teardown), config)
    routes = routes_word((RAMP,), EAST)
    assert run.log(0) == [routes | 1 << 12 | TORN, routes]
    assert run.log(1) == [2, 3]


def test_written_routes_are_those_of_the_router(engine):
    """M131, M132: a color turns from the east to the south."""
    talker = Talker()
    talker.send(1)
    talker.spin(20)
    talker.write(ROUTES, routes_word((RAMP,), SOUTH))
    talker.send(2)
    programs = {(0, 0): talker.finish(), (1, 0): listener(), (0, 1): listener()}
    routes = {(0, 0, COLOR): route(RAMP, EAST), (1, 0, COLOR): route(WEST, RAMP),
              (0, 1, COLOR): route(NORTH, RAMP)}  # fmt: skip
    run = boot(programs, engine=engine, width=2, height=2, routes=routes).launch()
    assert (run.log(1, 0), run.log(0, 1)) == ([1], [2])


def test_router_that_knew_no_route_gets_one(engine):
    """M131: a color that the image routes somewhere can be routed everywhere."""
    talker = Talker()
    talker.write(ROUTES, routes_word((RAMP,), EAST))
    talker.send(4)
    programs = {(0, 0): talker.finish(), (1, 0): listener()}
    run = boot(programs, engine=engine, width=2, routes={(1, 0, COLOR): route(WEST, RAMP)})
    assert run.launch().log(1) == [4]


def test_what_is_written_counts_from_the_next_cycle_on(engine):
    """M132: what is read back at once is new, as is the route of the first wavelet after it."""
    talker = Talker()
    talker.write(ROUTES, routes_word((RAMP,), RAMP))
    talker.write(ROUTES, routes_word((RAMP,), EAST))
    talker.log_word(ROUTES)
    run = row(engine, talker.finish(), route(RAMP, RAMP))
    assert run.log(0) == [routes_word((RAMP,), EAST)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # Position 1 sends east instead: position, then an advance.
        ([(POSITIONS, 1 | 5 << 4 | 5 << 8), (ROUTES, 1 << 9 | 1 << RAMP)], [[1], [2]]),
        # It is not valid: the command leads nowhere else.
        ([(POSITIONS, 5 | 5 << 4 | 5 << 8), (ROUTES, 1 << 9 | 1 << EAST)], [[], [1, 2]]),
    ],
)
def test_positions_are_written(engine, words, expected):
    """M131: three positions of four bits; a position has the other side of position 0."""
    talker = Talker()
    for address, word in words:
        talker.write(address, word)
    talker.send(1)
    talker.send(commands(ADVANCE), control=True)
    talker.send(2)
    talker.queue(2, color=COLOR, is_input=True)
    talker.log_data()
    run = row(engine, talker.build(), switched((RAMP, NORTH)))
    assert [run.log(0), run.log(1)] == expected


def test_colors_that_were_torn_down_are_told_once(engine):
    """M133: a bit for each color, which a read clears."""
    talker = Talker()
    talker.send(TEARDOWN_WORD, control=True)

    def look():
        talker.log_word(PENDING)
        talker.log_word(PENDING)
        talker.log_word(PENDING + 2)

    run = row(engine, talker.on_teardown(look), route(RAMP, EAST))
    assert run.log(0) == [1 << COLOR, 0, 0]


@pytest.mark.parametrize("address", [ROUTES + 1, 2 * 0x7F38 + 6, 2 * (0x7F20 + 20)])
def test_other_addresses_are_outside_the_memory(engine, address):
    """M131: half words, other places, and colors that the image does not mention."""
    talker = Talker()
    talker.log_word(address)
    with pytest.raises(SimulationError, match="outside"):
        row(engine, talker.finish(), route(RAMP, EAST))


def test_program_says_that_it_reaches_registers(engine):
    """M131: else they are outside of the memory."""
    talker = Talker()
    talker._reaches_registers = False
    talker.log_word(ROUTES)
    with pytest.raises(SimulationError, match="outside"):
        row(engine, talker.finish(), route(RAMP, EAST))


FILTER = tuple(2 * (words + COLOR) for words in (0x7F80, 0x7FA0, 0x7FC0, 0x7FE0))
"""Registers of a counter filter: counter, limit, maximum, how many pass."""


def counting(*counts, **options):
    """Return a loop of the color with a counter filter."""
    loop = SwitchPosition(1 << RAMP, 1 << RAMP)
    return ColorConfig((loop,), filter=CounterFilter(*counts, **options))


def test_registers_of_a_filter(engine):
    """M102: the counter, the limit, the maximum and how many pass."""
    talker = Talker()
    for address in FILTER:
        talker.log_word(address)
    for address, word in zip(FILTER, (2, 3, 1), strict=False):
        talker.write(address, word)
    for address in FILTER:
        talker.log_word(address)
    talker.write(FILTER[3], 0)
    talker.log_word(FILTER[2])
    run = row(engine, talker.finish(), counting(0xFFFF, 9, 7))
    assert run.log(0) == [7, 9, 0xFFFF, 0xFFFF, 2, 3, 1, 2, 0xFFFF]


def test_written_counter_counts_on(engine):
    """M102: what was written holds from the next cycle on; a maximum of 0xffff lets all pass."""
    talker = Talker()
    talker.queue(2, color=COLOR, is_input=True)
    talker.send(10, 11)
    talker.spin(40)
    talker.write(FILTER[0], 2)
    talker.send(12, 13)
    talker.spin(40)
    talker.write(FILTER[3], 0)
    talker.send(14, 15, 16)
    talker.spin(40)
    talker.write(FILTER[2], 0xFFFF)
    talker.send(17)
    talker.log_data()
    run = row(engine, talker.build(), counting(0, 2))
    assert run.log(0) == [10, 13, 17]


@pytest.mark.parametrize("filter_", [None, RangeFilter(0, 1)])
def test_color_that_counts_nothing_has_no_registers_of_a_filter(engine, filter_):
    """M102: a wrong number of a filter is an access outside the memory."""
    talker = Talker()
    talker.log_word(FILTER[0])
    loop = SwitchPosition(1 << RAMP, 1 << RAMP)
    with pytest.raises(SimulationError, match="outside"):
        row(engine, talker.finish(), ColorConfig((loop,), filter=filter_))


def test_main_thread_that_is_ahead_waits_for_its_router(engine):
    """M132: a register is read in the cycle of the instruction, however far ahead a thread ran."""
    talker = Talker()
    word = talker.data("word", ScalarType.U32, [TEARDOWN_WORD])
    target = talker.outgoing(COLOR, 1, is_control=True)
    talker.log_word(ROUTES)
    talker.operate(MOV32, target, src1=talker.vector(word, 1), config=background(2))
    for turns in (0, 1, 2, 3, 4, 50):
        talker.spin(turns)
        talker.log_word(ROUTES)
    run = row(engine, talker.finish(), route(RAMP, EAST))
    states = [bool(logged & TORN) for logged in run.log(0)]
    assert states == sorted(states)
    assert states[-1]
    assert not states[0]


def test_report_says_that_a_color_is_torn_down(engine):
    """M81, M130."""
    talker = Talker()
    talker.send(TEARDOWN_WORD, control=True)
    talker.send(*range(20))
    with pytest.raises(DeadlockError, match="the color is torn down there"):
        row(engine, talker.finish(), route(RAMP, EAST))


def test_checked_machine_reaches_registers():
    """M14, M131: they are no variables, and need no value from the program."""
    talker = Talker()
    talker.log_word(ROUTES)
    talker.write(ROUTES, routes_word((RAMP,), EAST))
    image = make_image(
        WSE3,
        {(0, 0): talker.finish(), (1, 0): listener()},
        width=2,
        routes={(0, 0, COLOR): route(RAMP, EAST), (1, 0, COLOR): route(WEST, RAMP)},
    )
    machine = Machine(
        image, WSE3, engine="reference", checking=Checking(bounds=True, uninitialised=True)
    )
    machine.launch("main")
    machine.run()


WAYS = st.builds(
    registers.way_at_load,
    st.integers(0, 31),
    st.integers(0, 31),
    st.integers(0, 1023).map(lambda sets: sets | registers.IS_VALID),
)
BITS = st.integers(0, 15)


@given(WAYS, WAYS, BITS)
def test_what_is_written_is_read(way, first, bits):
    written = registers.with_position_bits(way, bits, first)
    direction = bits & 7
    expected = bits if direction <= RAMP else bits & 8 | 5
    if bits != registers.position_bits(way):
        assert registers.position_bits(written) == expected
        assert registers.is_valid(written) == (direction <= RAMP)


@given(WAYS, WAYS)
def test_writing_back_changes_nothing(way, first):
    assert registers.with_position_bits(way, registers.position_bits(way), first) == way
    assert registers.with_second_bits(way, registers.second_bits(way), first) == way


@given(WAYS, WAYS, WAYS, BITS, BITS)
def test_a_side_that_is_not_its_own_follows_position_zero(way, first, other, bits, second):
    way = registers.with_position_bits(way, bits ^ 8, first)
    way = registers.with_position_bits(way, bits, first)
    way = registers.with_second_bits(way, second, first)
    moved = registers.inherited(way, other)
    if not registers.is_valid(way):
        assert moved == way
        return
    receive, transmit = registers.receive_of(moved), registers.transmit_of(moved)
    own_receive = way & registers.OWNS_RECEIVE
    own_transmit = way & registers.OWNS_TRANSMIT
    assert receive == registers.receive_of(way if own_receive else other)
    assert transmit == registers.transmit_of(way if own_transmit else other)
    assert registers.inherited(moved, first) == registers.inherited(way, first)


@given(WAYS, st.integers(0, 15), st.integers(0, 3), st.integers(0, 1))
def test_routes_go_into_a_word_and_back(first, swaps, pop_mode, is_torn):
    word = registers.color_word(first, swaps, pop_mode, is_torn)
    read = registers.first_of(word)
    assert registers.receive_of(read) == registers.receive_of(first)
    assert registers.transmit_of(read) == registers.transmit_of(first)
    assert registers.pop_mode_of(word) == pop_mode
    assert registers.is_torn_in(word) == is_torn
    assert word < 1 << 15


def test_second_sides_of_positions():
    """M131: a position may change both sides."""
    first = registers.first_of(routes_word((RAMP,), EAST))
    way = registers.with_position_bits(0, 8 | WEST, first)
    way = registers.with_second_bits(way, 8 | SOUTH, first)
    assert registers.receive_of(way) == 1 << WEST
    assert registers.transmit_of(way) == 1 << SOUTH
    assert registers.second_bits(way) == 8 | SOUTH


@pytest.mark.parametrize(("sides", "expected"), [(8 | SOUTH, ([], [1])), (0, ([1], []))])
def test_second_side_of_a_position_is_in_force(engine, sides, expected):
    """M131: position 1 takes from the west, and sends south; or as position 0, to the ramp."""
    turning = Talker()
    turning.write(POSITIONS, 8 | WEST | 5 << 4 | 5 << 8 | 1 << 13)
    turning.write(SIDES, sides)
    turning.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    turning.emit(Opcode.RETURN)
    register = turning.register()
    turning.label("data")
    turning.log_register(register)
    turning.emit(Opcode.END_TASK)
    turning.queue(2, color=COLOR, is_input=True)
    turning.task(
        TaskKind.DATA,
        2,
        "data",
        argument_registers=(register,),
        argument_types=(ScalarType.U32,),
    )
    talker = Talker()
    talker.spin(20)
    talker.send(1)
    programs = {(0, 0): talker.finish(), (1, 0): turning.build(), (1, 1): listener()}
    routes = {(0, 0, COLOR): route(RAMP, EAST), (1, 0, COLOR): route(RAMP, RAMP),
              (1, 1, COLOR): route(NORTH, RAMP)}  # fmt: skip
    run = boot(programs, engine=engine, width=2, height=2, routes=routes).launch()
    assert (run.log(1, 0), run.log(1, 1)) == expected


OTHER = 5


def tearing_down(receiver, delay):
    """Return an image: a PE streams on a color and, after a while, tears another one down."""
    sender = Kernel("sender")
    words = sender.data("words", ScalarType.U32, list(range(1, 61)))
    word = sender.data("word", ScalarType.U32, [TEARDOWN_WORD])
    sender.function("main")
    stream = sender.outgoing(COLOR, 60, queue=3)
    sender.operate(MOV32, stream, src1=sender.vector(words, 60), config=background(3))
    sender.spin(delay)
    command = sender.outgoing(OTHER, 1, queue=2, is_control=True)
    sender.operate(MOV32, command, src1=sender.vector(word, 1))
    programs = {(0, 0): sender.finish(), (1, 0): receiver}
    routes = eastward(COLOR, 0, 1) | eastward(OTHER, 0, 1)
    return make_image(WSE3, programs, width=2, routes=routes)


def receiver_in_the_background():
    """Return a program that is idle while it receives; the teardown task looks how far it is."""
    kernel = Talker()
    base = kernel.data("received", ScalarType.U32, num_elements=60)
    source = kernel.incoming(COLOR, 60, queue=3)
    kernel.operate(MOV32, kernel.vector(base, 60), src1=source, config=background(3))

    def look():
        for index in (0, 10, 30, 59):
            kernel.log_word(base + 4 * index)

    return kernel.on_teardown(look)


def runner_ahead():
    """Return a program that asks for its routes again and again, with nothing else to do."""
    kernel = Talker()
    kernel.queue(3, color=COLOR, is_input=True)
    for _ in range(25):
        kernel.spin(1)
        kernel.log_word(2 * (0x7F20 + OTHER))
    return kernel.on_teardown(lambda: kernel.log(99))


def chain_of_tasks():
    """Return a program of tasks that start each other, between which the teardown task falls."""
    kernel = Talker()
    kernel.queue(3, color=COLOR, is_input=True)
    kernel.emit(Opcode.ACTIVATE, imm=27)
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    for number in range(8, 28):
        kernel.label(f"task{number}")
        kernel.log(number)
        if number > 8:  # downwards: the picker comes to the teardown task before the next one
            kernel.emit(Opcode.ACTIVATE, imm=number - 1)
        kernel.emit(Opcode.END_TASK)
        kernel.task(TaskKind.LOCAL, number, f"task{number}")
    kernel.label("teardown")
    kernel.log(99)
    kernel.emit(Opcode.END_TASK)
    kernel.task(TaskKind.LOCAL, TEARDOWN_TASK, "teardown")
    return kernel.build()


@pytest.mark.parametrize("delay", [0, 3, 9, 17])
@pytest.mark.parametrize("make", [receiver_in_the_background, runner_ahead, chain_of_tasks])
def test_what_goes_ahead_of_the_clock_expects_a_teardown(make, delay):
    """M130, M132: in no engine does anything go on beyond the cycle in which a task may start."""
    assert_agreement(WSE3, tearing_down(make(), delay))
