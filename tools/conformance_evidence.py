"""The evidence for the verdict on a run of an example.

In: the output and files of a run. Out: the kinds of evidence that it did its work, and what is
missing for a pass. Exit code 0 alone is no evidence: a script may end without a run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from math import isclose
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

RECORD = "simulation.json"
"""The file that a run of the simulator leaves when it stops."""
SUCCESS_LINE = re.compile(r"^\s*(SUCCESS!?|PASS)\s*$", re.MULTILINE)
FAILURE_LINE = re.compile(r"^\s*FAIL\b", re.MULTILINE)
CLOCK_SLACK_SECONDS = 0.05
"""Times of files may lie so far behind the clock: they are those of its last tick."""
_MEASURED = re.compile(
    r"wvlts = (?P<wavelets>\d+), loop_count = (?P<loops>\d+)\s+"
    r"cycles_send = (?P<cycles>\d+) cycles\s+time_send = \S+ us\s+"
    r"bandwidth = (?P<bandwidth>\S+) MB/S"
)
_CYCLES_PER_MICROSECOND = 850
"""Clock rate that the script computes with."""


class Evidence(StrEnum):
    """A reason to believe that a program did what it should."""

    ASSERTS = "asserts"
    """The host script got results and asserted something about them that held."""
    PRINTS = "prints"
    """The line that reports success."""
    CHECKED = "checked"
    """It asserts and prints nothing of that kind; this tool checked the data that came back."""
    COMPILES = "compiles"
    """It is no complete program; there is a compiled one."""


@dataclass(frozen=True, slots=True)
class Record:
    """The files that the simulator wrote of one run."""

    cycles: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Run:
    """The files that a run of a command script left behind."""

    exit_code: int | None
    """None: it was ended after too long."""
    output: str
    records: tuple[Record, ...]
    """Records that this run wrote."""
    assertions: tuple[str, ...]
    """`FILE:LINE` of those that held after results had come back."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """True if a run passes, and why."""

    evidence: tuple[Evidence, ...]
    missing: str
    """The reason why it does not pass; empty: it passes."""


def find_records(folder: Path, spans: Sequence[tuple[float, float]]) -> tuple[Record, ...]:
    """Return the records under a folder that were written while a host script ran.

    `spans` are first and last second of the calls of `cs_python`.
    """
    found: list[Record] = []
    for path in sorted(folder.rglob(RECORD)):
        written = path.stat().st_mtime
        if any(a - CLOCK_SLACK_SECONDS <= written <= b + CLOCK_SLACK_SECONDS for a, b in spans):
            found += _read_record(path)
    return tuple(found)


def _read_record(path: Path) -> list[Record]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        numbers = (record[name] for name in ("cycles", "bytes_in", "bytes_out"))
        return [Record(*map(int, numbers))]
    except (ValueError, KeyError, TypeError):
        return []  # it is none of the simulator's


def remove_records(folder: Path) -> None:
    """Remove what earlier runs left, lest it be taken for this one's."""
    for path in folder.rglob(RECORD):
        path.unlink()


def judge(name: str, run: Run) -> Judgement:
    """Judge a run of the complete program in the folder `name`."""
    evidence: list[Evidence] = []
    if run.assertions:
        evidence.append(Evidence.ASSERTS)
    if SUCCESS_LINE.search(run.output):
        evidence.append(Evidence.PRINTS)
    check = CHECKS.get(name)
    is_right = check is not None and check(run)
    if is_right:
        evidence.append(Evidence.CHECKED)
    return Judgement(tuple(evidence), _missing(run, evidence))


def judge_fragment(exit_code: int | None, output: str, compiled: Path) -> Judgement:
    """Judge the compilation of an incomplete program into a folder that did not exist."""
    run = Run(exit_code, output, (), ())
    if exit_code != 0:
        return Judgement((), first_missing(run))
    if not compiled.is_dir() or not any(compiled.iterdir()):
        return Judgement((), "no compiled program was written")
    return Judgement((Evidence.COMPILES,), "")


def _missing(run: Run, evidence: Sequence[Evidence]) -> str:
    if run.exit_code != 0:
        return first_missing(run)
    if failed := FAILURE_LINE.search(run.output):
        return run.output[failed.start() :].strip().splitlines()[0]
    if not run.records:
        return f"no {RECORD} was written: no simulation ran to its stop"
    if not evidence:
        return "no evidence: it printed no SUCCESS, and asserted nothing about results"
    return ""


# --- data that this tool checks ------------------------------------------------------------------


def _check_bandwidth(run: Run) -> bool:
    """Check what bandwidth-test measured: it says only how long the wafer took to move data.

    The bytes went, the cycles are some of those that were simulated, and the rate follows.
    """
    found = _MEASURED.search(run.output)
    if found is None:
        return False
    wavelets, loops, cycles = (int(found[name]) for name in ("wavelets", "loops", "cycles"))
    num_bytes = 4 * wavelets * loops
    moved = sum(record.bytes_in + record.bytes_out for record in run.records)
    simulated = sum(record.cycles for record in run.records)
    if not (0 < cycles <= simulated and 0 < num_bytes <= moved):
        return False
    rate = num_bytes * _CYCLES_PER_MICROSECOND / cycles
    return isclose(rate, float(found["bandwidth"]), rel_tol=1e-6)


CHECKS: Mapping[str, Callable[[Run], bool]] = {"bandwidth-test": _check_bandwidth}
"""By the name of an example that judges nothing itself."""


# --- what is missing -----------------------------------------------------------------------------

_FIRST_ERROR = re.compile(r"^(error\[.*|(?:\w+\.)*\w*(?:Error|Exception)\b.*)$", re.MULTILINE)


def first_missing(run: Run) -> str:
    """Return the first error of an output, or its last line."""
    if run.exit_code is None:
        return "it did not end in time"
    found = _FIRST_ERROR.search(run.output)
    lines = run.output.strip().splitlines() or [f"exit code {run.exit_code}, no output"]
    text = found[1].strip() if found else lines[-1].strip()
    if found and text.endswith(":"):  # NumPy says on the next line what differs
        text = " ".join([text, *run.output[found.end() :].strip().splitlines()[:1]])
    return text
