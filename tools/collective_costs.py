"""Print what a call of each function of `<collectives_2d>` costs on a row of PEs, in Markdown.

    python tools/collective_costs.py [CHECKOUT]

A row of five PEs calls one function again and again; each call is made by the task that the one
before it activated, so that no PE waits for anything but its row. Two figures a row of the table:
the cycles from the first call to the last callback of it, when all PEs call in the same cycle, and
the cycles of a call when many follow each other (`sdk` timing).

With a checkout of csl-examples, what an all-reduce by the library in its `benchmark-libs` costs:
the greatest of a word of each PE, from a read of the cycle counter to the last PE's next one,
beside what a public study has of the vendor's simulator (SPIKE, see the validation page).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.validation.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

NUM_PES: Final = 5
NUM_CALLS: Final = 8
CALLS: Final = {
    "broadcast": "row.broadcast(root, &from, n, next_id)",
    "scatter": "row.scatter(root, &from, &to, n, next_id)",
    "gather": "row.gather(root, &from, &to, n, next_id)",
    "reduce_fadds": "row.reduce_fadds(root, @ptrcast([*]f32, &from), @ptrcast([*]f32, &to), "
    "n, next_id)",
}
LAYOUT: Final = """
param num_pes: u16;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = num_pes, .height = 1 });
const collectives = @import_module("<collectives_2d/params>");
layout {
  @set_rectangle(num_pes, 1);
  for (@range(u16, num_pes)) |x| {
    @set_tile_code(x, 0, "pe.csl", .{
      .memcpy_params = memcpy.get_params(x), .num_pes = num_pes,
      .axes = collectives.get_params(x, 0, .{
        .x_colors = .{ @get_color(0), @get_color(1) },
        .x_entrypoints = .{ @get_local_task_id(10), @get_local_task_id(11) } }) });
  }
  @export_name("main", fn(u16, u16, u16)void);
}
"""
PROGRAM: Final = """
param memcpy_params: comptime_struct;
param axes: comptime_struct;
param num_pes: u16;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
const timestamp = @import_module("<time>");
const row = @import_module("<collectives_2d/pe>", .{ .dim_params = axes.x });
const next_id = @get_local_task_id(14);
var from = @zeros([64 * num_pes]u32);
var to = @zeros([64 * num_pes]u32);
var read = @zeros([3]u16);
var root: u16;
var n: u16;
var num_left: u16;
fn call() void { CALL; }
task next() void {
  timestamp.get_timestamp(&read);
  num_left -= 1;
  if (num_left > 0) call() else sys_mod.unblock_cmd_stream();
}
fn main(chosen: u16, words: u16, calls: u16) void {
  root = chosen;
  n = words;
  num_left = calls;
  timestamp.enable_tsc();
  timestamp.get_timestamp(&read);
  call();
}
comptime { @bind_local_task(next, next_id); @export_symbol(main); }
"""


ALL_REDUCE: Final = {2: 735, 4: 874, 8: 1_282}
"""PEs a side → cycles on the vendor's simulator of the WSE-3."""
ALL_REDUCE_LAYOUT: Final = """
param size: i16;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = size, .height = size });
const reduce = @import_module("library_layout.csl", .{
  .colors = [1]color{ @get_color(0) }, .width = size, .height = size,
  .entrypoints = [4]local_task_id{ @get_local_task_id(10), @get_local_task_id(11),
                                   @get_local_task_id(12), @get_local_task_id(13) } });
layout {
  @set_rectangle(size, size);
  for (@range(i16, size)) |x| {
    for (@range(i16, size)) |y| {
      @set_tile_code(x, y, "pe.csl", .{
        .memcpy_params = memcpy.get_params(x), .reduce_params = reduce.get_params(x, y) });
    }
  }
  @export_name("main", fn()void);
}
"""
ALL_REDUCE_PROGRAM: Final = """
param memcpy_params: comptime_struct;
param reduce_params: comptime_struct;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
const timestamp = @import_module("<time>");
const reduce = @import_module("library.csl", @concat_structs(reduce_params, .{
  .f_callback = done, .queues = [1]u16{ 2 }, .dest_dsr_ids = [1]u16{ 1 },
  .src0_dsr_ids = [1]u16{ 1 }, .src1_dsr_ids = [1]u16{ 1 } }));
var x = @zeros([1]f32);
var read = @zeros([3]u16);
fn done() void {
  timestamp.get_timestamp(&read);
  sys_mod.unblock_cmd_stream();
}
fn main() void {
  timestamp.enable_tsc();
  timestamp.get_timestamp(&read);
  reduce.allreduce(1, &x, reduce.TYPE_BINARY_OP.MAX);
}
comptime { @export_symbol(main); }
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("checkout", nargs="?", type=Path, metavar="CHECKOUT")
    options = parser.parse_args(arguments)
    if options.checkout is None:
        _print_costs()
    else:
        _print_all_reduce(options.checkout / "benchmarks" / "benchmark-libs" / "allreduce")
    return 0


def _print_all_reduce(library: Path) -> None:
    print("| PEs | vendor's simulator, WSE-3 | WSE-3 | WSE-2 |")
    print("| --- | ---: | ---: | ---: |")
    for size, published in ALL_REDUCE.items():
        wse3, wse2 = (_all_reduce(library, machine, size) for machine in ("wse3", "wse2"))
        print(f"| {size}×{size} | {published:,} | {wse3:,} | {wse2:,} |")


def _all_reduce(library: Path, machine: str, size: int) -> int:
    files = {
        "layout.csl": ALL_REDUCE_LAYOUT,
        "pe.csl": ALL_REDUCE_PROGRAM,
        "library_layout.csl": (library / "layout.csl").read_text(encoding="utf-8"),
        "library.csl": (library / "pe.csl").read_text(encoding="utf-8"),
    }
    architecture = load_architecture(machine, profile="sdk")
    options = CompileOptions(
        entry="layout.csl", architecture=architecture, params={"size": str(size)}
    )
    run = Bench("fast").run_image(compile_program(options, MemoryFiles(files)), architecture)
    reads = [run.stopwatch.reads(x, y) for x in range(size) for y in range(size)]
    return max(cycles[-1] - cycles[0] for cycles in reads)


def _print_costs() -> None:
    columns = ("WSE-2: first call", "next ones", "WSE-3: first call", "next ones")
    print(f"| function | root | words | {' | '.join(columns)} |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for function in CALLS:
        for root, name in ((0, "first PE"), (NUM_PES // 2, "middle")):
            for num_words in (1, 64):
                figures = [
                    f"{first:,} | {later:,.0f}"
                    for first, later in (
                        costs_of(function, machine, root, num_words) for machine in ("wse2", "wse3")
                    )
                ]
                print(f"| {function} | {name} | {num_words} | {' | '.join(figures)} |")


def costs_of(function: str, machine: str, root: int, num_words: int) -> tuple[int, float]:
    """Return the cycles of the first call, and of one of those that follow."""
    architecture = load_architecture(machine, profile="sdk")
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": PROGRAM.replace("CALL", CALLS[function])})
    options = CompileOptions(
        entry="layout.csl", architecture=architecture, params={"num_pes": str(NUM_PES)}
    )
    image = compile_program(options, files)
    run = Bench("fast").run_image(image, architecture, (root, num_words, NUM_CALLS))
    reads = [run.stopwatch.reads(x) for x in range(NUM_PES)]
    first = max(cycles[1] - cycles[0] for cycles in reads)
    later = max((cycles[-1] - cycles[2]) / (NUM_CALLS - 2) for cycles in reads)
    return first, later


if __name__ == "__main__":
    sys.exit(main())
