"""Control wavelets that operations keep or count, and switches that they turn: M48, M49, M99."""

from dataclasses import replace

import pytest

from onewafer.image import (
    CONTROL_MASK_WORD,
    ChannelKind,
    ColorConfig,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    FifoBuffer,
    Opcode,
    RangeFilter,
    ScalarType,
    SwitchPosition,
    TaskKind,
    channel,
)
from onewafer.simulator.arithmetic.control import MEMORY_MARK
from onewafer.trace import EventKind
from tests.simulator.assembly import (
    EAST,
    NORTH,
    RAMP,
    SOUTH,
    WEST,
    Kernel,
    Register,
    Vector,
    background,
    boot,
    commands,
    eastward,
    receiver,
    route,
    switched,
    talker,
)

COLOR, OTHER = 3, 4
MOV16, MOV32 = DsdOperation.MOV16, DsdOperation.MOV32
CONTROL_WORD = commands(0, ignore=False, entry=40, data=7)


def fabric(kernel, kind, color, extent, *, queue=2, **options):
    """Return a fabric operand with options of its descriptor."""
    kernel.queue(queue, color=color, is_input=kind is DsdKind.FABIN)
    dsd = kernel.dsd(DsdDescriptor(kind, color, queue, **options))
    return Vector(kernel.dsd_value(dsd, extent=extent, stride=0))


def listener(color):
    """Return a program whose data task logs words, and whose control task 1000 and its data."""
    kernel = Kernel("listener")
    kernel.make_log(32)
    kernel.function("main")
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    kernel.queue(2, color=color, is_input=True)
    for kind, number, prefix in ((TaskKind.DATA, 2, None), (TaskKind.CONTROL, 40, 1000)):
        register = kernel.register()
        kernel.label(f"task{number}")
        if prefix is not None:
            kernel.log(prefix)
        kernel.log_register(register)
        kernel.emit(Opcode.END_TASK)
        element = ScalarType.U32 if kind is TaskKind.DATA else ScalarType.U16
        kernel.task(
            kind,
            number,
            f"task{number}",
            argument_registers=(register,),
            argument_types=(element,),
        )
    return kernel.build()


def keeper(color, num_words):
    """Return a program that receives words, control wavelets among them."""
    kernel = Kernel("keeper")
    base = kernel.data("received", ScalarType.U32, num_elements=num_words)
    kernel.function("main")
    source = fabric(kernel, DsdKind.FABIN, color, num_words, keeps_control=True)
    kernel.operate(MOV32, kernel.vector(base, num_words), src1=source)
    return kernel.finish()


def relay(num_words, *, keeps=True):
    """Return a program that passes a color on through a FIFO."""
    kernel = Kernel("relay")
    ring = kernel.data("ring", ScalarType.U32, num_elements=8)
    number = kernel.fifo(FifoBuffer(ring, 32))
    fifo = Vector(kernel.dsd_value(kernel.dsd(DsdDescriptor(DsdKind.FIFO, fifo=number)), extent=0))
    kernel.function("main")
    source = fabric(kernel, DsdKind.FABIN, COLOR, num_words, keeps_control=True)
    target = fabric(kernel, DsdKind.FABOUT, OTHER, num_words, queue=3, keeps_control=keeps)
    kernel.operate(MOV32, fifo, src1=source, config=background(0))
    kernel.operate(MOV32, target, src1=fifo, config=background(1))
    return kernel.finish()


SCRIPT = [5, (CONTROL_WORD,), 6, 7, (CONTROL_WORD & ~0xFFFF | 9,), 8]


def run_relay(program, last, engine):
    programs = {(0, 0): talker(COLOR, SCRIPT), (1, 0): program, (2, 0): last}
    routes = eastward(COLOR, 0, 1) | eastward(OTHER, 1, 2)
    return boot(programs, engine=engine, width=3, routes=routes).launch()


def test_control_wavelets_go_through_memory(engine):
    """M48: they come out in their place, with the word that they had."""
    found = run_relay(relay(len(SCRIPT)), listener(OTHER), engine)
    assert found.log(2) == [5, 1000, 7, 6, 7, 1000, 9, 8]


def test_word_of_a_control_wavelet_is_marked_in_memory(engine):
    """M48: the highest two bits are set; a destination that knows nothing of it sends data."""
    found = run_relay(relay(len(SCRIPT), keeps=False), receiver(OTHER, len(SCRIPT)), engine)
    words = [word[0] | MEMORY_MARK if isinstance(word, tuple) else word for word in SCRIPT]
    assert found.words("received", 2) == words


