"""The kernels of attention with their collectives on a rectangle, against the chained mirrors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device
from onewafer.mesh import functions
from onewafer.mesh.kernel_library import kernel_library
from tests.mesh.attention.attention_rectangle import Rectangle, Shape
from tests.mesh.one_pe import Array, declare
from tests.mesh.strategies import assert_same_bits

ROWS = 3
LAYOUT = """
param width: u16;
param height: u16;
const memcpy = @import_module("<memcpy/get_params>", .{ .width = width, .height = height });
const routes = @import_module("routes.csl", .{ .width = width, .height = height });
layout {
  @set_rectangle(width, height);
  for (@range(u16, height)) |y| {
    for (@range(u16, width)) |x| {
      @set_tile_code(x, y, "attend.csl", .{ .memcpy_params = memcpy.get_params(x),
        .x_role = routes.x_role(x), .y_role = routes.y_role(y), .size = width });
      routes.connect_pe(x, y);
    }
  }
  @export_name("queries", [*]ELEMENT, true);
  @export_name("keys", [*]ELEMENT, true);
  @export_name("values", [*]ELEMENT, true);
  @export_name("result", [*]ELEMENT, true);
  @export_name("attend", fn(u16, u16, f32)void);
}
"""
ATTEND = """
param memcpy_params: comptime_struct;
param x_role: comptime_struct;
param y_role: comptime_struct;
param size: u16;

const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
const layout_mod = @import_module("<layout>");
const step_id = @get_local_task_id(10);
const along_x = @import_module("collectives.csl", @concat_structs(x_role, .{
  .chain_queue = @get_input_queue(2), .multicast_queue = @get_input_queue(3),
  .send_queue = @get_output_queue(2), .chain_done = step_id, .done = step_id }));
const along_y = @import_module("collectives.csl", @concat_structs(y_role, .{
  .chain_queue = @get_input_queue(4), .multicast_queue = @get_input_queue(5),
  .send_queue = @get_output_queue(3), .chain_done = step_id, .done = step_id }));

const functions = @import_module("functions.csl");
const shares = @import_module("shares.csl");
const kv_append = @import_module("kv_append.csl", .{ .element = ELEMENT });
const scoring = @import_module("scores.csl", .{ .element = ELEMENT });
const softmax = @import_module("softmax.csl", .{ .exponential = functions.exponential });
const weighting = @import_module("values.csl", .{ .element = ELEMENT });

ARRAYS
var heads = @zeros([16]u16);
var lengths = @zeros([most_rows]u16);
const cached_values = @increment_dsd_offset(cache_dsd, width * capacity, ELEMENT);

var start: u16 = 0;
var rows: u16 = 0;
var slots: u16 = 0;
var factor: f32 = 0.0;
var phase: u16 = 0;

fn attend(first: u16, num_rows: u16, scale: f32) void {
  start = first;
  rows = num_rows;
  factor = scale;
  phase = 0;
  @activate(step_id);
}

fn score() void {
  const b = layout_mod.get_x_coord();
  const reach = if (is_causal) start + 1 else start + rows;
  shares.heads(&heads, layout_mod.get_y_coord(), width, head_dim, features);
  shares.lengths(&lengths, rows, reach, @as(u16, is_causal), b, size);
  slots = shares.slots(start + rows, b, size);
  kv_append.run(cache_dsd, keys_dsd, values_dsd, &heads, start, rows, width, capacity, b, size);
  scoring.run(scores_dsd, queries_dsd, cache_dsd, &heads, &lengths, rows, slots, num_heads, group,
              width, capacity);
}

