"""Switch positions, control wavelets, control tasks and filters: M90–M97, M100, M101."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import ImageError, SimulationError
from onewafer.image import (
    ChannelKind,
    ColorConfig,
    CounterFilter,
    DsdOperation,
    Opcode,
    PopMode,
    RangeFilter,
    ScalarType,
    SwitchPosition,
    TaskKind,
    channel,
)
from onewafer.simulator import StallReason, describe_controls
from onewafer.simulator.arithmetic.control import (
    CONTROL_MARK,
    entry_of,
    is_control,
    is_ignored,
    opcode_of,
    popped,
)
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.trace import EventKind
from tests.simulator.assembly import (
    EAST,
    NORTH,
    RAMP,
    SOUTH,
    WEST,
    WSE2,
    WSE3,
    Kernel,
    Register,
    background,
    boot,
    commands,
    eastward,
    receiver,
    route,
    switched,
    talker,
)

COLOR = 3
MOV32 = DsdOperation.MOV32
NOP, ADVANCE, RESET = range(3)
ADVANCE_WORD = commands(ADVANCE)
CENTRE = (1, 1)
NEIGHBOURS = {NORTH: (1, 0), WEST: (0, 1), EAST: (2, 1), SOUTH: (1, 2)}


def listener(*, control_entries=(), num_arguments=1, data=True, unblocked=True, wse2=False):
    """Return a program that logs data wavelets, and 1000 + entry and the data of control ones."""
    kernel = Kernel("listener")
    kernel.make_log(32)
    kernel.function("main")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    number = COLOR if wse2 else 2
    if data:
        register = kernel.register()
        kernel.label("data")
        kernel.log_register(register)
        kernel.emit(Opcode.END_TASK)
        kernel.task(
            TaskKind.DATA,
            number,
            "data",
            argument_registers=(register,),
            argument_types=(ScalarType.U32,),
        )
    elif unblocked:
        kind = ChannelKind.COLOR if wse2 else ChannelKind.INPUT_QUEUE
        kernel.unblock_channel(channel(kind, number))
    if not wse2:
        kernel.queue(2, color=COLOR, is_input=True)
    for entry in control_entries:
        registers = (kernel.register(),) if num_arguments else ()
        kernel.label(f"control{entry}")
        kernel.log(1000 + entry)
        for register in registers:
            kernel.log_register(register)
        kernel.emit(Opcode.END_TASK)
        kernel.task(
            TaskKind.CONTROL,
            entry,
            f"control{entry}",
            argument_registers=registers,
            argument_types=(ScalarType.U16,) * len(registers),
        )
    return kernel.build()


def star(engine, config, script, **options):
    """Run a talker in the centre of 3×3 PEs, listeners around it; return what each logged."""
    programs = {CENTRE: talker(COLOR, script)}
    routes = {(*CENTRE, COLOR): config}
    for direction, pe in NEIGHBOURS.items():
        programs[pe] = listener(**options)
        routes[*pe, COLOR] = route(direction.opposite, RAMP)
    run = boot(programs, engine=engine, width=3, height=3, routes=routes).launch()
    return {direction: run.log(*pe) for direction, pe in NEIGHBOURS.items()}


AROUND = switched((RAMP, NORTH), (RAMP, WEST), (RAMP, EAST), (RAMP, SOUTH), current=1, ring=True)


def test_switch_turns_the_route(engine):
    """M90: data go where the current position says."""
    script = [0, (ADVANCE_WORD,), 2, (ADVANCE_WORD,), 4, (ADVANCE_WORD,), 6, (ADVANCE_WORD,), 8]
    logs = star(engine, AROUND, script)
    assert logs == {WEST: [0, 8], EAST: [2], SOUTH: [4], NORTH: [6]}


def test_control_wavelet_takes_the_old_route(engine):
    """M90–M92: a control wavelet is routed before its command is executed."""
    script = [(commands(ADVANCE, ignore=False, entry=40, data=2 * i),) for i in range(4)]
    logs = star(engine, AROUND, script, control_entries=(40,))
    assert logs == {WEST: [1040, 0], EAST: [1040, 2], SOUTH: [1040, 4], NORTH: [1040, 6]}


@pytest.mark.parametrize(("ring", "last"), [(True, NORTH), (False, SOUTH)])
def test_advance_skips_invalid_positions(engine, ring, last):
    """M92: positions that are not valid are passed over; at the end only a ring goes on."""
    config = switched((RAMP, NORTH), None, (RAMP, EAST), (RAMP, SOUTH), ring=ring)
    script = [1, (ADVANCE_WORD,), 2, (ADVANCE_WORD,), 3, (ADVANCE_WORD,), 4]
    logs = star(engine, config, script)
    expected = {NORTH: [1], EAST: [2], SOUTH: [3], WEST: []}
    expected[last] = [*expected[last], 4]
    assert logs == expected


def test_reset_goes_to_position_zero(engine):
    """M92: RESET goes to position 0, NOP nowhere."""
    script = [1, (commands(RESET),), 2, (commands(NOP),), 3]
    assert star(engine, AROUND, script) == {WEST: [1], NORTH: [2, 3], EAST: [], SOUTH: []}


def test_commands_of_known_words():
    """M91: the words that SDK programs send mean what their comments say."""
    assert commands(3, *[NOP] * 7, entry=31) == 0x09DF9249
    assert commands(NOP, ADVANCE, *[NOP] * 6) | 0x8000_0000 == 0x8B009249
    assert commands(ADVANCE, NOP) == 5 << 22 | 4 << 25
    assert (opcode_of(0x09DF9249), is_ignored(0x09DF9249), entry_of(0x09DF9249)) == (3, True, 31)


def test_popping_is_a_shift():
    """M93: the second command becomes the first, and a NOP with ignore follows."""
    assert popped(0x09DF9249) == 0x091F9249
    assert popped(CONTROL_MARK | commands(1, 2, 3, 0, 1, 2, 3, 1, entry=9)) == (
        CONTROL_MARK | commands(2, 3, 0, 1, 2, 3, 1, 0, entry=9)
    )


@given(st.integers(0, (1 << 33) - 1))
def test_popping_keeps_what_is_no_command(word):
    """M93: mark, entry and the two highest bits stay."""
    kept = CONTROL_MARK | 0xC03F_0000
    assert popped(word) & kept == word & kept
    assert is_control(popped(word)) == is_control(word)


@pytest.mark.parametrize(
    ("mode", "script", "second"),
    [
        (PopMode.NO_POP, (ADVANCE, NOP), [2]),
        (PopMode.ALWAYS_POP, (ADVANCE, NOP), []),
        (PopMode.ALWAYS_POP, (NOP, ADVANCE), [2]),
        (PopMode.POP_ON_ADVANCE, (ADVANCE, NOP), []),
        (PopMode.POP_ON_ADVANCE, (NOP, ADVANCE), []),
        (PopMode.POP_ON_ADVANCE_NOP, (NOP, ADVANCE), [2]),
        (PopMode.POP_ON_ADVANCE_NOP, (RESET, ADVANCE), []),
    ],
)
def test_pop_modes(engine, mode, script, second):
    """M93: whether the second router sees the second command."""
    programs = {
        (0, 0): talker(COLOR, [1, (commands(*script),), 2]),
        (1, 1): listener(),
        (2, 0): listener(),
    }
    config = switched((WEST, EAST), (WEST, SOUTH))
    routes = {
        (0, 0, COLOR): ColorConfig((SwitchPosition(1 << RAMP, 1 << EAST),) * 2, pop_mode=mode),
        (1, 0, COLOR): config,
        (1, 1, COLOR): route(NORTH, RAMP),
        (2, 0, COLOR): route(WEST, RAMP),
    }
    run = boot(programs, engine=engine, width=3, height=2, routes=routes).launch()
    assert run.log(1, 1) == second
    assert run.log(2, 0) == [1, *([] if second else [2])]


@pytest.mark.parametrize("ring", [False, True])
def test_an_advance_without_effect_is_passed_on(engine, ring):
    """M93: a switch at its last position leaves the command to the next router."""
    programs = {
        (0, 0): talker(COLOR, [(commands(ADVANCE, NOP),), 1]),
        (1, 1): listener(),
        (2, 0): listener(),
    }
    through = SwitchPosition(1 << RAMP, 1 << EAST)
    sending = ColorConfig((through, through), 1, ring, PopMode.POP_ON_ADVANCE)
    routes = {
        (0, 0, COLOR): sending,
        (1, 0, COLOR): switched((WEST, EAST), (WEST, SOUTH)),
        (1, 1, COLOR): route(NORTH, RAMP),
        (2, 0, COLOR): route(WEST, RAMP),
    }
    run = boot(programs, engine=engine, width=3, height=2, routes=routes).launch()
    assert (run.log(1, 1), run.log(2, 0)) == (([], [1]) if ring else ([1], []))


def test_ignored_control_wavelet_stays_out(engine):
    """M94: with ignore the PE on the way is passed over, and only it."""
    word = commands(NOP, NOP, ignore=(True, False), entry=5, data=0)
    programs = {(0, 0): talker(COLOR, [(word,)])}
    routes = {(0, 0, COLOR): ColorConfig((SwitchPosition(1 << RAMP, 1 << EAST),))}
    for x in (1, 2):
        programs[x, 0] = listener(control_entries=(5,), num_arguments=0)
    pop = {"pop_mode": PopMode.ALWAYS_POP}
    through = SwitchPosition(1 << WEST, 1 << EAST | 1 << RAMP)
    routes[1, 0, COLOR] = ColorConfig((through,), **pop)
    routes[2, 0, COLOR] = route(WEST, RAMP)
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    assert (run.log(1), run.log(2)) == ([], [1005])


def test_operation_takes_a_control_wavelet_as_an_element(engine):
    """M95: its word is the element, and the mark is lost."""
    word = commands(NOP, ignore=False, entry=40, data=9)
    programs = {(0, 0): talker(COLOR, [1, (word,), 2]), (1, 0): receiver(COLOR, 3)}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert run.words("received", 1) == [1, word, 2]
    (found,) = run.machine.findings()
    assert (found.kind, found.num_times) == (FindingKind.CONTROL_AS_DATA, 1)
    (start,), (end,) = (run.cycles(kind, 1) for kind in (EventKind.DSD_START, EventKind.DSD_END))
    assert start < found.first_cycle < end - 1
    where = f"first in cycle {found.first_cycle} on PE (1, 0)"
    assert describe_controls(run.machine.image, [found]) == [
        f"kernel.csl:20:3: @mov32, once, {where}"
    ]


@pytest.mark.parametrize("delay", [0, 60, 300])
@pytest.mark.parametrize("num_words", [4, 5])
def test_operation_reads_before_a_control_task(engine, delay, num_words):
    """M95, M96: it takes what it has elements for; what is behind them starts the task."""
    data = [1, 2, 3, 4]
    kernel = Kernel("receiver")
    kernel.make_log()
    base = kernel.data("received", ScalarType.U32, num_elements=num_words)
    kernel.function("main")
    target, source = kernel.vector(base, num_words), kernel.incoming(COLOR, num_words)
    kernel.emit(Opcode.UNBLOCK, imm=channel(ChannelKind.INPUT_QUEUE, 2))
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.spin(delay)
    kernel.operate(MOV32, target, src1=source, config=background(0))
    kernel.emit(Opcode.RETURN)
    kernel.label("control")
    kernel.log(7)
    kernel.emit(Opcode.END_TASK)
    kernel.task(TaskKind.CONTROL, 40, "control")
    word = commands(NOP, ignore=False, entry=40)
    programs = {(0, 0): talker(COLOR, [*data, (word,)]), (1, 0): kernel.build()}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert run.words("received", 1) == [*data, word][:num_words]
    assert run.log(1) == [7] * (num_words == len(data))


@pytest.mark.parametrize("architecture", [WSE2, WSE3])
@pytest.mark.parametrize("num_arguments", [0, 1])
def test_control_task_gets_its_data(engine, architecture, num_arguments):
    """M96: a control wavelet starts the task of its entry with the low 16 bits."""
    words = [commands(NOP, ignore=False, entry=e, data=d) for e, d in ((40, 7), (63, 65535))]
    quiet = listener(
        control_entries=(40, 63),
        num_arguments=num_arguments,
        data=False,
        wse2=architecture is WSE2,
    )
    programs = {(0, 0): talker(COLOR, [(word,) for word in words]), (1, 0): quiet}
    routes = eastward(COLOR, 0, 1)
    run = boot(programs, engine=engine, architecture=architecture, width=2, routes=routes).launch()
    assert run.log(1) == ([1040, 7, 1063, 65535] if num_arguments else [1040, 1063])
    assert run.recorder.events(EventKind.TASK_START)[-1].subject == 64 + 63


@pytest.mark.parametrize("unblocked", [True, False])
def test_channel_without_data_task_is_blocked(engine, unblocked):
    """M96: a receiver of control wavelets alone has to unblock its channel."""
    word = commands(NOP, ignore=False, entry=40)
    quiet = listener(control_entries=(40,), num_arguments=0, data=False, unblocked=unblocked)
    programs = {(0, 0): talker(COLOR, [(word,)]), (1, 0): quiet}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert run.log(1) == ([1040] if unblocked else [])


def test_local_task_opens_the_color_of_its_number(engine):
    """M96: on WSE-2 they share the number, and the local task is not blocked."""
    kernel = Kernel("itself")
    kernel.make_log()
    kernel.function("main")
    target = kernel.outgoing(COLOR, 1, is_control=True)
    word = Register(kernel.immediate(ScalarType.U32, commands(NOP, ignore=False, entry=40)))
    kernel.operate(MOV32, target, src1=word)
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    for kind, number, name in ((TaskKind.LOCAL, COLOR, "local"), (TaskKind.CONTROL, 40, "control")):
        kernel.label(name)
        kernel.log(number)
        kernel.emit(Opcode.END_TASK)
        kernel.task(kind, number, name)
    routes = {(0, 0, COLOR): route(RAMP, RAMP)}
    run = boot({(0, 0): kernel.build()}, engine=engine, architecture=WSE2, routes=routes)
    assert run.launch().log() == [40]


def test_local_task_goes_before_a_control_task(engine):
    """M96: on WSE-2 a color and a local task may share a number."""
    kernel = Kernel("both")
    kernel.make_log()
    kernel.function("main")
    kernel.spin(40)
    kernel.emit(Opcode.ACTIVATE, imm=COLOR)
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    for kind, number, name in ((TaskKind.LOCAL, COLOR, "local"), (TaskKind.CONTROL, 40, "control")):
        kernel.label(name)
        kernel.log(number)
        kernel.emit(Opcode.END_TASK)
        kernel.task(kind, number, name)
    kernel.unblock_channel(channel(ChannelKind.COLOR, COLOR))
    word = commands(NOP, ignore=False, entry=40)
    programs = {(0, 0): talker(COLOR, [(word,)]), (1, 0): kernel.build()}
    routes = eastward(COLOR, 0, 1)
    run = boot(programs, engine=engine, architecture=WSE2, width=2, routes=routes).launch()
    assert run.log(1) == [COLOR, 40]


def test_control_wavelet_without_a_task_stops(engine):
    """M96: an entry that no task is bound to is an error of the program."""
    word = commands(NOP, ignore=False, entry=41)
    programs = {(0, 0): talker(COLOR, [(word,)]), (1, 0): listener(control_entries=(40,))}
    run = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1))
    with pytest.raises(SimulationError, match="color 3 asks for control task 41, which no task"):
        run.launch()


def test_wavelet_waits_for_the_switch(engine):
    """M97: what waits for a switch is no deadlock; a later launch may turn it."""
    kernel = Kernel("turner")
    kernel.function("main")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    kernel.function("turn")
    control = kernel.outgoing(COLOR, 1, is_control=True)
    kernel.operate(MOV32, control, src1=Register(kernel.immediate(ScalarType.U32, ADVANCE_WORD)))
    kernel.finish()
    programs = {(0, 0): talker(COLOR, [5]), (1, 0): kernel.build(), (2, 0): listener()}
    routes = {
        (0, 0, COLOR): route(RAMP, EAST),
        (1, 0, COLOR): switched((RAMP, EAST), (WEST, EAST)),
        (2, 0, COLOR): route(WEST, RAMP),
    }
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    assert run.log(2) == []
    before = run.machine.statistics().stall_cycles[StallReason.SWITCH]
    run.launch("turn")
    assert run.log(2) == [5]
    assert run.machine.statistics().stall_cycles[StallReason.SWITCH][0, 1] > before[0, 1]


# --- filters -------------------------------------------------------------------------------------


def filtered(script, filter_, *, control_entries=(), **options):
    """Send words past a PE with a filter to one without; return what both log."""
    through = SwitchPosition(1 << WEST, 1 << EAST | 1 << RAMP)
    logger = listener(control_entries=control_entries, num_arguments=0)
    programs = {(0, 0): talker(COLOR, script), (1, 0): logger, (2, 0): logger}
    routes = {
        (0, 0, COLOR): route(RAMP, EAST),
        (1, 0, COLOR): ColorConfig((through,), filter=filter_),
        (2, 0, COLOR): route(WEST, RAMP),
    }
    run = boot(programs, width=3, routes=routes, **options).launch()
    return run.log(1), run.log(2)


def test_range_filter(engine):
    """M100: bounds are included; only the ramp of the PE itself is filtered."""
    script = [index << 16 | 10 + index for index in range(6)]
    assert filtered(script, RangeFilter(2, 4), engine=engine) == (
        [12, 13, 14],
        [10, 11, 12, 13, 14, 15],
    )


def test_filtered_wavelet_needs_no_place(engine):
    """M100: what is held back passes by a full channel."""
    through = SwitchPosition(1 << WEST, 1 << EAST | 1 << RAMP)
    kernel = Kernel("deaf")
    kernel.function("main")
    kernel.queue(2, color=COLOR, is_input=True)
    script = [*range(6), *(1 << 16 | n for n in range(20))]
    programs = {(0, 0): talker(COLOR, script), (1, 0): kernel.finish(), (2, 0): listener()}
    routes = {
        (0, 0, COLOR): route(RAMP, EAST),
        (1, 0, COLOR): ColorConfig((through,), filter=RangeFilter(0, 0)),
        (2, 0, COLOR): route(WEST, RAMP),
    }
    run = boot(programs, engine=engine, width=3, routes=routes).launch()
    assert len(run.log(2)) == len(script)
    assert len(run.cycles(EventKind.RAMP_ARRIVAL, 1)) == 6


def test_counter_filter(engine):
    """M101: of a period of `limit` + 1 the first `maximum` + 1 pass, from `initial` on."""
    found, _ = filtered(list(range(10)), CounterFilter(1, 3), engine=engine)
    assert found == [0, 1, 4, 5, 8, 9]
    found, _ = filtered(list(range(10)), CounterFilter(1, 3, initial=3), engine=engine)
    assert found == [1, 2, 5, 6, 9]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1005, 1005, 1, 4]),
        ({"counts_control": True}, [0, 1005, 1005, 2, 3]),
        ({"counts_data": False, "counts_control": True}, [0, 1005, 1005]),
        ({"filters_control": True}, [0, 1005, 1005, 1, 4]),
        ({"filters_control": True, "counts_control": True}, [0, 1005, 2, 3]),
    ],
)
def test_counter_filter_and_control_wavelets(engine, options, expected):
    """M101: which kinds are counted and which are filtered."""
    word = (commands(NOP, ignore=False, entry=5),)
    script = [0, word, word, 1, 2, 3, 4]
    found, _ = filtered(script, CounterFilter(1, 3, **options), control_entries=(5,), engine=engine)
    assert found == expected


def test_control_wavelet_passes_with_the_last_count(engine):
    """M101: of filtered control wavelets those while the counter is `maximum`."""
    word = (commands(NOP, ignore=False, entry=5),)
    script = [word, 0, word, 1, word, 2, word, 3, word]
    filter_ = CounterFilter(1, 2, filters_control=True)
    found, _ = filtered(script, filter_, control_entries=(5,), engine=engine)
    assert found == [0, 1005, 1, 3, 1005]


def test_sparse_filter(engine):
    """M101: one round, then perhaps another one with its own limit, then everything passes."""
    words = list(range(12))
    for second, expected in (
        (None, [0, *range(4, 12)]),
        (5, [0, 4, 10, 11]),
        (0, [0, 4, *words[5:]]),
    ):
        filter_ = CounterFilter(0, 3, is_sparse=True, second_limit=second)
        assert filtered(words, filter_, engine=engine)[0] == expected
    over = CounterFilter(0, 3, initial=3, is_sparse=True)
    assert filtered(words, over, engine=engine)[0] == words[1:]


# --- the engines ---------------------------------------------------------------------------------


def test_switch_of_a_color_that_cannot(engine):
    config = switched((RAMP, EAST), (RAMP, WEST))
    with pytest.raises(ImageError, match="color 10 has switch positions; on wse3 only colors 0, 1"):
        boot(talker(COLOR, [1]), engine=engine, width=2, routes={(0, 0, 10): config})
