"""The host's side, the end of a run, and determinism: M1, M2, M70–M72, M80–M82."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.errors import ConfigurationError, DeadlockError, ImageError, SimulationError
from onewafer.image import (
    ChannelKind,
    DsdOperation,
    Opcode,
    ScalarType,
    SourceLocation,
    TaskKind,
    channel,
)
from onewafer.simulator import ENGINES, LoadedProgram, Machine, StopReason
from onewafer.simulator.reference import ReferenceEngine
from onewafer.simulator.state.loading import load_state
from onewafer.trace import EventRecorder
from tests.image.builder import make_image
from tests.simulator.assembly import (
    EAST,
    RAMP,
    WEST,
    WSE2,
    WSE3,
    Kernel,
    background,
    boot,
    eastward,
    receiver,
    route,
    sender,
)

COLOR = 3
MOV32 = DsdOperation.MOV32
WIDTH, NUM_WORDS = 4, 12


def reduce_row(delays):
    """Return an image: rows of PEs add their vectors westward, each after a delay of its own."""
    height = len(delays) // WIDTH

    def role(x):
        kernel = Kernel(f"column {x}")
        base = kernel.data("x", ScalarType.U16, [x + 1] * NUM_WORDS)
        kernel.function("main")
        own = kernel.vector(base, NUM_WORDS)
        pc = kernel.spin(0)
        kernel.patch_immediate(pc, ScalarType.U16, delays[x::WIDTH])
        source = kernel.incoming((x + 1) % 2, NUM_WORDS, queue=2) if x < WIDTH - 1 else own
        target = kernel.outgoing(x % 2, NUM_WORDS, queue=3) if x else own
        if source is own:
            kernel.operate(DsdOperation.MOV16, target, src1=own, config=background(1))
        else:
            kernel.operate(DsdOperation.ADD16, target, source, own, config=background(1))
        return kernel.finish()

    column = [role(x) for x in range(WIDTH)]
    routes = {}
    for y in range(height):
        for x in range(1, WIDTH):
            routes[x, y, x % 2] = route(RAMP, WEST)
            routes[x - 1, y, x % 2] = route(EAST, RAMP)
    programs = {(x, y): column[x] for y in range(height) for x in range(WIDTH)}
    return make_image(WSE3, programs, width=WIDTH, height=height, routes=routes)


def simulate(image, *, make=None, slices=None):
    """Return everything a run can be compared by: events, memory, cycle."""
    recorder = EventRecorder()
    state = load_state(image, WSE3)
    engine = (make or ReferenceEngine)(LoadedProgram(image, WSE3, state, recorder))
    engine.run()
    engine.launch("main", ())
    while engine.run(max_cycles=slices) is not StopReason.QUIESCENT:
        pass
    return recorder.events(), state.memory.tobytes(), engine.cycle


def test_two_runs_are_equal(engine):
    """M2: the same image gives the same events, memory and cycle."""
    image = reduce_row([3, 0, 7, 1] * 2)
    assert simulate(image, make=ENGINES[engine]) == simulate(image, make=ENGINES[engine])


def test_same_cycles_in_any_pe_order():
    """M1, M2: visiting all units backwards changes nothing."""
    image = reduce_row([0, 5, 0, 2] * 3)
    backwards = simulate(image, make=lambda loaded: ReferenceEngine(loaded, reverse=True))
    assert simulate(image) == backwards


@pytest.mark.parametrize("slices", [1, 7, 100])
def test_slices_change_nothing(engine, slices):
    """M2, M82: a run in slices is the same run."""
    image = reduce_row([30, 5, 0, 2] * 2)
    whole, sliced = (simulate(image, make=ENGINES[engine], slices=s) for s in (None, slices))
    assert whole[:2] == sliced[:2]
    assert whole[2] <= sliced[2] < whole[2] + slices


@pytest.mark.parametrize("slices", [None, 1, 7])
def test_busy_cycles_are_counted_once(engine, slices):
    """M20, M31, M32: an operation occupies the data path, only its issue the main thread."""

    def statistics(num_words):
        kernel = Kernel()
        base = kernel.data("x", ScalarType.F32, num_elements=101)
        kernel.function("main")
        vector = kernel.vector(base, num_words)
        other = kernel.vector(base + 4, num_words)  # in other banks (M13)
        kernel.operate(DsdOperation.FADDS, vector, vector, other)
        run = boot(kernel.finish(), engine=engine)
        run.machine.launch("main")
        while run.machine.run(max_cycles=slices) is not StopReason.QUIESCENT:
            pass
        return run.machine.statistics()

    short, long = statistics(2), statistics(100)
    assert (short.data_path_cycles, long.data_path_cycles) == (1, 50)
    assert short.main_thread_cycles == long.main_thread_cycles
    assert 0 < short.main_thread_cycles < short.cycles


@settings(max_examples=25)
@given(st.lists(st.integers(0, 200), min_size=2 * WIDTH, max_size=2 * WIDTH))
def test_delays_do_not_change_values(delays):
    """M2: skew between PEs moves cycles, never values."""
    machine = Machine(reduce_row(delays), WSE3)
    machine.launch("main")
    machine.run()
    address = machine.symbol(0, 0, "x").address
    for y in range(2):
        payload = machine.peek(0, y, address, 2 * NUM_WORDS)
        assert payload == (10).to_bytes(2, "little") * NUM_WORDS


def test_launch_arguments(engine):
    """M70: arguments arrive in their registers when the function starts."""
    kernel = Kernel()
    kernel.make_log()
    registers = (kernel.register(), kernel.register())
    kernel.function(
        "main",
        argument_registers=registers,
        argument_types=(ScalarType.I16, ScalarType.U16),
    )
    for register in registers:
        kernel.log_register(register)
    run = boot(kernel.finish(), engine=engine, width=2).launch(words=(-5, 7))
    assert run.log(0) == run.log(1) == [0xFFFB, 7]


def test_launch_needs_an_unblocked_stream(engine):
    """M70: the next command waits for every PE."""
    kernel = Kernel()
    kernel.data("x", ScalarType.U16, [0])
    kernel.function("main")
    kernel.emit(Opcode.RETURN)
    run = boot(kernel.build(), engine=engine)
    with pytest.raises(DeadlockError, match="the command stream was not unblocked"):
        run.launch()
    with pytest.raises(SimulationError, match=r"PE \(0, 0\) does not accept commands"):
        run.launch()


def test_launch_errors(engine):
    run = boot(receiver(COLOR, 1), engine=engine)
    with pytest.raises(SimulationError, match="no PE exports a function 'mian'; there is: main"):
        run.machine.launch("mian")
    with pytest.raises(SimulationError, match="'main' takes 0 arguments, 1 was given"):
        run.machine.launch("main", (1,))


def test_peek_and_poke(engine):
    """M71: memory is the host's between runs."""
    machine = boot(receiver(COLOR, 2), engine=engine, width=2).machine
    symbol = machine.symbol(1, 0, "received")
    machine.poke(1, 0, symbol.address, b"\1\2\3\4")
    assert machine.peek(1, 0, symbol.address, 6) == b"\1\2\3\4\0\0"
    assert machine.memory[1, symbol.address] == 1
    assert machine.cycle == 0


