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
const w = @get_dsr(dsr_dest, 1);
const x = @get_xdsr(1);
const ring = @get_dsd(circbuf_dsd, .{ .base_address = &a, .extent = 12, .wraparound = 5 });
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


def test_structs_are_copied_once(body):
    declared = (
        f"{DECLARED} var pair = .{{ .x = @as(u16, 1), .y = @as(i16, 2) }}; "
        "fn f(x: f32, p: anytype) void { total = p.y; }"
    )
    lines = body("@map(f, da, pair);", declared)
    assert lines[:2] == ["p.x = [&pair]", "p.y = [&pair+2]"]
    assert lines[-1] == "  [&total] = p.y"


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
        ("@map(twice, r, db);", "missing-field"),
        ("@load_to_dsr(r, da); @map(twice, r, db);", "missing-field"),
        ("@load_to_dsr(w, db, .{ .single_step = true }); @map(twice, w, db);", "type-mismatch"),
        ("@load_to_dsr(r, db, .{ .single_step = true }); @map(twice, da, r);", "type-mismatch"),
        (
            "if (k == 3) @load_to_dsr(r, da, .{ .single_step = true }) else @load_to_dsr(r, db, .{ .single_step = true }); @map(twice, r, db);",
            "unsupported-feature",
        ),
        ("@map(twice, ring, db);", "type-mismatch"),
        ("@fmovs(db, ring);", "type-mismatch"),
        ("@load_to_dsr(r, ring);", "type-mismatch"),
        ("@load_to_dsr_xdsr(r, x, da);", "type-mismatch"),
        ("@load_to_dsr_xdsr(r, r, ring);", "type-mismatch"),
        ("@load_to_dsr_xdsr(x, x, ring);", "type-mismatch"),
        ("@load_to_dsr_xdsr_sr(r, x, .{}, d4, .{});", None),
        ("@load_to_dsr_xdsr_sr(r, x, .{ @get_sr(1) }, d4);", "wrong-argument-count"),
        ("@load_to_dsr_xdsr_sr(r, x, .{ x }, d4);", "type-mismatch"),
        ("@load_to_dsr_xdsr_sr(r, x, @get_sr(1), d4);", "type-mismatch"),
        ("@load_to_dsr_xdsr_sr(r, x, .{}, ring);", "type-mismatch"),
        (
            "@load_to_dsr_xdsr_sr(r, x, .{}, @increment_dsd_offset(d4, k, f32));",
            "wrong-argument-count",
        ),
        ("@load_to_dsr(r, in, .{ .save_address = true });", "type-mismatch"),
        ("_ = @get_xdsr(99);", "id-out-of-range"),
        (
            "_ = @get_dsd(circbuf_dsd, .{ .base_address = &a, .extent = 4, .wraparound = 9 });",
            "value-out-of-range",
        ),
        (
            "_ = @get_dsd(circbuf_dsd, .{ .base_address = &a, .extent = 4, .wraparound = 0 });",
            "value-out-of-range",
        ),
        ("_ = @get_dsd(circbuf_dsd, .{ .base_address = &a[1], .extent = 4 });", "missing-field"),
        ("_ = @get_dsd(circbuf_dsd, .{ .base_address = a, .extent = 4 });", "type-mismatch"),
        (
            "_ = @get_dsd(circbuf_dsd, .{ .base_address = &a, .extent = 4, .stride = 2 });",
            "unknown-field",
        ),
    ],
)
def test_mistake(analyze, statement, code):
    expected = [] if code is None else [code]
    assert analyze(f"{DECLARED}\nfn main() void {{ {statement} }}").codes == expected


@pytest.mark.parametrize(
    ("loads", "statement"),
    [
        ("@load_to_dsr(r, da, .{ .single_step = true });", "@map(note_f, r);"),
        ("const d = @set_dsd_length(da, k); @load_to_dsr(r, d, .{ .single_step = true });",
         "if (k != 0) { @map(note_f, r); }"),
    ],
)  # fmt: skip
def test_registers_stand_for_what_they_hold(body, loads, statement):
    declared = f"{DECLARED}\nvar last: f32 = 0.0; fn note_f(v: f32) void {{ last = v; }}"
    plain = body(f"{loads} {statement}", declared)
    assert any("map v ← " in line for line in plain)


def test_loads_of_one_dsd_may_stand_anywhere(analyze):
    source = """
fn first() void { @map(note, n1); }
comptime { @load_to_dsr(n1, dn, .{ .single_step = true }); }
fn again() void { @load_to_dsr(n1, dn, .{ .single_step = true }); }
"""
    declared = f"{DECLARED}\nconst n1 = @get_dsr(dsr_src1, 2);{source}"
    calls = "fn main() void { first(); again(); }"
    assert analyze(f"{declared}{calls}").codes == []
    other = "const d2 = @set_dsd_length(dn, 2); fn other() void { @load_to_dsr(n1, d2, .{ .single_step = true }); }"
    calls = "fn main() void { first(); other(); }"
    assert analyze(f"{declared}{other}{calls}").codes == ["unsupported-feature"]


def test_registers_that_save_their_address(body):
    (line,) = body("@load_to_dsr(r, da, .{ .save_address = true });", DECLARED)
    assert line.endswith(" saved")
    for load in ("@load_to_dsr_xdsr_sr(r, x, .{}, d4, ", "@load_to_dsr_xdsr(r, x, ring, "):
        (line,) = body(f"{load}.{{ .save_address = true }});", DECLARED)
        assert line.endswith(" saved")
