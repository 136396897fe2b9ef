"""The recorder of runs: launches, counters of all PEs, samples and traces, in one file."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.arch import find_wafer_system
from onewafer.errors import ConfigurationError
from onewafer.files.whole_files import try_to_write
from onewafer.host.runs.readers import RunReader
from onewafer.host.runs.samples import RunSamples, usual_window
from onewafer.host.runs.spans import NO_TRACE, Traced, take_trace
from onewafer.image import SectionKind
from onewafer.recording import (
    NOT_WAITING,
    SRAM_COLUMNS,
    WAVELET_COLUMNS,
    RunHeader,
    SourceFiles,
    column_of_register,
    column_of_wait,
    load_arrow,
    read_provenance,
    read_sources,
    require_arrow,
    write_recording,
)
from onewafer.simulator import StallReason
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.errors import SimulationError
    from onewafer.host.runs.progress import Clock
    from onewafer.host.runs.samples import Whereabouts
    from onewafer.image import WaferImage
    from onewafer.recording import FindSource, LaunchReport, Operation, Split, Tensor
    from onewafer.settings import Settings
    from onewafer.simulator import Machine, Statistics
    from onewafer.trace.formats import Trace

_NO_COLOR = -1
_MOST_REGISTERS = 4_000_000
"""The most register words, of all PEs together, that are recorded."""
_SECONDS_BETWEEN_WRITES = 1.0
"""The least time between two writes of a live recording."""
_LARGEST_SHARE = 0.1
"""The most that writing a live recording may take of a run's time."""
_NOT_STOPPED = "the host script ended before it stopped the program"


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """Options of a recording."""

    sample_every: int | None = None
    """Cycles of the first windows; None: `usual_window`, which makes samples cheap."""
    is_live: bool = False
    """True if the file is also written during the run, again and again."""

    @classmethod
    def from_settings(cls, settings: Settings) -> RecordingOptions:
        """Return the options of the settings."""
        return cls(settings.sample_every, settings.is_live)


AT_THE_END = RecordingOptions()


@dataclass(frozen=True, slots=True)
class _Measured:
    """The content of a recording."""

    header: RunHeader
    columns: Mapping[str, NDArray[Any]]
    image: WaferImage
    traced: Traced


@dataclass(frozen=True, slots=True)
class Recorded:
    """The facts of a recording that the machine does not know."""

    title: str
    find_source: FindSource
    tensors: tuple[Tensor, ...] = ()
    splits: tuple[Split, ...] = ()
    operations: tuple[Operation, ...] = ()
    memory: tuple[tuple[str, int], ...] = ()
    whereabouts: Whereabouts | None = None
    """How to read the step of the model that each PE is at; None: the program is no model."""
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The script's source files that operations come from: path → text."""


def folder_recorder(
    folder: Path, settings: Settings, say: Callable[[str], object]
) -> RunRecorder | None:
    """Return the recorder of a program in a folder written by `cslc`; None: the settings want none.

    Raises:
        ConfigurationError: as `RunRecorder`.
    """
    if settings.record_file is None:
        return None
    subject = Recorded(folder.name, SourceFiles(folder))
    options = RecordingOptions.from_settings(settings)
    return RunRecorder(settings.record_file, subject, say, options)


