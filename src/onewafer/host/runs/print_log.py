"""The printed output of programs (`<simprint>`) as lines of a file, ordered by cycle."""

from __future__ import annotations

from itertools import count
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.host.runs.readers import RunReader
from onewafer.image import Field, Opcode, PrintForm, ScalarType
from onewafer.simulator import float_to_half, half_to_float
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from onewafer.errors import SimulationError
    from onewafer.image import WaferImage
    from onewafer.trace import Event

FILE_NAME = "sim.log"


class PrintedLines:
    """Joins the texts printed by each PE into lines."""

    def __init__(self, messages_of: Callable[[int, int], Sequence[str]]) -> None:
        """Take the function that returns the message texts of PE (x, y)'s program."""
        self._messages_of = messages_of
        self._unfinished: dict[tuple[int, int], str] = {}
        """(y, x) → the text of a PE since its last newline."""

    def add(self, event: Event) -> list[tuple[int, str]]:
        """Add a print event to the text of its PE; return the completed lines, with cycles."""
        pe = event.y, event.x
        *complete, rest = (self._unfinished.get(pe, "") + self._text(event)).split("\n")
        self._unfinished[pe] = rest
        return [(event.cycle, line) for line in complete]

    def rest(self, cycle: int) -> list[tuple[int, str]]:
        """Return texts that lack a final newline as lines of `cycle`."""
        rest = sorted((pe, text) for pe, text in self._unfinished.items() if text)
        self._unfinished.clear()
        return [(cycle, text) for _, text in rest]

    def _text(self, event: Event) -> str:
        form, kind = PrintForm(event.subject & 0xFF), ScalarType(event.subject >> 8)
        if form is PrintForm.TEXT:
            return self._messages_of(event.x, event.y)[event.value]
        return format_word(event.value, form, kind)


class LogFile:
    """A text file that is truncated by the first write and appended to by later ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_begun = False

    def __call__(self, text: str) -> None:
        """Write a text.

        Raises:
            HostError: the file cannot be written.
        """
        try:
            with self._path.open("a" if self._is_begun else "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise HostError(
                f"cannot write what the program prints to {self._path}: {error.strerror or error}"
            ) from None
        self._is_begun = True


class PrintLog(RunReader):
    """Writes `@cycle text` for each line that a PE prints; the cycle is that of the newline."""

    def __init__(self, image: WaferImage, write: Callable[[str], object]) -> None:
        """Take a function that writes whole lines: a `LogFile`, `sys.stdout.write`."""
        self.sink = self
        self._write_text = write
        self._events: list[Event] = []
        self._lines = PrintedLines(
            lambda x, y: image.programs[int(image.program_of_pe[y, x])].messages
        )

    def record(self, event: Event) -> None:
        """Keep an event if it prints."""
        if event.kind is EventKind.PRINT:
            self._events.append(event)

    def paused(self) -> None:
        """Write the lines of the events so far, in the order of cycles."""
        ordered = sorted(self._events, key=lambda event: (event.cycle, event.y, event.x))
        self._write(line for event in ordered for line in self._lines.add(event))
        self._events.clear()

    def failed(self, error: SimulationError) -> None:
        """Write the lines that came before the error."""
        del error
        self.paused()

    def ended(self, *, is_well: bool) -> None:
        """Write texts that lack a final newline as lines of the last cycle."""
        self.paused()
        if is_well and self.machine is not None:
            self._write(self._lines.rest(self.machine.cycle))

    def _write(self, lines: Iterable[tuple[int, str]]) -> None:
        text = "".join(f"@{cycle} {line}\n" for cycle, line in lines)
        if text:
            self._write_text(text)


def format_word(word: int, form: PrintForm, kind: ScalarType) -> str:
    """Format a canonical register word of type `kind` as PRINT does.

    >>> format_word(42, PrintForm.HEXADECIMAL, ScalarType.U16)
    '002A'
    >>> format_word(0x5140, PrintForm.FLOAT, ScalarType.F16)
    '42.0'
    >>> format_word(0x3DCD, PrintForm.FLOAT, ScalarType.BF16)
    '0.1'
    """
    num_bits = 8 * kind.num_bytes
    word &= (1 << num_bits) - 1
    match form:
        case PrintForm.HEXADECIMAL:
            return f"{word:0{num_bits // 4}X}"
        case PrintForm.BINARY:
            return f"{word:0{num_bits}b}"
        case PrintForm.FLOAT if kind.is_half:
            return str(_rounded_half(word, kind))
        case PrintForm.FLOAT:
            # NumPy's format of a float32 depends on its version, but not the digits.
            return str(float(np.format_float_scientific(np.uint32(word).view(np.float32))))
        case _:
            return str(word)


def _rounded_half(word: int, kind: ScalarType) -> float:
    """Round a 16-bit float to the fewest decimal digits that identify it."""
    value = half_to_float(word, kind)
    if not isfinite(value):
        return value
    rounded = (float(f"{value:.{digits}e}") for digits in count())
    return next(number for number in rounded if float_to_half(number, kind) == word)


def prints(image: WaferImage) -> bool:
    """Tell whether a program of the image prints."""
    return any(
        bool(np.any(program.code[:, Field.OPCODE] == Opcode.PRINT)) for program in image.programs
    )