@pytest.mark.parametrize("mask", [0, 2, 0x3F])
def test_mask_changes_the_entry_of_kept_wavelets(engine, mask):
    """M143: behind a PE that keeps a wavelet it names another control task; data stay."""
    program = replace(relay(len(SCRIPT)), control_mask=mask)
    found = run_relay(program, keeper(OTHER, len(SCRIPT)), engine)
    words = [
        word[0] ^ mask << 16 | MEMORY_MARK if isinstance(word, tuple) else word for word in SCRIPT
    ]
    assert found.words("received", 2) == words


def test_mask_is_a_register(engine):
    """M143: it is read and written behind the memory, and counts for what is kept from then on."""
    kernel = Kernel("keeper")
    kernel.make_log()
    base = kernel.data("kept", ScalarType.U32, num_elements=2)
    kernel.function("main")
    kernel.reach_registers()
    source = fabric(kernel, DsdKind.FABIN, COLOR, 1, keeps_control=True)
    address, word = kernel.register(), kernel.register()
    kernel.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U16, rd=address, imm=2 * CONTROL_MASK_WORD)
    for i, mask in enumerate((0xFFC1, 5)):
        kernel.emit(Opcode.LOAD, ScalarType.U16, rd=word, ra=address)
        kernel.log_register(word)
        kernel.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U16, rd=word, imm=mask)
        kernel.emit(Opcode.STORE, ScalarType.U16, ra=address, rb=word)
        kernel.operate(MOV32, kernel.vector(base + 4 * i, 1), src1=source)
    program = replace(kernel.finish(), control_mask=7)
    programs = {(0, 0): talker(COLOR, [(CONTROL_WORD,), (CONTROL_WORD,)]), (1, 0): program}
    found = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    kept = CONTROL_WORD | MEMORY_MARK
    assert found.words("kept", 1) == [kept ^ 1 << 16, kept ^ 5 << 16]
    assert found.log(1) == [7, 1]


def test_control_wavelet_that_is_kept_starts_no_task(engine):
    """M48: the operation takes it; the program has a task for it."""
    kernel = Kernel("keeper")
    kernel.make_log()
    base = kernel.data("kept", ScalarType.U32, num_elements=2)
    kernel.function("main")
    source = fabric(kernel, DsdKind.FABIN, COLOR, 2, keeps_control=True)
    kernel.operate(MOV32, kernel.vector(base, 2), src1=source, config=background(0))
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    kernel.unblock_channel(channel(ChannelKind.INPUT_QUEUE, 2))
    kernel.label("control")
    kernel.log(1)
    kernel.emit(Opcode.END_TASK)
    kernel.task(TaskKind.CONTROL, 40, "control")
    programs = {(0, 0): talker(COLOR, [(CONTROL_WORD,), 5]), (1, 0): kernel.build()}
    found = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert found.words("kept", 1) == [CONTROL_WORD | MEMORY_MARK, 5]
    assert found.log(1) == []


def advancing(words, *, config=None, extent=None):
    """Return a program that sends words twice, each time turning its switch at the end."""
    kernel = Kernel("advancing")
    base = kernel.data("sent", ScalarType.U32, words)
    kernel.function("main")
    target = fabric(kernel, DsdKind.FABOUT, COLOR, extent or len(words), advances_switch=True)
    for _ in range(2):
        kernel.operate(MOV32, target, src1=kernel.vector(base, len(words)), config=config)
    return kernel.finish()


@pytest.mark.parametrize("config", [None, background(2)])
def test_last_wavelet_turns_the_switch(engine, config):
    """M49: it goes where the old position sends it, and what comes next by the new one."""
    programs = {(0, 1): advancing([1, 2, 3], config=config)}
    programs |= {(1, 1): receiver(COLOR, 3), (0, 0): receiver(COLOR, 3)}
    routes = {
        (0, 1, COLOR): switched((RAMP, EAST), (RAMP, NORTH)),
        (1, 1, COLOR): route(WEST, RAMP),
        (0, 0, COLOR): route(SOUTH, RAMP),
    }
    found = boot(programs, engine=engine, width=2, height=2, routes=routes).launch()
    assert found.words("received", 1, 1) == found.words("received", 0, 0) == [1, 2, 3]


def test_only_the_sender_turns(engine):
    """M49: the switch of the next router stays as it is; the receiver gets data."""
    programs = {(0, 0): advancing([1, 2]), (2, 0): receiver(COLOR, 4)}
    routes = eastward(COLOR, 0, 2)
    routes[1, 0, COLOR] = switched((WEST, EAST), (WEST, RAMP))
    found = boot(programs, engine=engine, width=3, routes=routes).launch()
    assert found.words("received", 2) == [1, 2, 1, 2]


