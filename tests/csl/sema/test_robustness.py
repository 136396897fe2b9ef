"""Whatever the program, analysis ends with a program or with errors, never with an exception."""

from __future__ import annotations

import random
import re

import pytest

LAYOUT = """
param width: u16 = 2;
const red: color = @get_color(1);
const memcpy = @import_module("<memcpy/get_params>", .{ .width = width, .height = 1 });
layout {
  @set_rectangle(width, 1);
  for (@range(u16, width)) |x| {
    @set_tile_code(x, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(x), .id = x, .red = red });
  }
  @set_color_config(0, 0, red, .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ EAST } } });
  @set_color_config(1, 0, red, .{ .routes = .{ .rx = .{ WEST }, .tx = .{ RAMP } } });
  @export_name("a", [*]f32, true);
  @export_name("main", fn () void);
}
"""
PE = """
param memcpy_params: comptime_struct;
param id: u16;
param red: color;
const sys = @import_module("<memcpy/memcpy>", memcpy_params);
const E = enum(u16) { A, B };
const n: i16 = 6;
var a: [n]f32;
var m = @zeros([2, 3]f32);
var p: [*]f32 = &a;
var kind: E = E.A;
var v = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{n} -> a[i] });
const out = @get_dsd(fabout_dsd, .{ .fabric_color = red, .extent = 1, .output_queue = @get_output_queue(2) });
const next = @get_local_task_id(9);
fn scale(comptime k: i16, x: f32) f32 { return if (k == 1) x else x * 2.0; }
task step() void { sys.unblock_cmd_stream(); }
fn main() void {
  var s: f32 = 0.0;
  for (@range(i16, n)) |i| { s += a[i] * scale(2, m[1, 2]); }
  switch (kind) { E.A => s = 1.0, E.B => { a[0] = -s; } }
  while (s < 1.0) : (s += 1.0) { p[1] = @as(f32, id); }
  v = @increment_dsd_offset(v, 1, f32);
  if (id == 0 and s > 0.0) { @fmacs(v, v, v, s); }
  @fmovs(out, v, .{ .async = true, .activate = next });
}
comptime {
  @bind_local_task(step, next);
  @initialize_queue(@get_output_queue(2), .{ .color = red });
  @export_symbol(p, "a");
  @export_symbol(main);
}
"""
ATOMS = [
    "0",
    "-1",
    "1.5",
    "true",
    "{}",
    ".{}",
    "i16",
    "f32",
    "@get_color(1)",
    "comptime_int",
    "undefined",
    "(&a)",
    "[2]i16",
    "@zeros([2]f32)",
    "RAMP",
    "type",
    "700000",
    "(1/0)",
    ".{1,2}",
    ".{.a=1}",
    "@range(i16,3)",
    "step",
    "main",
    "v",
    "a",
    "a[0]",
    "p",
    "E",
    "E.A",
    "*f32",
    "[*]f32",
    "void",
    "i64",
    "@as(f16,0.1)",
    "@get_rectangle()",
    "@type_of(a)",
    "sys",
    "next",
    "out",
    "@get_dsr(dsr_dest,1)",
    "fn()void",
]
KEYWORDS = [
    "fn",
    "task",
    "const",
    "var",
    "param",
    "if",
    "else",
    "for",
    "while",
    "switch",
    "return",
    "layout",
    "comptime",
    "and",
    "or",
    "enum",
]
TOKEN = re.compile(r'"[^"]*"|@?\w+(?:\.\d+)?|\s+|.', re.DOTALL)


def _mutate(text, randomness):
    tokens = TOKEN.findall(text)
    words = [
        i for i, token in enumerate(tokens) if re.match(r'[@\w"]', token) and token not in KEYWORDS
    ]
    for _ in range(randomness.choice((1, 1, 2))):
        source = tokens[randomness.choice(words)]
        tokens[randomness.choice(words)] = randomness.choice((source, randomness.choice(ATOMS)))
    return "".join(tokens)


def test_the_program_is_right_as_it_is(analyze):
    result = analyze(LAYOUT, files={"pe.csl": PE})
    assert result.diagnostics == []
    assert len(result.program.instances) == 2


@pytest.mark.alternate
@pytest.mark.parametrize("seed", range(8))
def test_mutants_end_well(analyze, seed):
    randomness = random.Random(seed)  # noqa: S311 - mutants have to repeat
    for _ in range(40):
        layout, pe = LAYOUT, PE
        if randomness.random() < 0.3:
            layout = _mutate(layout, randomness)
        else:
            pe = _mutate(pe, randomness)
        arch = randomness.choice(("wse2", "wse3"))
        result = analyze(layout, files={"pe.csl": pe}, arch=arch, max_steps=5000)
        assert (result.program is None) == bool(result.errors)
