"""Structs in memory, case by case: modules, results, choices, constants, DSDs, odd fields."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.host import Device
from onewafer.simulator import Machine
from tests.csl.one_task import LAYOUT, START

TYPES = """
const point = struct { x: i16, y: i32 };
const line = struct { from: point, to: point, w: [2]i16 };
"""
OTHER = """
const types = @import_module("types.csl");
const point = types.point;
param P: [*]point;
param Q: *point;
const outer = struct { n: u8, inner: point };
var points: [2]point = @zeros([2]point);
var corner = point{ .x = 100, .y = 200 };
var holder: outer = @zeros(outer);
export var shared: [2]point = @zeros([2]point);
export var one: point = @zeros(point);
const table = [3]point{ .{ .x = 1, .y = 2 }, .{ .x = 3, .y = 4 }, .{ .x = 5, .y = 6 } };
fn bump(i: u16) i32 { P[i].x += 20; Q.*.x += 1; points[i].y += 1; return points[i].y; }
"""
DECLARATIONS = """
const types = @import_module("types.csl");
const other = @import_module("other.csl", .{ .P = &mine, .Q = &single });
const point = types.point;
const line = types.line;
const alike = struct { x: i16, y: i32 };
extern var shared: [2]alike;
extern var one: alike;
var k: u16 = 1;
var calls: u16 = 0;
var mine = [3]point{ .{ .x = 1, .y = 2 }, .{ .x = 3, .y = 4 }, .{ .x = 5, .y = 6 } };
var single = point{ .x = 9, .y = 10 };
const known = line{ .from = .{ .x = 1, .y = 2 }, .to = mine_to, .w = [2]i16{ 5, 6 } };
const mine_to = point{ .x = 3, .y = 4 };
var lines = [2]line{ known, known };
var into_y: *i32 = &lines[1].to.y;
var into_w: [*]i16 = &lines[1].w;
var constant: *const line = &known;
const rows = [2]line{ known, .{ .from = mine_to, .to = mine_to, .w = known.w } };
var to_row: *const point = &rows[1].to;
var to_column: *const i16 = &rows[1].w[1];
const through = (&rows[1].from.y).* + (&rows[0].w[1]).*;
var several = [2]*point{ &lines[0].from, &single };
const node = struct { at: *point, n: u8, apply: *const fn (i16) i16 };
var nodes = [2]node{ node{ .at = &single, .n = 1, .apply = &next },
                     .{ .at = &lines[0].to, .n = 2, .apply = &next } };
const kinds = enum(u8) { A, B = 7, C };
const open = .{ .w = [2]i16{ 8, 9 }, .n = 3 };
const list = struct { w: [2]i16, n: u16 };
fn part(l: line) i16 { return l.w[k]; }
fn later(t: anytype) i16 { return t[0][k] + @as(i16, t[1]) - 1; }
fn second_of(p: *const [2]i16) i16 { return p.*[1]; }
fn first_of(w: [2]i16, l: list) i16 {
  const p = &w;
  const q = &l.w;
  return (p[0] * 10 + second_of(p)) * 10 + q[1 - l.n];
}
fn twice(w: [2]i16) i16 {
  lines[1].w[0] = 20;
  var doubled: [2]i16;
  const from = @get_dsd(mem1d_dsd, .{ .base_address = &w, .extent = 2 });
  const to = @get_dsd(mem1d_dsd, .{ .base_address = &doubled, .extent = 2 });
  @add16(to, from, from);
  return w[0] + doubled[1];
}
const flags = packed struct { a: u3, b: bool, c: i4 };
const mixed = struct { kind: kinds, flags: flags, small: u5, ok: bool, side: direction, neg: i3,
                       plain: union { i: i16, f: f32 }, shared: extern union { w: u32, h: u16 } };
