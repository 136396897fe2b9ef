"""`<kernels/tally>`: the callback comes once, when all have signalled and the sum is enough."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device

LAYOUT = """
param width: u16;
param height: u16;
param enough: u32;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = width, .height = height });
const tally = @import_module("<kernels/tally/layout>", .{
  .kernel_height = height, .kernel_width = width, .phase2_tally = enough,
  .colors = [3]color{ @get_color(1), @get_color(2), @get_color(3) },
  .output_color = @get_color(4) });
layout {
  @set_rectangle(width, height);
  for (@range(u16, width)) |x| {
    for (@range(u16, height)) |y| {
      @set_tile_code(x, y, "pe.csl", .{
        .memcpy_params = memcpy.get_params(x), .tally_params = tally.get_params(x, y) });
    }
  }
  @export_name("bumps", [*]u16, true);
  @export_name("delays", [*]u16, true);
  @export_name("told", [*]u32, false);
  @export_name("run", fn()void);
}
"""
PROGRAM = """
param memcpy_params: comptime_struct;
param tally_params: comptime_struct;
const system = @import_module("<memcpy/memcpy>", memcpy_params);
const callback_id = @get_local_task_id(20);
const tally = @import_module("<kernels/tally/pe>", PARAMS);
var bumps: [2]u16; // before and after the completion
var delays: [2]u16;
var told: [2]u32; // how often, and the sum
var bumps_pointer: [*]u16 = &bumps;
var delays_pointer: [*]u16 = &delays;
var told_pointer: [*]const u32 = &told;
fn count(n: u16, delay: u16) void {
  var rest = delay;
  while (rest > 0) : (rest -= 1) {}
  for (@range(u16, n)) |_| {
    tally.bump_tally(1);
  }
}
fn run() void {
  count(bumps[0], delays[0]);
  tally.signal_completion();
  count(bumps[1], delays[1]);
  tally.signal_completion();
  system.unblock_cmd_stream();
}
task over() void {
  told[0] += 1;
  told[1] = tally.local_tally;
}
comptime {
  @bind_local_task(over, callback_id);
  @export_symbol(bumps_pointer, "bumps");
  @export_symbol(delays_pointer, "delays");
  @export_symbol(told_pointer, "told");
  @export_symbol(run);
}
"""


QUEUES = ".input_queues = [2]u16{ 2, 3 }, .output_queues = [2]u16{ 2, 3 }"
IN_ONE = f".{{ .tally_params = tally_params, {QUEUES} CALLBACK }}"
APART = f"@concat_structs(tally_params, .{{ {QUEUES} CALLBACK }})"


def device_of(arch, width, height, enough, *, callback=", .callback = callback_id", params=IN_ONE):
    machine = load_architecture(arch)
    program = PROGRAM.replace("PARAMS", params.replace("CALLBACK", callback))
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": program})
    given = {"width": str(width), "height": str(height), "enough": str(enough)}
    options = CompileOptions(entry="layout.csl", architecture=machine, params=given)
    device = Device(compile_program(options, files), machine, engine="reference")
    device.load()
    return device


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 1), (1, 4), (4, 3)])
def test_callback_comes_once_with_the_sum(arch, width, height):
    rng = np.random.default_rng(width)
    bumps = rng.integers(0, 5, (height, width, 2)).astype(np.uint16)
    bumps[-1, 0] = 1
    device = device_of(arch, width, height, bumps.sum())
    device.write("bumps", bumps)
    device.write("delays", rng.integers(0, 60, bumps.shape).astype(np.uint16))
    device.launch("run")
    told = device.read("told", 2)
    assert told[0, -1].tolist() == [1, bumps.sum()]
    assert told.sum() == 1 + bumps.sum()


def test_without_a_second_phase_all_completions_count():
    device = device_of("wse2", 3, 2, 0)
    device.launch("run")
    assert device.read("told", 2)[0, -1].tolist() == [1, 0]


def test_params_of_the_layout_may_be_params_of_their_own():
    device = device_of("wse2", 2, 2, 0, params=APART)
    device.launch("run")
    assert device.read("told", 2)[0, -1].tolist() == [1, 0]


def test_too_small_a_sum_is_not_over():
    device = device_of("wse2", 3, 2, 7)
    device.write("bumps", np.ones((2, 3, 2), np.uint16) * np.array([1, 0], np.uint16))
    device.launch("run")
    assert device.read("told", 2)[0, -1].tolist() == [0, 0]


def test_without_a_callback_the_sum_leaves_the_rectangle():
    """The sum is gone there: nothing waits for it."""
    device_of("wse2", 2, 2, 0, callback="").launch("run")
