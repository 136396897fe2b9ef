"""CSL programs that use switches, control tasks, filters, FIFOs and `@map`, compiled and run."""

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine

LAYOUT = """
const c = @get_color(3);
layout {
  @set_rectangle(%(width)s, 1);
  %(body)s
  @export_name("out", [*]u32, true);
  @export_name("main", fn () void);
}
"""
PE = """
param is_sender: bool;
const c = @get_color(3);
const oq = @get_output_queue(2);
const iq = @get_input_queue(2);
var result = @zeros([8]u32);
var ptr: [*]u32 = &result;
const sys = @import_module("<memcpy/memcpy>", .{});
const ctrl = @import_module("<control>");
const send = @get_dsd(fabout_dsd, .{ .fabric_color = c, .extent = 1, .output_queue = oq });
const send_control = @get_dsd(fabout_dsd,
  .{ .fabric_color = c, .extent = 1, .output_queue = oq, .control = true });
comptime {
  if (@is_arch("wse3")) @initialize_queue(oq, .{ .color = c });
  @initialize_queue(iq, .{ .color = c });
  @export_symbol(ptr, "out");
  @export_symbol(main);
}
"""


def run(arch, layout, code, *, width=2):
    """Compile, launch `main`, and return `result` of each PE."""
    architecture = load_architecture(arch)
    files = {"main.csl": LAYOUT % {"width": width, "body": layout}, "pe.csl": PE + code}
    options = CompileOptions(
        entry="main.csl", architecture=architecture, params={}, colors={}, uses_memcpy=True
    )
    image = compile_program(options, MemoryFiles(files))
    machine = Machine(image, architecture)
    machine.run()
    machine.launch("main")
    machine.run()
    found = []
    for x in range(width):
        address = machine.symbol(x, 0, "result").address
        found.append(np.frombuffer(machine.peek(x, 0, address, 32), np.uint32).tolist())
    return found


ROW = """
  for (@range(u16, WIDTH)) |x| { @set_tile_code(x, 0, "pe.csl", .{ .is_sender = x == 0 }); }
  @set_color_config(0, 0, c, .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ EAST } } });
"""


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_switch_filter_and_control_task(arch):
    """A control wavelet opens the way to the second receiver and tells the first that it did."""
    layout = (
        ROW.replace("WIDTH", "3")
        + """
      @set_color_config(1, 0, c, .{ .routes = .{ .rx = .{ WEST }, .tx = .{ RAMP } },
        .switches = .{ .pos1 = .{ .tx = EAST } } });
      @set_color_config(2, 0, c, .{ .routes = .{ .rx = .{ WEST }, .tx = .{ RAMP } },
        .filter = .{ .kind = .{ .range = true }, .min_idx = 2, .max_idx = 2 } });
    """
    )
    code = """
      const turned = @get_control_task_id(40);
      const data = if (@is_arch("wse2")) @get_data_task_id(c) else @get_data_task_id(iq);
      var n: u16 = 0;
      fn main() void {
        if (is_sender) {
          @mov32(send, 11);
          const word = ctrl.encode_single_payload(ctrl.opcode.SWITCH_ADV, false, turned, 7);
          @mov32(send_control, word);
          @mov32(send, (1 << 16) | 12);
          @mov32(send, (2 << 16) | 13);
        }
        sys.unblock_cmd_stream();
      }
      task got(word: u32) void { result[n] = word; n += 1; }
      task told(word: u16) void { result[7] = @as(u32, word); }
      comptime {
        if (!is_sender) {
          @bind_data_task(got, data);
          @bind_control_task(told, turned);
        }
      }
    """
    found = run(arch, layout, code, width=3)
    assert found == [[0] * 8, [11, 0, 0, 0, 0, 0, 0, 7], [2 << 16 | 13, *[0] * 7]]


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_fifo_between_two_operations(arch):
    """One operation adds on the way into the FIFO, the other takes out what the first put in."""
    layout = (
        ROW.replace("WIDTH", "2")
        + """
      @set_color_config(1, 0, c, .{ .routes = .{ .rx = .{ WEST }, .tx = .{ RAMP } } });
    """
    )
    code = """
      var ring = @zeros([2]u16);
      const fifo = @allocate_fifo(ring, .{ .activate_push = pushed });
      const receive = @get_dsd(fabin_dsd, .{ .fabric_color = c, .extent = 6, .input_queue = iq });
      const numbers = [6]u16{ 10, 20, 30, 40, 50, 60 };
      const memory = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{6} -> numbers[i] });
      const many = @get_dsd(fabout_dsd, .{ .fabric_color = c, .extent = 6, .output_queue = oq });
      var taken = @zeros([6]u16);
      const target = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{1} -> taken[i] });
      var count: u16 = 0;
      fn main() void {
        if (is_sender) {
          @mov16(many, memory);
        } else {
          @mov16(target, fifo); // finds it empty, so that the next element activates `pushed`
          @add16(fifo, receive, memory, .{ .async = true });
        }
        sys.unblock_cmd_stream();
      }
      task pushed() void {
        while (count < 6) : (count += 1) {
          @mov16(target, fifo);
          result[count] = @as(u32, taken[0]);
          if (taken[0] == 0) return;
          taken[0] = 0;
        }
      }
      comptime { @bind_local_task(pushed, @get_local_task_id(9)); }
    """
    found = run(arch, layout, code)
    assert found[1][:6] == [20, 40, 60, 80, 100, 120]