var mixes: [2]mixed = @zeros([2]mixed);
const channel = struct { d: mem1d_dsd, n: u16 };
var data = @zeros([8]f32);
var channels: [2]channel;
var tuple = .{ .a = @as(i16, 4), .b = .{ @as(u8, 1), @as(i32, 2) } };
const pair = extern struct { low: i16, high: i16 };
const word = extern union { bytes: [4]u8, all: u32, pair: pair, real: f32, flag: bool };
const tagged = extern struct { tag: u8, word: word };
const one_word = word{ .real = 1.0 };
var words = [3]word{ .{ .all = 0xff84fffe }, .{ .all = 0x7fc07fe0 }, one_word };
var all_tagged: [2]tagged;
var out = @zeros([8]i32);

fn next(x: i16) i16 { return x + 1; }
fn g() u16 { calls += 1; return calls % 2; }
fn h() i16 { calls += 10; return @as(i16, calls); }
fn y_of(p: *const point) i32 { return p.*.y; }
fn place(i: u16) *point { return &mine[i]; }
fn spoil(p: point, l: line) i32 {
  mine[1] = .{ .x = 0, .y = 0 };
  lines[1].w = [2]i16{ 0, 0 };
  return p.y + l.w[k];
}
fn turned(l: line) line { return .{ .from = l.to, .to = l.from, .w = [2]i16{ l.w[1], l.w[0] } }; }
inline fn add(p: *point, q: point) i32 { p.*.x += q.x; return p.*.x; }
fn bytes_of(w: word) i32 { return w.bytes[0] + @as(i32, w.bytes[k]); }
fn word_of(real: f32) word { return .{ .real = real }; }
fn height(v: anytype) i32 { return v.y; }
fn flat(l: line) line { return .{ .from = .{ .x = l.w[0], .y = calls }, .to = l.to, .w = l.w }; }
fn sum(a: i16, p: point, b: u16, w: [2]i16, q: point) [2]i16 {
  const first = a + 10 * p.x + 100 * w[0] + 1000 * q.x;
  return [2]i16{ first, @as(i16, p.y) + @as(i16, b) * 10 + 100 * w[1] };
}
fn difference(a: i16, p: point, b: u16, w: [2]i16, q: point) [2]i16 {
  return [2]i16{ a - p.x, w[0] - q.x };
}
fn step() point { calls += 1; return .{ .x = @as(i16, calls), .y = calls }; }
var over: *const fn (line) line = turned;
var fold: *const fn (i16, point, u16, [2]i16, point) [2]i16 = sum;
"""
CASES = {
    "modules": (
        """other.points[k].x = 7;
        out[0] = other.points[1].x + other.corner.x;
        const p = &other.points;
        (p.*)[k].y = 8;
        out[1] = other.bump(k);
        out[2] = mine[1].x; out[3] = single.x;
        out[4] = other.table[k + 1].y;
        const inner = &other.holder.inner;
        other.holder.inner.x = 3; inner.*.x *= 5; out[5] = other.holder.inner.x;""",
        [107, 9, 23, 10, 6, 15],
    ),
    "externs": (
        """shared[k].y = 33; one.x = 44;
        const p = &shared[1];
        p.*.y += 1;
        out[0] = other.shared[1].y; out[1] = other.one.x;""",
        [34, 44],
    ),
    "initial pointers": (
        """into_y.* = 40;
        into_w[1] = 9;
        several[k].*.x = 31;
        nodes[k].at.*.x = 17;
        out = [8]i32{ lines[1].to.y, lines[k].w[k], single.x, lines[0].to.x, constant.*.to.y,
                      nodes[k].apply(5), nodes[k].n, lines[1].to.x };""",
        [40, 9, 31, 17, 4, 6, 2, 3],
    ),
    "initial pointers to constants": (
        "out[0] = to_row.*.x; out[1] = to_column.*; out[2] = through; out[3] = rows[k].w[k];",
        [3, 6, 10, 6],
    ),
    "effects of indices": (
        """mine[g()].x += h();
        out[0] = mine[1].x; out[1] = calls;
        mixes[g()].flags.c += -3;
        out[2] = mixes[0].flags.c; out[3] = calls;
        place(k).*.x = 5;
        out[4] = place(g()).*.x; out[5] = calls;
        mine[g()] = point{ .x = @as(i16, g()), .y = @as(i32, g()) };
        out[6] = mine[0].x; out[7] = mine[0].y;""",
        [14, 11, -3, 12, 5, 13, 1, 0],
    ),
    "arguments are copies": (
        """out[0] = spoil(mine[k], lines[k]);
        out[1] = mine[1].y; out[2] = lines[1].w[1];""",
        [10, 0, 0],
    ),
    "results": (
        """lines[k].w[0] = 70;
        lines[k] = turned(lines[k]);
        out[0] = lines[1].from.y; out[1] = lines[1].w[1];
        const l = turned(turned(lines[0]));
        lines[0].w[0] = 0;
        out[2] = l.w[0] + l.to.x;
        const made = .{ .w = [2]i16{ mine[0].x, 4 } };
        out[3] = turned(known).w[k] + made.w[k];""",
        [4, 70, 8, 9],
    ),
    "constants with an address": (
        """const s = mine[k];
        mine[k].y = 50;
        out[0] = y_of(&s);
        const t = &s;
        out[1] = t.*.x;
        const p = &other.table[1];
        out[2] = p.*.y + y_of(p) + y_of(&other.table[k]);
        const copy = mine;
        mine[2].y = 66;
        out[3] = copy[k + 1].y;
        const both = .{ mine[2], mine };
        mine[2].y = 0;
        out[4] = both[0].y + both[1][k + 1].y;""",
        [4, 3, 12, 6, 132],
    ),
    "choices": (
        """const p = if (k == 1) mine[0] else single;
        mine[0].y = 0;
        const q = b: { if (k == 2) { break :b mine[1]; } break :b lines[k].to; };
        const r: point = switch (k) { 0 => single, 1 => .{ .x = 8, .y = 9 }, else => mine[2] };
        mine[2] = if (k == 3) mine[0] else mine[1];
        out = [8]i32{ p.y, q.x, r.y, mine[2].x, 0, 0, 0, 0 };""",
        [2, 3, 9, 3],
    ),
    "extern unions": (
        """all_tagged[k] = tagged{ .tag = 1, .word = words[0] };
        all_tagged[0] = .{ .tag = 2, .word = .{ .all = @as(u32, k) } };
        all_tagged = [2]tagged{ all_tagged[1], all_tagged[0] };
        out[0] = @bitcast(i32, all_tagged[0].word.all) + all_tagged[1].word.bytes[0];
        words = [3]word{ words[1], words[2], words[0] };
        out[1] = @bitcast(i32, words[0].all); out[2] = bytes_of(words[2]) + bytes_of(one_word);
        out[3] = @bitcast(i32, word_of(1.0).all);
        const c = word{ .real = @as(f32, k) };
        out[4] = c.bytes[3] + c.pair.low;
        out[5] = bytes_of(.{ .all = @as(u32, k) * 0x0305 });
        const p = &words[k].pair;
        p.*.high += 1;
        out[6] = @bitcast(i32, words[1].real);
        const q = &one_word;
        out[7] = q.*.bytes[2 + k];""",
        [-8060929, 0x7FC07FE0, 509, 0x3F800000, 63, 8, 0x3F810000, 63],
    ),
    "filled arrays": (
        """mine = @constants([3]point, point{ .x = h(), .y = @as(i32, k) });
        out[0] = mine[2].x; out[1] = calls;
        mine[k].x = 9;
        mine = @constants([3]point, mine[k]);
        out[2] = mine[0].x + mine[2].x;
        lines[k].w[0] = 3;
        var filled = @constants([9]line, lines[k]);
        lines[k].w[0] = 0;
        out[3] = filled[k * 8].w[0];""",
        [10, 10, 18, 3],
    ),
    "odd fields": (
        """const m = &mixes[k];
        m.*.kind = kinds.B;
        m.*.flags.a += 7; m.*.flags.a += 2; m.*.flags.b = true;
        m.*.small += 31; m.*.small += 2;
        m.*.neg = -4; m.*.neg -= 1;
        m.*.ok = !mixes[0].ok;
        m.*.side = WEST;
        m.*.plain = .{ .f = 1.5 };
        m.*.shared.w = 0x12345; m.*.shared.h += 1;
        mixes[0] = mixes[k];
        const h_ = &mixes[0].shared.h;
        h_.* += 1;
        const c = mixes[0];
        out[0] = @as(i32, c.kind) + c.flags.a; out[1] = c.small; out[2] = c.neg;
        out[3] = if (c.ok and c.side == WEST and c.flags.b) 1 else 0;
        out[4] = @as(i32, c.plain.f * 2.0);
        out[5] = @bitcast(i32, c.shared.w);""",
        [8, 1, 3, 1, 3, 0x12347],
    ),
    "DSDs": (
        """channels[k].d = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{8} -> data[i] });
        @fmovs(channels[k].d, 2.0);
        channels[0] = channels[k];
        channels[0].d = @set_dsd_length(channels[0].d, 4);
        @fadds(channels[0].d, channels[0].d, 1.0);
        out[0] = @as(i32, data[3]); out[1] = @as(i32, data[4]);
        const w = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> lines[k].w[i] });
        @mov16(w, 12);
        out[2] = lines[1].w[0] + lines[1].w[1] + lines[0].w[1];""",
        [3, 2, 30],
    ),
    "anonymous structs": (
        """const p = &tuple;
        p.*.a = 6; tuple.b[1] += p.*.a;
        const q = &p.*.b;
        q.*[0] = 3;
        const r = &q.*[1];
        r.* += 1;
        out = [8]i32{ tuple.a, tuple.b[0], tuple.b[1], 0, 0, 0, 0, 0 };""",
        [6, 3, 9],
    ),
    "inline functions and loops": (
        """out[0] = add(&mine[0], mine[k]);
        out[1] = height(mine[k]) + height(.{ .y = out[0] });
        while (k < 2) : (mine[k].x += 1) { k += 1; }
        out[2] = mine[2].x;
        for (mine) |p, i| { mine[2].y = 500; out[3] += p.y; out[4 + i] = p.x; }
        for (lines) |l| { out[7] += l.w[0]; lines[1].w[0] = 7; }""",
        [4, 8, 6, 506, 4, 3, 6, 12],
    ),
    "known arrays beside what run time knows": (
        """out[0] = part(.{ .from = mine[k], .to = mine_to, .w = [2]i16{ 5, 6 } });
        const beside = line{ .from = mine[k], .to = mine_to, .w = [2]i16{ 7, 8 } };
        out[1] = beside.w[k] + part(beside);
        for (beside.w) |n| { out[2] = out[2] * 10 + n; }
        const pair = .{ [2]i16{ 3, 4 }, k };
        out[3] = pair[0][k] + later(pair) + later(.{ [2]i16{ 1, 2 }, 5 });
        for (pair[0]) |n| { out[4] += n; }
        for (open.w) |n, i| { if (i == k) out[5] = n; }
        out[6] = open.w[k];""",
        [6, 16, 78, 14, 7, 9, 9],
    ),
    "structs and arrays through function pointers": (
        """lines[0] = over(lines[k]); out[0] = lines[0].from.x; out[1] = lines[0].w[0];
        lines[0] = over(over(lines[0])); out[2] = lines[0].w[0];
        over = flat; out[3] = over(known).from.x;
        out[4] = over(.{ .from = mine[k], .to = single, .w = [2]i16{ h(), 3 } }).from.y;
        const f = fold; fold = difference;
        out[5] = fold(7, mine[k], 1, [2]i16{ 9, 8 }, single)[k];
        const w = fold(1, single, 0, lines[0].w, mine[k]); out[6] = w[0] * 100 + w[1];
        out[7] = f(3, single, 0, w, single)[0];""",
        [3, 6, 6, 5, 10, 0, -797, 3 + 90 - 800 + 9000],
    ),
    "the order of arguments of a function pointer": (
        """out[0] = fold(h(), step(), calls, [2]i16{ h(), @as(i16, calls) }, step())[0];
        out[1] = calls;
        calls = 0;
        out[2] = fold(h(), step(), calls, [2]i16{ h(), @as(i16, calls) }, step())[1];""",
        [10 + 10 * 11 + 100 * 21 + 1000 * 22, 22, 11 + 11 * 10 + 100 * 21],
    ),
    "addresses of arguments that are arrays": (
        """out[0] = first_of(lines[k].w, .{ .w = lines[0].w, .n = k });
        out[1] = twice(lines[k].w);
        out[2] = lines[1].w[0];""",
        [56 * 10 + 5, 5 + 12, 20],
    ),
}


def words_after(body: str, engine: str) -> list[int]:
    """Return `out` after the body of a function has run."""
    files = {
        "layout.csl": LAYOUT,
        "types.csl": TYPES,
        "other.csl": OTHER,
        "pe.csl": f"{DECLARATIONS}task main() void {{ {body} }}{START}",
    }
    architecture = load_architecture("wse2")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    machine = Machine(compile_program(options, MemoryFiles(files)), architecture, engine=engine)
    machine.run(max_cycles=100_000)
    symbol = machine.symbol(0, 0, "out")
    return list(struct.unpack("<8i", machine.peek(0, 0, symbol.address, symbol.num_bytes)))


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("case", CASES)
def test_structs_in_memory(case: str, engine: str) -> None:
    body, expected = CASES[case]
    assert words_after(body, engine) == expected + [0] * (8 - len(expected))


HOST_LAYOUT = """
const memcpy = @import_module("<memcpy/get_params>", .{ .width = 1, .height = 1 });
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{ .memcpy_params = memcpy.get_params(0) });
  @export_name("samples", [*]u32, true);
  @export_name("pair", [*]i16, true);
  @export_name("run", fn()void);
}
"""
HOST_PROGRAM = """
param memcpy_params: comptime_struct;
const sys_mod = @import_module("<memcpy/memcpy>", memcpy_params);
const sample = extern struct { kind: u8, weight: f32, count: u16 };
export var samples: [2]sample = @zeros([2]sample);
const words: [*]u32 = @ptrcast([*]u32, &samples);
var pair = struct { low: i16, high: i16 }{ .low = 1, .high = 2 };
var i: u16 = 1;
fn run() void {
  samples[i].count += 1;
  samples[0].weight = samples[i].weight * 2.0;
  pair.high += 5;
  sys_mod.unblock_cmd_stream();
}
comptime { @export_symbol(words, "samples"); @export_symbol(pair); @export_symbol(run); }
"""


def test_the_host_reads_and_writes_structs() -> None:
    files = MemoryFiles({"layout.csl": HOST_LAYOUT, "pe.csl": HOST_PROGRAM})
    architecture = load_architecture("wse2")
    image = compile_program(CompileOptions(entry="layout.csl", architecture=architecture), files)
    device = Device(image, architecture)
    device.load()
    given = np.zeros(2, np.dtype({"names": ["kind", "weight", "count"], "offsets": [0, 4, 8],
                                  "formats": ["u1", "<f4", "<u2"], "itemsize": 12}))  # fmt: skip
    given["weight"], given["count"] = [1.5, 2.5], [3, 4]
    device.write("samples", given.view(np.uint32).reshape(1, 1, 6))
    device.launch("run")
    found = device.read("samples", 6).reshape(6).view(given.dtype)
    assert found["weight"].tolist() == [5.0, 2.5]
    assert found["count"].tolist() == [3, 5]
    assert device.read("pair", 2).ravel().tolist() == [1, 7]
    symbol = device.machine.symbol(0, 0, "samples[1].count")
    assert device.machine.peek(0, 0, symbol.address, symbol.num_bytes) == b"\x05\x00"
