"""Run the examples of a csl-examples checkout and say which pass.

    python tools/conformance.py PATH [--only GLOB] [--arch wse2|wse3] [--timeout S]
                                [--json FILE] [--page FILE]

An example is a folder with `commands_wse2.sh` or `commands_wse3.sh`. The checkout is copied to a
temporary folder, once per arch, and the unmodified script runs in the copy with this Python's
`cslc` and `cs_python` first on PATH. An example passes when its script exits with 0 and prints its
success line. A folder that only holds `code.csl` is no complete program: it is compiled as the
code of a single PE.

Exit code: 0 all passed, 1 something failed, 2 nothing to run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from conformance_page import judge_by, write_page
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ARCHES = ("wse2", "wse3")
FRAGMENT = "code.csl"
"""The only file of an example that is not a complete program."""
FRAGMENT_LAYOUT = f"""layout {{
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "{FRAGMENT}", .{{}});
}}
"""
SUCCESS_LINE = re.compile(r"^\s*(SUCCESS!?|PASS)\s*$", re.MULTILINE)
FAILURE_LINE = re.compile(r"^\s*FAIL\b", re.MULTILINE)
PAGE_COMMAND = "python tools/conformance.py PATH_TO_CSL_EXAMPLES --page docs/conformance.md"
NO_SUCCESS_LINE = frozenset({"bandwidth-test", "row-col-broadcast"})
"""Examples that print measurements instead: the exit code alone counts."""
STOPWATCH = """#!/usr/bin/env bash
start=$EPOCHREALTIME
{own} "$@"
code=$?
echo {name} $start $EPOCHREALTIME >> {watch}/clock
exit $code
"""
TAIL_LINES = 12
"""How much of a failed example's output is shown."""


class Verdict(StrEnum):
    """How a run ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "FAIL"
    TIMEOUT = "TIMEOUT"


@dataclass(frozen=True, slots=True)
class Example:
    """A folder of the checkout, and how it runs on one arch."""

    name: str
    """Path below the checkout."""
    arch: str
    command: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether it is a program to run, and not a fragment to compile."""
        return self.command[0] == "bash"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one example on one arch."""

    example: str
    arch: str
    verdict: Verdict
    seconds: float
    compile_seconds: float | None
    """Of all calls of `cslc`; None: there was none, or none came to an end."""
    run_seconds: float | None
    """Of all calls of `cs_python`, without the compilations in them."""
    cycles: int | None
    """Simulated cycles of all runs in the script; None if it did not get that far."""
    judged_by: str
    output: str

    @property
    def has_passed(self) -> bool:
        """Whether the verdict is a pass."""
        return self.verdict is Verdict.PASS


def find_examples(checkout: Path, arches: Sequence[str], pattern: str) -> list[Example]:
    """Return the examples whose folder name or path matches a glob, sorted by name."""
    found: list[Example] = []
    for folder in sorted(path for path in [checkout, *checkout.rglob("*")] if path.is_dir()):
        name = str(folder.relative_to(checkout)) if folder != checkout else folder.name
        if fnmatch(folder.name, pattern) or fnmatch(name, pattern):
            found += (Example(name, arch, command) for arch, command in _commands(folder, arches))
    return found


def _commands(folder: Path, arches: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (arch, command line) of a folder; nothing if it is no example."""
    is_fragment = [path.name for path in folder.glob("*.csl")] == [FRAGMENT]
    for arch in arches:
        script = f"commands_{arch}.sh"
        if (folder / script).is_file():
            yield arch, ("bash", script)
        elif is_fragment and not list(folder.glob("commands_*.sh")):
            options = (f"--arch={arch}", "--fabric-dims=8,3", "--fabric-offsets=4,1", "-o=out")
            yield arch, ("cslc", "layout.csl", *options)


def run_example(example: Example, folder: Path, timeout_seconds: float) -> Outcome:
    """Run an example in its copy of the folder."""
    if not example.is_complete:
        (folder / "layout.csl").write_text(FRAGMENT_LAYOUT, encoding="utf-8")
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="conformance-") as watch:
        exit_code, output = _run(example.command, folder, timeout_seconds, Path(watch))
        compile_seconds, run_seconds = _read_clock(Path(watch, "clock"))
    seconds = time.monotonic() - start
    if exit_code is None:
        verdict = Verdict.TIMEOUT
    else:
        verdict = Verdict.PASS if _has_passed(example, exit_code, output) else Verdict.FAIL
    prints = SUCCESS_LINE.search(output) is not None
    cycles, has_moved = _read_records(folder)
    judgement = judge_by(folder, prints=prints, has_moved=has_moved)
    return Outcome(
        example.name,
        example.arch,
        verdict,
        round(seconds, 2),
        compile_seconds,
        run_seconds,
        cycles,
        judgement if example.is_complete else "compiles",
        output,
    )


def _run(
    command: Sequence[str], folder: Path, timeout_seconds: float, watch: Path
) -> tuple[int | None, str]:
    """Return (exit code, all output); the exit code is None after a timeout."""
    for name in ("cslc", "cs_python"):
        _write_stopwatch(watch, name)
    # A file, not a pipe: a grandchild that outlives the script must not keep us waiting.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - running the user's examples is the job
            command,
            cwd=folder,
            env={**os.environ, "PATH": os.pathsep.join((str(watch), _search_path()))},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        exit_code = None
        try:
            exit_code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_group(process)
        output.seek(0)
        return exit_code, output.read().decode(errors="replace")


def _write_stopwatch(watch: Path, name: str) -> None:
    """Put a command into a folder that does what ours does, and writes down from when to when."""
    own = shutil.which(name, path=_search_path())
    if own is not None:
        script = watch / name
        script.write_text(STOPWATCH.format(own=shlex.quote(own), name=name, watch=watch))
        script.chmod(0o755)


