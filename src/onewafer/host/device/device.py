"""A simulated wafer with one program on it, as the host sees it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from onewafer.errors import DeadlockError, HostError, SimulationError
from onewafer.geometry import Rectangle
from onewafer.host.device.streams import HostStreams
from onewafer.host.device.transfers import (
    check_room,
    check_width,
    fits,
    part_of,
    read_bytes,
    to_bytes,
    with_room_to,
    write_bytes,
)
from onewafer.host.program.exports import ExportTable
from onewafer.host.program.scalars import encode_arguments, encode_raw_words, to_csl_name, to_dtype
from onewafer.host.runs.limits import NO_LIMITS, RunLimits, run_until_rest
from onewafer.host.runs.review import RunReview
from onewafer.host.runs.tracing import Recording
from onewafer.recording import LaunchReport
from onewafer.simulator import DEFAULT_ENGINE, NO_CHECKING, Machine, announce_compilation
from onewafer.trace import Detail, EventFork

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from pathlib import Path

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.host.device.streams import Reception
    from onewafer.host.program.scalars import Argument
    from onewafer.host.runs.progress import RunObserver
    from onewafer.host.runs.readers import RunReader
    from onewafer.host.runs.recorder import RunRecorder
    from onewafer.image import Export, WaferImage
    from onewafer.simulator import Checking
    from onewafer.trace import EventSink


_WAVELET_BYTES = 4
_Error = TypeVar("_Error", bound=SimulationError)


class _Phase(Enum):
    """The phases of a device; their values complete the sentence "the device is …"."""

    CREATED = "not loaded yet: call load() first"
    LOADED = "loaded"
    STOPPED = "stopped: create a new one"


class Device:
    """Load a program, move data, launch functions, count bytes and cycles.

    Transfers and launches take effect in the order of the calls. Each begins when the fabric has
    come to rest, so that a read sees the work of every earlier call.

    Attributes:
        bytes_in: bytes written to PE memory, or streamed in, so far.
        bytes_out: bytes read from PE memory, or streamed out, so far.
    """

    def __init__(
        self,
        image: WaferImage,
        architecture: Architecture,
        *,
        engine: str = DEFAULT_ENGINE,
        limits: RunLimits = NO_LIMITS,
        trace_files: Sequence[Path] = (),
        log_parts: Sequence[str] = (),
        recorder: RunRecorder | None = None,
        checking: Checking = NO_CHECKING,
        is_reviewed: bool = False,
        has_host: bool = True,
    ) -> None:
        """Take a program. At the end of the run, however it ends, `trace_files` are written.

        `log_parts` are the kinds of lines written to `sim.log`; without any, it is not written. A
        `recorder` writes a recording of the run.

        If the run is reviewed, the observer of the limits gets warnings at its end: operations
        issued on a busy microthread, and wavelets that no PE and no host received. `checking` can
        make them errors. A program without a host is not warned of wavelets sent to the host.
        """
        self.image = image
        self.architecture = architecture
        self.bytes_in = 0
        self.bytes_out = 0
        self._engine = engine
        self._limits = limits
        self._exports = ExportTable(image)
        self._streams = HostStreams(image)
        self._pending = "the start-up of the program"
        self._phase = _Phase.CREATED
        self._machine: Machine | None = None
        self._checking = checking
        self._review = RunReview(
            limits.observer, checking, is_wanted=is_reviewed, has_host=has_host
        )
        self._read_by_words: set[str] = set()
        self._trace_files = tuple(trace_files)
        self._log_parts = tuple(log_parts)
        self._recording: Recording | None = None
        self._recorder = recorder

    @classmethod
    def from_checkpoint(
        cls,
        path: str | PathLike[str],
        *,
        engine: str = DEFAULT_ENGINE,
        limits: RunLimits = NO_LIMITS,
        recorder: RunRecorder | None = None,
        checking: Checking = NO_CHECKING,
        is_reviewed: bool = False,
        has_host: bool = True,
    ) -> Device:
        """Return a loaded device in the state of a checkpoint; `settle` continues its run.

        `bytes_in` and `bytes_out` begin at zero, and a recording lacks earlier launches.

        Raises:
            CheckpointError: as `Machine.from_checkpoint`.
        """
        machine = Machine.from_checkpoint(
            path,
            engine=engine,
            sink=limits.log,
            memory_limit=limits.max_memory,
            threads=limits.threads,
            checking=checking,
        )
        device = cls(
            machine.image,
            machine.architecture,
            engine=engine,
            limits=limits,
            recorder=recorder,
            checking=checking,
            is_reviewed=is_reviewed,
            has_host=has_host,
        )
        device._pending = machine.interrupted or device._pending
        device._put_on(machine)
        return device

    @property
    def machine(self) -> Machine:
        """The simulated machine; it stays readable after `stop`.

        Raises:
            HostError: the program is not loaded.
        """
        if self._machine is None:
            raise HostError(f"the device is {self._phase.value}")
        return self._machine

    @property
    def rectangle(self) -> Rectangle:
        """All PEs of the program."""
        return Rectangle(0, 0, self.image.width, self.image.height)

    @property
    def is_running(self) -> bool:
        """True if it is loaded and not stopped."""
        return self._phase is _Phase.LOADED

    def load(self) -> None:
        """Put the program on a fresh machine.

        Raises:
            HostError: it is loaded already.
            NotEnoughMemoryError: the computer has too little memory for it.
        """
        if self._phase is not _Phase.CREATED:
            raise HostError(f"cannot load: the device is {self._phase.value}")
        if self._trace_files or self._log_parts:
            self._recording = Recording(
                self._trace_files,
                self.image,
                self.architecture,
                self._limits.observer,
                log_parts=self._log_parts,
                listener=None if self._recorder is None else self._recorder.note_trace,
            )
            self._recording.end_with(self)
        machine = Machine(
            self.image,
            self.architecture,
            engine=self._engine,
            sink=self._sink(),
            detail=self._recording.detail if self._recording is not None else Detail.EVENTS,
            memory_limit=self._limits.max_memory,
            threads=self._limits.threads,
            checking=self._checking,
        )
        self._put_on(machine)

    @property
    def _readers(self) -> list[RunReader]:
        """The readers of the run; the recorder comes last, since it takes spans from the trace."""
        readers = (self._limits.log, self._review, self._recording, self._recorder)
        return [reader for reader in readers if reader is not None]

    def _sink(self) -> EventSink | None:
        sinks = [reader.sink for reader in self._readers if reader.sink is not None]
        return EventFork(*sinks) if len(sinks) > 1 else next(iter(sinks), None)

    def _put_on(self, machine: Machine) -> None:
        if machine.engine_note is not None:
            self._limits.observer.say(machine.engine_note)
        for reader in self._readers:
            reader.loaded(machine, self._limits.clock)
        self._compile(machine)
        self._machine = machine
        self._phase = _Phase.LOADED

    def settle(self) -> None:
        """Run the fabric until nothing moves any more (start-up tasks, before anything else)."""
        self._rest(self._running("run"))

    def stop(self) -> None:
        """Finish all work; afterwards only `machine` may be used.

        Raises:
            DeadlockError: expected words did not arrive, or a launch is not complete.
            SimulationError: as `review`.
        """
        machine = self._running("stop")
        self._rest(machine)
        if self._streams.pending is not None:
            self.await_words(self._streams.pending)
        report = machine.find_deadlock()
        if report is not None:
            raise self._failed(DeadlockError(report))
        self.end(is_well=True)
        self._phase = _Phase.STOPPED

    def end(self, *, is_well: bool = False) -> None:
        """Let readers of the run write their files; `stop` calls it if the run succeeded.

        Raises:
            SimulationError: wavelets were left over, and that is an error (`Checking.is_strict`).
        """
        for reader in self._readers:
            reader.ended(is_well=is_well)

    def _failed(self, error: _Error) -> _Error:
        """Report an error to the readers of the run, and return it."""
        for reader in self._readers:
            reader.failed(error)
        return error

    @property
    def has_lost_trace(self) -> bool:
        """True if a trace or recording could not be written; stderr says why."""
        return any(reader.failure is not None for reader in self._readers)

    def write(self, symbol: str, array: NDArray[Any], rectangle: Rectangle | None = None) -> None:
        """Copy `array[height, width, num_elements]` to a variable on the PEs of a rectangle.

        The rectangle defaults to the whole program. The dtype must be the variable's element type.
        A height or width of 1 is replicated over the rectangle, as `memcpy_h2d_colbcast` and
        `memcpy_h2d_rowbcast` do: the replicas are made on the wafer, and `bytes_in` counts one.

        Raises:
            HostError: unknown or read-only symbol, wrong dtype or shape, no room.
        """
        dtype = self.dtype_of(symbol)
        if array.dtype.newbyteorder("=") != dtype:
            raise HostError(
                f"{symbol!r} holds {dtype.name}, the array {array.dtype.name}: "
                f"pass array.astype(np.{dtype.name})"
            )
        self.write_raw(symbol, array, rectangle)

    def write_raw(
        self, symbol: str, array: NDArray[Any], rectangle: Rectangle | None = None
    ) -> None:
        """Copy the bytes of `array[height, width, num_elements]`; only its element size is checked.

        Raises:
            HostError: as `write`, with the size of an element instead of its dtype.
        """
        machine = self._running(f"write {symbol!r}")
        target = part_of(self.rectangle, rectangle)
        export = self._exports.variable(symbol)
        if not export.is_mutable:
            raise HostError(
                f"{symbol!r} is read-only for the host: "
                f"@export_name needs `true` as its last argument to allow writing"
            )
        if not fits(array.shape, target):
            raise HostError(
                f"writing {symbol!r} to {target} needs an array of shape "
                f"({target.height}, {target.width}, num_elements), not {array.shape}"
            )
        check_width(export, array.dtype)
        self._rest(machine)
        placement = self._exports.place(symbol, target, machine.memory)
        payload = to_bytes(np.broadcast_to(array, (target.height, target.width, array.shape[2])))
        check_room(symbol, placement, payload.shape[1], self.image.width)
        write_bytes(machine, placement, payload)
        self.bytes_in += array.nbytes

    def read(
        self, symbol: str, num_elements: int, rectangle: Rectangle | None = None
    ) -> NDArray[Any]:
        """Return `[height, width, num_elements]` of a variable on the PEs of a rectangle.

        Raises:
            HostError: unknown symbol, bad rectangle, or more elements than the variable has.
        """
        return self._read(symbol, num_elements, self.dtype_of(symbol), rectangle, strict=True)

    def look(
        self, symbol: str, num_elements: int, rectangle: Rectangle | None = None
    ) -> NDArray[Any]:
        """Return the same as `read`, from the simulated memory, without counting `bytes_out`.

        Raises:
            HostError: as `read`.
        """
        found, before = self.dtype_of(symbol), self.bytes_out
        elements = self._read(symbol, num_elements, found, rectangle, strict=True)
        self.bytes_out = before
        return elements

    def read_whole(self, symbol: str, rectangle: Rectangle | None = None) -> NDArray[Any]:
        """Return all elements that a variable has on every PE, `[height, width, num_elements]`.

        Raises:
            HostError: unknown symbol, bad rectangle, or a PE does not export it.
        """
        return self.read(symbol, self.count_elements(symbol, rectangle), rectangle)

    def count_elements(self, symbol: str, rectangle: Rectangle | None = None) -> int:
        """Return how many elements a variable has on every PE of a rectangle.

        Raises:
            HostError: unknown symbol, bad rectangle, or a PE does not export it.
        """
        machine = self._running(f"read {symbol!r}")
        target, dtype = part_of(self.rectangle, rectangle), self.dtype_of(symbol)
        self._rest(machine)
        room = self._exports.place(symbol, target, machine.memory).room
        return int(room.min()) // dtype.itemsize

    def dtype_of(self, symbol: str) -> np.dtype[Any]:
        """Return the element type of a variable.

        Raises:
            HostError: unknown symbol, or it has no element type.
        """
        element = self._exports.variable(symbol).element
        if element is None:
            raise HostError(f"{symbol!r} has no element type, so the host cannot copy it")
        return to_dtype(element)

    def read_raw(
        self,
        symbol: str,
        num_elements: int,
        dtype: np.dtype[Any],
        rectangle: Rectangle | None = None,
    ) -> NDArray[Any]:
        """Return the bytes of a variable as `[height, width, num_elements]` of another dtype.

        Unlike `read` it may read past the end of the variable, and pairs of 16-bit elements as
        32-bit ones: public programs do that.

        Raises:
            HostError: unknown symbol, bad rectangle, another element size, end of PE memory.
        """
        return self._read(symbol, num_elements, dtype, rectangle, strict=False)

    def launch(
        self,
        name: str,
        *arguments: Argument,
        observer: RunObserver | None = None,
        sampler: RunReader | None = None,
    ) -> LaunchReport:
        """Run an exported function on every PE until nothing moves any more.

        `observer` replaces the observer of the device's limits for this launch. `sampler` is a
        further reader, which samples the machine at the cycles that it chooses.

        Raises:
            HostError: unknown function, or arguments that do not fit its parameters.
            SimulationError: the program failed; `DeadlockError` if it hangs.
        """
        return self._launch(name, self._encoded(name, arguments), observer, sampler)

    def check_launch(self, name: str, *arguments: Argument) -> None:
        """Check the name and the arguments of a launch without running it.

        Raises:
            HostError: as `launch`.
        """
        self._encoded(name, arguments)

    def _encoded(self, name: str, arguments: Sequence[Argument]) -> tuple[int, ...]:
        return encode_arguments(self._exports.function(name), arguments)

    def launch_raw(self, name: str, words: Sequence[int]) -> LaunchReport:
        """Launch with arguments that are already encoded as 32-bit words.

        Raises:
            HostError, SimulationError: as `launch`.
        """
        return self._launch(name, encode_raw_words(self._exports.function(name), words))

    def send_words(
        self, color: int, words: NDArray[np.uint32], rectangle: Rectangle | None = None
    ) -> None:
        """Stream `words[height, width, num_words]` into a color at the PEs of a rectangle.

        A height or width of 1 is replicated over the rectangle. The fabric takes the wavelets in as
        the program reads them; the call does not wait for that.

        Raises:
            HostError: not a color that the program takes from the host there, or a wrong shape.
        """
        machine = self._running(f"stream color {color} in")
        target = part_of(self.rectangle, rectangle)
        if not fits(words.shape, target):
            raise HostError(
                f"streaming color {color} into {target} needs an array of shape "
                f"({target.height}, {target.width}, num_words), not {words.shape}"
            )
        shape = target.height, target.width, words.shape[2]
        self._streams.send(machine, color, np.broadcast_to(words, shape), target)
        self.bytes_in += words.nbytes

    def receive_words(
        self, color: int, num_words: int, rectangle: Rectangle | None = None
    ) -> NDArray[np.uint32]:
        """Return the next `[height, width, num_words]` of a color that the program streams out.

        Raises:
            HostError: not a color that the program sends to the host there.
            DeadlockError: the program comes to rest before it has sent them.
        """
        return self.await_words(self.expect_words(color, num_words, rectangle))

    def expect_words(
        self, color: int, num_words: int, rectangle: Rectangle | None = None, *, name: str = ""
    ) -> Reception:
        """Begin to receive, without waiting: `await_words` and `stop` wait.

        `name` is the name of the stream in messages.

        Raises:
            HostError: as `receive_words`.
        """
        self._running(f"stream color {color} out")
        return self._streams.expect(color, num_words, part_of(self.rectangle, rectangle), name=name)

    def await_words(self, reception: Reception) -> NDArray[np.uint32]:
        """Return the expected words when all of them have arrived.

        Raises:
            DeadlockError: as `receive_words`.
        """
        machine = self.machine
        if not reception.is_complete:
            self._rest(machine)
        if not reception.is_complete:
            report = machine.find_deadlock() or f"nothing moves any more at cycle {machine.cycle}"
            raise self._failed(DeadlockError(f"{reception.describe()}\n{report}"))
        return reception.words

    def _launch(
        self,
        name: str,
        words: tuple[int, ...],
        observer: RunObserver | None = None,
        sampler: RunReader | None = None,
    ) -> LaunchReport:
        machine = self._running(f"launch {name!r}")
        self._rest(machine)
        start = machine.cycle
        self._start(machine, name, words)
        self._rest(machine, f"the launch of {name!r}", observer, sampler)
        launch = LaunchReport(name, start, machine.cycle)
        for reader in self._readers:
            reader.launched(launch)
        return launch

    def _start(self, machine: Machine, name: str, words: tuple[int, ...]) -> None:
        """Start a launch on the machine; if the last one is not over, raise a deadlock report."""
        try:
            machine.launch(name, words)
        except SimulationError as error:
            report = machine.find_deadlock()
            if report is None:
                raise
            why = f"{name!r} cannot be launched: {error}\n{report}"
            raise self._failed(DeadlockError(why)) from None

    def _read(
        self,
        symbol: str,
        num_elements: int,
        dtype: np.dtype[Any],
        rectangle: Rectangle | None,
        *,
        strict: bool,
    ) -> NDArray[Any]:
        machine = self._running(f"read {symbol!r}")
        source = part_of(self.rectangle, rectangle)
        export = self._exports.variable(symbol)
        if num_elements <= 0:
            raise HostError(f"reading {num_elements} elements of {symbol!r}: ask for at least one")
        if strict or not self._is_read_by_words(export, dtype):
            check_width(export, dtype)
        self._rest(machine)
        placement = self._exports.place(symbol, source, machine.memory)
        num_bytes = num_elements * dtype.itemsize
        if not strict:
            placement = with_room_to(machine.memory.shape[1], placement)
        check_room(symbol, placement, num_bytes, self.image.width)
        payload = read_bytes(machine, placement, num_bytes)
        self.bytes_out += payload.size
        return payload.view(dtype).reshape(source.height, source.width, num_elements)

    def _is_read_by_words(self, export: Export, dtype: np.dtype[Any]) -> bool:
        """Tell whether a 32-bit copy reads pairs of 16-bit elements; warn once a variable."""
        element = export.element
        if element is None or (element.num_bytes, dtype.itemsize) != (2, 4):
            return False
        if export.name not in self._read_by_words:
            self._read_by_words.add(export.name)
            self._limits.observer.say(
                f"warning: {export.name!r} holds {to_csl_name(element)}, and a copy of 32 bits an "
                f"element takes two of them as one: {export.name}[0] is its low half"
            )
        return True

    def _compile(self, machine: Machine) -> None:
        """Compile the engine's kernels if that was never done, with a message."""
        sentence = announce_compilation(machine.engine)
        if sentence is not None:
            self._limits.observer.say(sentence)
            machine.run(max_cycles=0)

    def _rest(
        self,
        machine: Machine,
        what: str | None = None,
        observer: RunObserver | None = None,
        sampler: RunReader | None = None,
    ) -> None:
        """Run until the program is at rest, and receive its words; `what` None: the start-up."""
        readers = [*self._readers, *([sampler] if sampler else [])]
        what = what or self._pending
        while True:
            try:
                run_until_rest(machine, what, self._limits, observer, readers)
            except SimulationError as error:
                self._failed(error)
                raise
            self.bytes_out += _WAVELET_BYTES * self._streams.collect(machine)
            if machine.is_at_rest:
                return

    def _running(self, action: str) -> Machine:
        if self._phase is not _Phase.LOADED:
            raise HostError(f"cannot {action}: the device is {self._phase.value}")
        return self.machine
