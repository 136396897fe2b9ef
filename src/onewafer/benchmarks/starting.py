"""The time to start onewafer; each sample is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.benchmarks.clock import Duration, Stopwatch
from onewafer.benchmarks.communication import chain_reduce
from onewafer.benchmarks.execution import warm_up
from onewafer.benchmarks.figures import Figure, Measurement, median_cpu, median_wall
from onewafer.errors import InternalError
from onewafer.image import save

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.benchmarks.benchmark import Conditions, Sizes

_SCRIPT = """\
import sys

import numpy as np

from cerebras.sdk.runtime.sdkruntimepybind import MemcpyDataType, MemcpyOrder, SdkRuntime

COPY = {"data_type": MemcpyDataType.MEMCPY_32BIT, "order": MemcpyOrder.ROW_MAJOR}

values = np.arange(16, dtype=np.float32)
result = np.zeros(8, np.float32)
with SdkRuntime(sys.argv[1]) as runner:
    runner.memcpy_h2d(runner.get_id("values"), values, 0, 0, 2, 2, 4, **COPY)
    runner.launch("main")
    runner.memcpy_d2h(result, runner.get_id("result"), 1, 0, 1, 2, 4, **COPY)
expected = values.reshape(2, 2, 4).sum(axis=1)
assert np.array_equal(result.reshape(2, 4), expected), result
print("SUCCESS!")
"""
"""The steps of the shortest host script: load, copy in, launch, copy out, compare."""
_COMMAND = "from onewafer.cli.main import main; main()"
"""The code that starts the installed `onewafer`."""


def measure_first_use(conditions: Conditions, sizes: Sizes) -> Measurement:
    """Run four PEs in a process that finds nothing in the cache, as people do first.

    `compiled` 1 compiles the kernels, as where no prebuilt ones fit.
    """
    figure = Figure.COMPILED_USE_SECONDS if sizes["compiled"] else Figure.FIRST_USE_SECONDS
    conditions.note("first use: compiling the kernels" if sizes["compiled"] else "first use")
    with tempfile.TemporaryDirectory() as folder:
        prebuilt = "off" if sizes["compiled"] else "on"
        added = {"ONEWAFER_CACHE_DIR": folder, "ONEWAFER_PREBUILT": prebuilt}
        command = ("-m", "onewafer.benchmarks.worker", "--warm-up", conditions.engine)
        duration = _time_process(command, added)
    return Measurement(
        figures={figure: duration.wall_seconds},
        cpu_seconds={figure: duration.cpu_seconds},
        durations={"first_use": (duration,)},
        checked="the result of the program is NumPy's",
    )


def measure_starts(conditions: Conditions, sizes: Sizes) -> Measurement:
    """Run a small host script under `cs_python`, and `onewafer --version`, `num_starts` times."""
    warm_up(conditions)
    workload = chain_reduce({"width": 2, "height": 2, "num_words": 4})
    scripts: list[Duration] = []
    versions: list[Duration] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(workload.compile(), folder / "out")
        (folder / "run.py").write_text(_SCRIPT, encoding="utf-8")
        for number in range(1, sizes["num_starts"] + 1):
            conditions.note(f"start {number} of {sizes['num_starts']}")
            arguments = (str(folder / "run.py"), str(folder / "out"))
            engine = {"ONEWAFER_ENGINE": conditions.engine}
            scripts.append(_time_process(("-m", "onewafer.cli.csl.cs_python", *arguments), engine))
            versions.append(_time_process(("-c", _COMMAND, "--version"), {}))
    return Measurement(
        figures={
            Figure.CS_PYTHON_SECONDS: median_wall(scripts),
            Figure.VERSION_SECONDS: median_wall(versions),
        },
        cpu_seconds={
            Figure.CS_PYTHON_SECONDS: median_cpu(scripts),
            Figure.VERSION_SECONDS: median_cpu(versions),
        },
        durations={"cs_python": tuple(scripts), "version": tuple(versions)},
        checked="the script compares its result with NumPy's",
    )


def _time_process(arguments: Sequence[str], added: dict[str, str]) -> Duration:
    """Return how long a Python process takes from start to end; raise if it fails."""
    environment = {**os.environ, **added}  # noqa: TID251 - for the child
    before = _child_seconds()
    watch = Stopwatch()
    done = subprocess.run(  # noqa: S603 - our own interpreter and modules
        [sys.executable, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    wall_seconds = watch.read().wall_seconds
    if done.returncode:
        raise InternalError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return Duration(wall_seconds, _child_seconds() - before)


def _child_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system