MAPS = """
  var numbers = [8]i16{ 1, -2, 3, -4, 5, -6, 7, -8 };
  var length: u16 = 5;
  var words = @zeros([8]u32);
  var from = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> numbers[i] });
  const backwards = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> numbers[7 - i] });
  const to = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> result[i] });
  const matrix = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> words[i] });
  var sum: u32 = 100;
  fn widened(x: i16, factor: i16) u32 { return @as(u32, @as(u16, x * factor)); }
  fn magnitude(x: i16) u32 { if (x < 0) return @as(u32, -x); return @as(u32, x); }
  fn added(x: i16, so_far: *u32) u32 { return so_far.* + @as(u32, x); }
  fn both(x: i16, y: i16) u32 {
    var s = x;
    for (@range(i16, 3)) |_| { s += y; }
    return @as(u32, s);
  }
"""


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("@map(widened, from, 2, to);", [2, 65532, 6, 65528, 10, 65524, 14, 65520]),
        ("@map(magnitude, from, to);", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("@map(magnitude, @set_dsd_length(from, length), to);", [1, 2, 3, 4, 5, 0, 0, 0]),
        ("@map(both, @set_dsd_length(from, length), @set_dsd_length(backwards, 2), to);",
         [2**32 - 23, 19, 0, 0, 0, 0, 0, 0]),
        ("@map(magnitude, @set_dsd_length(from, 0), to);", [0] * 8),
        ("@map(added, from, &sum, &result[1]);", [0, 92, 0, 0, 0, 0, 0, 0]),
    ],
)  # fmt: skip
def test_map(arch, statement, expected):
    """Elements go through the function in order, by their own strides, up to the shortest DSD."""
    code = f"""{MAPS}
      fn main() void {{ if (is_sender) {{ {statement} }} sys.unblock_cmd_stream(); }}
    """
    layout = '@set_tile_code(0, 0, "pe.csl", .{ .is_sender = true });'
    assert run(arch, layout, code, width=1) == [expected]


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_map_over_operations(arch):
    """A matrix-vector product: each round takes the next column of the matrix."""
    code = """
      var a = [12]f32{ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
      var x = [4]f32{ 1, 10, 100, 1000 };
      var y = @zeros([3]f32);
      const dest = @get_dsr(dsr_dest, 3);
      const src0 = @get_dsr(dsr_src0, 3);
      const src1 = @get_dsr(dsr_src1, 3);
      const column = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{3} -> a[i] });
      const vector = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> x[i] });
      const sums = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{3} -> y[i] });
      fn step(value: f32) void { @fmacs(dest, src0, src1, value); }
      fn main() void {
        @load_to_dsr(dest, sums, .{ .save_address = false });
        @load_to_dsr(src0, sums);
        @load_to_dsr(src1, column, .{ .save_address = true });
        @map(step, vector);
        for (@range(i16, 3)) |i| { result[i] = @bitcast(u32, y[i]); }
        sys.unblock_cmd_stream();
      }
    """
    layout = '@set_tile_code(0, 0, "pe.csl", .{ .is_sender = true });'
    (found,) = run(arch, layout, code, width=1)
    assert np.array(found[:3], np.uint32).view(np.float32).tolist() == [10741, 11852, 12963]
