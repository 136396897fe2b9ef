"""docs/reference/conformance.md: what `tools/conformance.py` found, one line a program and machine.

In: outcomes. Out: Markdown. Nothing on the page is written by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance import Load, Outcome, Seconds

PROGRAMS = tuple(  # 55 names in a list literal would be 55 lines
    """
    gemv-00-basic-syntax gemv-01-complete-program topic-01-arrays-and-pointers gemv-02-memory-dsds
    gemv-03-memcpy gemv-04-params gemv-05-multiple-pes topic-10-map-builtin topic-02-libraries
    sdklayout-01-introduction gemv-06-routes-1 sdklayout-02-routing pipeline-01-basic
    topic-03-streaming-wavelet-data topic-04-sparse-tensors gemv-07-routes-2 gemv-08-routes-3
    gemv-09-streaming topic-15-wse3-microthreads pipeline-02-fifo topic-09-fifos
    pipeline-03-multiple topic-13-simprint topic-12-debug-library topic-08-filters
    topic-05-sentinels topic-06-switches topic-07-switches-entrypt topic-14-color-swap
    sdklayout-03-ports-and-connections sdklayout-04-h2d-d2h wide-multiplication mandelbrot residual
    gemv-checkerboard-pattern single-tile-matvec game-of-life topic-11-collectives
    gemv-collectives_2d gemm-collectives_2d bandwidth-test row-col-broadcast sdklayout-05-gemv
    cholesky fft-1d-2d 7pt-stencil-spmv power-method conjugate-gradient
    preconditioned-conjugate-gradient bicgstab histogram-torus 25-pt-stencil fft-3d
    spmv-hypersparse topic-16-queue-flush
    """.split()  # noqa: SIM905
)
"""The programs, easiest first: each needs little that those before it do not. Their numbers are
those of the page."""
NUM_DEMANDED = 42
"""The programs up to this number are those that have to pass, and in time."""
COMPILE_GOAL_SECONDS, RUN_GOAL_SECONDS = 2, 30
_MOST_LETTERS = 160
PAGE_HEAD = """# Conformance

