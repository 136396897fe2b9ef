"""`redistribute.csl` alone, on one PE that takes the place of any other."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device
from onewafer.mesh.kernel_library import kernel_library
from tests.mesh.strategies import assert_same_bits

WSE3 = load_architecture("wse3")
ROWS, MOST_COLUMNS = 2, 2200

LAYOUT = """
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 1, .height = 1 });
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "alone.csl", .{ .memcpy_params = memcpy.get_params(0) });
  @export_name("sums", [*]f32, true);
  @export_name("input", [*]f32, true);
  @export_name("redistribute", fn(u16, u16, u16, u16)void);
}
"""
ALONE = """
param memcpy_params: comptime_struct;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
const kernel = @import_module("redistribute.csl", .{ .element = f32 });
const rows: u16 = ROWS;
var sums_array = @zeros([ROWS * COLUMNS]f32);
var input_array = @zeros([ROWS * COLUMNS]f32);
const sums: [*]f32 = &sums_array;
const input: [*]f32 = &input_array;
const sums_dsd = @get_dsd(mem1d_dsd, .{ .base_address = &sums_array, .extent = 1 });
const input_dsd = @get_dsd(mem1d_dsd, .{ .base_address = &input_array, .extent = 1 });

fn redistribute(columns: u16, inner: u16, to: u16, from: u16) void {
  kernel.run(@set_dsd_length(sums_dsd, rows * columns), @set_dsd_length(input_dsd, inner),
             rows, columns, inner, to, from);
  sys_mod.unblock_cmd_stream();
}

comptime {
  @export_symbol(sums);
  @export_symbol(input);
  @export_symbol(redistribute);
}
"""


@pytest.fixture(scope="module")
def device():
    alone = ALONE.replace("ROWS", str(ROWS)).replace("COLUMNS", str(MOST_COLUMNS))
    files = MemoryFiles({"layout.csl": LAYOUT, "alone.csl": alone, **kernel_library()})
    options = CompileOptions(entry="layout.csl", architecture=WSE3)
    device = Device(compile_program(options, files), WSE3)
    device.load()
    return device


@pytest.mark.parametrize(
    ("columns", "inner", "to", "from_"),
    [
        (4, 4, 1, 1),
        (4, 3, 1, 1),  # begins and ends inside
        (3, 7, 2, 0),  # the result's last column lies beyond the input's block
        (9, 2, 0, 3),  # whole input inside the result
        (4, 4, 0, 1),  # neighbours, nothing shared
        (4, 5, 7, 2),  # far apart
        (5, 4, 1, 9),
        (2200, 2111, 600, 625),  # features around 1.3 million
        (2200, 2111, 600, 4),  # alike in their low 16 bits only
    ],
)
def test_shared_features_are_copied(device, columns, inner, to, from_):
    numbers = np.arange(1, ROWS * inner + 1, dtype=np.float32).reshape(ROWS, inner)
    expected = np.full((ROWS, columns), -0.0, np.float32)
    for column in range(columns):
        held = to * columns + column - from_ * inner
        if 0 <= held < inner:
            expected[:, column] = numbers[:, held]
    array = np.zeros((1, 1, ROWS * MOST_COLUMNS), np.float32)
    array[..., : numbers.size] = numbers.reshape(-1)
    device.write("input", array)
    device.launch("redistribute", columns, inner, to, from_)
    sums = device.read("sums", ROWS * MOST_COLUMNS)
    assert_same_bits(sums[0, 0, : expected.size], expected.reshape(-1))
