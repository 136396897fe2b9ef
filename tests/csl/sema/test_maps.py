"""`@map`: what stands in the loop, and what is computed once."""

from __future__ import annotations

import pytest

DECLARED = """
var a = @zeros([8]f32); var b = @zeros([8]f32); var n = @zeros([8]i16); var total: i16 = 0; var k: u16 = 3;
const da = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> a[i] });
const db = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{6} -> b[i] });
const dn = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> n[i] });
const d4 = @get_dsd(mem4d_dsd, .{ .tensor_access = |i, j|{2, 4} -> a[i * 4 + j] });
const fifo = @allocate_fifo(a);
const r = @get_dsr(dsr_src1, 1);
const in = @get_dsd(fabin_dsd, .{
  .fabric_color = @get_color(1), .extent = 5, .input_queue = @get_input_queue(2) });
const out = @get_dsd(fabout_dsd, .{
  .fabric_color = @get_color(1), .extent = 4, .output_queue = @get_output_queue(2) });
fn twice(x: f32) f32 { return x + x; }
fn scaled(x: f32, factor: f32, y: f32) f32 { var p = x * factor; return p + y; }
fn sum(x: i16, so_far: *i16) i16 { return so_far.* + x; }
fn note(x: i16) void { total = x; }
fn clipped(x: f32) f32 { if (x > 1.0) return 1.0; return x; }
fn positive(x: i16) void { if (x < 0) return; total += x; }
fn any(x: anytype) void { total = 1; }
fn step(x: f32) void { @fmacs(da, da, db, x); }
fn get() *i16 { return &total; }
task job() void {}
"""


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        ("@map(twice, da, db);",
         ["map x ← (&a, 8u16, 1i16), result → (&b, 6u16, 1i16)", "  result = (x ADD.f32 x)"]),
        ("@map(note, dn);", ["map x ← (&n, 8u16, 1i16)", "  [&total] = x"]),
        ("@map(sum, dn, &total, &total);",
         ["so_far = &total", "map x ← (&n, 8u16, 1i16)", "  result = ([so_far] ADD.i16 x)", "  [&total] = result"]),
        ("@map(clipped, da, db);",
         ["map x ← (&a, 8u16, 1i16), result → (&b, 6u16, 1i16)", "  result = clipped(x)"]),
        ("@map(positive, dn);", ["map x ← (&n, 8u16, 1i16)", "  positive(x)"]),
        ("@map(sum, dn, get(), get());",
         ["so_far = get()", "output = get()", "map x ← (&n, 8u16, 1i16)",
          "  result = ([so_far] ADD.i16 x)", "  [output] = result"]),
        ("@map(step, db);",
         ["map x ← (&b, 6u16, 1i16)", "  fmacs (&a, 8u16, 1i16), (&a, 8u16, 1i16), (&b, 6u16, 1i16), x"]),
        ("@map(twice, db, out);",
         ["map x ← (&b, 6u16, 1i16), round ← (&main.rounds, 4u16, 0i16)", "  result = (x ADD.f32 x)",
          "  fmovs fabout(c1 q2, 1u16, 0i16), -, result"]),
        ("@map(note, in);",
         ["map round ← (&main.rounds, 5u16, 0i16)", "  mov16 [&main.x], -, fabin(c1 q2, 1u16, 0i16)",
          "  x = [&main.x]", "  [&total] = x"]),
    ],
)  # fmt: skip
def test_loops(body, statement, lines):
    found = [line.replace("mem1d", "") for line in body(statement, DECLARED)]
    assert found == lines


def test_scalars_are_computed_once(body):
    lines = body("@map(scaled, da, 2.0, db, da);", DECLARED)
    assert lines[0].startswith("factor = ")
    assert lines[1].startswith("map x ← ")
    assert lines[1].count("←") == 2


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("@map(job, da);", "type-mismatch"),
        ("@map(k, da);", "type-mismatch"),
        ("@map(twice, da);", "wrong-argument-count"),
        ("@map(twice, da, db, db);", "wrong-argument-count"),
        ("@map(note, k);", "type-mismatch"),
        ("@map(twice, 1.0, 2.0);", "type-mismatch"),
        ("@map(twice, da, &total);", "type-mismatch"),
        ("@map(twice, da, k);", "type-mismatch"),
        ("@map(any, dn);", "type-mismatch"),
        ("@map(twice, fifo, db);", "type-mismatch"),
        ("@map(twice, out, db);", "type-mismatch"),
        ("@map(twice, da, in);", "type-mismatch"),
        ("@map(twice, da, @set_dsd_length(out, k));", "unsupported-feature"),
        ("@map(twice, @increment_dsd_offset(d4, k, f32), db);", "unsupported-feature"),
        ("@map(twice, r, db);", "unsupported-feature"),
    ],
)
def test_mistake(analyze, statement, code):
    assert analyze(f"{DECLARED}\nfn main() void {{ {statement} }}").codes == [code]


def test_registers_that_save_their_address(body, analyze):
    (line,) = body("@load_to_dsr(r, da, .{ .save_address = true });", DECLARED)
    assert line.endswith(" saved")
    source = f"{DECLARED}\nfn main() void {{ @load_to_dsr(r, d4, .{{ .save_address = true }}); }}"
    assert analyze(source).codes == ["unsupported-feature"]
