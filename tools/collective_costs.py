"""Print what a call of each function of `<collectives_2d>` costs on a row of PEs, in Markdown.

    python tools/collective_costs.py

A row of five PEs calls one function again and again; each call is made by the task that the one
before it activated, so that no PE waits for anything but its row. Two figures a row of the table:
the cycles from the first call to the last callback of it, when all PEs call in the same cycle, and
the cycles of a call when many follow each other (`sdk` timing).
"""

from __future__ import annotations

import sys
from typing import Final

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.validation.bench import Bench

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


def main() -> int:
    """Run the command line."""
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
    return 0


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
