"""Run a workload with a stopwatch: compile, load, launch again and again, check every result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onewafer.benchmarks.clock import Stopwatch
from onewafer.benchmarks.communication import chain_reduce
from onewafer.benchmarks.figures import Figure, Measurement, median_cpu, median_wall
from onewafer.errors import InternalError
from onewafer.geometry import Direction
from onewafer.host import Device, RunLimits

if TYPE_CHECKING:
    from onewafer.benchmarks.benchmark import Conditions
    from onewafer.benchmarks.clock import Duration
    from onewafer.benchmarks.workload import Workload
    from onewafer.image import WaferImage
    from onewafer.simulator import Statistics

_RATES = {
    Figure.HOPS: ("wavelet_hops",),
    Figure.HOPS_WITH_RAMP: ("wavelet_hops", "ramp_moves"),
    Figure.PE_CYCLES: ("pe_cycles",),
    Figure.ELEMENTS: ("dsd_elements",),
    Figure.INSTRUCTIONS: ("instructions",),
    Figure.TASKS: ("task_starts",),
}
"""Rate → the counts whose sum is divided by the time of a run."""


class Execution:
    """A workload on a device, timed."""

    def __init__(self, workload: Workload, conditions: Conditions) -> None:
        """Compile and load."""
        self.workload = workload
        self.counts: dict[str, int] = {}
        conditions.note("compiling")
        watch = Stopwatch()
        self.image: WaferImage = workload.compile()
        self.compiling = watch.read()
        self.compile_peak_bytes = peak_bytes()
        conditions.note("loading")
        watch = Stopwatch()
        self._device = Device(
            self.image,
            workload.architecture(),
            engine=conditions.engine,
            limits=RunLimits(max_memory=conditions.max_memory, threads=conditions.threads),
        )
        self._device.load()
        self._device.settle()  # an engine may defer work until it runs
        self.loading = watch.read()
        note = self._device.machine.engine_note
        if note is not None:
            raise InternalError(
                f"the benchmark cannot run on the {conditions.engine} engine: {note}"
            )
        self.peak_bytes = peak_bytes()

    def launch(self, conditions: Conditions, what: str) -> Duration:
        """Write the input, launch, and return how long the launch took; check the result.

        Raises:
            WrongResultError: the values are not NumPy's.
            InternalError: this launch did not do as much as the one before.
        """
        conditions.note(f"{what}: writing the input")
        self.workload.prepare(self._device)
        self._device.settle()
        before = self._device.machine.statistics()
        conditions.note(what)
        watch = Stopwatch()
        self._device.launch(self.workload.function)
        duration = watch.read()
        self._keep_counts(before, self._device.machine.statistics())
        self.peak_bytes = peak_bytes()
        conditions.note(f"{what}: checking the result")
        self.workload.check(self._device)
        return duration

    def _keep_counts(self, before: Statistics, after: Statistics) -> None:
        """Keep the counts of a launch; every launch must have the same."""
        links = (after.link_wavelets - before.link_wavelets).sum(axis=(0, 1))
        ramp_moves = int(links[Direction.RAMP])
        num_with_code = int(np.count_nonzero(self.image.program_of_pe >= 0))
        cycles = after.cycles - before.cycles
        counts = {
            "pes": self.image.width * self.image.height,
            "pes_with_code": num_with_code,
            "cycles": cycles,
            "pe_cycles": cycles * num_with_code,
            "wavelet_hops": int(links.sum()) - ramp_moves,
            "ramp_moves": ramp_moves,
            "dsd_elements": int((after.dsd_elements - before.dsd_elements).sum()),
            "instructions": int((after.instructions - before.instructions).sum()),
            "task_starts": int((after.task_starts - before.task_starts).sum()),
        }
        if self.counts and counts != self.counts:
            raise InternalError(f"a second launch did {counts}, the first {self.counts}")
        self.counts = counts


def measure_workload(workload: Workload, conditions: Conditions) -> Measurement:
    """Compile, load and launch; the first launch is reported separately if there are others."""
    warm_up(conditions)
    execution = Execution(workload, conditions)
    first = execution.launch(conditions, "first run")
    runs = [
        execution.launch(conditions, f"run {number} of {conditions.repeat}")
        for number in range(1, conditions.repeat + 1)
    ]
    return Measurement(
        figures={**_compile_figures(execution), **_run_figures(execution, runs or [first])},
        cpu_seconds={
            Figure.COMPILE_SECONDS: execution.compiling.cpu_seconds,
            Figure.LOAD_SECONDS: execution.loading.cpu_seconds,
            Figure.RUN_SECONDS: median_cpu(runs or [first]),
        },
        counts=execution.counts,
        durations={
            "compile": (execution.compiling,),
            "load": (execution.loading,),
            "first_run": (first,),
            "run": tuple(runs),
        },
        peak_bytes=execution.peak_bytes,
        checked="every result is NumPy's, after every launch",
    )


def measure_compilation(workload: Workload, conditions: Conditions) -> Measurement:
    """Compile `repeat` times, and run once to check the image."""
    warm_up(conditions)
    samples: list[Duration] = []
    for number in range(1, conditions.repeat):
        conditions.note(f"compilation {number} of {conditions.repeat}")
        watch = Stopwatch()
        workload.compile()
        samples.append(watch.read())
    execution = Execution(workload, conditions)
    samples.append(execution.compiling)
    first = execution.launch(conditions, "the run that checks it")
    seconds = median_cpu(samples)
    return Measurement(
        figures={
            Figure.COMPILE_SECONDS: median_wall(samples),
            Figure.COMPILE_PES: execution.counts["pes_with_code"] / seconds,
        },
        cpu_seconds={Figure.COMPILE_SECONDS: seconds},
        counts=execution.counts,
        durations={
            "compile": tuple(samples),
            "load": (execution.loading,),
            "first_run": (first,),
        },
        peak_bytes=execution.compile_peak_bytes,
        checked="every result of a run of the image is NumPy's",
    )


def warm_up(conditions: Conditions) -> None:
    """Run four PEs, so that no kernel is compiled or loaded during a measurement."""
    conditions.note("reading the kernels")
    workload = chain_reduce({"width": 2, "height": 2, "num_words": 4})
    device = Device(workload.compile(), workload.architecture(), engine=conditions.engine)
    device.load()
    workload.prepare(device)
    device.launch(workload.function)
    workload.check(device)


def _compile_figures(execution: Execution) -> dict[Figure, float]:
    return {
        Figure.COMPILE_PES: execution.counts["pes_with_code"] / execution.compiling.cpu_seconds,
        Figure.COMPILE_SECONDS: execution.compiling.wall_seconds,
        Figure.LOAD_SECONDS: execution.loading.wall_seconds,
    }


def _run_figures(execution: Execution, runs: list[Duration]) -> dict[Figure, float]:
    seconds = median_cpu(runs)
    rates = {
        figure: sum(execution.counts[name] for name in names) / seconds
        for figure, names in _RATES.items()
    }
    moved = {figure: rate for figure, rate in rates.items() if rate}
    return {**moved, Figure.RUN_SECONDS: median_wall(runs)}


_STATUS = Path("/proc/self/status")
_KIB = 1024


def peak_bytes() -> int | None:
    """Return the most bytes that were resident at once so far; None: unknown."""
    if _STATUS.exists():  # not `ru_maxrss`: on Linux it starts with that of the parent
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KIB
    try:
        import resource  # noqa: PLC0415 - not everywhere
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB
