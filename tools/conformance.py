"""Run the examples of csl-examples and sdk-examples checkouts and say which pass.

    python tools/conformance.py PATH... [--only GLOB] [--arch wse2|wse3] [--unoptimised]
                                [--timeout S] [--json FILE] [--page FILE]

An example is a folder with `commands_wse2.sh` or `commands_wse3.sh`. Each checkout is copied to a
temporary folder, once per arch, and the unmodified script runs in the copy with this Python's
`cslc` and `cs_python` first on PATH. (A placeholder that stands where a command should be is filled
in: see `PLACEHOLDERS`.) An example passes when its script exits with 0, a simulation
ran to its stop meanwhile, and there is evidence that its results are right: the script printed its
success line, or asserted something about results, or this tool checks the data that came back
(`conformance_evidence.py`). A folder that only holds `code.csl` is no complete program: it is
compiled as the code of a single PE. With `--unoptimised`, each example runs a second time, compiled
with `cslc -O0`.

Exit code: 0 all passed, 1 something failed, 2 nothing to run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
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
from typing import TYPE_CHECKING, NamedTuple

from conformance_evidence import (
    Evidence,
    Run,
    find_records,
    judge,
    judge_fragment,
    remove_records,
)
from conformance_page import write_page
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
PLACEHOLDERS = {b"%python_sdk_paint": b"cs_python run.py"}
"""The stand-in for a command in scripts of sdk-examples, which no shell runs: a test runner of its
authors puts a command there before."""
PAGE_COMMAND = (
    "python tools/conformance.py csl-examples sdk-examples --unoptimised \\\n"
    "    --page docs/reference/conformance.md"
)
WITNESS = Path(__file__).with_name("conformance_witness.py")
STOPWATCH = """#!/usr/bin/env bash
exec 3>&2
TIMEFORMAT="{name} $EPOCHREALTIME %R %U %S"
{witness}
{{ time {own} "$@" {option} 2>&3 3>&-; }} 2>> {watch}/clock
"""
"""The stand-in for a command: it does what ours does, and a line says when it began and how long it
took: seconds of the clock, and of the CPU in the program and in the system."""
WITNESSED = """case "$1" in *.py) set -- {witness} {watch}/assertions {level} "$@";; esac"""
TAIL_LINES = 12
"""How much of a failed example's output is shown."""


class Verdict(StrEnum):
    """How a run ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "FAIL"
    TIMEOUT = "TIMEOUT"


class Level(StrEnum):
    """How much the compiler does."""

    DEFAULT = "default"
    UNOPTIMISED = "-O0"


@dataclass(frozen=True, slots=True)
class Example:
    """A folder of the checkout, and how it runs on one arch."""

    checkout: Path
    name: str
    """Path below the checkout."""
    arch: str
    command: tuple[str, ...]
    level: Level

    @property
    def is_complete(self) -> bool:
        """True if it is a program to run, and not a fragment to compile."""
        return self.command[0] == "bash"


class Call(NamedTuple):
    """One call of `cslc` or `cs_python`."""

    name: str
    start: float
    """Second of the clock."""
    end: float
    cpu: float
    """Seconds, of its children too."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long something took."""

    wall: float
    cpu: float
    """CPU time of all cores; more than `wall` if several worked."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the computer was."""

    num_cores: int
    at_start: float
    """Average of a minute, before the first example."""
    highest: float
    """Before any of the examples."""

    @property
    def is_high(self) -> bool:
        """True if others than the examples worked, too."""
        return self.at_start > _IDLE or self.highest > self.num_cores + _IDLE


_IDLE = 0.5
"""A load average below is that of an idle computer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one example on one arch."""

    repository: str
    """Name of the checkout."""
    example: str
    arch: str
    level: Level
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    missing: str
    """The reason why it does not pass; empty: it passes."""
    seconds: float
    compilation: Seconds | None
    """Time of the longest call of `cslc`; None: there was none, or none ended."""
    run: Seconds | None
    """Time of the longest call of `cs_python`, without compilations in it."""
    cycles: int | None
    """Simulated cycles of all runs in the script; None if it did not get that far."""
    output: str

    @property
    def has_passed(self) -> bool:
        """True if the verdict is a pass."""
        return self.verdict is Verdict.PASS

    @property
    def is_optimised(self) -> bool:
        """True if the compiler did what it does unless it is told not to."""
        return self.level is Level.DEFAULT

    @property
    def target(self) -> str:
        """The arch, and the option of the compiler if it got one."""
        return self.arch if self.is_optimised else f"{self.arch} {self.level}"

    @property
    def program(self) -> tuple[str, str, str]:
        """Repository, example and arch."""
        return self.repository, self.example, self.arch