def test_outside_the_rectangle_or_memory(engine):
    machine = boot(receiver(COLOR, 2), engine=engine).machine
    with pytest.raises(SimulationError, match=r"PE \(1, 0\) is outside the program's 1×1"):
        machine.peek(1, 0, 0, 1)
    with pytest.raises(SimulationError, match="are outside the 49,152 B"):
        machine.peek(0, 0, 49151, 2)
    with pytest.raises(SimulationError, match="has no symbol 'y'; it has: main, received"):
        machine.symbol(0, 0, "y")


def test_inject(engine):
    """M72: host wavelets enter at the router of a PE, one a cycle."""
    run = boot(receiver(COLOR, 5), engine=engine, routes={(0, 0, COLOR): route(RAMP, RAMP)})
    run.machine.inject(0, 0, COLOR, [4, 5, 6, 7, 8])
    run.launch()
    assert run.words("received") == [4, 5, 6, 7, 8]


def test_quiescence(engine):
    """M80: an endless operation on a microthread does not keep the machine running."""
    kernel = Kernel("forwarder")
    kernel.data("x", ScalarType.U16, [0])
    kernel.label("start")
    target = kernel.outgoing(COLOR, 0x7FFF, queue=3)
    kernel.operate(MOV32, target, src1=kernel.incoming(4, 0x7FFF), config=background(1))
    kernel.emit(Opcode.END_TASK)
    kernel.task(TaskKind.LOCAL, 8, "start", is_active=True)
    kernel.function("main")
    programs = {(0, 0): sender(4, 50), (1, 0): kernel.finish(), (2, 0): receiver(COLOR, 50)}
    routes = eastward(4, 0, 1) | eastward(COLOR, 1, 2)
    run = boot(programs, engine=engine, width=3, routes=routes)
    assert run.machine.run() is StopReason.QUIESCENT
    run.launch()
    assert run.words("received", 2) == list(range(1, 51))


def test_deadlock_names_everything(engine):
    """M81: who, what, where in the source, on which color and queue, and since when."""
    programs = {(0, 0): receiver(COLOR, 5, queue=4), (1, 0): sender(7, 90, queue=3)}
    routes = {(1, 0, 7): route(RAMP, WEST), (0, 0, 7): route(EAST, RAMP)}
    with pytest.raises(DeadlockError) as caught:
        boot(programs, engine=engine, width=2, routes=routes).launch()
    assert (
        str(caught.value)
        == """\
deadlock at cycle 26: nothing can move any more, and the program is not done
    PE (0, 0) since cycle 12: main thread in @mov32 waits for a wavelet \
(input queue 4, color 3) after 0 of 5 elements, kernel.csl:20:3
    PEs (0, 0), (1, 0): the command stream was not unblocked since the last launch
    PE (1, 0) since cycle 26: main thread in @mov32 waits for room in output queue 3 \
(color 7) after 14 of 90 elements, kernel.csl:10:3
  wavelets that cannot move:
    PE (0, 0) since cycle 17: color 7 from EAST: the route ends at this PE, which has no \
queue for the color
    PE (1, 0) since cycle 19: color 7 from RAMP: the buffer of the next router to the \
WEST is full"""
    )