task step() void {
  phase += 1;
  const num_scores = rows * num_heads * slots;
  const num_totals = rows * (most + group * width);
  if (phase == 1) {
    score();
  } else if (phase == 2 and slots > 0) {
    along_y.chain_reduce(@set_dsd_length(scores_dsd, num_scores), num_scores);
    return;
  } else if (phase == 3 and slots > 0) {
    along_y.broadcast(@set_dsd_length(scores_dsd, num_scores), num_scores);
    return;
  } else if (phase == 4) {
    softmax.maxima(maxima, scores_dsd, &heads, &lengths, rows, slots, num_heads, group, most,
                   factor);
    along_x.chain_max(@set_dsd_length(maxima_dsd, rows * most), rows * most);
    return;
  } else if (phase == 5) {
    along_x.broadcast(@set_dsd_length(maxima_dsd, rows * most), rows * most);
    return;
  } else if (phase == 6) {
    softmax.weights(totals, scores_dsd, maxima, &heads, &lengths, rows, slots, num_heads, group,
                    most, width);
    weighting.run(totals_dsd, scores_dsd, cached_values, &heads, &lengths, rows, slots, num_heads,
                  group, most, width, capacity);
    along_x.chain_reduce(@set_dsd_length(totals_dsd, num_totals), num_totals);
    return;
  } else if (phase == 7) {
    along_x.broadcast(@set_dsd_length(totals_dsd, num_totals), num_totals);
    return;
  } else if (phase == 8) {
    weighting.divide(result_dsd, totals, &heads, rows, group, most, width);
    sys_mod.unblock_cmd_stream();
    return;
  }
  @activate(step_id);
}

comptime {
  @bind_local_task(step, step_id);
  @export_symbol(queries);
  @export_symbol(keys);
  @export_symbol(values);
  @export_symbol(result);
  @export_symbol(attend);
}
"""


def load(shape: Shape, arch: str, element: str) -> Device:
    """Compile attention of that shape, features along y and positions along x."""
    constants = {
        "width": shape.width,
        "head_dim": shape.head_dim,
        "features": shape.features,
        "group": shape.group,
        "num_heads": shape.num_heads,
        "most": shape.most,
        "capacity": shape.capacity,
        "most_rows": ROWS,
    }
    text = [f"const {name}: u16 = {value};" for name, value in constants.items()]
    text.append(f"const is_causal = {str(shape.is_causal).lower()};")
    arrays = {
        "queries": Array(element, ROWS * shape.width * shape.group),
        "keys": Array(element, ROWS * shape.width),
        "values": Array(element, ROWS * shape.width),
        "result": Array(element, ROWS * shape.width * shape.group),
        "cache": Array(element, 2 * shape.width * shape.capacity),
        "scores": Array("f32", ROWS * shape.num_heads * shape.capacity),
        "maxima": Array("f32", ROWS * shape.most),
        "totals": Array("f32", ROWS * (shape.most + shape.group * shape.width)),
    }
    text.append(declare(arrays))
    files = {
        **kernel_library(),
        "layout.csl": LAYOUT.replace("ELEMENT", element),
        "attend.csl": ATTEND.replace("ARRAYS", "\n".join(text)).replace("ELEMENT", element),
    }
    architecture = load_architecture(arch)
    params = {"width": str(shape.num_b), "height": str(shape.num_a)}
    options = CompileOptions(entry="layout.csl", architecture=architecture, params=params)
    device = Device(compile_program(options, MemoryFiles(files)), architecture)
    device.load()
    return device


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize("element", ["f16", "f32"])
@pytest.mark.parametrize(
    "shape",
    [
        Shape(2, 2, 3, 4, 3, 3, is_causal=True),  # blocks begin and end inside heads; padding
        Shape(1, 3, 4, 1, 2, 4, is_causal=True),  # a head over all PEs
        Shape(4, 1, 2, 4, 4, 2, is_causal=False),  # two heads a PE
    ],
)
@pytest.mark.alternate(3)
def test_launches_extend_the_cache(shape, arch, element):
    device, dtype = load(shape, arch, element), np.dtype(f"f{int(element[1:]) // 8}").type
    rectangle = Rectangle(shape, dtype, functions.exponential)
    generator = np.random.default_rng(shape.width)
    ends = list(itertools.accumulate([1, 1, 3, 2], initial=0))
    for start, end in itertools.pairwise(ends):
        queries, keys, values = (
            generator.standard_normal((end - start, heads, shape.head_dim)).astype(dtype)
            for heads in (shape.num_heads, shape.kv_heads, shape.kv_heads)
        )
        blocks = shape.cut(queries, keys, values)
        for name, block in zip(("queries", "keys", "values"), blocks, strict=True):
            flat = block.reshape(shape.num_a, 1, -1)
            device.write(name, np.repeat(flat, shape.num_b, axis=1))
        device.launch("attend", start, end - start, 0.6)
        results = device.read("result", blocks[0][0].size)
        assert_same_bits(results, np.broadcast_to(results[:, :1], results.shape))
        actual = shape.join(results[:, 0].reshape(blocks[0].shape))
        assert_same_bits(actual, rectangle.launch(queries, keys, values, start, scale=0.6))
