"""A run on its way into a recording: who ran, what it launched, and the counters at its end."""

from __future__ import annotations

import sys
import weakref
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
    RecordedLaunch,
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
    from onewafer.host.runs.simulation_record import LaunchReport
    from onewafer.image import WaferImage
    from onewafer.recording import FindSource, Operation, Split, Tensor
    from onewafer.settings import Settings
    from onewafer.simulator import Machine, Statistics
    from onewafer.trace.formats import Trace

_NO_COLOR = -1
_MOST_REGISTERS = 4_000_000
"""The most words of registers of all PEs together that are recorded."""
_SECONDS_BETWEEN_WRITES = 1.0
"""At least, of a run that is followed."""
_LARGEST_SHARE = 0.1
"""The largest part of a run's time that writing it again and again takes."""
_NOT_STOPPED = "the host script ended before it stopped the program"


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """How a run is recorded."""

    sample_every: int | None = None
    """Cycles of the first windows; None: as many as make looks cheap (`usual_window`)."""
    is_live: bool = False
    """True if the file is written again and again while the run goes on."""

    @classmethod
    def from_settings(cls, settings: Settings) -> RecordingOptions:
        """Return the options of the environment."""
        return cls(settings.sample_every, settings.is_live)


AT_THE_END = RecordingOptions()


@dataclass(frozen=True, slots=True)
class _Measured:
    """A run as it is written."""

    header: RunHeader
    columns: Mapping[str, NDArray[Any]]
    image: WaferImage
    traced: Traced


@dataclass(frozen=True, slots=True)
class Recorded:
    """The subject of a recording, as far as the machine does not know it."""

    title: str
    find_source: FindSource
    tensors: tuple[Tensor, ...] = ()
    splits: tuple[Split, ...] = ()
    operations: tuple[Operation, ...] = ()
    memory: tuple[tuple[str, int], ...] = ()
    whereabouts: Whereabouts | None = None
    """How to see which step of a model a PE is at; None: it is no model."""
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Texts of the files of the script that operations come from, by path."""


def folder_recorder(
    folder: Path, settings: Settings, say: Callable[[str], object]
) -> RunRecorder | None:
    """Return a recorder of the program in a folder that `cslc` wrote; None: it is not recorded.

    Raises:
        ConfigurationError: as `RunRecorder`.
    """
    if settings.record_file is None:
        return None
    subject = Recorded(folder.name, SourceFiles(folder))
    options = RecordingOptions.from_settings(settings)
    return RunRecorder(settings.record_file, subject, say, options)


class RunRecorder(RunReader):
    """Writes the recording of one run at its end, whichever that is; a live one meanwhile, too."""

    def __init__(
        self,
        path: Path,
        subject: Recorded,
        say: Callable[[str], object],
        options: RecordingOptions = AT_THE_END,
    ) -> None:
        """Prepare to write a file; `say` gets a line about it when it is written at the end.

        Raises:
            ConfigurationError: it cannot be written, or PyArrow is not installed.
        """
        require_arrow()
        if options.is_live:
            load_arrow()  # not in the time that the first look takes
        self.path = path
        self._subject = subject
        self._say = say
        self._options = options
        self._next_write = 0.0
        """When it is written next while the run goes on, on the host's clock."""
        self._samples: RunSamples | None = None
        self._traced = NO_TRACE
        self._longest: _Measured | None = None
        self._sources: Mapping[str, str] | None = None
        self._failure = ""
        self._launches: list[RecordedLaunch] = []
        self._provenance = read_provenance()
        try:
            try_to_write(path)
        except OSError as error:
            raise ConfigurationError(
                f"{path}: the recording cannot be written: {error.strerror or error}"
            ) from None

    def finish_with(self, owner: object, *, ended_well: bool = False) -> None:
        """Finish when an object ends, with the process at the latest, if it was not done before."""
        weakref.finalize(owner, self.ended, is_well=ended_well)

    def loaded(self, machine: Machine, clock: Clock) -> None:
        """Note whose run it is; of several machines, the one with most cycles is recorded."""
        self._keep_longest("")
        super().loaded(machine, clock)
        self._launches.clear()
        num_pes = machine.image.width * machine.image.height
        every = self._options.sample_every or usual_window(num_pes)
        self._samples = RunSamples(machine, every, self._subject.whereabouts)
        self.next_look = self._samples.next_look

    def look(self, machine: Machine) -> None:
        """Take a sample."""
        if self._samples is not None:
            self._samples.look(machine)
            self.next_look = self._samples.next_look

    def paused(self) -> None:
        """Write how far the run is, if it is to be followed and it is time to.

        That takes a tenth of the time of the run at most.
        """
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
        """Note a function that was launched; after the first one a run that is followed is written.

        There may be no other launch to simulate.
        """
        self._launches.append(RecordedLaunch(launch.name, launch.start_cycle, launch.end_cycle))
        if len(self._launches) == 1:
            self._next_write = 0.0
        self.paused()

    def note_trace(self, trace: Trace) -> None:
        """Take the trace of the run, which is over: the recording gets its spans and moves."""
        self._traced = take_trace(trace)

    def failed(self, error: SimulationError) -> None:
        """Note why the run does not go on."""
        self._failure = str(error)

    def ended(self, *, is_well: bool) -> None:
        """Write the file, once."""
        self.finish(ended_well=is_well)

    def finish(self, *, ended_well: bool = False, flop_share: float | None = None) -> None:
        """Write the file, once, if anything ran; a run without `stop` has not ended well.

        `flop_share` is the wafer's share of the script's FLOP.
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
        """Write the file, and tell whether that went well; say so once if it did not."""
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
        """Let the machine go, and keep what it counted if no other one ran longer."""
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
    """Return a path as a command in the working directory takes it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def columns_of(machine: Machine) -> dict[str, NDArray[Any]]:
    """Return the counters of every PE, and what its program takes of its memory, `[y, x]`."""
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
    """Return what every PE waits for, `[y, x]`: of its main thread, or else a microthread."""
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
        # A PE without a program, −1, takes the last one.
        columns[name] = np.array([*totals, 0], np.int32)[image.program_of_pe]
    return columns


def _register_columns(machine: Machine) -> dict[str, NDArray[np.uint32]]:
    """Return the words in registers; of so many PEs that they would fill the file, none."""
    registers = machine.registers
    if registers.size > _MOST_REGISTERS:
        return {}
    shape = machine.image.height, machine.image.width
    numbers = range(registers.shape[1])
    return {column_of_register(number): registers[:, number].reshape(shape) for number in numbers}


def _joules(statistics: Statistics, architecture: Architecture) -> NDArray[np.float32] | None:
    """Return each PE's share of the energy of the system; None: its power is not known.

    A PE that does nothing has its share of the power of an idle system, one that is busy in all
    cycles its share of that of a busy one.
    """
    system = find_wafer_system(architecture.name)
    if system is None:
        return None
    num_pes = architecture.fabric_width * architecture.fabric_height
    idle, busy = system.idle_watts / num_pes, system.busy_watts / num_pes
    cycles = idle * statistics.cycles + (busy - idle) * statistics.busy_cycles
    return (cycles / architecture.clock_hertz).astype(np.float32)
