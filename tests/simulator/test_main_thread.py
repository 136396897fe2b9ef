"""Memory and the main thread: M3, M10–M12, M14, M20–M24."""

from dataclasses import replace

import pytest

from onewafer.errors import SimulationError
from onewafer.image import Opcode, PrintForm, ScalarType, SourceLocation
from onewafer.simulator import Checking, Machine
from onewafer.trace import EventKind
from tests.image.builder import make_image
from tests.simulator.assembly import WSE3, Kernel, boot

COST = WSE3.timing.instruction_cycles


def run_main(engine, emit):
    """Run what `emit` adds to a launched function; return the run and the function's cycles."""
    kernel = Kernel()
    kernel.make_log()
    kernel.function("main")
    emit(kernel)
    run = boot(kernel.finish(), engine=engine).launch()
    (start,) = run.cycles(EventKind.TASK_START)
    (end,) = run.cycles(EventKind.STREAM_UNBLOCKED)
    return run, end - start


@pytest.mark.parametrize(
    ("opcode", "element", "cost"),
    [
        (Opcode.ADD, ScalarType.I16, "integer"),
        (Opcode.MUL, ScalarType.U16, "multiply"),
        (Opcode.DIV, ScalarType.I32, "divide"),
        (Opcode.ADD, ScalarType.F32, "float"),
        (Opcode.MUL, ScalarType.F16, "float"),
        (Opcode.DIV, ScalarType.F32, "float_divide"),
        (Opcode.LESS, ScalarType.U16, "integer"),
    ],
)
def test_scalar_costs(engine, opcode, element, cost):
    """M3, M20: an instruction delays the next by the cost of its class; a float waits for b."""

    def emit(kernel):
        a, b = kernel.immediate(element, 6), kernel.immediate(element, 3)
        kernel.emit(opcode, element, rd=kernel.register(), ra=a, rb=b)

    _, cycles = run_main(engine, emit)
    waits = COST["float_wait"] if cost.startswith("float") else 0
    assert cycles == 2 * COST["integer"] + waits + COST[cost]


@pytest.mark.parametrize("between", [0, 1])
def test_float_waits_for_the_instruction_just_before(engine, between):
    """M20: a result can be used by the next instruction but one."""

    def emit(kernel):
        a, b = kernel.register(), kernel.immediate(ScalarType.F32, 1.0)
        kernel.emit(Opcode.MUL, ScalarType.F32, rd=a, ra=b, rb=b)
        for _ in range(between):
            kernel.immediate(ScalarType.U16, 0)
        kernel.emit(Opcode.ADD, ScalarType.F32, rd=a, ra=a, rb=b)

    _, cycles = run_main(engine, emit)
    integers = (1 + between) * COST["integer"]
    waits = (2 - between) * COST["float_wait"]
    assert cycles == integers + waits + 2 * COST["float"]


@pytest.mark.parametrize(
    ("element", "costs"),
    [(ScalarType.U16, ("load", "store")), (ScalarType.F32, ("load_word", "store_word"))],
)
def test_words_cost_more_than_halves(engine, element, costs):
    """M20: 32 bits are two halves."""

    def emit(kernel):
        address = kernel.immediate(ScalarType.U16, kernel.data("x", ScalarType.U32, [1]))
        word = kernel.register()
        kernel.emit(Opcode.LOAD, element, rd=word, ra=address)
        kernel.emit(Opcode.STORE, element, ra=address, rb=word)

    _, cycles = run_main(engine, emit)
    assert cycles == COST["integer"] + sum(COST[cost] for cost in costs)


