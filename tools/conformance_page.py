"""docs/conformance.md: what `tools/conformance.py` found, one line a program and machine.

In: outcomes. Out: Markdown. Nothing on the page is written by hand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance import Outcome

PROGRAMS = tuple(  # 54 names in a list literal would be 54 lines
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
    spmv-hypersparse
    """.split()  # noqa: SIM905
)
"""The programs, easiest first: each needs little that those before it do not. Their numbers are
those of the page."""
_ASSERTION = re.compile(r"\bassert\b|\bassert_\w+\(|\.testing\.")
_RESULT = re.compile(r"memcpy_d2h|\.receive\(|read_symbol|read_trace|get_symbol")
"""Where a script gets hold of what was computed; what it asserts before is not about that."""
_FIRST_ERROR = re.compile(r"^(error\[.*|(?:\w+\.)*\w*(?:Error|Exception)\b.*)$", re.MULTILINE)
_MOST_LETTERS = 160
_HEAD = """# Conformance

Every program of a csl-examples checkout, unmodified, on each machine that it has a script for.
This page is written by

```
{command}
```

*Judged by*: `asserts`: the host script compares with what it computed itself, and raises where
they differ; `prints`: it says SUCCESS or PASS at the end; `moves data`: it measures only, so that
all that counts is that it ended and that data came back; `ends`: not even that; `compiles`: it is
no complete program.

Cycles are simulated ones, of all runs of the script. Seconds are those of one core of the computer
that wrote the page, with the simulator's kernels compiled before; they differ elsewhere.

{passed} of {total} pass.

| # | program | machine | verdict | judged by | cycles | compile s | run s | first thing missing |
|---:|---|---|---|---|---:|---:|---:|---|
"""


def judge_by(folder: Path, *, prints: bool, has_moved: bool) -> str:
    """Return what the verdict of a complete program rests on."""
    scripts = [path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*.py")]
    has_asserts = any(
        _ASSERTION.search(script, found.end())
        for script in scripts
        for found in [_RESULT.search(script)]
        if found
    )
    names = ["asserts"] * has_asserts + ["prints"] * prints
    return " and ".join(names) or ("moves data" if has_moved else "ends")


def first_missing(output: str) -> str:
    """Return the first error of an output, or its last line."""
    found = _FIRST_ERROR.search(output)
    lines = output.strip().splitlines() or ["(no output)"]
    text = found[1].strip() if found else lines[-1]
    if found and text.endswith(":"):  # NumPy says on the next line what differs
        text = " ".join([text, *output[found.end() :].strip().splitlines()[:1]])
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"


def write_page(path: Path, outcomes: Sequence[Outcome], command: str) -> None:
    """Write the page, in the order of `PROGRAMS`."""
    ordered = sorted(
        outcomes, key=lambda outcome: (_number(outcome), outcome.example, outcome.arch)
    )
    passed = sum(outcome.has_passed for outcome in outcomes)
    text = _HEAD.format(command=command, passed=passed, total=len(outcomes))
    path.write_text(text + "".join(map(_row, ordered)), encoding="utf-8")


def _number(outcome: Outcome) -> int:
    name = outcome.example.rsplit("/", 1)[-1]
    return PROGRAMS.index(name) if name in PROGRAMS else len(PROGRAMS)


def _row(outcome: Outcome) -> str:
    number = _number(outcome)
    cells = (
        str(number) if number < len(PROGRAMS) else "–",
        outcome.example.rsplit("/", 1)[-1],
        outcome.arch,
        outcome.verdict,
        outcome.judged_by,
        "–" if outcome.cycles is None else f"{outcome.cycles:,}",
        _seconds(outcome.compile_seconds),
        _seconds(outcome.run_seconds),
        "" if outcome.has_passed else first_missing(outcome.output).replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |\n"


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f}"
