"""A CSL program on a simulated wafer, as a few calls: write, launch, read."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onewafer.api.paths import list_paths
from onewafer.api.programs import Program
from onewafer.api.run_report import RunReport
from onewafer.errors import HostError
from onewafer.geometry import Rectangle
from onewafer.options import (
    CheckOptions,
    RecordOptions,
    SimulationOptions,
    called_with,
    option,
    settings_with,
)
from onewafer.settings import check_record_file, check_trace_file, require_recording
from onewafer.terminal import Shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from rich.console import RenderableType

    from onewafer.api.paths import StrPath
    from onewafer.host import Device, LaunchReport, RunLimits
    from onewafer.settings import Settings

    Where = tuple[int, int] | tuple[int, int, int, int]
    """One PE, (x, y), or a rectangle of PEs, (x, y, width, height); (0, 0) is in the north-west."""
    Scalar = int | float | np.generic


_UNNAMED = "program"
"""The title of a recording of a program that is in no folder."""


class Runner(Shown):
    """A program on a simulated wafer.

    Calls take effect in their order; each begins when the fabric has come to rest. As a context
    manager it stops the program at the end of the block.
    """

    def __init__(self, device: Device) -> None:
        """Take a device that is loaded; `onewafer.load` makes one."""
        self._device = device
        self._launches: list[LaunchReport] = []

    @property
    def device(self) -> Device:
        """The device underneath: streams, the machine, raw memory."""
        return self._device

    @property
    def cycle(self) -> int:
        """Cycles that have passed since the program was put on the wafer."""
        return self._device.machine.cycle

    def write(self, symbol: str, values: ArrayLike, *, at: Where | None = None) -> None:
        """Copy values to an exported variable, on all PEs or `at` some.

        Args:
            symbol: the name of the variable.
            values: `[height, width, elements]`; axes that are left out or 1 are the same for all
                PEs, and a single number is that for all elements. Arrays have the variable's
                dtype; numbers and lists are converted.
            at: one PE, (x, y), or a rectangle, (x, y, width, height).

        Raises:
            HostError: unknown or read-only variable, values that do not fit it, or no such PEs.
        """
        import numpy as np  # noqa: PLC0415  # when it is used

        target = _rectangle(at)
        array = _as_elements(symbol, values, self._device.dtype_of(symbol))
        if not array.ndim:
            array = np.full(self._device.count_elements(symbol, target), array)
        missing = range(3 - array.ndim)
        self._device.write(symbol, np.expand_dims(array, tuple(missing)), target)

    def read(
        self, symbol: str, count: int | None = None, *, at: Where | None = None
    ) -> NDArray[Any]:
        """Return an exported variable, `[height, width, elements]`; of one PE `[elements]`.

        Args:
            symbol: the name of the variable.
            count: how many elements; None: all that it has.
            at: one PE, (x, y), or a rectangle, (x, y, width, height); None: all PEs.

        Raises:
            HostError: unknown variable, no such PEs, or more elements than it has.
        """
        source = _rectangle(at)
        if count is None:
            count = self._device.count_elements(symbol, source)
        array = self._device.read(symbol, count, source)
        is_one_pe = at is not None and len(at) == len(("x", "y"))
        return array[0, 0] if is_one_pe else array

    def launch(self, function: str, *arguments: Scalar) -> LaunchReport:
        """Run an exported function on all PEs until nothing moves any more.

        Raises:
            HostError: unknown function, or arguments that do not fit its parameters.
            SimulationError: the program failed; `DeadlockError` if it hangs.
        """
        report = self._device.launch(function, *arguments)
        self._launches.append(report)
        return report

    def stop(self) -> None:
        """Finish all work; afterwards only `report` and `device.machine` can be looked at.

        Raises:
            DeadlockError: the program waits for something that does not come.
            SimulationError: some wavelets were not received, and the run is strict.
        """
        self._device.stop()

    @property
    def report(self) -> RunReport:
        """The cycles and bytes of the run so far."""
        device = self._device
        return RunReport(
            arch=device.architecture.name,
            profile=device.architecture.profile,
            engine=device.machine.engine,
            clock_hertz=device.architecture.clock_hertz,
            width=device.image.width,
            height=device.image.height,
            cycles=device.machine.cycle,
            bytes_in=device.bytes_in,
            bytes_out=device.bytes_out,
            launches=tuple(self._launches),
        )

    def __rich__(self) -> RenderableType:
        """Return its report, which notebooks and `print` show."""
        return self.report.__rich__()

    def __repr__(self) -> str:
        """Return the program, the machine and the cycle."""
        image = self._device.image
        return f"<Runner: {image.width}×{image.height} PEs of {image.arch}, cycle {self.cycle:,}>"

    def __enter__(self) -> Self:
        """Return the runner: the program is on the wafer already."""
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, unless the block did, or failed: its own error is the one to show."""
        if error_type is not None:
            self._device.end()
        elif self._device.is_running:
            self.stop()


