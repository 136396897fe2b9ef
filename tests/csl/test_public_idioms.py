"""What public programs write, from compilation to results on both engines."""

from __future__ import annotations

import struct

import pytest

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.image import ScalarType
from onewafer.simulator import Machine


def run(engine: str, layout: str, source: str, *, shared: str = "", **params: str) -> Machine:
    architecture = load_architecture("wse3")
    options = CompileOptions(
        entry="layout.csl", architecture=architecture, uses_memcpy=False, params=params
    )
    files = {"layout.csl": layout, "pe.csl": source, "shared.csl": shared}
    image = compile_program(options, MemoryFiles(files))
    machine = Machine(image, architecture, engine=engine)
    machine.run(max_cycles=100_000)
    return machine


LAYOUT = """
param bridge: i16;
layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{ .is_bridge = bridge > 0 }); }
"""
COLOR_OF_FUNCTION = """
param is_bridge: bool;
const iq = @get_input_queue(2);
const unused = @get_input_queue(3);
const oq = @get_output_queue(2);
var got: [1]u32;
fn own_color() color {
  if (is_bridge) {
    return @get_color(5);
  }
  return @get_color(6);
}
task receive(word: u32) void { got[0] = word; }
task nobody(word: u32) void { got[0] = 0; }
task main() void {
  const out = @get_dsd(fabout_dsd, .{
    .extent = 1, .fabric_color = own_color(), .output_queue = oq });
  @mov32(out, 7);
}
comptime {
  @bind_local_task(main, @get_local_task_id(9));
  @activate(@get_local_task_id(9));
  @bind_data_task(receive, @get_data_task_id(iq));
  @bind_data_task(nobody, @get_data_task_id(unused));
  @initialize_queue(oq, .{ .color = own_color() });
  @initialize_queue(iq, .{ .color = own_color() });
  @set_local_color_config(own_color(), .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ RAMP } } });
}
"""


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("bridge", ["0", "1"])
def test_function_may_choose_a_color_and_tasks_may_be_left_out(engine: str, bridge: str) -> None:
    machine = run(engine, LAYOUT, COLOR_OF_FUNCTION, bridge=bridge)
    assert struct.unpack("<I", machine.peek(0, 0, machine.symbol(0, 0, "got").address, 4)) == (7,)


STRUCTS_FOR_THE_HOST = """
const Triplet = struct { i: u16, j: u16, x: f32 };
var a = @zeros([2]Triplet);
var first: [*]Triplet = &a;
comptime { @export_symbol(first, "a"); }
"""


def test_pointers_to_structs_are_words_for_the_host() -> None:
    layout = """
    const Triplet = struct { i: u16, j: u16, x: f32 };
    const Odd = struct { i: u16, j: u16, k: u16 };
    layout {
      @set_rectangle(1, 1);
      @set_tile_code(0, 0, "pe.csl", .{});
      @export_name("a", [*]Triplet, true);
      @export_name("nowhere", [*]Odd, true);
    }
    """
    options = CompileOptions(
        entry="layout.csl", architecture=load_architecture("wse3"), uses_memcpy=False
    )
    files = MemoryFiles({"layout.csl": layout, "pe.csl": STRUCTS_FOR_THE_HOST})
    (export,) = compile_program(options, files).exports
    assert (export.name, export.element) == ("a", ScalarType.U32)


STRUCT_STATEMENTS = """
var calls = @zeros([3]u32);
fn f(n: u32) u32 { calls[n] += 1; return n; }
const Pair = struct { a: u32, b: u32 };
task main() void {
  .{ .x = f(0) };
  Pair{ .a = f(1), .b = 1 };
  [1]u32{ f(2) };
}
comptime {
  @bind_local_task(main, @get_local_task_id(9));
  @activate(@get_local_task_id(9));
}
"""


def test_calls_of_values_that_nobody_uses_are_made() -> None:
    layout = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }'
    machine = run("reference", layout, STRUCT_STATEMENTS)
    place = machine.symbol(0, 0, "calls").address
    assert struct.unpack("<3I", machine.peek(0, 0, place, 12)) == (1, 1, 1)


KNOWN_AND_EXPORTED = """
const shared = @import_module("shared.csl");
extern const table: [4]i16;
var same_place: bool;
fn sum(n: i16) i16 { return n + shared.table[shared.N - 2]; }
var total: [shared.N]i16;
task main() void {
  if (shared.N != 4) @comptime_assert(false);
  total[0] = sum(table[0]);
  same_place = &table == &shared.table;
}
comptime {
  @comptime_assert(shared.table[3] == 8);
  @bind_local_task(main, @get_local_task_id(9));
  @activate(@get_local_task_id(9));
}
"""


def test_exported_constants_are_known_to_the_compiler_and_lie_in_memory() -> None:
    shared = "export const N: i16 = 4;\nexport const table = [N]i16{ 5, 6, 7, 8 };\n"
    layout = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl"); }'
    machine = run("reference", layout, KNOWN_AND_EXPORTED, shared=shared)

    def words(name: str, count: int) -> tuple[int, ...]:
        symbol = machine.symbol(0, 0, name)
        return struct.unpack(f"<{count}h", machine.peek(0, 0, symbol.address, 2 * count))

    assert words("N", 1) == (4,)
    assert words("table", 4) == (5, 6, 7, 8)
    assert words("total", 4)[0] == 5 + 7
    assert words("same_place", 1) == (1,)


PRINTED_BY_A_COMPILER = """
const const3 : i16 = 3;
const fields = .{
  .N = const3,
};
const lib : imported_module = @import_module("shared.csl", fields);
var table : [const3]i16 = @zeros([const3]i16);
var pointer : [*]i16 = &table;
const callback : *const fn(i16) void = &receive0;

fn receive0(offset : i16) void {
  const n : i16 = 2;
  const address : *const i16 = &n;
  const part : mem4d_dsd = @get_dsd( mem4d_dsd, .{
    .tensor_access = | d0, d1 | { n, const3 } -> table[ d1 ]
  });
  @add16(part, part, @as(i16, @as(i32, offset)));
  pointer[@as(i32, 0)] = ((pointer[0]) + (address.*));
  return;
}

task main() void {
  lib.communicate(callback);
  return;
}
comptime {
  @bind_local_task(main, @get_local_task_id(9), );
  @activate(@get_local_task_id(9));
}
"""


def test_text_of_a_compiler_that_writes_csl() -> None:
    """Compilers name every value, annotate every type, and take addresses of constants."""
    shared = "param N: i16; fn communicate(f: *const fn(i16)void) void { f(N + 4); }"
    layout = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", ); }'
    machine = run("reference", layout, PRINTED_BY_A_COMPILER, shared=shared)
    place = machine.symbol(0, 0, "table").address
    assert struct.unpack("<3h", machine.peek(0, 0, place, 6)) == (16, 14, 14)