@pytest.mark.parametrize(
    ("opcode", "element", "number", "expected"),
    [
        (Opcode.ADD, ScalarType.I16, -7, 0xFFFF),
        (Opcode.SUB, ScalarType.U16, 7, 0xFFFF),
        (Opcode.XOR, ScalarType.I32, -1, 0xFFF9),
        (Opcode.SHL, ScalarType.U32, 3, 48),
        (Opcode.AND, ScalarType.U16, 0xFFFC, 4),
        (Opcode.LESS, ScalarType.I16, -3, 0),
        (Opcode.EQUAL, ScalarType.U32, 6, 1),
    ],
)
def test_numbers_in_instructions(engine, opcode, element, number, expected):
    """M20: an operand in the instruction itself takes no cycle of its own."""

    def emit(kernel):
        place = kernel.data("results", ScalarType.U16, num_elements=2)
        six = kernel.immediate(element, 6)
        kernel.emit(opcode, element, rd=six, ra=six, imm=number)
        kernel.emit(Opcode.STORE, ScalarType.U16, imm=place, rb=six)
        kernel.emit(Opcode.STORE, ScalarType.U16, imm=place + 2, aux=number & 0xFFFF)

    run, cycles = run_main(engine, emit)
    assert run.words("results", num_bytes=2) == [expected, number & 0xFFFF]
    assert cycles == 2 * COST["integer"] + 2 * COST["store"]


@pytest.mark.parametrize(("value", "opcode"), [(0, Opcode.BRANCH_ZERO), (5, Opcode.BRANCH_NONZERO)])
def test_branch_costs(engine, value, opcode):
    """M21: taken and not taken differ."""

    def emit(kernel, tested):
        register = kernel.immediate(ScalarType.U16, tested)
        kernel.emit(opcode, ra=register, imm="target")
        kernel.label("target")

    _, taken = run_main(engine, lambda kernel: emit(kernel, value))
    _, not_taken = run_main(engine, lambda kernel: emit(kernel, 5 - value))
    before = COST["integer"] + COST["flag_wait"]
    assert taken == before + WSE3.timing.branch_taken_cycles
    assert not_taken == before + COST["branch"]


@pytest.mark.parametrize("flag", [0, 1])
def test_condition_of_an_instruction(engine, flag):
    """M153: an instruction whose condition does not hold has no effect, and takes its time."""

    def emit(kernel):
        place = kernel.data("results", ScalarType.U32, [8, 8])
        condition = kernel.immediate(ScalarType.U16, flag)
        number = kernel.immediate(ScalarType.U16, 5)
        kernel.emit(Opcode.ADD, ScalarType.U16, rd=number, ra=number, imm=1, rc=condition)
        kernel.emit(Opcode.ADD, ScalarType.U16, rd=number, ra=number, imm=2, rc=-condition)
        kernel.emit(Opcode.STORE, ScalarType.U32, imm=place, rb=number)
        kernel.emit(Opcode.STORE, ScalarType.U32, imm=place + 4, rb=number, rc=condition)

    run, cycles = run_main(engine, emit)
    assert run.words("results") == ([6, 6] if flag else [7, 8])
    assert cycles == 4 * COST["integer"] + 2 * COST["store_word"]


def test_instruction_without_an_effect_makes_no_error(engine):
    """M153: what is outside the memory is not touched, and no task becomes pending."""

    def emit(kernel):
        far = kernel.immediate(ScalarType.U16, 0xFFF0)
        kernel.emit(Opcode.LOAD, ScalarType.U16, rd=far, ra=far, rc=-far)
        kernel.emit(Opcode.STORE, ScalarType.U16, ra=far, rb=far, rc=-far)
        kernel.emit(Opcode.ACTIVATE, imm=9, rc=-far)

    _, cycles = run_main(engine, emit)
    assert cycles == COST["integer"] + COST["load"] + COST["store"] + COST["control"]


def test_condition_waits_for_nothing(engine):
    """M153: a flag of the instruction just before is there; a float waits for its operand."""

    def emit(kernel):
        a = kernel.immediate(ScalarType.F32, 1.0)
        kernel.emit(Opcode.LESS, ScalarType.U32, rd=kernel.register(), ra=0, rb=a)
        kernel.emit(Opcode.ADD, ScalarType.F32, rd=a, ra=a, rb=a, rc=a + 1)
        kernel.emit(Opcode.ADD, ScalarType.F32, rd=a, ra=a, rb=a, rc=-a - 1)

    _, cycles = run_main(engine, emit)
    assert cycles == 2 * COST["integer"] + 2 * COST["float"] + COST["float_wait"]