class LoadArguments(SimulationOptions, CheckOptions, RecordOptions):
    """The arguments of `onewafer.load`."""

    program: Program | StrPath = option(
        help="A program of `compile_csl`, or a folder that `cslc` wrote", kw_only=False
    )
    trace: StrPath | Sequence[StrPath] = option(
        default=(),
        help="Files to trace the run into, written by `stop`; the ending says the format",
    )
    progress: bool = option(default=True, help="Say how far long launches are")


@called_with(LoadArguments)
def load(asked: LoadArguments) -> Runner:
    """Put a compiled program on a simulated wafer, and let its start-up tasks run.

    Raises:
        ConfigurationError: an argument has no usable value.
        HostError: there is no such folder.
        SimulationError: the start-up of the program failed.
    """
    from onewafer.host import (  # noqa: PLC0415  # the simulator, when it is used
        Device,
        checking_of,
        folder_recorder,
    )

    settings = settings_with(asked, progress=asked.progress)
    traced = tuple(check_trace_file(path, "trace") for path in list_paths(asked.trace))
    program = asked.program
    loaded = program if isinstance(program, Program) else _read(program)
    from onewafer.arch import load_architecture  # noqa: PLC0415  # when it is used

    limits = _limits(loaded, settings)
    if asked.record is not None:
        file = check_record_file(os.fspath(asked.record), "record")
        settings = replace(settings, record_file=file)
    wanted = asked.sample_every
    require_recording(settings.record_file, wanted=wanted, origin="sample_every")
    folder = Path(_UNNAMED if isinstance(program, Program) else program)
    recorder = folder_recorder(folder, settings, limits.observer.say)
    device = Device(
        loaded.image,
        load_architecture(loaded.arch),
        engine=settings.engine,
        limits=limits,
        trace_files=traced or settings.trace_files,
        recorder=recorder,
        checking=checking_of(settings),
        is_reviewed=True,
    )
    if recorder is not None:
        recorder.end_with(device)
    device.load()
    device.settle()
    return Runner(device)


def _read(folder: StrPath) -> Program:
    from onewafer.host import find_folder  # noqa: PLC0415  # the simulator, when it is used
    from onewafer.image import load as load_image  # noqa: PLC0415  # likewise

    return Program(load_image(find_folder(folder)))


def _limits(program: Program, settings: Settings) -> RunLimits:
    """Return the limits of a run; what the program prints goes to `sys.stdout`."""
    from onewafer.host import PrintLog, RunLimits, prints  # noqa: PLC0415  # when it is used

    limits = RunLimits.from_settings(settings)
    if not prints(program.image):
        return limits
    return replace(limits, log=PrintLog(program.image, _print))


def _print(text: str) -> None:
    sys.stdout.write(text)  # a notebook gives each cell another one


def _rectangle(at: Where | None) -> Rectangle | None:
    match at:
        case None:
            return None
        case (x, y):
            return Rectangle(x, y, 1, 1)
        case (x, y, width, height):
            return Rectangle(x, y, width, height)
        case _:
            raise HostError(f"at={at!r}: write (x, y), or (x, y, width, height) for a rectangle")


def _as_elements(symbol: str, values: ArrayLike, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values as an array: one that the caller made as it is, anything else converted."""
    import numpy as np  # noqa: PLC0415  # when it is used

    found = np.asarray(values)
    if found is values or isinstance(values, np.generic):
        return found
    if found.dtype.kind not in _KINDS.get(dtype.kind, ""):
        raise HostError(f"{symbol!r} holds {dtype.name}, the values are {found.dtype.name}")
    try:
        return np.array(values, dtype)
    except (OverflowError, ValueError) as error:
        raise HostError(f"{symbol!r} holds {dtype.name}: {error}") from None


_KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}
"""Kind of a variable's dtype → kinds of numbers that can be converted to it."""
