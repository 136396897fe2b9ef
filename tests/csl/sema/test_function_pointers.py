"""Function pointers: what converts to one, what may be called, and what it costs."""

import pytest

from onewafer.csl import ir

PROGRAM = """
var x: i16 = 1;
fn double(x: i16) i16 {{ return x + x; }}
fn next(x: i16) i16 {{ return x + 1; }}
fn nothing() void {{ x = 0; }}
inline fn expanded(x: i16) i16 {{ return x; }}
task waiting(x: i16) void {{ }}
const point = struct {{ x: i16, y: i16 }};
fn sum(p: point) i16 {{ return p.x + p.y; }}
{declaration}
fn run() void {{ {statement} }}
"""


@pytest.mark.parametrize(
    ("declaration", "statement", "codes"),
    [
        ("var f: *const fn (i16) i16 = next;", "x = f(x);", []),
        ("var f: *const fn (i16) i16 = &next;", "f = double; x = f(2);", []),
        ("var f = &next;", "f = double; x = f(x);", []),
        ("const f = &next;", "x = f(x);", []),
        ("", "var f = if (x == 1) @as(*const fn (i16) i16, next) else double; x = f(x);", []),
        ("fn call(f: *const fn (i16) i16) i16 { return f(x); }", "x = call(next);", []),
        ("fn known(f: fn (i16) i16) i16 { return f(x); }", "x = known(next);", []),
        ("const f: *const fn (i16) i16 = next; const y = f(4);", "x = y;", []),
        ("var f: *fn (i16) i16 = next;", "x = f(x);", ["type-mismatch"]),
        ("var f: *const fn (i16) i16 = nothing;", "x = f(x);", ["type-mismatch"]),
        ("var f: *const fn (i16) i16 = expanded;", "x = f(x);", ["type-mismatch"]),
        ("var f: *const fn (i16) void = waiting;", "f(x);", ["type-mismatch"]),
        ("var f: *const fn (i16) i16 = next;", "x = f();", ["wrong-argument-count"]),
        ("var f: *const fn (i16) i16 = next;", "x = f(1.5);", ["type-mismatch"]),
        ("var f: *const fn (i16) i16 = next;", "var a: [f(2)]i16;", ["not-comptime"]),
        ("var f: *const fn (point) i16 = sum;", "x = f(.{ .x = 1, .y = 2 });", []),
        ("var f: *const fn (point) i16 = sum;", "x = f(.{ .x = 1 });", ["missing-field"]),
        ("var f: *const fn (point) i16 = sum;", "x = f([2]i16{ 1, 2 });", ["type-mismatch"]),
        ("fn last(a: [2]i16) i16 { return a[1]; } var f: *const fn ([2]i16) i16 = last;",
         "x = f([2]i16{ 1, 2 });", []),
        ("var f: *i16 = &x;", "f(1);", ["not-callable"]),
        ("var f: *const fn () void = &nothing;", "if (f == &nothing) f();", []),
        ("var f: *const fn () void = &nothing;", "if (f == &next) f();", ["type-mismatch"]),
        ("fn any(y: anytype) void {} var f: *const @type_of(any) = undefined;", "f(x);",
         ["type-mismatch"]),
        ("fn is_pointer(comptime f: anytype) bool { return !@is_same_type(@type_of(f), @type_of(next)); }",
         "const p: *const fn (i16) i16 = next; @comptime_assert(!is_pointer(next) and is_pointer(p));",
         []),
    ],
)  # fmt: skip
def test_what_is_called_through_a_pointer(analyze, declaration, statement, codes):
    source = PROGRAM.format(declaration=declaration, statement=statement)
    assert analyze(source).codes == codes


@pytest.mark.parametrize(("fields", "value"), [("n: comptime_int", ".n = 1"), ("", "")])
def test_a_struct_without_a_size_goes_through_no_pointer(analyze, fields, value):
    declaration = f"const t = struct {{ {fields} }}; fn one(a: t) i16 {{ return 1; }}"
    statement = f"var f: *const fn (t) i16 = one; x = f(t{{ {value} }});"
    source = PROGRAM.format(declaration=declaration, statement=statement)
    assert analyze(source).codes == ["unsupported-feature"]


def test_a_call_tries_the_functions_whose_address_is_taken(analyze):
    declaration = "var f: *const fn (i16) i16 = next;"
    result = analyze(PROGRAM.format(declaration=declaration, statement="f = double; x = f(x);"))
    (dispatcher,) = (f for f in result.instance.functions if f.name == "call fn (i16) i16")
    names = []
    rest = dispatcher.body
    while isinstance(rest[0], ir.If):
        (taken,) = rest[0].then
        assert isinstance(taken, ir.Return)
        assert isinstance(taken.value, ir.Call)
        names.append(taken.value.function.name)
        rest = rest[0].otherwise
    assert sorted(names) == ["double", "next"]
    assert isinstance(rest[0], ir.Trap)