def test_blocked_task_is_named(engine):
    """M81: who would run, and what would unblock it."""
    kernel = Kernel()
    kernel.function("main")
    kernel.emit(Opcode.ACTIVATE, imm=9)
    kernel.emit(Opcode.RETURN)
    kernel.label("done")
    kernel.task(TaskKind.LOCAL, 9, "done", is_blocked=True)
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.END_TASK)
    text = "PE (0, 0): task 'done' (id 9) is activated, but blocked; "
    with pytest.raises(DeadlockError) as caught:
        boot(kernel.build(), engine=engine).launch()
    assert f"{text}nothing in the program unblocks it: add @unblock" in str(caught.value)

    kernel.label("never")
    kernel.task(TaskKind.LOCAL, 10, "never")
    encoded = channel(ChannelKind.LOCAL_TASK, 9)
    kernel.emit(Opcode.UNBLOCK, imm=encoded, location=SourceLocation("kernel.csl", 5, 1))
    kernel.emit(Opcode.END_TASK)
    with pytest.raises(DeadlockError) as caught:
        boot(kernel.build(), engine=engine).launch()
    assert f"{text}it waits for the @unblock at kernel.csl:5:1" in str(caught.value)


def test_forgotten_unblock_says_where_the_program_ended(engine):
    """M81: nothing waits, but the launch is not over."""
    kernel = Kernel()
    kernel.function("main")
    kernel.emit(Opcode.RETURN, location=SourceLocation("kernel.csl", 8, 1))
    with pytest.raises(DeadlockError) as caught:
        boot(kernel.build(), engine=engine).launch()
    assert "its last task ended at kernel.csl:8:1; call unblock_cmd_stream()" in str(caught.value)


@pytest.mark.parametrize("slice_cycles", [None, 7, 600])
@pytest.mark.parametrize("turns", [(400, 200), (200, 400), (300, 300)])
def test_earliest_error_wins(engine, turns, slice_cycles):
    """M2, M24: the first failure is reported, in one cycle that of the first PE."""
    programs = {(x, 0): _failing_after(turns[x], f"failed at {x}") for x in range(2)}
    run = boot(programs, engine=engine, width=2)
    run.machine.launch("main")
    with pytest.raises(SimulationError, match=f"failed at {int(turns[1] < turns[0])}"):
        _run_in_slices(run.machine, slice_cycles)


def _run_in_slices(machine, slice_cycles):
    while machine.run(max_cycles=slice_cycles) is StopReason.CYCLE_LIMIT:
        pass


def _failing_after(turns, message):
    kernel = Kernel()
    kernel.function("main")
    kernel.spin(turns)
    zero = kernel.immediate(ScalarType.BOOL, 0)
    kernel.emit(Opcode.TRAP, ra=zero, imm=kernel.message(message))
    return kernel.finish()


def test_lost_wavelet_alone_is_a_leftover(engine):
    """M81, M83: a program that is done otherwise is done, and the machine tells of the wavelets."""
    placed = {(0, 0): sender(COLOR, 2, config=background(1))}
    run = boot(placed, engine=engine, width=2, routes={(0, 0, COLOR): route(RAMP, EAST)}).launch()
    (found,) = run.machine.find_leftovers()
    assert (found.color, found.num_wavelets, found.has_arrived) == (COLOR, 2, False)


def test_image_of_another_machine_is_refused(engine):
    image = make_image(WSE2, receiver(COLOR, 1))
    with pytest.raises(ImageError):
        Machine(image, WSE3, engine=engine)


def test_unknown_engine():
    image = make_image(WSE3, receiver(COLOR, 1))
    with pytest.raises(ConfigurationError, match="no engine 'quick'; there is: fast, reference"):
        Machine(image, WSE3, engine="quick")


def test_statistics(engine):
    programs = {(0, 0): sender(COLOR, 10), (2, 0): receiver(COLOR, 10)}
    run = boot(programs, engine=engine, width=3, routes=eastward(COLOR, 0, 2)).launch()
    statistics = run.machine.statistics()
    assert statistics.cycles == run.machine.cycle
    assert statistics.wavelet_hops == 20
    assert statistics.link_wavelets[0].tolist() == [[0, 10, 0, 0, 0]] * 2 + [[0, 0, 0, 0, 10]]
    assert statistics.dsd_elements.tolist() == [[10, 0, 10]]
    assert statistics.data_path_cycles.tolist() == [[10, 0, 10]]
    assert statistics.task_starts.tolist() == [[1, 0, 1]]
    assert statistics.instructions.tolist() == [[9, 0, 9]]
    assert (statistics.busy_cycles <= statistics.cycles).all()
