"""Print the code of programs without and with the optimiser, and their cycles, in Markdown.

    python tools/code_sizes.py [CHECKOUT ...]

An empty program for memcpy and the GEMM of `onewafer validate` come first, then each benchmark of a
checkout of csl-examples or sdk-examples, as its script for the WSE-3 compiles it. A row is of the
tile program with the most code; bytes of the stack are in brackets. Without a checkout, the cycles
of some programs of `onewafer validate` follow.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.image import SectionKind, load
from onewafer.validation import FABRIC_CASES
from onewafer.validation.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EMPTY = {
    "layout.csl": """\
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 1, .height = 1 });
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(0) });
  @export_name("main", fn()void);
}
""",
    "pe.csl": """\
param memcpy_params: comptime_struct;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
fn main() void { sys_mod.unblock_cmd_stream(); }
comptime { @export_symbol(main); }
""",
}
SCRIPT = "commands_wse3.sh"
CASES = frozenset(
    (
        *("point-stencil-wse2-fitted", "point-stencil-wse3-fitted"),
        *("block-stencil-wse2", "block-stencil-wse3"),
        *("counter-start-sdk", "one-word-sdk", "counting-task-sdk", "gemm-wse2", "gemm-wse3"),
    )
)
"""Cases of `onewafer validate fabric` whose first point is small."""


@dataclass(frozen=True, slots=True)
class Example:
    """A program, the folder that it is compiled in, and its command line."""

    name: str
    folder: Path
    arguments: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    options = parser.parse_args(arguments)
    print("| program | `-O0`: code (stack) | default | code |")
    print("| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        examples = [*own_examples(Path(scratch))]
        examples += [e for checkout in options.checkouts for e in examples_of(checkout)]
        for example in examples:
            print(row_of(example, Path(scratch) / "out"))
    if not options.checkouts:
        _print_cycles()
    return 0


def _print_cycles() -> None:
    print("\n| program | point | `-O0` | default |")
    print("| --- | --- | ---: | ---: |")
    plain, optimized = (Bench("fast", optimizes=optimizes) for optimizes in (False, True))
    for case in FABRIC_CASES:
        if case.name in CASES:
            point = case.points[0]
            before, after = (case.measure(bench, *point.sizes) for bench in (plain, optimized))
            print(f"| {case.name} | {point.label} | {before:,.0f} | {after:,.0f} |")


def own_examples(scratch: Path) -> Iterator[Example]:
    """Yield the programs that need no checkout."""
    for name, text in EMPTY.items():
        (scratch / name).write_text(text, encoding="utf-8")
    common = ("--arch=wse3", "--memcpy", "--channels=1", "--fabric-offsets=4,1")
    yield Example("empty, with memcpy", scratch, (*common, "layout.csl"))
    programs = Path(str(resources.files("onewafer.validation.programs")))
    for size in (14, 46):
        params = f"--params=num_pes:4,block_size:{size}"
        name = f"gemm, 4×4 PEs, {size}×{size} tiles"
        yield Example(name, programs, (*common, params, "gemm.csl"))


def examples_of(checkout: Path) -> Iterator[Example]:
    """Yield the benchmarks of a checkout, with the command lines of their scripts."""
    for script in sorted(checkout.glob(f"benchmarks/*/{SCRIPT}")):
        text = script.read_text(encoding="utf-8").replace("\\\n", " ")
        found = re.search(r"^\s*cslc\s+(.*)$", text, re.MULTILINE)
        if found is not None:
            arguments = _without_output(shlex.split(found[1], comments=True))
            yield Example(script.parent.name, script.parent, arguments)


def _without_output(arguments: list[str]) -> tuple[str, ...]:
    kept = [*arguments]
    if "-o" in kept:
        place = kept.index("-o")
        del kept[place : place + 2]
    return tuple(a for a in kept if not a.startswith("-o="))


def row_of(example: Example, output: Path) -> str:
    """Return the row of a program."""
    plain, optimized = (_sizes(example, output, option) for option in (("-O0",), ()))
    if plain is None or optimized is None:
        shown = ["does not fit" if s is None else f"{s[0]:,} ({s[1]})" for s in (plain, optimized)]
        return f"| {example.name} | {shown[0]} | {shown[1]} | |"
    change = 100 * (optimized[0] / plain[0] - 1)
    return (
        f"| {example.name} | {plain[0]:,} ({plain[1]}) | {optimized[0]:,} ({optimized[1]}) "
        f"| {change:+.0f} % |"
    )


def _sizes(example: Example, output: Path, options: tuple[str, ...]) -> tuple[int, int] | None:
    """Return bytes of the code and of the stack, of the program with the most code."""
    cslc = Path(sys.executable).with_name("cslc")
    command = [str(cslc), *options, *example.arguments, "-o", str(output)]
    ended = subprocess.run(  # noqa: S603 - the scripts of examples, with our compiler
        command, cwd=example.folder, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        if "program-too-large" in ended.stderr:
            return None
        raise SystemExit(f"{shlex.join(command)}\n{ended.stderr}")
    programs = [
        {section.kind: section.num_bytes for section in program.sections}
        for program in load(output).programs
    ]
    return max((p.get(SectionKind.CODE, 0), p.get(SectionKind.STACK, 0)) for p in programs)


if __name__ == "__main__":
    raise SystemExit(main())