def find_examples(
    checkout: Path, arches: Sequence[str], levels: Sequence[Level], pattern: str
) -> list[Example]:
    """Return the examples whose folder name or path matches a glob, sorted by name."""
    found: list[Example] = []
    for folder in sorted(path for path in [checkout, *checkout.rglob("*")] if path.is_dir()):
        name = str(folder.relative_to(checkout)) if folder != checkout else folder.name
        if fnmatch(folder.name, pattern) or fnmatch(name, pattern):
            commands = _commands(folder, arches)
            found += (
                Example(checkout, name, arch, command, level)
                for arch, command in commands
                for level in levels
            )
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
    compiled = folder / "out"
    if example.is_complete:
        _fill_placeholders(folder / example.command[-1])
    else:
        (folder / "layout.csl").write_text(FRAGMENT_LAYOUT, encoding="utf-8")
        shutil.rmtree(compiled, ignore_errors=True)
    remove_records(folder)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="conformance-") as watch:
        exit_code, output = _run(example, folder, timeout_seconds, Path(watch))
        calls = _read_clock(Path(watch, "clock"))
        assertions = _read_assertions(Path(watch, "assertions"))
    seconds = time.monotonic() - start
    runs = [call for call in calls if call.name == "cs_python"]
    records = find_records(folder, [(call.start, call.end) for call in runs])
    if example.is_complete:
        run = Run(exit_code, output, records, assertions)
        judgement = judge(Path(example.name).name, run)
    else:
        judgement = judge_fragment(exit_code, output, compiled)
    passed_or_not = Verdict.FAIL if judgement.missing else Verdict.PASS
    compilations = [call for call in calls if call.name == "cslc"]
    return Outcome(
        repository=example.checkout.name,
        example=example.name,
        arch=example.arch,
        level=example.level,
        verdict=Verdict.TIMEOUT if exit_code is None else passed_or_not,
        evidence=judgement.evidence,
        missing=judgement.missing,
        seconds=round(seconds, 2),
        compilation=_longest(compilations),
        run=_longest(runs, less=compilations),
        cycles=sum(record.cycles for record in records) if records else None,
        output=output,
    )


def _fill_placeholders(script: Path) -> None:
    """Write commands where a script has placeholders for them."""
    lines = script.read_bytes().splitlines(keepends=True)
    for index, line in enumerate(lines):
        word, *_ = line.split(maxsplit=1) or [b""]
        if word in PLACEHOLDERS:
            lines[index] = line.replace(word, PLACEHOLDERS[word], 1)
    script.write_bytes(b"".join(lines))


def _run(
    example: Example, folder: Path, timeout_seconds: float, watch: Path
) -> tuple[int | None, str]:
    """Return (exit code, all output); the exit code is None after a timeout."""
    witnessed = WITNESSED.format(
        witness=shlex.quote(str(WITNESS)), watch=shlex.quote(str(watch)), level=example.level
    )
    option = "" if example.level is Level.DEFAULT else example.level
    _write_stopwatch(watch, "cslc", option=option)
    _write_stopwatch(watch, "cs_python", witness=witnessed)
    # A file, not a pipe: a grandchild that outlives the script must not keep us waiting.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - running the user's examples is the job
            example.command,
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


def _write_stopwatch(watch: Path, name: str, *, witness: str = "", option: str = "") -> None:
    """Put a command into a folder that does what ours does with one more option, and is timed."""
    own = shutil.which(name, path=_search_path())
    if own is not None:
        script = watch / name
        text = STOPWATCH.format(
            own=shlex.quote(own),
            name=name,
            watch=shlex.quote(str(watch)),
            witness=witness,
            option=option,
        )
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)


def _read_clock(path: Path) -> list[Call]:
    """Return the calls that came to an end."""
    if not path.is_file():
        return []
    calls: list[Call] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        name, *numbers = line.split()
        start, wall, user, system = map(float, numbers)
        calls.append(Call(name, start, start + wall, user + system))
    return calls


def _read_assertions(path: Path) -> tuple[str, ...]:
    """Return the places of the assertions that held after results had come back."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return tuple(line.removeprefix("assert ") for line in lines if line.startswith("assert "))


def _longest(calls: Sequence[Call], *, less: Sequence[Call] = ()) -> Seconds | None:
    """Return what the longest of some calls took, without those of `less` that lie in it."""
    taken: list[Seconds] = []
    for call in calls:
        inner = [c for c in less if call.start <= c.start and c.end <= call.end]
        wall = call.end - call.start - sum(c.end - c.start for c in inner)
        taken.append(Seconds(round(wall, 2), round(call.cpu - sum(c.cpu for c in inner), 2)))
    return max(taken, key=lambda seconds: seconds.wall, default=None)


def _search_path() -> str:
    """Return PATH with the commands of this Python first."""
    own_commands = str(Path(sys.executable).parent)
    return os.pathsep.join((own_commands, os.environ.get("PATH", os.defpath)))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of a script, its children included."""
    with contextlib.suppress(ProcessLookupError):  # all of them may have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_all(
    examples: Sequence[Example],
    timeout_seconds: float,
    console: Console,
    *,
    warms_up: bool = False,
) -> tuple[list[Outcome], Load]:
    """Run the examples one after the other, in a copy of their checkout for each arch and level.

    With `warms_up`, run one of them before, without a record: it compiles the simulator's kernels.
    """
    outcomes: list[Outcome] = []
    loads = [_load_average()]
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        copies = {
            key: Path(scratch, str(number), key[1])
            for number, key in enumerate(dict.fromkeys(map(_needs_copy, examples)))
        }
        for (checkout, *_), copy in copies.items():
            _copy(checkout, copy)

        def run(example: Example) -> Outcome:
            root = copies[_needs_copy(example)]
            folder = root / example.name if (example.checkout / example.name).is_dir() else root
            with console.status(f"{example.name} on {example.arch}, {example.level}"):
                return run_example(example, folder, timeout_seconds)

        complete = [example for example in examples if example.is_complete]
        if warms_up and complete:
            run(complete[0])
        for example in examples:
            outcomes.append(run(example))
            loads.append(_load_average())
    return outcomes, Load(os.cpu_count() or 1, loads[0], max(loads))


