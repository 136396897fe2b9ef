"""Traces of runs: events are written to a file during the run, and converted at its end.

The end may be `stop`, an error, or the end of the process. A killed process leaves the file of
events only: a hidden `.wafer-trace` beside the first trace file. If a trace cannot be written, one
message says so, and the run goes on.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from onewafer.errors import ConfigurationError, TraceError
from onewafer.files.foreign_bytes import DAMAGES
from onewafer.files.whole_files import new_sibling, try_to_write, whole_file
from onewafer.host.runs.print_log import FILE_NAME as LOG_NAME
from onewafer.host.runs.print_log import PrintedLines
from onewafer.host.runs.readers import RunReader
from onewafer.image import (
    INSTRUCTIONS,
    NUM_COLORS,
    DsdOperation,
    Field,
    Opcode,
    SectionKind,
    TileProgram,
    code_labels,
    cost_classes,
    format_instruction,
    issue_cycles,
)
from onewafer.simulator import StallReason
from onewafer.trace import Detail, EventKind
from onewafer.trace.formats import (
    ALL_PARTS,
    LogPart,
    ProgramNames,
    Trace,
    TraceHeader,
    TraceWriter,
    costs_of,
    read_trace,
    summarize,
    write_costs_by_line,
    write_perfetto,
    write_sim_log,
)
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from onewafer.arch import Architecture, Timing
    from onewafer.host.runs.progress import RunObserver
    from onewafer.image import WaferImage
    from onewafer.trace import Event

    TraceListener = Callable[[Trace], object]

T = TypeVar("T")

_WITH_INSTRUCTIONS = frozenset((".log", ".txt", ".wafer-trace"))


def needed_detail(files: Sequence[Path]) -> Detail:
    """Return the detail of events that the formats of some files need."""
    wants_all = any(path.suffix in _WITH_INSTRUCTIONS for path in files)
    return Detail.INSTRUCTIONS if wants_all else Detail.CAUSES


class Recording(RunReader):
    """Writes the events of one run, and converts them at its end."""

    def __init__(
        self,
        files: Sequence[Path],
        image: WaferImage,
        architecture: Architecture,
        observer: RunObserver,
        *,
        log_parts: Sequence[str] = (),
        listener: TraceListener | None = None,
    ) -> None:
        """Begin a trace that is written to `files` at the end of the run.

        `log_parts` are the kinds of lines in `sim.log` in the working directory; without any, it is
        not written. The listener gets the trace at the end.

        Raises:
            ConfigurationError: a file cannot be written.
        """
        log = Path(LOG_NAME).absolute()
        self._log_parts = {log: frozenset(map(LogPart, log_parts))} if log_parts else {}
        self._files = tuple(dict.fromkeys((*files, *self._log_parts)))
        self._listener = listener
        self._observer = observer
        self.detail = needed_detail(self._files)
        self.sink = self
        for path in self._files:
            _try(path, try_to_write)
        first = self._files[0]
        self._events = _try(first, lambda path: new_sibling(path, ".wafer-trace"))
        self._file = _try(self._events, lambda path: path.open("wb"))
        try:
            header = make_header(image, architecture, detail=self.detail)
            self._writer: TraceWriter | None = TraceWriter(self._file, header)
        except OSError as error:
            self._discard()
            raise _cannot_write(first, error) from None

    def record(self, event: Event) -> None:
        """Write an event; if that fails, give up the trace."""
        if self._writer is not None:
            try:
                self._writer.record(event)
            except OSError as error:
                self._give_up(error)

    def ended(self, *, is_well: bool) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            cycle = self.machine.cycle if self.machine is not None else 0
            writer.end(cycle, is_well=is_well)
            for line in convert_trace(
                self._events, self._files, log_parts=self._log_parts, listener=self._listener
            ):
                self._observer.say(line)
        except (OSError, TraceError) as error:
            self._give_up(error)
        finally:
            self._discard()

    def _give_up(self, error: OSError | TraceError) -> None:
        self._writer = None
        self._discard()
        self.failure = _describe(error, self._files[0])
        sys.stderr.write(f"onewafer: the trace is not written: {self.failure}\n")

    def _discard(self) -> None:
        """Delete the file of events."""
        with suppress(OSError):  # closing flushes what could not be written
            self._file.close()
        with suppress(OSError):  # its folder may be gone
            self._events.unlink(missing_ok=True)


def _try(path: Path, attempt: Callable[[Path], T]) -> T:
    """Return the result of `attempt(path)`.

    Raises:
        ConfigurationError: it fails.
    """
    try:
        return attempt(path)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _cannot_write(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path}: the trace cannot be written: {error.strerror or error}")


def _describe(error: OSError | TraceError, path: Path) -> str:
    """Return an error as one line; `path` is its file if the error names none."""
    match error:
        case OSError(filename=named, strerror=str(reason)):
            return f"{path if named is None else named}: {reason}"
        case _:
            return str(error)


def convert_trace(
    path: Path,
    files: Sequence[Path],
    *,
    log_parts: Mapping[Path, frozenset[LogPart]] = MappingProxyType({}),
    listener: TraceListener | None = None,
) -> Iterator[str]:
    """Convert a trace to other formats; yield lines for the user.

    `log_parts` maps a log file to the kinds of lines that it gets; the listener gets the trace.

    Raises:
        OSError: a file cannot be written; it carries that file's name.
        TraceError: the trace cannot be read, lacks detail, or is damaged.
    """
    try:
        trace = read_trace(path)
        if listener is not None:
            listener(trace)
        yield from _convert(trace, path, files, log_parts)
    except DAMAGES as error:  # its events refer to things that its header lacks
        raise TraceError(f"{path}: the trace is damaged; trace the run again") from error


def _convert(
    trace: Trace,
    path: Path,
    files: Sequence[Path],
    log_parts: Mapping[Path, frozenset[LogPart]],
) -> Iterator[str]:
    if not trace.is_whole:
        yield f"{path} has no end: the process was killed; this is what it wrote until then"
    for file in files:
        save_trace(trace, file, events=path, log_parts=log_parts.get(file, ALL_PARTS))
        use = _where(file) if len(trace.rows) else ", empty: nothing happened"
        yield f"wrote {file.name}, {format_size(file.stat().st_size)}{use}"
    yield summarize(trace)


def _where(path: Path) -> str:
    """Return a hint which program opens the file."""
    if path.suffix in (".wafer-trace", ".txt"):
        return ""
    return ": open it in wse-viz" if path.suffix == ".log" else ": open it at ui.perfetto.dev"


def save_trace(
    trace: Trace,
    path: Path,
    *,
    events: Path,
    log_parts: frozenset[LogPart] = ALL_PARTS,
) -> None:
    """Write a trace in the format of a file's ending; `events` is the file that it was read from.

    Raises:
        OSError: the file cannot be written; the error has its name, and no part of it is left.
        TraceError: the trace lacks the detail for it.
    """
    with whole_file(path) as target:
        match path.suffix:
            case ".wafer-trace":
                shutil.copyfile(events, target)
            case ".log":
                with target.open("w", encoding="utf-8", newline="\n") as text:
                    write_sim_log(trace, text, printed=_printed(trace), parts=log_parts)
            case ".txt":
                with target.open("w", encoding="utf-8", newline="\n") as text:
                    write_costs_by_line(trace, text)
            case _:
                with target.open("wb") as file:
                    write_perfetto(trace, file)


def _printed(trace: Trace) -> Iterator[tuple[int, str]]:
    """Yield the lines that the program printed, each with its cycle."""

    def messages_of(x: int, y: int) -> Sequence[str]:
        program = trace.header.program(x, y)
        return program.messages if program is not None else ()

    lines = PrintedLines(messages_of)
    for event in trace.events(EventKind.PRINT):
        yield from lines.add(event)
    yield from lines.rest(trace.end_cycle)


# --- the header ----------------------------------------------------------------------------------


def make_header(image: WaferImage, architecture: Architecture, *, detail: Detail) -> TraceHeader:
    """Return the header of a trace: the machine, the program's names, places and costs."""
    return TraceHeader(
        arch=architecture.name,
        profile=architecture.profile,
        clock_hertz=architecture.clock_hertz,
        hop_cycles=architecture.timing.hop_cycles,
        task_start_cycles=architecture.timing.task_start_cycles,
        result_cycles=architecture.timing.result_cycles,
        bank_conflict_factor=float(architecture.timing.bank_conflict_factor),
        width=image.width,
        height=image.height,
        fabric_width=image.fabric_width,
        fabric_height=image.fabric_height,
        offset_x=image.offset_x,
        offset_y=image.offset_y,
        detail=detail,
        operations=tuple(operation.name.lower() for operation in DsdOperation),
        reasons=tuple(reason.name.lower().replace("_", " ") for reason in StallReason),
        colors={
            color: "/".join(names)
            for color in range(NUM_COLORS)
            if (names := image.names_of_color(color))
        },
        programs=tuple(_names(program, architecture.timing) for program in image.programs),
        program_of_pe=tuple(image.program_of_pe.reshape(-1).tolist()),
    )


def _names(program: TileProgram, timing: Timing) -> ProgramNames:
    rows: list[list[int]] = program.code.tolist()
    sections = [s.address for s in program.sections if s.kind is SectionKind.CODE]
    address = min(sections, default=0)
    addresses: list[int] = []
    for row in rows:
        addresses.append(address)
        address += INSTRUCTIONS[Opcode(row[Field.OPCODE])].num_bytes
    return ProgramNames(
        program.name,
        tuple(f"{p.path}:{p.line}" if p is not None else "" for p in program.locations),
        tuple(map(format_instruction, rows)),
        tuple(addresses),
        {pc: names[0] for pc, names in code_labels(program).items()},
        program.messages,
        tuple(
            costs_of([name.name.lower() for name in names], cycles, timing.instruction_cycles)
            for names, cycles in zip(
                cost_classes(program), issue_cycles(program, timing), strict=True
            )
        ),
    )
