"""Integers of up to 64 bits may be wherever a value may be, and hosts copy them as two words."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine
from tests.csl.exact_integers import I64
from tests.csl.library.one_pe import compile_pe, device_of
from tests.csl.one_task import START, run_program

PLACES = """
const pair = struct { first: i64, second: u16, third: u40 };
const either = extern union { whole: u64, words: [2]u32, half: i32 };
const bits = packed struct { low: u20, middle: i40, is_set: bool };
const kinds = enum(u40) { NEAR, FAR = 0x8000000000 };
var numbers = [4]i64{ 1, -2, 3, -4 };
var copies: [4]i64;
var pairs: [2]pair;
var one: u16 = 1;
var function: *const fn (i64, u16) i64 = &shifted;
var mixed: either;
var flags = [2]bits{ @bitcast(bits, @as(u61, 0)), @bitcast(bits, @as(u61, 0)) };
var kind = kinds.NEAR;
var out = @zeros([18]i64);

fn shifted(x: i64, by: u16) i64 { return x << by; }
fn swapped(p: pair) pair {
  return .{ .first = p.third, .second = p.second, .third = @as(u40, p.first) };
}
inline fn twice(x: anytype) @type_of(x) { return x + x; }
fn next(at: *i64) i64 { at.* += 1; return at.*; }
fn kept(x: i64) i64 { const p = &x; return p.* - 1; }
fn total(list: [*]i64, n: u64) i64 {
  var sum: i64 = 0;
  var i: u64 = 0;
  while (i < n) : (i += 1) {
    if (list[i] == -2) continue;
    sum += list[i];
  }
  return sum;
}

task main() void {
  copies = numbers;
  copies[one] *= 1 << 40;
  out[0] = copies[1];
  pairs[one] = pair{ .first = 1 << 36, .second = 2, .third = 0xffffffffff };
  pairs[0] = swapped(pairs[one]);
  out[1] = pairs[0].first + @as(i64, pairs[0].third) * 2;
  out[2] = function(numbers[2], 33 * one);
  mixed = .{ .whole = 0x100000002 };
  mixed.words[one] += 4;
  out[3] = @bitcast(i64, mixed.whole);
  flags[one].middle = -1 << 39;
  flags[one].middle -= 1;
  flags[one].is_set = flags[one].middle > 0x7fff;
  out[4] = @bitcast(i64, @as(u64, @bitcast(u61, flags[1])));
  kind = kinds.FAR;
  out[5] = if (kind == kinds.FAR) @as(i64, @as(u40, kind)) else 0;
  out[6] = total(&numbers, 4);
  out[7] = next(&out[7]) * 10 + next(&out[7]);
  out[8] = switch (numbers[one]) { -2 => twice(numbers[0]), 3, 4 => 7, else => 8 };
  out[9] = (search: {
    for (numbers) |n, i| {
      if (n > 1 << 1) { break :search n * 100 + @as(i64, i); }
    }
    break :search @as(i64, 0);
  });
  out[10] = kept(numbers[3]);
  var low = numbers[0] - numbers[1];
  const place = &low;
  place.* <<= 60;
  out[11] = low;
  for (@range(i64, 3, -3, -2)) |n| { out[12] = out[12] * 100 + n; }
  for (@range(u64, 1, 0xffffffffffffffff, 1 << 62)) |n| { out[16] += @as(i64, n); }
  for (@range(i64, -1 << 63, (1 << 63) - 1, 1)) |n| {
    if (n == (-1 << 63) + 4) break;
    out[17] = n;
  }
  copies = @constants([4]i64, numbers[2]);
  const known = [2]u64{ 1 << 63, 5 };
  out[13] = copies[one] + @bitcast(i64, known[one]);
  out[14] = if (one == 1 and numbers[0] < numbers[2]) ~numbers[0] else -numbers[0];
  const scaled: f32 = @as(f32, numbers[1]) * 1.5;
  out[15] = @as(i64, scaled) + @as(i64, numbers[0] == 1);
}
"""
IN_PLACES = (
    *(-2 << 40, (1 << 40) - 1 + (((1 << 36) & (1 << 40) - 1) << 1), 3 << 33, 0x5_0000_0002),
    *(
        (1 << 39) - 1 << 20 | 1 << 60,
        1 << 39,
        0,
        12,
        2,
        302,
        -5,
        3 << 60,
        30099,
        8,
        -2,
        -2,
        (6 << 62) + 4,
        (-1 << 63) + 3,
    ),
)


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_places_of_values(engine: str) -> None:
    (words,) = run_program(PLACES + START, engine, ("out",)).values()
    found = struct.unpack("<18q", struct.pack("<36I", *words))
    assert [hex(n) for n in found] == [hex(I64.wrap(n)) for n in IN_PLACES]


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_hosts_copy_pairs_of_words(engine: str) -> None:
    declarations = "var a = @zeros([3]u64);\nvar b = @zeros([3]i64);\n"
    body = "for (a) |x, i| { b[i] = @bitcast(i64, x * x) - 1; }"
    variables = {"a": "u64", "b": "i64"}
    device = device_of(compile_pe(body, declarations, variables=variables), engine=engine)
    numbers = np.array([0, 3, (1 << 33) + 5], "<u8")

    device.write("a", numbers.view("<u4").reshape(1, 1, 6))
    device.launch("run")

    found = device.read("b", 6).reshape(-1).astype("<u4").view("<i8")
    assert found.tolist() == [-1, 8, I64.wrap(((1 << 33) + 5) ** 2 - 1)]


def test_numbers_that_differ_between_pes() -> None:
    layout = """
layout {
  @set_rectangle(3, 1);
  for (@range(u16, 3)) |x| {
    const n = @as(i64, x) * 0x1234567890 - 0x2000000000;
    @set_tile_code(x, 0, "pe.csl", .{ .n = n, .count = @as(u64, x) << 5 });
  }
}"""
    program = f"""
param n: i64;
param count: u64;
var kept: i64 = n;
var sums = @zeros([2]i64);
var i: u16 = 1;
task main() void {{
  sums[i] = kept + n * 3 + (n >> count) + (n << count);
}}{START}"""
    architecture = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    image = compile_program(options, MemoryFiles({"layout.csl": layout, "pe.csl": program}))
    machine = Machine(image, architecture, engine="reference")
    machine.run(max_cycles=10_000)

    assert len(image.programs) == 1
    for x in range(3):
        n, symbol = x * 0x1234567890 - 0x2000000000, machine.symbol(x, 0, "sums")
        found = struct.unpack("<2q", machine.peek(x, 0, symbol.address, symbol.num_bytes))
        assert found == (0, I64.wrap(n * 4 + (n >> 32 * x) + (n << 32 * x)))