Every program of two public repositories, unmodified, on each machine that it has a script for:
[csl-examples](https://github.com/Cerebras/csl-examples), the programs of SDK 1.4, and
[sdk-examples](https://github.com/Cerebras/sdk-examples), those of SDK 2.10. This page is written by

```
{command}
```

in a folder with a checkout of each, after `pip install matplotlib pandas scipy`, which the host
scripts of some programs import.

A program passes when its own command script exits with 0, a simulation ran to its stop meanwhile,
and there is evidence that its results are right; *evidence* says which:

| evidence | means |
|---|---|
| `asserts` | the host script asserted something after it had got results (no constant); it held |
| `prints` | a line that is nothing but SUCCESS or PASS |
| `checked` | the script judges nothing; this tool checks what came back, as said below |
| `compiles` | it is no complete program: it was compiled, and nothing ran |

The scripts of the `sdklayout` programs in sdk-examples have the word `%python_sdk_paint` where a
command should be, which no shell runs; the tool writes `cs_python run.py` in its place.

What a script asserts, about which inputs and with which tolerance, is its own choice. Of
`bandwidth-test`, which only measures, the tool checks that the bytes were moved, that the cycles it
prints are no more than were simulated, and that its rate follows from them.

Cycles are simulated ones, of all runs of the script. Those in the column `-O0` are of the program
compiled without optimisations, which has to pass as well. Seconds are those of the longest call of
`cslc` and of `cs_python`: by the clock, and in brackets of the CPU (all cores together). Programs
that build their layout in the host script (`sdklayout`) compile within the run. The goals, by the
clock and with the simulator's kernels compiled before, are {compile_goal} s to compile and
{run_goal} s to run; *in time* says whether a row keeps them.

{load}
"""
TABLE_HEAD = """
## {repository}

{passed} of {total} pass; of the programs 1–{demanded}, {demanded_passed} of {demanded_total}.
{in_time} of these {demanded_total} are within the goals.
"""
COLUMNS = """
| # | program | arch | verdict | evidence | cycles | `-O0` | compile s | run s | in time | missing |
|---:|---|---|---|---|---:|---:|---:|---:|---|---|
"""
_IDLE = """The computer had {num_cores} cores and little else to do: its load average was {at_start}
before the first program, and at most {highest} between programs."""
_BUSY = """**The computer was busy with other things**: its load average was {at_start} before the
first program, and up to {highest} between programs, with {num_cores} cores. The seconds by the
clock are too high; those of the CPU are closer to what an idle computer takes."""


def write_page(path: Path, outcomes: Sequence[Outcome], load: Load, command: str) -> None:
    """Write the page: a table for each repository, in the order of `PROGRAMS`."""
    head = PAGE_HEAD.format(
        command=command,
        compile_goal=COMPILE_GOAL_SECONDS,
        run_goal=RUN_GOAL_SECONDS,
        load=(_BUSY if load.is_high else _IDLE).format(
            num_cores=load.num_cores, at_start=load.at_start, highest=load.highest
        ),
    )
    repositories = dict.fromkeys(outcome.repository for outcome in outcomes)
    tables = (
        _table(repository, [o for o in outcomes if o.repository == repository])
        for repository in repositories
    )
    path.write_text(head + "".join(tables), encoding="utf-8")


def _table(repository: str, outcomes: Sequence[Outcome]) -> str:
    optimised = [outcome for outcome in outcomes if outcome.is_optimised]
    others = {outcome.program: outcome for outcome in outcomes if not outcome.is_optimised}
    demanded = [outcome for outcome in optimised if 1 <= _number(outcome) <= NUM_DEMANDED]
    head = TABLE_HEAD.format(
        repository=repository,
        passed=sum(outcome.has_passed for outcome in optimised),
        total=len(optimised),
        demanded=NUM_DEMANDED,
        demanded_passed=sum(outcome.has_passed for outcome in demanded),
        demanded_total=len(demanded),
        in_time=sum(outcome.has_passed and not _too_slow(outcome) for outcome in demanded),
    )
    if others:
        passed = sum(outcome.has_passed for outcome in others.values())
        head += f"With `-O0`, {passed} of {len(others)} pass.\n"
    ordered = sorted(
        optimised, key=lambda outcome: (_number(outcome), outcome.example, outcome.arch)
    )
    rows = (_row(outcome, others.get(outcome.program)) for outcome in ordered)
    return head + COLUMNS + "".join(rows)


def _too_slow(outcome: Outcome) -> list[str]:
    """Return what took longer than its goal."""
    goals = (
        ("compile", outcome.compilation, COMPILE_GOAL_SECONDS),
        ("run", outcome.run, RUN_GOAL_SECONDS),
    )
    return [name for name, taken, goal in goals if taken is not None and taken.wall > goal]


def _number(outcome: Outcome) -> int:
    name = outcome.example.rsplit("/", 1)[-1]
    return PROGRAMS.index(name) if name in PROGRAMS else len(PROGRAMS)


def _row(outcome: Outcome, unoptimised: Outcome | None) -> str:
    number = _number(outcome)
    slow = " and ".join(_too_slow(outcome))
    is_timed = outcome.compilation is not None or outcome.run is not None
    cells = (
        str(number) if number < len(PROGRAMS) else "–",
        outcome.example.rsplit("/", 1)[-1],
        outcome.arch,
        outcome.verdict,
        " and ".join(outcome.evidence) or "none",
        _cycles(outcome),
        "–" if unoptimised is None else _of_unoptimised(unoptimised),
        _seconds(outcome.compilation),
        _seconds(outcome.run),
        (f"{slow} too slow" if slow else "yes") if is_timed else "–",
        _shorten(outcome.missing).replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |\n"


def _of_unoptimised(outcome: Outcome) -> str:
    """Return its cycles, or what keeps it from passing."""
    if outcome.has_passed:
        return _cycles(outcome)
    return f"{outcome.verdict}: {_shorten(outcome.missing)}".replace("|", "\\|")


def _cycles(outcome: Outcome) -> str:
    return "–" if outcome.cycles is None else f"{outcome.cycles:,}"


def _seconds(seconds: Seconds | None) -> str:
    return "–" if seconds is None else f"{seconds.wall:.1f} ({seconds.cpu:.1f})"


def _shorten(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
