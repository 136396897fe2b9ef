"""Traces as `sim.log`: the text that the public viewer wse-viz draws.

PEs have fabric coordinates. A PE shows one thing at a time: the instruction of the main thread,
else a DSD operation on a microthread, else IDLE; only changes are written. A wavelet keeps its
number over all hops, as its copies do.

The form of each line is the shortest that the patterns in the viewer's `trace-parser.js` (8dff605)
accept and that can still be read by people.
"""

from __future__ import annotations

import struct
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from onewafer.errors import TraceError
from onewafer.geometry import Direction
from onewafer.trace.event import CONTROL_MARK, Detail, EventKind, wait_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from onewafer.trace.formats.binary import Trace
    from onewafer.trace.formats.header import TraceHeader

MAIN_THREAD = 8
_SLOTS = (Direction.EAST, Direction.NORTH, Direction.WEST, Direction.SOUTH, Direction.RAMP)
_LETTERS = {d: d.name[0] for d in Direction}
_LAST_QUEUE = 0xFF
_WORD = 0xFFFF_FFFF
_INPUT_EMPTY, _OUTPUT_FULL = "input empty", "output full"
_FLOAT = struct.Struct("<f")
_BITS = struct.Struct("<I")

_MNEMONICS = {
    "jump": "JMP",
    "branch_zero": "JMP",
    "branch_nonzero": "JMP",
    "call": "JMP",
    "return": "JMP",
    "map_step": "JMP",
    "end_task": "YIELD",
    "activate": "ACTVT",
    "block": "BLK",
    "unblock": "UBLK",
    "unblock_command_stream": "UBLK",
    "move": "MOV32",
    "load_immediate": "MOVRI",
}
"""Names that the viewer has a color for; unknown ones are shown as they are."""
_FLOATS = {
    "add": "FADD",
    "sub": "FSUB",
    "mul": "FMUL",
    "neg": "FNEG",
    "equal": "FEQ",
    "less": "FLT",
    "less_equal": "FLTEQ",
    "div": "FDIVS",
}
_INTEGERS = {
    "add": "ADD",
    "sub": "SUB",
    "neg": "NEG",
    "mul": "IMUL",
    "and": "AND",
    "or": "OR",
    "xor": "XOR",
    "not": "NOT",
    "shl": "SLL",
    "shr": "SLR",
    "equal": "EQ",
    "less": "LT",
    "less_equal": "LTE",
    "load": "LD",
    "store": "ST",
}


class LogPart(StrEnum):
    """A kind of lines; its value is its name in `SIMFABRIC_DEBUG`."""

    INSTRUCTIONS = "inst_trace"
    """The program of each PE."""
    LANDINGS = "landing"
    """Wavelets as they land in routers and leave them."""
    ROUTERS = "router"
    """Wavelets in queues and routers."""
    STALLS = "stalls"
    """The resources that operations wait for."""


ALL_PARTS: Final = frozenset(LogPart)


def opcode(instruction: str) -> str:
    """Return the viewer's name of an instruction.

    >>> opcode("add.f32 r2, r2, r3"), opcode("load.u16 r1, r0, 4"), opcode("fmacs dest.1, src0.0")
    ('FADDS', 'LD16', 'FMACS')
    """
    mnemonic = instruction.split(" ", 1)[0]
    if mnemonic in _MNEMONICS:
        return _MNEMONICS[mnemonic]
    if mnemonic.startswith("dsr_load"):
        register = instruction.split()[1]
        return {"d": "LDDDS", "0": "LDS0DS"}.get(register[0 if register[0] == "d" else 3], "LDS1DS")
    name, _, type_ = mnemonic.partition(".")
    if name in _MNEMONICS:
        return _MNEMONICS[name]
    if type_ in {"f16", "f32"} and name in _FLOATS:
        return _FLOATS[name] + ("H" if type_ == "f16" else "S")
    if name in _INTEGERS:
        return _INTEGERS[name] + ("32" if type_.endswith("32") else "16")
    return mnemonic.upper()


def write_sim_log(
    trace: Trace,
    file: TextIO,
    *,
    printed: Iterable[tuple[int, str]] = (),
    parts: frozenset[LogPart] = ALL_PARTS,
) -> None:
    """Write the kinds of lines in `parts` (wse-viz needs all) and the printed ones, by cycle.

    Raises:
        TraceError: the trace has no instructions.
    """
    if trace.header.detail < Detail.INSTRUCTIONS:
        raise TraceError(
            "a sim.log shows every instruction, and this trace was written without them: trace the "
            "run again, with an output that ends in .log"
        )
    log = _Log(trace.header, file, parts)
    for cycle, text in printed:
        log.at(cycle, f"@{cycle} {text}\n")
    for cycle, y, x, kind, subject, value in trace.rows.tolist():
        log.take(cycle, (x, y), kind, subject, value)
    log.finish(trace.end_cycle)