def test_mark_of_the_last_wavelet_is_no_index(engine):
    """M49, M100: a range filter at the sender's own ramp looks at the index alone."""
    kernel = Kernel("loop")
    base = kernel.data("received", ScalarType.U32, num_elements=2)
    words = kernel.data("sent", ScalarType.U32, [0x10005, 0x10006])
    kernel.function("main")
    target = fabric(kernel, DsdKind.FABOUT, COLOR, 2, advances_switch=True)
    source = kernel.incoming(COLOR, 2)
    kernel.operate(MOV32, kernel.vector(base, 2), src1=source, config=background(0))
    kernel.operate(MOV32, target, src1=kernel.vector(words, 2))
    loop = SwitchPosition(1 << RAMP, 1 << RAMP)
    routes = {(0, 0, COLOR): ColorConfig((loop,), filter=RangeFilter(1, 1))}
    found = boot(kernel.finish(), engine=engine, routes=routes).launch()
    assert found.words("received") == [0x10005, 0x10006]


def dropper(num_controls):
    """Return a program that drops data until so many control wavelets came, then receives."""
    kernel = Kernel("dropper")
    kernel.make_log()
    base = kernel.data("received", ScalarType.U32, num_elements=2)
    kernel.function("main")
    kernel.queue(2, color=COLOR, is_input=True)
    dsd = kernel.dsd(DsdDescriptor(DsdKind.FABIN, COLOR, 2, drops_data=True))
    value = kernel.dsd_value(dsd, extent=num_controls, stride=0)
    _, _, rb = kernel.load(None, None, Vector(value))
    kernel.emit(Opcode.DSD, MOV32, rd=0, ra=0, rb=rb, imm=kernel.config(background(0, activate=9)))
    kernel.emit(Opcode.UNBLOCK_COMMAND_STREAM)
    kernel.emit(Opcode.RETURN)
    kernel.label("dropped")
    kernel.log(9)
    kernel.operate(MOV32, kernel.vector(base, 2), src1=kernel.incoming(COLOR, 2))
    kernel.emit(Opcode.END_TASK)
    kernel.task(TaskKind.LOCAL, 9, "dropped")
    return kernel.build()


def test_data_are_dropped_until_control_wavelets_came(engine):
    """M99: as many as the extent says; what comes behind the last one stays."""
    script = [1, 2, (CONTROL_WORD,), 3, (CONTROL_WORD,), 4, 5]
    programs = {(0, 0): talker(COLOR, script), (1, 0): dropper(2)}
    found = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert found.words("received", 1) == [4, 5]
    assert found.log(1) == [9]


def test_the_first_source_drops_data_too(engine):
    """M99: data are no elements of the operation, whichever source drops them."""
    kernel = Kernel("adder")
    sums = kernel.data("sums", ScalarType.U16, num_elements=2)
    addends = kernel.data("addends", ScalarType.U16, [100, 200])
    kernel.function("main")
    source = fabric(kernel, DsdKind.FABIN, COLOR, 2, drops_data=True)
    target = kernel.vector(sums, 2)
    kernel.operate(DsdOperation.ADD16, target, src0=source, src1=kernel.vector(addends, 2))
    script = [1, (CONTROL_WORD,), 2, 3, (CONTROL_WORD,)]
    programs = {(0, 0): talker(COLOR, script), (1, 0): kernel.finish()}
    found = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert found.words("sums", 1, num_bytes=2) == [107, 207]


def test_data_are_dropped_where_no_control_wavelets_come(engine):
    """M99: then only data arrives, and no operation waits for it."""
    programs = {(0, 0): talker(COLOR, [1, 2, 3]), (1, 0): dropper(1)}
    found = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    assert found.log(1) == []
    assert found.machine.statistics().dsd_elements.tolist() == [[3, 3]]


def test_a_wavelet_is_dropped_in_a_cycle(engine):
    """M99: at the rate of elements."""
    kernel = Kernel("sender")
    base = kernel.data("sent", ScalarType.U32, list(range(40)))
    kernel.function("main")
    control = kernel.outgoing(COLOR, 1, is_control=True)
    kernel.operate(MOV32, kernel.outgoing(COLOR, 40), src1=kernel.vector(base, 40))
    word = Register(kernel.immediate(ScalarType.U32, CONTROL_WORD))
    kernel.operate(MOV32, control, src1=word)
    kernel.operate(MOV32, kernel.outgoing(COLOR, 2), src1=kernel.vector(base, 2))
    programs = {(0, 0): kernel.finish(), (1, 0): dropper(1)}
    found = boot(programs, engine=engine, width=2, routes=eastward(COLOR, 0, 1)).launch()
    (start,) = found.cycles(EventKind.DSD_START, 1, subject=0)
    (end,) = found.cycles(EventKind.DSD_END, 1, subject=0)
    sent = found.cycles(EventKind.DSD_START)
    assert end - start == sent[1] - sent[0] + 1