def test_cycle_counter(engine):
    """M22: started at zero, read `timestamp_wait_cycles` after the issue, held when stopped."""

    def emit(kernel):
        times = kernel.data("times", ScalarType.U16, num_elements=9)
        registers = [kernel.immediate(ScalarType.U16, times + 6 * i) for i in range(3)]
        kernel.emit(Opcode.TIMESTAMP, ra=registers[0])
        kernel.emit(Opcode.TIMESTAMP_CONTROL, imm=1)
        kernel.emit(Opcode.TIMESTAMP, ra=registers[1])
        kernel.emit(Opcode.TIMESTAMP_CONTROL, imm=0)
        kernel.spin(3)
        kernel.emit(Opcode.TIMESTAMP, ra=registers[2])

    run, _ = run_main(engine, emit)
    control, read = COST["control"], WSE3.timing.timestamp_cycles
    started = control + WSE3.timing.timestamp_wait_cycles
    assert run.words("times", num_bytes=6) == [0, started, control + read]


def test_cycle_since_loading(engine):
    """M22: the number of the cycle, whatever the counter says."""

    def emit(kernel):
        times = kernel.data("times", ScalarType.U16, num_elements=3)
        kernel.spin(7)
        kernel.emit(Opcode.TIMESTAMP, ra=kernel.immediate(ScalarType.U16, times), imm=1)

    run, _ = run_main(engine, emit)
    (told,) = run.recorder.events(EventKind.TIMESTAMP)
    assert run.words("times", num_bytes=6) == [told.cycle]


def test_call_and_return(engine):
    """M23: a call comes back behind itself."""

    def emit(kernel):
        kernel.emit(Opcode.CALL, imm="callee")
        kernel.log(2)
        kernel.emit(Opcode.JUMP, imm="end")
        kernel.label("callee")
        kernel.log(1)
        kernel.emit(Opcode.RETURN)
        kernel.label("end")

    assert run_main(engine, emit)[0].log() == [1, 2]


def test_call_too_deep_stops(engine):
    """M23: the 33rd nested call is an error."""

    def emit(kernel):
        kernel.label("again")
        kernel.emit(Opcode.CALL, imm="again")

    with pytest.raises(SimulationError, match="nests deeper than the 32 return addresses"):
        run_main(engine, emit)


def test_print_only_tells(engine):
    """M25: the value or the number of the message, for the cost of its class."""

    def emit(kernel):
        value = kernel.immediate(ScalarType.I16, -2)
        kernel.emit(Opcode.PRINT, ScalarType.I16, ra=value, imm=PrintForm.BINARY)
        kernel.emit(Opcode.PRINT, ScalarType.U8, imm=PrintForm.TEXT, aux=kernel.message("text"))

    run, cycles = run_main(engine, emit)
    assert cycles == COST["integer"] + 2 * COST["control"]
    told = [(e.subject, e.value) for e in run.recorder.events(EventKind.PRINT)]
    assert told == [
        (PrintForm.BINARY | ScalarType.I16 << 8, 0xFFFFFFFE),
        (PrintForm.TEXT | ScalarType.U8 << 8, 0),
    ]


def test_trap_stops_with_message_and_place(engine):
    """M24: message, PE, cycle and source place."""

    def emit(kernel):
        zero = kernel.immediate(ScalarType.BOOL, 0)
        number = kernel.message("n must be even")
        kernel.emit(Opcode.TRAP, ra=zero, imm=number, location=SourceLocation("kernel.csl", 7, 5))

    with pytest.raises(SimulationError) as caught:
        run_main(engine, emit)
    assert str(caught.value) == ("PE (0, 0) at cycle 4: n must be even\n  at kernel.csl:7:5")


def test_coordinates_and_patches(engine):
    """A program reads its own position, and patches give each PE its value."""
    kernel = Kernel()
    kernel.make_log()
    patched = kernel.data("patched", ScalarType.U16, [0])
    kernel.patch_data(patched, ScalarType.U16, [10, 11, 12, 13])
    kernel.function("main")
    for axis in range(2):
        register = kernel.register()
        kernel.emit(Opcode.COORDINATE, rd=register, imm=axis)
        kernel.log_register(register)
    own = kernel.register()
    pc = kernel.emit(Opcode.LOAD_IMMEDIATE, ScalarType.I16, rd=own, imm=0)
    kernel.patch_immediate(pc, ScalarType.I16, [-1, -2, -3, -4])
    kernel.log_register(own)
    run = boot(kernel.finish(), engine=engine, width=2, height=2).launch()
    assert run.log(1, 0) == [1, 0, 0x1_0000 - 2]
    assert run.log(0, 1) == [0, 1, 0x1_0000 - 3]
    assert run.words("patched", 1, 1, 2) == [13]