class RunRecorder(RunReader):
    """Writes the recording of a run at its end, however it ends, and a live one during the run."""

    def __init__(
        self,
        path: Path,
        subject: Recorded,
        say: Callable[[str], object],
        options: RecordingOptions = AT_THE_END,
    ) -> None:
        """Check that the file can be written; `say` gets a line about it at the end.

        Raises:
            ConfigurationError: the file cannot be written, or PyArrow is not installed.
        """
        require_arrow()
        if options.is_live:
            load_arrow()  # so that the first sample does not take that time
        self.path = path
        self._subject = subject
        self._say = say
        self._options = options
        self._next_write = 0.0
        """The time of the next write during the run, on the host's clock."""
        self._samples: RunSamples | None = None
        self._traced = NO_TRACE
        self._longest: _Measured | None = None
        self._sources: Mapping[str, str] | None = None
        self._failure = ""
        self._launches: list[LaunchReport] = []
        self._provenance = read_provenance()
        try:
            try_to_write(path)
        except OSError as error:
            raise ConfigurationError(
                f"{path}: the recording cannot be written: {error.strerror or error}"
            ) from None

    def let_go(self) -> None:
        """Release the machine, which ended well if it did not fail; `finish` writes the file."""
        self._keep_longest(self._failure)

    def loaded(self, machine: Machine, clock: Clock) -> None:
        """Begin to record a machine; of several, the one with the most cycles is written."""
        self._keep_longest("")
        super().loaded(machine, clock)
        self._launches.clear()
        num_pes = machine.image.width * machine.image.height
        every = self._options.sample_every or usual_window(num_pes)
        self._samples = RunSamples(machine, every, self._subject.whereabouts)
        self.next_look = self._samples.next_look

    def look(self, machine: Machine) -> None:
        if self._samples is not None:
            self._samples.look(machine)
            self.next_look = self._samples.next_look

    def paused(self) -> None:
        """Write a live recording, if it is time to: writing takes at most a tenth of the run."""
        machine = self.machine
        if not self._options.is_live or machine is None:
            return
        began_at = self.clock()
        if began_at < self._next_write:
            return
        self._write(self._measure(machine, self._samples, ending="", is_over=False))
        now = self.clock()
        self._next_write = now + max(_SECONDS_BETWEEN_WRITES, (now - began_at) / _LARGEST_SHARE)

    def launched(self, launch: LaunchReport) -> None:
        """Note a launch; write a live recording after the first: there may be no other one."""
        self._launches.append(launch)
        if len(self._launches) == 1:
            self._next_write = 0.0
        self.paused()

    def note_trace(self, trace: Trace) -> None:
        """Take spans and moves from the trace of the finished run."""
        self._traced = take_trace(trace)

    def failed(self, error: SimulationError) -> None:
        self._failure = str(error)

    def ended(self, *, is_well: bool) -> None:
        self.finish(ended_well=is_well)

    def finish(self, *, ended_well: bool = False, flop_share: float | None = None) -> None:
        """Write the file, once, if anything ran; without `stop` the run counts as not ended well.

        `flop_share` is the wafer's share of the script's matrix FLOP.
        """
        self._keep_longest(self._failure or ("" if ended_well else _NOT_STOPPED))
        measured, self._longest = self._longest, None
        if measured is None:
            return
        header = replace(measured.header, flop_share=flop_share)
        if not self._write(replace(measured, header=header)):
            return
        size, path = format_size(self.path.stat().st_size), _from_here(self.path)
        self._say(f"wrote {path}, {size}: onewafer view {path} shows it")

    def _write(self, measured: _Measured) -> bool:
        """Write the file; return False, with one message on stderr, if that fails."""
        image = measured.image
        if self._sources is None:
            self._sources = {
                **self._subject.texts,
                **read_sources(image, self._subject.find_source),
            }
        try:
            write_recording(
                self.path,
                measured.header,
                measured.columns,
                image=image,
                sources=self._sources,
                traced=measured.traced.lists,
            )
        except OSError as error:
            if self.failure is None:
                self.failure = f"{self.path}: {error.strerror or error}"
                sys.stderr.write(f"onewafer: the recording is not written: {self.failure}\n")
            return False
        self.failure = None
        return True

    def _keep_longest(self, ending: str) -> None:
        """Release the machine, and keep its counters if no other machine ran for longer."""
        machine, self.machine = self.machine, None
        samples, self._samples = self._samples, None
        self.next_look = RunReader.next_look
        if machine is None:
            return
        if self._longest is None or machine.cycle >= self._longest.header.cycles:
            self._longest = self._measure(machine, samples, ending)
        self._traced = NO_TRACE

    def _measure(
        self, machine: Machine, samples: RunSamples | None, ending: str, *, is_over: bool = True
    ) -> _Measured:
        image, architecture, subject = machine.image, machine.architecture, self._subject
        if is_over and samples is not None:
            samples.finish()
        windows, sampled = ((), {}) if samples is None else samples.taken()
        traced = self._traced if is_over else NO_TRACE
        header = RunHeader(
            title=subject.title,
            arch=architecture.name,
            profile=architecture.profile,
            engine=machine.engine,
            clock_hertz=architecture.clock_hertz,
            width=image.width,
            height=image.height,
            cycles=machine.cycle,
            ending=ending,
            reasons=tuple(map(_spell, StallReason)),
            launches=tuple(self._launches),
            tensors=subject.tensors,
            splits=subject.splits,
            windows=windows,
            operations=subject.operations,
            step_cycles=() if samples is None else samples.cycles_of_steps(),
            memory=subject.memory,
            provenance=self._provenance,
            is_over=is_over,
            spans_until=traced.until,
            num_spans_left_out=traced.num_left_out,
        )
        waiting = waiting_columns(machine) if ending else {}
        columns = columns_of(machine) | waiting | sampled
        return _Measured(header, columns, image, traced)


