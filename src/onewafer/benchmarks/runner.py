"""Run benchmarks, each in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from onewafer.benchmarks.figures import Goal, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.benchmarks.benchmark import Benchmark, Sizes

MET_IN_CPU_TIME = "met in CPU time only"
_NUM_ERROR_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request that a worker measures."""

    benchmark: str
    sizes: dict[str, int]
    engine: str
    repeat: int
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one benchmark: a measurement, or why there is none."""

    benchmark: Benchmark
    sizes: Sizes
    repeat: int
    measurement: Measurement | None = None
    failure: str = ""

    def verdict(self, goal: Goal) -> str:
        """Return `met`, `missed by …`, or why neither can be said.

        A time misses its goal only if its processor time does, too: otherwise the computer was busy
        with something else.
        """
        if self.sizes != self.benchmark.sizes:
            return "not judged: other sizes"
        if self.measurement is None or goal.figure not in self.measurement.figures:
            return "not measured"
        cpu_seconds = self.measurement.cpu_seconds.get(goal.figure)
        value = self.measurement.figures[goal.figure]
        if cpu_seconds is not None and goal.is_met(cpu_seconds) and not goal.is_met(value):
            return MET_IN_CPU_TIME
        return goal.verdict(value)


def run_benchmark(
    benchmark: Benchmark,
    sizes: Sizes,
    *,
    engine: str,
    repeat: int,
    note: Callable[[str], None],
    threads: int = 1,
) -> Outcome:
    """Measure in a new process that reports to `note`; a failure is an outcome, too."""
    request = Request(
        benchmark=benchmark.name,
        sizes=dict(sizes),
        engine=engine,
        repeat=repeat,
        threads=threads,
    )
    measurement: Measurement | None = None
    failure = ""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        for message in _messages(request, errors):
            match message:
                case {"note": str() as text}:
                    note(text)
                case {"measurement": fields}:
                    measurement = Measurement.from_fields(fields)
                case {"error": str() as text}:
                    failure = text
                case {"ended": int() as code} if measurement is None and not failure:
                    failure = _describe_end(code, errors)
                case _:
                    pass
    return Outcome(
        benchmark=benchmark,
        sizes=sizes,
        repeat=repeat,
        measurement=measurement,
        failure=failure,
    )


def _messages(request: Request, errors: TextIO) -> Iterator[dict[str, Any]]:
    """Yield the worker's messages, then `{"ended": exit code}`; the worker ends with this process.

    As long as its stdin is open, this process listens.
    """
    command = [sys.executable, "-m", "onewafer.benchmarks.worker", json.dumps(asdict(request))]
    worker = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
    )
    with worker:
        try:
            assert worker.stdout is not None
            for line in worker.stdout:
                yield json.loads(line)
        except BaseException:  # Ctrl-C too
            worker.kill()
            raise
    yield {"ended": worker.returncode}


def _describe_end(code: int, errors: TextIO) -> str:
    """Describe the end of a worker that sent no result."""
    if code == -9:  # noqa: PLR2004 - SIGKILL, which Windows has no name for
        return "its process was killed, as systems do when memory runs out"
    errors.seek(0)
    last = errors.read().splitlines()[-_NUM_ERROR_LINES:]
    return "\n".join((f"its process ended with {code}", *last))
