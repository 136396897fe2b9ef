"""`chain_max` of `kernels/collectives.csl` on a row of PEs."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device
from onewafer.mesh import arithmetic
from onewafer.mesh.emit_csl import kernel_library
from tests.mesh.strategies import assert_same_bits

LENGTH = 12
LAYOUT = """
param width: u16;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = width, .height = 1 });
const routes = @import_module("routes.csl", .{ .width = width, .height = 1 });
layout {
  @set_rectangle(width, 1);
  for (@range(u16, width)) |x| {
    @set_tile_code(x, 0, "row.csl", .{
      .memcpy_params = memcpy.get_params(x), .role = routes.x_role(x) });
    routes.connect_pe(x, 0);
  }
  @export_name("values", [*]f32, true);
  @export_name("largest", fn()void);
}
"""
ROW = """
param memcpy_params: comptime_struct;
param role: comptime_struct;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
const broadcast_id = @get_local_task_id(10);
const end_id = @get_local_task_id(11);
const queues = .{ .chain_queue = @get_input_queue(2), .multicast_queue = @get_input_queue(3),
                  .send_queue = @get_output_queue(2), .done = broadcast_id };
const row = @import_module("collectives.csl", @concat_structs(role, queues));
var values_array = @zeros([LENGTH]f32);
const values: [*]f32 = &values_array;
const values_dsd = @get_dsd(mem1d_dsd, .{ .base_address = &values_array, .extent = LENGTH });
var num_steps: u16 = 0;
fn largest() void {
  num_steps = 0;
  row.chain_max(values_dsd, LENGTH);
}
task next() void {
  num_steps += 1;
  if (num_steps == 1) {
    row.broadcast(values_dsd, LENGTH);
  } else {
    sys_mod.unblock_cmd_stream();
  }
}
comptime {
  @bind_local_task(next, broadcast_id);
  @export_symbol(values);
  @export_symbol(largest);
}
"""


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize("width", [2, 5])
def test_every_pe_gets_the_maximum(arch, width):
    architecture = load_architecture(arch)
    files = {"layout.csl": LAYOUT, "row.csl": ROW.replace("LENGTH", str(LENGTH))}
    options = CompileOptions(
        entry="layout.csl", architecture=architecture, params={"width": str(width)}
    )
    image = compile_program(options, MemoryFiles({**kernel_library(), **files}))
    device = Device(image, architecture)
    device.load()
    generator = np.random.default_rng(width)
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1.5, -2.5, 1e-45, np.nan], np.float32)
    for _ in range(3):
        values = generator.choice(special, (1, width, LENGTH), p=[0.2, 0.3, *[0.08] * 5, 0.1])
        device.write("values", values)
        device.launch("largest")
        expected = values[0, -1]
        for x in range(width - 2, -1, -1):
            expected = arithmetic.maximum(values[0, x], expected)
        actual = device.read("values", LENGTH)
        assert_same_bits(actual, np.broadcast_to(expected, actual.shape))
        reordered = np.max(values[0], axis=0)  # the order does not matter
        np.testing.assert_array_equal(expected, reordered)
