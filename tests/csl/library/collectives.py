"""A program that runs schedules of collectives on both axes at once, and what must come of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_WORDS = 400
MAX_ENTRIES = 4
OPERATIONS = ("broadcast", "scatter", "gather", "reduce_fadds")
LAYOUT = """
param width: u16;
param height: u16;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = width, .height = height });
const c2d = @import_module("<collectives_2d/params>");
layout {
  @set_rectangle(width, height);
  for (@range(u16, width)) |x| {
    for (@range(u16, height)) |y| {
      @set_tile_code(x, y, "pe.csl", .{
        .memcpy_params = memcpy.get_params(x),
        .c2d_params = c2d.get_params(x, y, .{
          .x_colors      = .{ @get_color(0), @get_color(1) },
          .x_entrypoints = .{ @get_local_task_id(10), @get_local_task_id(11) },
          .y_colors      = .{ @get_color(4), @get_color(5) },
          .y_entrypoints = .{ @get_local_task_id(12), @get_local_task_id(13) } }) });
    }
  }
  @export_name("x_from", [*]u32, true);
  @export_name("x_to", [*]u32, true);
  @export_name("x_schedule", [*]u16, true);
  @export_name("y_from", [*]u32, true);
  @export_name("y_to", [*]u32, true);
  @export_name("y_schedule", [*]u16, true);
  @export_name("run", fn(u16)void);
}
"""
PROGRAM = """
param memcpy_params: comptime_struct;
param c2d_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const x_axis = @import_module("axis.csl", .{
  .dim_params = c2d_params.x, .next_id = @get_local_task_id(14), .finish = finish });
const y_axis = @import_module("axis.csl", .{
  .dim_params = c2d_params.y, .next_id = @get_local_task_id(15), .finish = finish });
var x_from: [*]u32 = &x_axis.from;
var x_to: [*]u32 = &x_axis.to;
var x_schedule: [*]u16 = &x_axis.schedule;
var y_from: [*]u32 = &y_axis.from;
var y_to: [*]u32 = &y_axis.to;
var y_schedule: [*]u16 = &y_axis.schedule;
var num_running: u16 = 0;
fn finish() void {
  num_running -= 1;
  if (num_running == 0) system.unblock_cmd_stream();
}
fn run(num_entries: u16) void {
  num_running = 2;
  x_axis.start(num_entries);
  y_axis.start(num_entries);
}
comptime {
  @export_symbol(x_from);
  @export_symbol(x_to);
  @export_symbol(x_schedule);
  @export_symbol(y_from);
  @export_symbol(y_to);
  @export_symbol(y_schedule);
  @export_symbol(run);
}
"""
AXIS = """
param dim_params: comptime_struct;
param next_id: local_task_id;
param finish: fn()void;
const mpi = @import_module("<collectives_2d/pe>", .{ .dim_params = dim_params });
var from: [NUM_WORDS]u32;
var to: [NUM_WORDS]u32;
var schedule: [NUM_ENTRIES]u16; // operation, root, words, cycles of delay (about 10 each)
var entry: u16;
var num_entries: u16;
fn start(n: u16) void {
  mpi.init();
  entry = 0;
  num_entries = n;
  @activate(next_id);
}
task next() void {
  if (entry == num_entries) {
    finish();
    return;
  }
  const at = entry * 4;
  entry += 1;
  var delay = schedule[at + 3];
  while (delay > 0) : (delay -= 1) {}
  const root = schedule[at + 1];
  const n = schedule[at + 2];
  switch (schedule[at]) {
    0 => mpi.broadcast(root, &from, n, next_id),
    1 => mpi.scatter(root, &from, &to, n, next_id),
    2 => mpi.gather(root, &from, &to, n, next_id),
    else => mpi.reduce_fadds(root, @ptrcast([*]f32, &from), @ptrcast([*]f32, &to), n, next_id),
  }
}
comptime {
  @bind_local_task(next, next_id);
}
""".replace("NUM_WORDS", str(NUM_WORDS)).replace("NUM_ENTRIES", str(4 * MAX_ENTRIES))


@dataclass(frozen=True, slots=True)
class Entry:
    """One collective of a schedule."""

    operation: int
    """Index into `OPERATIONS`."""
    root: int
    num_words: int


@cache
def device_of(architecture: str, width: int, height: int) -> Device:
    """Return a machine with the program loaded."""
    machine = load_architecture(architecture)
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": PROGRAM, "axis.csl": AXIS})
    params = {"width": str(width), "height": str(height)}
    options = CompileOptions(entry="layout.csl", architecture=machine, params=params)
    device = Device(compile_program(options, files), machine)
    device.load()
    return device


def numpy_result(
    schedule: tuple[Entry, ...], words: NDArray[np.uint32]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return what `from` and `to` hold at the end; `words` is `[lines, PEs of the axis, words]`."""
    source, target = words.copy(), np.zeros_like(words)
    for step in schedule:
        root, n = step.root, step.num_words
        num_pes = source.shape[1]
        match OPERATIONS[step.operation]:
            case "broadcast":
                source[:, :, :n] = source[:, root : root + 1, :n]
            case "scatter":
                blocks = source[:, root, : n * num_pes].reshape(len(source), num_pes, n)
                target[:, :, :n] = blocks
            case "gather":
                blocks = source[:, :, :n].reshape(len(source), num_pes * n)
                target[:, root, : n * num_pes] = blocks
            case _:
                total = source[:, :, :n].view(np.float32).sum(1, dtype=np.float32)
                target[:, root, :n] = total.view(np.uint32)
    return source, target
