"""What the types of packed structs and unions refuse, and what they know while compiling."""

import pytest

REFUSED = """
const bits = packed struct {{ low: u8, high: u8 }};
const word = packed union {{ all: u16, bits: bits }};
const address = packed union {{ p: *u16, n: u16 }};
const large = packed union {{ all: u64, real: packed union {{ f: u64 }} }};
const huge = packed union {{ all: u65, half: i65 }};
const pointer = packed struct {{ p: *u16, n: u16 }};
const odd = packed struct {{ a: u4, p: *u16, b: u12 }};
const there = pointer{{ .p = &x, .n = 7 }};
const known = bits{{ .low = 1, .high = 2 }};
var v: bits;
var u: word;
var x: u16;
{declaration}
fn run() void {{ {statement} }}
"""


@pytest.mark.parametrize(
    ("declaration", "statement", "codes"),
    [
        ("", "v.middle = 1;", ["unknown-field"]),
        ("", "x = v.middle;", ["unknown-field"]),
        ("", "u.bits.middle = 1;", ["unknown-field"]),
        ("", "v.low = x;", ["type-mismatch"]),
        ("", "known.low = 1;", ["not-assignable"]),
        ("", "v = .{ .low = 1 };", ["missing-field"]),
        ("", "u = .{ .all = 1, .bits = v };", ["type-mismatch"]),
        ("", "u = .{ .both = 1 };", ["unknown-field"]),
        ("", "u = v;", ["type-mismatch"]),
        ("", "const p = &u.all;", ["type-mismatch"]),
        ("", "v = @bitcast(bits, @as(u32, x));", ["type-mismatch"]),
        ("", "const n = comptime v.low;", ["not-comptime"]),
        ("", "u = .{ .all = @bitcast(u16, known) }; v = u.bits;", []),
        ("", "const p = &there.n;", ["type-mismatch"]),
        ("", "const p = &known.low;", ["not-assignable"]),
        ("", "there.n = 1;", ["not-assignable"]),
        ("", "var t = there; t.p = &t;", ["type-mismatch"]),
        ("", "var t = there; t.n += 1; const p = &t; p.*.p = &x; p.*.p.* = t.n;", []),
        ("var t = there;", "t.p.* += 1;", []),
        ("var t = odd{ .a = 1, .p = &x, .b = 0 };", "t.p.* += 1;", ["unsupported-feature"]),
        ("", "var t = odd{ .a = 1, .p = &x, .b = 0 }; t.p.* += 1;", []),
        ("const n = there.n;", "@comptime_assert(n == 7); x = n;", []),
        ("const q = &there.p;", "q.*.* = 1;", ["type-mismatch"]),
        ("const n = @bitcast(u32, there);", "x = @as(u16, n);", ["not-comptime"]),
        ("", "x = @as(u16, @bitcast(u32, there) >> 16);", []),
        ("var a = address{ .p = &x };", "x = a.n;", ["unsupported-feature"]),
        ("", "var a = address{ .p = &x }; x = a.n;", []),
        ("const n = large{ .all = 5 }; const m = n.real.f;", "x = m;", []),
        ("var l: large;", "l.all = 5;", []),
        ("var l: huge;", "l.all = 5;", ["unsupported-feature"]),
        ("const none = packed union { a: u16, b: comptime_int };", "_ = none;", ["type-mismatch"]),
        (
            'const n = @has_field(known, "low") and !@has_field(known, "all");',
            '@comptime_assert(n); x = @field(u, "all");',
            [],
        ),
    ],
)
def test_what_packed_types_refuse(analyze, declaration, statement, codes):
    source = REFUSED.format(declaration=declaration, statement=statement)
    assert analyze(source).codes == codes