def _needs_copy(example: Example) -> tuple[Path, str, Level]:
    """Return what examples have in common that run in one copy."""
    return example.checkout, example.arch, example.level


def _load_average() -> float:
    """Return how many processes wanted to run, on the average of the last minute."""
    return round(os.getloadavg()[0], 2)


def _copy(checkout: Path, target: Path) -> None:
    """Copy the files that can be read; an example that needs another one says so itself."""
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
    """Print a table for each checkout, then the last lines of everything that failed."""
    for repository in dict.fromkeys(outcome.repository for outcome in outcomes):
        _print_table(repository, [o for o in outcomes if o.repository == repository], console)
    for outcome in outcomes:
        if not outcome.has_passed:
            console.rule(f"{outcome.example} on {outcome.target}: {outcome.verdict}")
            console.print(outcome.missing, markup=False, highlight=False, soft_wrap=True)
            tail = "\n".join(outcome.output.splitlines()[-TAIL_LINES:])
            console.print(tail or "(no output)", markup=False, highlight=False, soft_wrap=True)
    num_passed = sum(outcome.has_passed for outcome in outcomes)
    console.print(f"{num_passed} of {len(outcomes)} passed")


def _print_table(repository: str, outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table(title=f"{repository} on onewafer")
    table.add_column("example", overflow="fold")
    table.add_column("arch")
    table.add_column("verdict")
    table.add_column("evidence")
    table.add_column("seconds", justify="right")
    table.add_column("simulated cycles", justify="right")
    for outcome in outcomes:
        style = "green" if outcome.has_passed else "red"
        cycles = "–" if outcome.cycles is None else f"{outcome.cycles:,}"
        verdict = f"[{style}]{outcome.verdict}[/]"
        evidence = " and ".join(outcome.evidence) or "none"
        seconds = f"{outcome.seconds:.1f}"
        table.add_row(outcome.example, outcome.target, verdict, evidence, seconds, cycles)
    console.print(table)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", type=Path, help="a checkout, or a folder in it"
    )
    parser.add_argument("--only", default="*", metavar="GLOB", help="names of examples to run")
    parser.add_argument("--arch", choices=ARCHES, help="only this machine (default: both)")
    parser.add_argument(
        "--unoptimised",
        action="store_true",
        help="run each example a second time, compiled with cslc -O0",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there, too")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write docs/reference/conformance.md there"
    )
    parser.add_argument(
        "--timeout", type=float, default=600, metavar="SECONDS", help="for each run (default: 600)"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Run the tool; return its exit code."""
    options = parse_arguments()
    arches = (options.arch,) if options.arch else ARCHES
    levels = tuple(Level) if options.unoptimised else (Level.DEFAULT,)
    examples: list[Example] = []
    for path in options.paths:
        if not path.is_dir():
            return _refuse(f"there is no folder {str(path)!r}")
        examples += find_examples(path.resolve(), arches, levels, options.only)
    if not examples:
        named = " or ".join(repr(str(path)) for path in options.paths)
        return _refuse(
            f"no example under {named} matches {options.only!r}: "
            f"an example is a folder with commands_wse2.sh or commands_wse3.sh"
        )
    for path in (options.json, options.page):
        if path and not path.resolve().parent.is_dir():
            return _refuse(f"there is no folder for {str(path)!r}")
    if shutil.which("cslc", path=_search_path()) is None:
        return _refuse(f"there is no cslc: install onewafer for {sys.executable}")
    console = Console()
    outcomes, load = run_all(examples, options.timeout, console, warms_up=options.page is not None)
    print_outcomes(outcomes, console)
    if options.json:
        text = json.dumps([asdict(outcome) for outcome in outcomes], indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.page:
        write_page(options.page, outcomes, load, PAGE_COMMAND)
    return int(not all(outcome.has_passed for outcome in outcomes))


def _refuse(reason: str) -> int:
    print(f"conformance: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
