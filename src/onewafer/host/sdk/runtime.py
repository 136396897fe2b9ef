"""The SDK's host runtime, on a simulated wafer.

Names, argument order and enums are those that the SDK's documentation and public programs use.
Operations execute in issue order, during the call: the returned handle is that of a finished
operation, even with `nonblock=True`, which makes no difference to a program. Only a stream to the
host can be issued before the program sends: it is finished when all of its wavelets have arrived.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.arch import load_architecture
from onewafer.errors import DeadlockError, HostError
from onewafer.geometry import Rectangle
from onewafer.host.device.device import Device
from onewafer.host.device.transfers import part_of
from onewafer.host.program.core_file import save_core
from onewafer.host.program.exports import find_variable, to_program
from onewafer.host.program.host_buffer import BufferFormat, MemcpyDataType, MemcpyOrder, Replication
from onewafer.host.program.scalars import numpy_type
from onewafer.host.program.stream_ports import first_elements, load_stream_ports
from onewafer.host.runs.limits import RunLimits
from onewafer.host.runs.print_log import FILE_NAME as LOG_NAME
from onewafer.host.runs.print_log import LogFile, PrintLog, prints
from onewafer.host.runs.recorder import folder_recorder
from onewafer.host.runs.review import checking_of
from onewafer.host.runs.simulation_record import SimulationRecord
from onewafer.host.sdk.arguments import (
    Handles,
    as_wavelets,
    check_whole,
    copy_format,
    find_folder,
    to_path,
)
from onewafer.host.sdk.keyword_names import also_named
from onewafer.host.sdk.narrow_shifts import mend_narrow_shifts
from onewafer.host.sdk.platform import find_platform
from onewafer.host.sdk.tasks import Arriving, Task, Tasks, write_file
from onewafer.image import SymbolKind, load
from onewafer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import NoReturn, Self

    from numpy.typing import DTypeLike, NDArray

    from onewafer.host.program.scalars import Argument
    from onewafer.host.sdk.platform import SdkExecutionPlatform
    from onewafer.recording import LaunchReport


class SdkRuntime:
    """Load a folder that `cslc` or `SdkLayout.compile` wrote, copy data, launch functions."""

    @also_named(artifacts="bindir")
    def __init__(
        self,
        bindir: str | PathLike[str],
        platform: SdkExecutionPlatform | str | None = None,
        *,
        cmaddr: SdkExecutionPlatform | str | None = None,
        suppress_simfab_trace: bool = False,  # noqa: ARG002 - vendor tuning, no meaning here
        simfab_numthreads: int = 1,  # noqa: ARG002 - likewise
        msg_level: str = "",  # noqa: ARG002 - likewise
        memcpy_required: bool = True,
        simulator: bool = True,
        disable_version_check: bool = False,  # noqa: ARG002 - there is one version
    ) -> None:
        if not simulator:
            raise HostError(
                "SdkRuntime: simulator=False asks for a real system; onewafer only simulates: pass "
                "simulator=True, or leave it out"
            )
        runs_on = find_platform(platform, cmaddr)
        mend_narrow_shifts()
        named = find_folder(bindir)
        self._folder = named.absolute()  # scripts change the working directory before they run
        self._image = load(named)
        if runs_on is not None and runs_on.target.arch != self._image.arch:
            raise HostError(
                f"{str(named)!r} was compiled for {self._image.arch}, the platform is "
                f"{runs_on.target.arch}: compile it with `cslc --arch={runs_on.target.arch}`, or "
                "pass the platform that its SdkLayout has"
            )
        if memcpy_required and not self._image.uses_memcpy:
            raise HostError(
                f"{str(named)!r} was compiled without --memcpy: "
                f"compile with it, or pass memcpy_required=False"
            )
        self._architecture = load_architecture(self._image.arch)
        settings = Settings.from_environment()
        limits = RunLimits.from_settings(settings)
        if prints(self._image):
            limits = replace(limits, log=PrintLog(self._image, LogFile(Path(LOG_NAME))))
        recorder = folder_recorder(self._folder, settings, limits.observer.say)
        self._device = Device(
            self._image,
            self._architecture,
            engine=settings.engine,
            limits=limits,
            trace_files=settings.trace_files,
            log_parts=settings.log_parts,
            recorder=recorder,
            checking=checking_of(settings),
            is_reviewed=True,
        )
        if recorder is not None:
            recorder.end_with(self._device)
        self._ports = load_stream_ports(self._folder)
        self._num_sent: dict[str, int] = {}
        """Wavelets by the name of their stream."""
        self._tasks = Tasks()
        self._handles = Handles(self._image)
        self._launches: list[LaunchReport] = []

    @property
    def device(self) -> Device:
        """The simulated device, for what the SDK's API lacks (cycles, statistics)."""
        return self._device

    def load(self) -> None:
        """Put the program on a fresh machine."""
        self._device.load()

    def run(self) -> None:
        """Start the fabric: start-up tasks run until nothing moves any more."""
        self._device.settle()

    def stop(self) -> None:
        """Finish all work and write `simulation.json` and `core.npz` into the program's folder.

        Raises:
            DeadlockError: the host wants more wavelets than the program sends, the program more
                than the host has sent, or a launch is not over.
            SimulationError: some wavelets were not received, and the run is strict.
        """
        with self._counting_streams():
            self._device.stop()
        self._tasks.store_arrived()
        record = SimulationRecord(
            arch=self._architecture.name,
            profile=self._architecture.profile,
            engine=self._device.machine.engine,
            cycles=self._device.machine.cycle,
            bytes_in=self._device.bytes_in,
            bytes_out=self._device.bytes_out,
            launches=tuple(self._launches),
        )
        # A run in a read-only folder is not an error.
        with contextlib.suppress(OSError):
            record.save(self._folder)
            save_core(self._device.machine, self._image, self._folder)

    def __enter__(self) -> Self:
        """Load and run."""
        self.load()
        self.run()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, unless the block has stopped or failed."""
        if error_type is None and self._device.is_running:
            self.stop()

    def get_id(self, symbol: str) -> int:
        """Return the handle of an exported symbol; allowed before `load`.

        Raises:
            HostError: the program does not export the name.
        """
        return self._handles.of(symbol)

    def memcpy_h2d(  # noqa: PLR0917 - the SDK's signature
        self,
        dest: int,
        src: NDArray[Any],
        px: int,
        py: int,
        w: int,
        h: int,
        elem_per_pe: int,
        *,
        data_type: MemcpyDataType,
        order: MemcpyOrder,
        streaming: bool = False,
        nonblock: bool = False,  # noqa: ARG002 - it is done at the call
    ) -> Task:
        """Copy `src` to the variable `dest` of `w`×`h` PEs from (`px`, `py`).

        With `streaming`, `dest` is a color, and each word a wavelet, whatever `data_type` says.

        Raises:
            HostError: unknown handle, rectangle outside the program, wrong size of `src`.
        """
        layout = copy_format(Rectangle(px, py, w, h), elem_per_pe, data_type, order)
        return self._copy_in(dest, src, layout, Replication.NONE, streaming=streaming)

    def memcpy_h2d_rowbcast(  # noqa: PLR0917 - the SDK's signature
        self,
        dest: int,
        src: NDArray[Any],
        px: int,
        py: int,
        w: int,
        h: int,
        elem_per_pe: int,
        *,
        data_type: MemcpyDataType,
        order: MemcpyOrder,
        streaming: bool = False,
        nonblock: bool = False,  # noqa: ARG002 - it is done at the call
    ) -> Task:
        """Copy `src`, `[h, elem_per_pe]`: every PE of a row gets the same block.

        Raises:
            HostError: as `memcpy_h2d`.
        """
        layout = copy_format(Rectangle(px, py, w, h), elem_per_pe, data_type, order)
        return self._copy_in(dest, src, layout, Replication.ALONG_ROWS, streaming=streaming)

    def memcpy_h2d_colbcast(  # noqa: PLR0917 - the SDK's signature
        self,
        dest: int,
        src: NDArray[Any],
        px: int,
        py: int,
        w: int,
        h: int,
        elem_per_pe: int,
        *,
        data_type: MemcpyDataType,
        order: MemcpyOrder,
        streaming: bool = False,
        nonblock: bool = False,  # noqa: ARG002 - it is done at the call
    ) -> Task:
        """Copy `src`, `[w, elem_per_pe]`: every PE of a column gets the same block.

        Raises:
            HostError: as `memcpy_h2d`.
        """
        layout = copy_format(Rectangle(px, py, w, h), elem_per_pe, data_type, order)
        return self._copy_in(dest, src, layout, Replication.ALONG_COLUMNS, streaming=streaming)

    def memcpy_h2d_stride(  # noqa: PLR0917 - the SDK's signature
        self,
        dest: int,
        src: NDArray[Any],
        px: int,
        py: int,
        w: int,
        h: int,
        elem_per_pe: int,
        row_stride: int,
        col_stride: int,
        *,
        data_type: MemcpyDataType,
        order: MemcpyOrder,
        streaming: bool = False,
        nonblock: bool = False,  # noqa: ARG002 - it is done at the call
    ) -> Task:
        """Copy `src` to every `row_stride`-th PE of every `col_stride`-th row of a rectangle.

        `src` is `[rows, columns, elem_per_pe]` of the PEs that receive, the first of which is
        (`px`, `py`), in the order of `memcpy_h2d`: with strides of 1 it is the same call.

        Raises:
            HostError: as `memcpy_h2d`, or a stride is not positive.
        """
        whole = copy_format(Rectangle(px, py, w, h), elem_per_pe, data_type, order).rectangle
        for stride in (row_stride, col_stride):
            if not isinstance(stride, Integral) or stride < 1:
                raise HostError(f"{stride!r} is not a stride: PEs are at least 1 apart")
        part_of(self._device.rectangle, whole)
        columns, rows = range(px, px + w, row_stride), range(py, py + h, col_stride)
        receivers = Rectangle(px, py, len(columns), len(rows))
        layout = copy_format(receivers, elem_per_pe, data_type, order)
        tensor = (as_wavelets(layout) if streaming else layout).to_tensor(src, caller_level=2)
        for row, y in enumerate(rows):
            for column, x in enumerate(columns):
                block = tensor[row : row + 1, column : column + 1]
                self._put(dest, block, Rectangle(x, y, 1, 1), streaming=streaming)
        return self._tasks.issued()

    def memcpy_d2h(  # noqa: PLR0917 - the SDK's signature
        self,
        dest: NDArray[Any],
        src: int,
        px: int,
        py: int,
        w: int,
        h: int,
        elem_per_pe: int,
        *,
        data_type: MemcpyDataType,
        order: MemcpyOrder,
        streaming: bool = False,
        nonblock: bool = False,
    ) -> Task:
        """Copy the variable `src` of `w`×`h` PEs from (`px`, `py`) into `dest`, in place.

        With `streaming`, `src` is a color, and each word a wavelet, whatever `data_type` says.

        Raises:
            HostError: unknown handle, rectangle outside the program, unfit `dest`.
            DeadlockError: the program sends fewer wavelets.
        """
        layout = copy_format(Rectangle(px, py, w, h), elem_per_pe, data_type, order)
        if streaming:
            return self._stream_out(dest, self._handles.color(src), layout, nonblock=nonblock)
        name = self._handles.variable(src)
        tensor = self._device.read_raw(name, elem_per_pe, layout.dtype, layout.rectangle)
        layout.store(tensor, dest)
        return self._tasks.issued()

    def launch(
        self,
        symbol: str,
        *args: Argument,
        nonblock: bool = False,  # noqa: ARG002 - it is done at the call
    ) -> Task:
        """Run an exported function on all PEs, with scalar arguments.

        Raises:
            HostError: unknown function, or arguments that do not fit it.
            SimulationError: the program failed; `DeadlockError` if it hangs.
        """
        self._launches.append(self._device.launch(symbol, *args))
        return self._tasks.issued()

    def call(self, name: str, args: Sequence[int], nonblock: bool = False) -> Task:  # noqa: ARG002, FBT001, FBT002 - the SDK's signature
        """Run an exported function on all PEs, with arguments encoded as 32-bit words.

        Raises:
            HostError, SimulationError: as `launch`.
        """
        self._launches.append(self._device.launch_raw(name, args))
        return self._tasks.issued()

    def is_task_done(self, task_handle: Task) -> bool:
        """Tell whether an operation has finished.

        Raises:
            HostError: the handle is not one of this runtime's.
        """
        number = self._tasks.number_of(task_handle)
        if number in self._tasks.arriving:
            self._device.settle()
            self._tasks.store_arrived()
        return number not in self._tasks.arriving

    def task_wait(self, task_handle: Task) -> None:
        """Wait for an operation.

        Raises:
            HostError: the handle is not one of this runtime's.
            DeadlockError: it receives more wavelets than the program sends.
        """
        if not self.is_task_done(task_handle):
            with self._counting_streams():
                self._device.await_words(self._tasks.arriving[task_handle.number].reception)

    def get_port_id(self, port_name: str) -> int:
        """Return the number of a stream, which `send` and `receive` take as well as the name.

        Raises:
            HostError: the program has no stream of this name.
        """
        return self._ports.number(port_name)

    def report_port_infos(self) -> None:
        """Print the streams: number, name, direction, color, and the PE of the port."""
        lines = self._ports.describe(self._image.offset_x, self._image.offset_y)
        sys.stdout.writelines(f"{line}\n" for line in lines)

    def send(
        self,
        port: str | int,
        src: NDArray[Any],
        n_wavelets: int | None = None,
        *,
        nonblock: bool = False,
    ) -> Task:
        """Stream 32-bit elements to the program; `n_wavelets` None: all of `src`.

        Raises:
            HostError: no such stream, or an array that does not fit.
        """
        stream = self._ports.find(port, is_input=True)
        if n_wavelets is None:
            n_wavelets = np.size(src)
        words = stream.layout(n_wavelets).to_tensor(first_elements(src, n_wavelets))
        self._device.send_words(stream.color, words, stream.rectangle)
        self._num_sent[stream.name] = self._num_sent.get(stream.name, 0) + n_wavelets
        if not nonblock:
            self._device.settle()
        return self._tasks.issued()

    def receive(
        self, port: str | int, dest: NDArray[Any], n_wavelets: int, *, nonblock: bool = False
    ) -> Task:
        """Fill `dest` with the next wavelets of a stream; control wavelets do not count.

        Raises:
            HostError: no such stream, or an array that does not fit.
            DeadlockError: the program sends too few.
        """
        stream = self._ports.find(port, is_input=False)
        layout, dest = stream.layout(n_wavelets), first_elements(dest, n_wavelets)
        return self._stream_out(dest, stream.color, layout, nonblock=nonblock, name=stream.name)

    def receive_tofile(
        self, port: str | int, outfile: str | PathLike[str], *, nonblock: bool = False
    ) -> Task:
        """Write the wavelets of a stream to a file, as little-endian 32-bit words.

        Their number is the size of the stream's port.

        Raises:
            HostError: no such stream, its port has no size, or the file cannot be written.
            DeadlockError: the program sends too few.
        """
        stream, file = self._ports.find(port, is_input=False), to_path(outfile)
        if stream.size is None:
            raise HostError(
                f"stream {stream.name!r} was made without a port, which would say how many "
                "wavelets it has: receive them into an array, and write it with array.tofile"
            )
        write_file(file, b"")
        return self._stream_out(
            np.zeros(stream.size, np.uint32),
            stream.color,
            stream.layout(stream.size),
            nonblock=nonblock,
            name=stream.name,
            file=file,
        )

    def coord_logical_to_physical(self, logical_coords: tuple[int, int]) -> tuple[int, int]:
        """Return the fabric coordinates of a PE of the program, for `read_symbol`.

        A simulated wafer has no defects to route around, so only the offset is added.

        Raises:
            HostError: the PE is outside the program, or no pair of numbers.
        """
        try:
            x, y = map(int, logical_coords)
        except (TypeError, ValueError):
            raise HostError(
                f"coord_logical_to_physical({logical_coords!r}): a PE is a pair: write (x, y)"
            ) from None
        whole = self._device.rectangle
        if not whole.contains(x, y):
            raise HostError(f"PE ({x}, {y}) is outside the program, which is {whole}")
        return x + self._image.offset_x, y + self._image.offset_y

    def dump_core(self, corefile: str | PathLike[str]) -> None:
        """Write the state of the machine at rest into a file.

        It is a checkpoint: `onewafer resume` and `Device.from_checkpoint` read it.

        Raises:
            HostError: the program is not loaded, or `corefile` is no name.
            CheckpointError: the file cannot be written.
        """
        file = to_path(corefile)
        if self._device.is_running:
            self._device.settle()
        self._device.machine.save_checkpoint(file, what="a core dump")

    def dump_elf_core(self, corefile: str | PathLike[str]) -> NoReturn:
        """Refuse to write an ELF file: onewafer has none.

        Raises:
            HostError: always.
        """
        raise HostError(
            f"dump_elf_core({corefile!r}): onewafer writes no ELF files: dump_core writes all of "
            "the machine, as a checkpoint; read_symbol reads one variable, and debug_util those of "
            "all PEs after stop()"
        )

    def read_symbol(
        self, x: int, y: int, symbol_name: str, dtype: DTypeLike = "uint8"
    ) -> NDArray[Any]:
        """Return the whole memory of a variable on the PE at *fabric* coordinates (`x`, `y`).

        Any variable of the entry module can be read, exported or not, also after `stop`.

        Raises:
            HostError: no such PE in the program, no such variable, or the type does not divide it.
        """
        machine = self._device.machine
        check_whole(x, y)
        program_x, program_y = to_program(self._image, int(x), int(y))
        index = int(self._image.program_of_pe[program_y, program_x])
        symbols = self._image.programs[index].symbols if index >= 0 else ()
        variables = {s.name: s for s in symbols if s.kind is SymbolKind.VARIABLE}
        element = numpy_type(dtype)
        where = f"PE ({program_x}, {program_y})"
        symbol = find_variable(variables, symbol_name, element, where=where)
        payload = machine.peek(program_x, program_y, symbol.address, symbol.num_bytes)
        return np.frombuffer(bytearray(payload), element)

    def _copy_in(
        self,
        dest: int,
        src: NDArray[Any],
        layout: BufferFormat,
        replication: Replication,
        *,
        streaming: bool,
    ) -> Task:
        layout = as_wavelets(layout) if streaming else layout
        tensor = layout.to_tensor(src, replication, caller_level=3)
        self._put(dest, tensor, layout.rectangle, streaming=streaming)
        return self._tasks.issued()

    def _put(
        self, dest: int, tensor: NDArray[Any], rectangle: Rectangle, *, streaming: bool
    ) -> None:
        """Send `[height, width, elements]` to `dest`, a color or a variable's handle."""
        if streaming:
            self._device.send_words(self._handles.color(dest), tensor, rectangle)
        else:
            self._device.write_raw(self._handles.variable(dest), tensor, rectangle)

    def _stream_out(
        self,
        dest: NDArray[Any],
        color: int,
        layout: BufferFormat,
        *,
        nonblock: bool,
        name: str = "",
        file: Path | None = None,
    ) -> Task:
        layout = as_wavelets(layout)
        layout.check(dest)
        reception = self._device.expect_words(
            color, layout.elements_per_pe, layout.rectangle, name=name
        )
        task = self._tasks.begun(Arriving(reception, layout, dest, file))
        if not nonblock:
            with self._counting_streams():
                self._device.await_words(reception)
        self._tasks.store_arrived()
        return task

    @contextlib.contextmanager
    def _counting_streams(self) -> Generator[None, None, None]:
        """Add to a deadlock's report how much the host has sent: mostly, it is too little."""
        try:
            yield
        except DeadlockError as error:
            sent = self._ports.describe_sent(self._num_sent)
            if not sent:
                raise
            raise DeadlockError(f"{error.reason}\n{sent}", error.place) from None
