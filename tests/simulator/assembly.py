"""Small programs and machines for the tests of the machine model."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from onewafer.arch import load_architecture
from onewafer.geometry import Direction
from onewafer.image import (
    ColorConfig,
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    DsdOperation,
    Opcode,
    OperandMode,
    ScalarType,
    SourceLocation,
    SwitchPosition,
    operand,
    verify,
)
from onewafer.simulator import Machine
from onewafer.trace import EventKind, EventRecorder
from tests.image.builder import ProgramBuilder, make_image

WSE2 = load_architecture("wse2")
WSE3 = load_architecture("wse3")
SILICON = load_architecture("wse3", profile="silicon")
MAIN = 8
"""Thread number of the main thread in events."""

EAST, WEST = Direction.EAST, Direction.WEST
NORTH, SOUTH, RAMP = Direction.NORTH, Direction.SOUTH, Direction.RAMP


@dataclass(frozen=True)
class Vector:
    """A DSD value in a register pair."""

    pair: int


@dataclass(frozen=True)
class Register:
    """A scalar source."""

    number: int


@dataclass(frozen=True)
class Pointer:
    """A scalar destination; the register holds its address."""

    number: int


class Kernel(ProgramBuilder):
    """A program builder with shorter words for DSD operations."""

    def __init__(self, name="kernel"):
        super().__init__(name)
        self._next_dsr = 0
        self.names_colors = True
        """Else a fabric DSD has the color of its queue."""

    def vector(self, base, extent, stride=1):
        dsd = self.dsd(DsdDescriptor(DsdKind.MEM1D))
        return Vector(self.dsd_value(dsd, base=base, extent=extent, stride=stride))

    def block(self, base, extents, strides, *, extent=None, skipped=0):
        dsd = self.dsd(DsdDescriptor(DsdKind.MEM4D, extents=extents, strides=strides))
        extent = prod(extents) if extent is None else extent
        return Vector(self.dsd_value(dsd, base=base, extent=extent, stride=skipped))

    def incoming(self, color, extent, *, queue=2, packs=False):
        self._bind(queue, color, is_input=True)
        named = color if self.names_colors else -1
        dsd = self.dsd(DsdDescriptor(DsdKind.FABIN, color=named, queue=queue, packs=packs))
        return Vector(self.dsd_value(dsd, extent=extent, stride=0))

    def outgoing(self, color, extent, *, queue=2, is_control=False, packs=False):
        self._bind(queue, color, is_input=False)
        named = color if self.names_colors else -1
        dsd = self.dsd(DsdDescriptor(DsdKind.FABOUT, named, queue, is_control, packs=packs))
        return Vector(self.dsd_value(dsd, extent=extent, stride=0))

    def operate(self, kind, dest, src0=None, src1=None, scalar=None, *, config=None, line=1):
        """Load DSRs and issue an operation; without `config` it is synchronous."""
        self.operate_loaded(
            kind, *self.load(dest, src0, src1), scalar=scalar, config=config, line=line
        )

    def load(self, dest, src0=None, src1=None):
        """Load the DSRs of an operation and return its encoded operands."""
        self._next_dsr = (self._next_dsr + 1) % 16
        files = (OperandMode.DSR_DEST, OperandMode.DSR_SRC0, OperandMode.DSR_SRC1)
        return [
            self._encode(file, item) for file, item in zip(files, (dest, src0, src1), strict=True)
        ]

    def operate_loaded(self, kind, rd, ra, rb, *, scalar=None, config=None, line=1):
        """Issue an operation on DSRs that are loaded."""
        self.emit(
            Opcode.DSD,
            kind,
            rd=rd,
            ra=ra,
            rb=rb,
            rc=operand(OperandMode.REGISTER, scalar) if scalar is not None else 0,
            imm=-1 if config is None else self.config(config),
            location=SourceLocation("kernel.csl", line, 3),
        )

    def log(self, value):
        """Append a number to the array `log`."""
        cursor, address, word = self.register(), self.register(), self.register()
        self.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U16, rd=cursor, imm=self.log_cursor)
        self.emit(Opcode.LOAD, ScalarType.U16, rd=address, ra=cursor)
        self.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U16, rd=word, imm=value)
        self._append(cursor, address, word)

    def log_register(self, register):
        """Append the value of a register to the array `log`."""
        cursor, address = self.register(), self.register()
        self.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U16, rd=cursor, imm=self.log_cursor)
        self.emit(Opcode.LOAD, ScalarType.U16, rd=address, ra=cursor)
        self._append(cursor, address, register)

    def make_log(self, num_elements=16):
        address = self.data("log", ScalarType.U16, num_elements=num_elements)
        self.log_cursor = self.data("log_cursor", ScalarType.U16, [address])

    def spin(self, turns):
        """Spend time: `turns` rounds of an empty loop. Return where the number of rounds is."""
        count, one = self.register(), self.immediate(ScalarType.U16, 1)
        pc = self.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U16, rd=count, imm=turns)
        label = f"spin{pc}"
        self.emit(Opcode.BRANCH_ZERO, ra=count, imm=f"{label}_end")
        self.label(label)
        self.emit(Opcode.SUB, ScalarType.U16, rd=count, ra=count, rb=one)
        self.emit(Opcode.BRANCH_NONZERO, ra=count, imm=label)
        self.label(f"{label}_end")
        return pc

    def finish(self):
        """Accept the next command and return."""
        self.emit(Opcode.UNBLOCK_COMMAND_STREAM)
        self.emit(Opcode.RETURN)
        return self.build()

    def _append(self, cursor, address, word):
        self.emit(Opcode.STORE, ScalarType.U16, ra=address, rb=word)
        two = self.immediate(ScalarType.U16, 2)
        self.emit(Opcode.ADD, ScalarType.U16, rd=address, ra=address, rb=two)
        self.emit(Opcode.STORE, ScalarType.U16, ra=cursor, rb=address)

    def _bind(self, queue, color, *, is_input):
        if all((b.queue, b.is_input) != (queue, is_input) for b in self._queues):
            self.queue(queue, color=color, is_input=is_input)

    def _encode(self, file, item):
        match item:
            case None:
                return 0
            case Vector(pair):
                return self.dsr_load(file, self._next_dsr, pair)
            case Register(number):
                return operand(OperandMode.REGISTER, number)
            case Pointer(number):
                return operand(OperandMode.POINTER, number)


def background(thread, **options):
    """Return the configuration of an asynchronous operation."""
    return DsdConfig(microthread=thread, **options)


def route(receive, *transmit):
    """Return a route; `receive` is a direction or several."""
    sources = receive if isinstance(receive, tuple) else (receive,)
    return ColorConfig(
        (SwitchPosition(sum(1 << d for d in sources), sum(1 << d for d in transmit)),)
    )


def switched(*positions, current=0, ring=False, **options):
    """Return a configuration of switch positions, each (receive, transmit…) or None."""
    made = [None if p is None else route(*p).positions[0] for p in positions]
    return ColorConfig(tuple(made), current, ring, **options)


def commands(*opcodes, ignore=True, entry=0, data=None):
    """Return the word of a control wavelet; `ignore` is for all commands, or one for each."""
    ignores = (ignore,) * len(opcodes) if isinstance(ignore, bool) else ignore
    word, position = entry << 16, 22
    for opcode, is_ignored in zip(opcodes, ignores, strict=True):
        word |= opcode << position
        position = (position + 2) % 30
        word |= int(is_ignored) << position
        position += 1
    return word if data is None else word & ~0xFFFF | data


def eastward(color, first, last, y=0):
    """Return the routes from the ramp of PE `first` to the ramp of PE `last` in a row."""
    if first == last:
        return {(first, y, color): route(RAMP, RAMP)}
    between = {(x, y, color): route(WEST, EAST) for x in range(first + 1, last)}
    ends = {(first, y, color): route(RAMP, EAST), (last, y, color): route(WEST, RAMP)}
    return ends | between


@dataclass
class Run:
    """A machine and what it told."""

    machine: Machine
    recorder: EventRecorder

    def launch(self, name="main", words=()):
        self.machine.launch(name, words)
        self.machine.run()
        return self

    def cycles(self, kind, x=0, y=0, subject=None):
        """Return the cycles of the events of a kind at a PE."""
        events = self.recorder.events(kind)
        return [e.cycle for e in events if (e.x, e.y) == (x, y) and subject in (None, e.subject)]

    def duration(self, x=0, y=0, thread=MAIN):
        """Return the cycles from the first element to the end of the only operation of a thread."""
        (start,) = self.cycles(EventKind.DSD_START, x, y, thread)
        (end,) = self.cycles(EventKind.DSD_END, x, y, thread)
        return end - start

    def words(self, name, x=0, y=0, num_bytes=4):
        """Return a variable as unsigned numbers."""
        symbol = self.machine.symbol(x, y, name)
        payload = self.machine.peek(x, y, symbol.address, symbol.num_bytes)
        return [
            int.from_bytes(payload[i : i + num_bytes], "little")
            for i in range(0, len(payload), num_bytes)
        ]

    def log(self, x=0, y=0):
        """Return what the program logged."""
        length = self.words("log_cursor", x, y, 2)[0] - self.machine.symbol(x, y, "log").address
        return self.words("log", x, y, 2)[: length // 2]


def boot(programs, *, engine="reference", architecture=WSE3, width=1, height=1, routes=None):
    """Return a machine with programs, start-up tasks not run yet."""
    image = make_image(architecture, programs, width=width, height=height, routes=routes)
    verify(image, architecture)
    recorder = EventRecorder()
    return Run(Machine(image, architecture, engine=engine, sink=recorder), recorder)


def sender(color, num_words, *, queue=2, extent=None, config=None):
    """Return a program that sends 1, 2, 3, … on a color."""
    kernel = Kernel("sender")
    base = kernel.data("sent", ScalarType.U32, list(range(1, num_words + 1)))
    kernel.function("main")
    target = kernel.outgoing(color, extent or num_words, queue=queue)
    source = kernel.vector(base, num_words)
    kernel.operate(DsdOperation.MOV32, target, src1=source, config=config, line=10)
    return kernel.finish()


def talker(color, script):
    """Return a program that sends words on a color; a pair (word,) is a control wavelet."""
    kernel = Kernel("talker")
    kernel.function("main")
    data, control = kernel.outgoing(color, 1), kernel.outgoing(color, 1, is_control=True)
    for item in script:
        target, word = (control, item[0]) if isinstance(item, tuple) else (data, item)
        register = kernel.immediate(ScalarType.U32, word)
        kernel.operate(DsdOperation.MOV32, target, src1=Register(register))
    return kernel.finish()


def receiver(color, num_words, *, queue=2):
    """Return a program that receives words of a color into `received`."""
    kernel = Kernel("receiver")
    base = kernel.data("received", ScalarType.U32, num_elements=num_words)
    kernel.function("main")
    target = kernel.vector(base, num_words)
    source = kernel.incoming(color, num_words, queue=queue)
    kernel.operate(DsdOperation.MOV32, target, src1=source, line=20)
    return kernel.finish()