def _from_here(path: Path) -> Path:
    """Return a path relative to the working directory, if it lies inside."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def columns_of(machine: Machine) -> dict[str, NDArray[Any]]:
    """Return the counters of every PE, and the memory that its program takes, each `[y, x]`."""
    statistics, image = machine.statistics(), machine.image
    stalls = statistics.stall_cycles
    columns: dict[str, NDArray[Any]] = {
        "program": image.program_of_pe,
        "program_counter": machine.program_counters.reshape(image.height, image.width),
        "busy_cycles": statistics.busy_cycles,
        "main_thread_cycles": statistics.main_thread_cycles,
        "data_path_cycles": statistics.data_path_cycles,
        "instructions": statistics.instructions,
        "dsd_elements": statistics.dsd_elements,
        "task_starts": statistics.task_starts,
    }
    columns |= {column_of_wait(_spell(r)): stalls[r] for r in StallReason if r in stalls}
    for direction, name in enumerate(WAVELET_COLUMNS):
        columns[name] = statistics.link_wavelets[:, :, direction]
    columns |= _sram_columns(image) | _register_columns(machine)
    energy = _joules(statistics, machine.architecture)
    return columns if energy is None else columns | {"energy_joules": energy}


def waiting_columns(machine: Machine) -> dict[str, NDArray[Any]]:
    """Return columns `[y, x]` of the operation that each PE waits in, its main thread's first."""
    image = machine.image
    num_pes = image.width * image.height
    found = {
        "waits_for": np.full(num_pes, NOT_WAITING, np.int8),
        "waits_at": np.full(num_pes, NOT_WAITING, np.int32),
        "waits_since": np.zeros(num_pes, np.int64),
        "waits_for_color": np.full(num_pes, _NO_COLOR, np.int8),
    }
    for waiting in machine.waiting_operations():
        found["waits_for"][waiting.pe] = waiting.reason
        found["waits_at"][waiting.pe] = waiting.pc
        found["waits_since"][waiting.pe] = waiting.since_cycle
        found["waits_for_color"][waiting.pe] = _NO_COLOR if waiting.color is None else waiting.color
    return {name: column.reshape(image.height, image.width) for name, column in found.items()}


def _spell(reason: StallReason) -> str:
    return reason.name.lower().replace("_", " ")


def _sram_columns(image: WaferImage) -> dict[str, NDArray[np.int32]]:
    columns: dict[str, NDArray[np.int32]] = {}
    for kind, name in zip(SectionKind, SRAM_COLUMNS, strict=True):
        totals = [
            sum(section.num_bytes for section in program.sections if section.kind is kind)
            for program in image.programs
        ]
        # Index −1, no program, is the last entry.
        columns[name] = np.array([*totals, 0], np.int32)[image.program_of_pe]
    return columns


def _register_columns(machine: Machine) -> dict[str, NDArray[np.uint32]]:
    """Return the register words; none if they would fill the file."""
    registers = machine.registers
    if registers.size > _MOST_REGISTERS:
        return {}
    shape = machine.image.height, machine.image.width
    numbers = range(registers.shape[1])
    return {column_of_register(number): registers[:, number].reshape(shape) for number in numbers}


def _joules(statistics: Statistics, architecture: Architecture) -> NDArray[np.float32] | None:
    """Return the energy of each PE in joules; None: the system's power is not known.

    An idle cycle costs the PE's share of the idle system's power, a busy one of the busy system's.
    """
    system = find_wafer_system(architecture.name)
    if system is None:
        return None
    num_pes = architecture.fabric_width * architecture.fabric_height
    idle, busy = system.idle_watts / num_pes, system.busy_watts / num_pes
    cycles = idle * statistics.cycles + (busy - idle) * statistics.busy_cycles
    return (cycles / architecture.clock_hertz).astype(np.float32)