def test_addresses_wrap(engine):
    """M10: an address is taken modulo 64 KiB."""

    def emit(kernel):
        address = kernel.data("x", ScalarType.U16, [77])
        base = kernel.immediate(ScalarType.U16, 0xFFFF)
        register = kernel.register()
        kernel.emit(Opcode.LOAD, ScalarType.U16, rd=register, ra=base, imm=address + 1)
        kernel.log_register(register)

    assert run_main(engine, emit)[0].log() == [77]


def test_access_outside_memory_stops(engine):
    """M10: above 48 KiB there is nothing."""

    def emit(kernel):
        base = kernel.immediate(ScalarType.U16, 49152)
        kernel.emit(Opcode.STORE, ScalarType.U16, ra=base, rb=base)

    with pytest.raises(SimulationError, match=r"2 B at address 0xc000 is outside the 49,152 B"):
        run_main(engine, emit)


def test_unaligned_access(engine):
    """M11: any byte address will do, at the same cost."""

    def emit(kernel, offset):
        address = kernel.data("x", ScalarType.U8, [1, 2, 3, 4, 5, 6])
        base = kernel.immediate(ScalarType.U16, address + offset)
        register = kernel.register()
        kernel.emit(Opcode.LOAD, ScalarType.U32, rd=register, ra=base)
        kernel.emit(Opcode.STORE, ScalarType.U32, ra=base, rb=register, imm=0)
        kernel.log_register(register)

    unaligned, cycles = run_main(engine, lambda kernel: emit(kernel, 1))
    _, aligned_cycles = run_main(engine, lambda kernel: emit(kernel, 0))
    assert unaligned.log() == [0x0302]
    assert unaligned.words("x", num_bytes=1) == [1, 2, 3, 4, 5, 6]
    assert cycles == aligned_cycles


def test_loads_are_canonical(engine):
    """Signed loads extend the sign."""

    def emit(kernel):
        address = kernel.data("x", ScalarType.I8, [-2])
        base = kernel.immediate(ScalarType.U16, address)
        register = kernel.register()
        kernel.emit(Opcode.LOAD, ScalarType.I8, rd=register, ra=base)
        kernel.log_register(register)

    assert run_main(engine, emit)[0].log() == [0xFFFE]


def _reader(offset):
    """Return a program that reads a word so many bytes behind the start of its only variable."""
    kernel = Kernel()
    base = kernel.data("x", ScalarType.U32, [1, 2])
    kernel.function("main")
    address = kernel.immediate(ScalarType.U16, base + offset)
    kernel.emit(
        Opcode.LOAD,
        ScalarType.U32,
        rd=kernel.register(),
        ra=address,
        location=SourceLocation("kernel.csl", 7, 5),
    )
    return kernel.finish()


@pytest.mark.parametrize(("offset", "is_inside"), [(0, True), (4, True), (5, False), (8, False)])
def test_checked_access_stays_in_a_variable(offset, is_inside):
    """M14: bounds; the fast engine leaves it to the reference engine."""
    image = make_image(WSE3, _reader(offset))
    machine = Machine(image, WSE3, engine="fast", checking=Checking(bounds=True))
    assert machine.engine == "reference"
    machine.launch("main")
    if is_inside:
        machine.run()
        return
    with pytest.raises(SimulationError, match=r"'x'[\s\S]*at kernel\.csl:7:5"):
        machine.run()


@pytest.mark.parametrize("writes", [False, True])
def test_checked_read_was_written(writes):
    """M14: a variable that is declared without a value does not exist until it is written."""
    program = _reader(4)
    symbols = tuple(replace(symbol, is_undefined=symbol.name == "x") for symbol in program.symbols)
    image = make_image(WSE3, replace(program, symbols=symbols))
    machine = Machine(image, WSE3, checking=Checking(uninitialised=True))
    if writes:
        machine.poke(0, 0, machine.symbol(0, 0, "x").address + 4, bytes(4))
    machine.launch("main")
    if writes:
        machine.run()
        return
    with pytest.raises(SimulationError, match="element 1 of 'x' is read before it was written"):
        machine.run()