def _read_clock(path: Path) -> tuple[float | None, float | None]:
    """Return the seconds of compilations, and those of runs without the compilations in them."""
    if not path.is_file():
        return None, None
    calls = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    spans = [(name, float(start), float(end)) for name, start, end in calls]
    compiled = [(start, end) for name, start, end in spans if name == "cslc"]
    ran = [(start, end) for name, start, end in spans if name != "cslc"]
    within = [(s, e) for s, e in compiled if any(first <= s and e <= last for first, last in ran)]
    return _total(compiled), _total(ran, less=within)


def _total(
    spans: Sequence[tuple[float, float]], *, less: Sequence[tuple[float, float]] = ()
) -> float | None:
    if not spans:
        return None
    return round(sum(e - s for s, e in spans) - sum(e - s for s, e in less), 2)


def _search_path() -> str:
    """Return PATH with the commands of this Python first."""
    own_commands = str(Path(sys.executable).parent)
    return os.pathsep.join((own_commands, os.environ.get("PATH", os.defpath)))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of a script, its children included."""
    with contextlib.suppress(ProcessLookupError):  # all of them may have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _has_passed(example: Example, exit_code: int, output: str) -> bool:
    if exit_code != 0 or FAILURE_LINE.search(output):
        return False
    if not example.is_complete or Path(example.name).name in NO_SUCCESS_LINE:
        return True
    return SUCCESS_LINE.search(output) is not None


def _read_records(folder: Path) -> tuple[int | None, bool]:
    """Return the cycles in the records that the runtime left, summed, and whether data came out."""
    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("simulation.json"))
    ]
    cycles = sum(int(record["cycles"]) for record in records) if records else None
    return cycles, any(record.get("bytes_out") for record in records)


def run_all(
    checkout: Path, examples: Sequence[Example], timeout_seconds: float, console: Console
) -> list[Outcome]:
    """Run the examples one after the other, in a copy of the checkout for each arch."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        for arch in sorted({example.arch for example in examples}):
            _copy(checkout, Path(scratch, arch))
        for example in examples:
            root = Path(scratch, example.arch)
            folder = root / example.name if (checkout / example.name).is_dir() else root
            with console.status(f"{example.name} on {example.arch}"):
                outcomes.append(run_example(example, folder, timeout_seconds))
    return outcomes


def _copy(checkout: Path, target: Path) -> None:
    """Copy what is there and can be read; an example that needs the rest says so itself."""
    left_out: list[str] = []
    try:
        shutil.copytree(
            checkout,
            target,
            ignore=shutil.ignore_patterns(".git"),
            ignore_dangling_symlinks=True,
        )
    except shutil.Error as error:
        left_out = [str(source) for source, _, _ in error.args[0]]
    for path in left_out:
        print(f"conformance: {path} cannot be copied and is left out", file=sys.stderr)


def print_outcomes(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print the table, then the last lines of whatever failed."""
    table = Table(title="csl-examples on onewafer")
    table.add_column("example", overflow="fold")
    table.add_column("arch")
    table.add_column("verdict")
    table.add_column("seconds", justify="right")
    table.add_column("simulated cycles", justify="right")
    for outcome in outcomes:
        style = "green" if outcome.has_passed else "red"
        cycles = "–" if outcome.cycles is None else f"{outcome.cycles:,}"
        verdict = f"[{style}]{outcome.verdict}[/]"
        table.add_row(outcome.example, outcome.arch, verdict, f"{outcome.seconds:.1f}", cycles)
    console.print(table)
    for outcome in outcomes:
        if not outcome.has_passed:
            console.rule(f"{outcome.example} on {outcome.arch}: {outcome.verdict}")
            tail = "\n".join(outcome.output.splitlines()[-TAIL_LINES:])
            console.print(tail or "(no output)", markup=False, highlight=False, soft_wrap=True)
    num_passed = sum(outcome.has_passed for outcome in outcomes)
    console.print(f"{num_passed} of {len(outcomes)} passed")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("path", type=Path, help="a csl-examples checkout, or a folder in it")
    parser.add_argument("--only", default="*", metavar="GLOB", help="names of examples to run")
    parser.add_argument("--arch", choices=ARCHES, help="only this machine (default: both)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there, too")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write docs/conformance.md there")
    parser.add_argument(
        "--timeout", type=float, default=600, metavar="SECONDS", help="for each run (default: 600)"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Run the tool; return its exit code."""
    options = parse_arguments()
    checkout: Path = options.path.resolve()
    arches = (options.arch,) if options.arch else ARCHES
    if not checkout.is_dir():
        return _refuse(f"there is no folder {str(options.path)!r}")
    examples = find_examples(checkout, arches, options.only)
    if not examples:
        return _refuse(
            f"no example under {str(options.path)!r} matches {options.only!r}: "
            f"an example is a folder with commands_wse2.sh or commands_wse3.sh"
        )
    for path in (options.json, options.page):
        if path and not path.resolve().parent.is_dir():
            return _refuse(f"there is no folder for {str(path)!r}")
    if shutil.which("cslc", path=_search_path()) is None:
        return _refuse(f"there is no cslc: install onewafer for {sys.executable}")
    console = Console()
    outcomes = run_all(checkout, examples, options.timeout, console)
    print_outcomes(outcomes, console)
    if options.json:
        text = json.dumps([asdict(outcome) for outcome in outcomes], indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.page:
        write_page(options.page, outcomes, PAGE_COMMAND)
    return int(not all(outcome.has_passed for outcome in outcomes))


def _refuse(reason: str) -> int:
    print(f"conformance: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
