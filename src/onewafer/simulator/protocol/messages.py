"""The engines' messages about faults of programs: the same words from each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import NUM_COLORS, OUTPUT_QUEUE_WORDS, ROUTER_WORDS, WORD_BYTES
from onewafer.simulator.arithmetic import queue_words
from onewafer.simulator.state.schema import RETURN_STACK_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.image import DsdOperation, Symbol, TileProgram

_COLOR_WORDS = 32
"""Address distance, in words, between two kinds of router registers."""
CALLS_TOO_DEEP = f"the call nests deeper than the {RETURN_STACK_DEPTH} return addresses"
EMPTY_DSR = "a DSR is used that was never loaded with a DSD; load it with @load_to_dsr first"
UNPACKED_OPERAND = (
    "an operation has a fabric operand of which two elements share a wavelet (`.simd_mode`), and "
    "another of which each element is on its own: a FIFO, or a fabric DSD without that or of 32 "
    "bits; give both fabric DSDs the `.simd_mode`, or let the elements go through memory"
)


def outside_memory(address: int, num_bytes: int, memory_bytes: int) -> str:
    """Return what is wrong with an access (M10)."""
    message = (
        f"an access to {num_bytes} B at address 0x{address:04x} is outside the "
        f"{memory_bytes:,} B of a PE; check the index or the DSD that gave this address"
    )
    if address < WORD_BYTES * OUTPUT_QUEUE_WORDS:
        return message
    word = address // WORD_BYTES
    message += f"; if a register is meant, this PE has none at word address 0x{word:04x}"
    if word < ROUTER_WORDS or word % _COLOR_WORDS >= NUM_COLORS:
        return message
    return f"{message}: a color has registers if the layout or a program routes or uses it"


def outside_variable(symbol: Symbol, address: int, num_bytes: int) -> str:
    """Return what is wrong with an access outside the variable of its address."""
    index, rest = divmod(address - symbol.address, _element_bytes(symbol))
    is_element = symbol.element is not None and (not rest or symbol.is_wide)
    place = f"element {index}" if is_element else f"byte {address - symbol.address}"
    return (
        f"an access to {num_bytes} B at {place} of '{symbol.name}' is outside of it: it has "
        f"{_extent(symbol)}; check the index, or offset, stride and extent of the DSD"
    )


def outside_variables(address: int, num_bytes: int, before: Symbol | None) -> str:
    """Return what is wrong with an access that is in no variable at all."""
    last = ""
    if before is not None:
        beyond = address - before.address - before.num_bytes
        last = f": it is {beyond} B behind the end of '{before.name}', which has {_extent(before)}"
    return (
        f"an access to {num_bytes} B at address 0x{address:04x} is in no variable{last}; check the "
        "pointer or the DSD that gave this address"
    )


def never_written(
    symbol: Symbol | None, address: int, num_bytes: int, copied_from: str | None = None
) -> str:
    """Return what is wrong with a read of memory that was never written, or of a copy of it."""
    what = f"{_named(symbol, address, num_bytes)} read"
    what += (
        " before it was written" if copied_from is None else f", a copy of unwritten {copied_from}"
    )
    return (
        f"{what}: it has no initial value, and neither the host nor the program gave it one; write "
        "it first, or declare the variable with @zeros or a value"
    )


def _named(symbol: Symbol | None, address: int, num_bytes: int) -> str:
    what = f"{num_bytes} B at address 0x{address:04x} are"
    if symbol is not None:
        index = (address - symbol.address) // _element_bytes(symbol)
        is_array = symbol.num_bytes > _element_bytes(symbol)
        what = f"element {index} of '{symbol.name}' is" if is_array else f"'{symbol.name}' is"
    return what


def _element_bytes(symbol: Symbol) -> int:
    if symbol.element is None:
        return 1
    return symbol.element.num_bytes * (2 if symbol.is_wide else 1)


def _extent(symbol: Symbol) -> str:
    size = _element_bytes(symbol)
    if symbol.element is None:
        return f"{symbol.num_bytes} B"
    number = symbol.num_bytes // size
    kind = f"{8 * size} bits" if symbol.is_wide else symbol.element.name.lower()
    return f"{number} element{'' if number == 1 else 's'} of {kind}"


def unmasked_exceptions(names: Sequence[str]) -> str:
    """Return what stops a program that has unmasked exceptions (M147)."""
    return f"floating point exception {', '.join(names)}, which the program has unmasked"


def fifo_width(held: int, asked: int) -> str:
    """Return what is wrong with an operation on a FIFO of elements of another width (M110)."""
    return (
        f"the FIFO holds elements of {8 * held} bits, the operation has {8 * asked}; "
        "let all operations on a FIFO have the element type of its array"
    )


def fifo_fault(number: int, *, is_empty: bool) -> str:
    """Return what is wrong with an operation on a FIFO whose action is to stop (M115)."""
    what, action = ("empty", "empty_action") if is_empty else ("full", "full_action")
    return (
        f"FIFO {number} is {what}, and its .{action} is .{{ .fault = true }}; an operation that "
        "shall wait, or end, needs another action"
    )


def unbound_control_task(entry: int, color: int) -> str:
    """Return what is wrong with a control wavelet that starts no task of the program (M96)."""
    return (
        f"a control wavelet of color {color} asks for control task {entry}, which no task is bound "
        "to; write @bind_control_task(task, id), or let its command ignore the compute element"
    )


def conflict(kind: DsdOperation, use: str, place: str) -> str:
    """Return what is wrong with a second operation on a queue: one at `place` is live (M45)."""
    return (
        f"@{kind.name.lower()} still {use} ({place}) while a second operation is issued "
        "that does the same; start the second when the first has ended (.activate or .unblock)"
    )


def cannot_bind(obstacle: int, *, is_input: bool, queue: int, color: int) -> str:
    """Return why a queue cannot be bound to a color (M135), and what to write."""
    side = "input" if is_input else "output"
    what = f"{side} queue {queue} cannot be bound to color {color}"
    match obstacle:
        case queue_words.IS_USED:
            return (
                f"{what}: a DSD operation still uses it; bind it when the operation has ended "
                "(.activate or .unblock)"
            )
        case queue_words.HOLDS_WAVELETS:
            return (
                f"{what}: it still holds wavelets; call @queue_flush with the queue, and bind it "
                "in the function that @set_empty_queue_handler names"
            )
        case queue_words.HAS_NO_COLOR:
            return f"{what}: the colors are 0 to {NUM_COLORS - 1}"
        case queue_words.IS_TAKEN:
            return f"{what}: another input queue of the PE serves it; bind that one first"
        case queue_words.GOES_TO_HOST:
            return f"{what}: its wavelets go to the host at this PE; receive by another color"
        case _:
            return (
                f"{what} without the filter that the color has at this PE; let it stand before the "
                "queue: encode_input_queue(queue, color, true)"
            )


def busy_microthread(thread: int, kind: DsdOperation, place: str) -> str:
    """Return what is wrong with an operation on a busy microthread (M38); the one at `place`."""
    return (
        f"a DSD operation is issued on microthread {thread}, on which @{kind.name.lower()} still "
        f"runs ({place}); {BUSY_ADVICE}"
    )


BUSY_ADVICE = (
    "start the second when the first has ended (.activate or .unblock), or give it a microthread "
    "of its own: another queue, or .ut_id on WSE-3"
)


def place(program: TileProgram, pc: int) -> str:
    """Return the source place of an instruction, or its number."""
    location = program.locations[pc] if pc < len(program.locations) else None
    if location is None:
        return f"{program.name}, instruction {pc}"
    return f"{location.path}:{location.line}:{location.column}"


def no_such_function(name: str, known: Iterable[str]) -> str:
    """Return why a function cannot be launched: no PE has it (M70)."""
    return f"no PE exports a function '{name}'; there is: {', '.join(sorted(known)) or 'none'}"


def wrong_arguments(name: str, num_expected: int, num_given: int) -> str:
    """Return why a function cannot be launched: the arguments do not fit."""
    arguments = "1 argument" if num_expected == 1 else f"{num_expected} arguments"
    given = "1 was" if num_given == 1 else f"{num_given} were"
    return f"'{name}' takes {arguments}, {given} given"


def blocked_stream(x: int, y: int) -> str:
    """Return why a function cannot be launched: the last one is not over."""
    return (
        f"PE ({x}, {y}) does not accept commands: the program has "
        "not called unblock_cmd_stream() since the last launch; run the machine first"
    )
