"""`<memcpy>` as programs for SDK 2.10 use it: streams by the numbers of their colors."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import CompileError
from onewafer.host import MemcpyDataType, MemcpyOrder, SdkRuntime
from onewafer.image import save

LAYOUT = """
param to_device: i16;
param to_host: i16;
const memcpy = @import_module("<memcpy/get_params>", .{
  .width = 2, .height = 1, .MEMCPYH2D_1 = to_device, .MEMCPYD2H_1 = to_host });
layout {
  @set_rectangle(2, 1);
  const onward = @get_color(7);
  for (@range(i16, 2)) |x| {
    @set_tile_code(x, 0, "pe.csl", .{
      .memcpy_params = memcpy.get_params(x), .is_last = x == 1, .onward = onward });
  }
  @set_color_config(0, 0, onward, .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ EAST } } });
  @set_color_config(1, 0, onward, .{ .routes = .{ .rx = .{ WEST }, .tx = .{ RAMP } } });
  @export_name("relay", fn(n: i16)void);
}
"""
PE = """
param memcpy_params;
param is_last: bool;
param onward: color;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
const iq = @get_input_queue(2);
const oq = @get_output_queue(3);
const from = if (is_last) onward else @get_color(@bitcast(u16, sys_mod.MEMCPYH2D_1));
const in = @get_dsd(fabin_dsd, .{ .extent = 1, .input_queue = iq });

const one = [1]i16{ 1 };
const ones = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> one[0] });

fn relay(n: i16) void {
  const to = if (is_last) @get_color(@bitcast(u16, sys_mod.MEMCPYD2H_1)) else onward;
  const first = sys_mod.get_streaming_fabout_dsd(to, n, oq);
  @add16(first, @set_dsd_length(in, @as(u16, n)), 1);
  const known: i16 = 4; // so that the compiler knows the DSD, and its microthread
  const second = sys_mod.get_streaming_fabout_dsd(to, known, oq);
  if (is_last) { @mov16(second, ones, .{ .async = true }); }
  sys_mod.unblock_cmd_stream();
}
comptime {
  const to = if (is_last) @get_color(@bitcast(u16, sys_mod.MEMCPYD2H_1)) else onward;
  @comptime_assert(@type_of(sys_mod.MEMCPYD2H_1) == i16);
  @comptime_assert(@type_of(sys_mod.MEMCPYH2D_2) == void);
  @initialize_queue(iq, .{ .color = from });
  @initialize_queue(oq, if (@is_arch("wse3")) .{ .color = to } else .{});
  @export_symbol(relay);
}
"""


def compiled(arch, **params):
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": PE})
    options = CompileOptions(
        entry="layout.csl", architecture=load_architecture(arch), params=params
    )
    return compile_program(options, files)


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_streams_are_named_by_the_numbers_of_their_colors(arch, tmp_path):
    save(compiled(arch, to_device="0", to_host="1"), tmp_path)
    words, result = np.arange(5, dtype=np.uint32), np.zeros(9, np.uint32)
    options = {
        "data_type": MemcpyDataType.MEMCPY_16BIT,
        "order": MemcpyOrder.ROW_MAJOR,
        "streaming": True,
        "nonblock": True,
    }
    with SdkRuntime(tmp_path) as runtime:
        runtime.launch("relay", np.int16(5), nonblock=True)
        runtime.memcpy_h2d(0, words, 0, 0, 1, 1, 5, **options)
        runtime.memcpy_d2h(result, 1, 1, 0, 1, 1, 9, **options)
    assert result.tolist() == [2, 3, 4, 5, 6, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("number", "reason"), [("24", "id-out-of-range"), ("21", "belongs to memcpy")]
)
def test_number_that_no_stream_can_have_is_refused(number, reason):
    with pytest.raises(CompileError) as caught:
        compiled("wse3", to_device=number, to_host="1")
    assert reason in str(caught.value)