class _Pe:
    """The state of a PE."""

    __slots__ = ("live", "pc_of", "shown", "task")

    def __init__(self) -> None:
        self.task = -1
        """The running task; −1: none."""
        self.pc_of: dict[int, int] = {}
        """By thread: where its DSD operation was issued."""
        self.live: dict[int, str] = {}
        """By thread: the name of a DSD operation that has begun."""
        self.shown = ""


class _Log:
    """Writes lines in the order of cycles."""

    def __init__(self, header: TraceHeader, file: TextIO, parts: frozenset[LogPart]) -> None:
        self._header = header
        self._file = file
        self._parts = parts
        self._pes: dict[tuple[int, int], _Pe] = {}
        self._due: dict[int, list[str]] = {}
        """Scheduled lines by cycle: landings of wavelets, and what is printed."""
        self._cycle = 0
        self._num_wavelets = 0
        self._waiting: dict[tuple[tuple[int, int], int, Direction], deque[int]] = {}
        """By PE, color and direction: numbers of the wavelets that have landed."""
        file.write(f"@0 dimX={header.fabric_width}, dimY={header.fabric_height}\n")
        file.write(f"@0 onewafer trace of {header.arch}, {header.profile} timing\n")

    def at(self, cycle: int, line: str) -> None:
        """Schedule a line for a cycle."""
        self._due.setdefault(cycle, []).append(line)

    def take(self, cycle: int, place: tuple[int, int], kind: int, subject: int, value: int) -> None:
        self._go_to(cycle)
        pe = self._pes.setdefault(place, _Pe())
        match kind:
            case EventKind.TASK_START:
                pe.task = subject
            case EventKind.INSTRUCTION:
                self._instruction(place, pe, value)
            case EventKind.TASK_END:
                pe.task = -1
                self._show_rest(place, pe)
            case EventKind.ISSUE:
                pe.pc_of[subject] = value & 0xFFFF
            case EventKind.DSD_START:
                pe.live[subject] = self._header.operations[value].upper()
                self._show_operation(place, pe, subject)
            case EventKind.DSD_END:
                pe.live.pop(subject, None)
                self._show_rest(place, pe)
            case EventKind.WAIT:
                self._wait(place, pe, subject, value)
            case EventKind.QUEUED:
                if LogPart.ROUTERS in self._parts:
                    color, queue = subject & 0xFF, subject >> 8
                    self._line(place, f": Writing wavelet C{color} x to OUT_Q[{queue}]")
            case EventKind.MOVE:
                self._move(place, subject, value)
            case _:
                pass

    def finish(self, cycle: int) -> None:
        """Write the lines that are still scheduled, and the end of the run."""
        for due in sorted(self._due):
            self._go_to(due)
        self._go_to(max(cycle, self._cycle) + 1)
        self._file.write(f"@{max(cycle, self._cycle - 1)} end of the run\n")

    def _go_to(self, cycle: int) -> None:
        """Write the lines that are due up to a cycle."""
        if self._due and cycle > self._cycle:
            for due in sorted(c for c in self._due if c <= cycle):
                self._file.writelines(self._due.pop(due))
        self._cycle = max(self._cycle, cycle)

    def _line(self, place: tuple[int, int], text: str) -> None:
        self._file.write(f"@{self._cycle} {self._name(place)}{text}\n")

    def _name(self, place: tuple[int, int]) -> str:
        return f"P{place[0] + self._header.offset_x}.{place[1] + self._header.offset_y}"

    # --- what a PE shows -------------------------------------------------------------------------

    def _show(self, place: tuple[int, int], pe: _Pe, text: str) -> None:
        if text != pe.shown and LogPart.INSTRUCTIONS in self._parts:
            pe.shown = text
            self._line(place, f": [EX OP] {text}")

    def _instruction(self, place: tuple[int, int], pe: _Pe, pc: int) -> None:
        instruction = self._instruction_at(place, pc)
        if instruction.split(" ", 1)[0] in self._header.operations:
            return  # it is shown when it begins
        who = f"^ 0x{self._address(place, pc):04x}: T{max(pe.task, 0):02}"
        self._show(place, pe, f"{who} {opcode(instruction)}")

    def _show_operation(self, place: tuple[int, int], pe: _Pe, thread: int) -> None:
        address = self._address(place, pe.pc_of.get(thread, 0))
        microthread = "" if thread == MAIN_THREAD else f".UT{thread}"
        who = f"T{max(pe.task, 0):02}{microthread}"
        self._show(place, pe, f"^ 0x{address:04x}: {who} {pe.live[thread]}")

    def _show_rest(self, place: tuple[int, int], pe: _Pe) -> None:
        """Show a microthread's operation beside an idle main thread, else IDLE."""
        if pe.live:
            self._show_operation(place, pe, min(pe.live))
        else:
            self._show(place, pe, "IDLE")

    def _address(self, place: tuple[int, int], pc: int) -> int:
        program = self._header.program(*place)
        addresses = program.addresses if program is not None else ()
        return addresses[pc] if pc < len(addresses) else 0

    def _instruction_at(self, place: tuple[int, int], pc: int) -> str:
        program = self._header.program(*place)
        instructions = program.instructions if program is not None else ()
        return instructions[pc] if pc < len(instructions) else "?"

    # --- waits -----------------------------------------------------------------------------------

    def _wait(self, place: tuple[int, int], pe: _Pe, thread: int, value: int) -> None:
        wait = wait_of(value)
        if wait.reason < 0:
            if thread in pe.live:
                self._show_operation(place, pe, thread)
            return
        if pe.task < 0 or thread == MAIN_THREAD:
            self._show(place, pe, "IDLE")  # a stall is shown until another line of this kind
        if LogPart.STALLS not in self._parts:
            return
        reason = self._header.reasons[wait.reason]
        if reason == _OUTPUT_FULL:
            self._line(place, f": Backpressure on C{wait.color} for OUT_Q[{wait.queue}]")
        if reason == _INPUT_EMPTY:
            where = f"C{wait.color}, IN_Q[{wait.queue}], SIMD-32"
            self._line(place, f": Not enough wavelets (0/1) for SRC1 with {where}")
        else:
            self._line(place, f": Pipe: 6, Msg: stall: {reason}")

    # --- wavelets --------------------------------------------------------------------------------

    def _move(self, place: tuple[int, int], subject: int, word: int) -> None:
        color, port = subject & 0xFF, Direction(subject >> 8 & 0xFF)
        ways, swaps, queue = subject >> 16 & 0xFF, subject >> 24 & 0xFF, subject >> 32
        number = self._number(place, color, port)
        is_sent = port is Direction.RAMP and queue <= _LAST_QUEUE
        if is_sent and LogPart.ROUTERS in self._parts:
            self._line(place, f": Sending wavelet C{color} x ident:{number:016x} on OUT_Q[{queue}]")
        departing = "".join(_LETTERS[d] if ways >> d & 1 else " " for d in _SLOTS)
        consumed = " to_ce_from_router" if ways >> Direction.RAMP & 1 else ""
        control = int(bool(word & CONTROL_MARK))
        if self._parts & {LogPart.ROUTERS, LogPart.LANDINGS}:
            self._line(
                place,
                f" (pe) wavelet C{color} ctrl={control}, idx=0, data={word & _WORD:x} "
                f"({_reading(word)}), half=0, ident={number:016x} landing={_LETTERS[port]} "
                f"departing=/{departing}/{consumed}",
            )
        for direction in _SLOTS[:-1]:
            if ways >> direction & 1:
                self._land(place, direction, color ^ (swaps >> direction & 1), number)

    def _number(self, place: tuple[int, int], color: int, port: Direction) -> int:
        """Return the number of a leaving wavelet: the oldest from `port`, else a new one."""
        waiting = self._waiting.get((place, color, port))
        if port is not Direction.RAMP and waiting:
            return waiting.popleft()
        self._num_wavelets += 1
        return self._num_wavelets

    def _land(self, place: tuple[int, int], direction: Direction, color: int, number: int) -> None:
        """Queue a wavelet's number at the neighbour that it goes to."""
        dx, dy = direction.step
        there = place[0] + dx, place[1] + dy
        port = direction.opposite
        self._waiting.setdefault((there, color, port), deque()).append(number)
        if LogPart.LANDINGS in self._parts:
            due = self._cycle + self._header.hop_cycles
            text = f"(pe) landing C{color} from link {_LETTERS[port]},"
            self.at(due, f"@{due} {self._name(there)} {text}\n")


def _reading(word: int) -> str:
    """Return a payload for people: a word below 2¹⁶ as u16, others as f32."""
    if word & _WORD < 1 << 16:
        return f"{word & _WORD}(u16)"
    (number,) = _FLOAT.unpack(_BITS.pack(word & _WORD))
    return f"{number:.4g}(f32)"
