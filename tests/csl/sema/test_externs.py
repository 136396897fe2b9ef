"""`extern` declarations: what another module of the program exports."""

from __future__ import annotations

import pytest

from onewafer.csl import ir

EXPORTING = """
const point = struct { x: i16, y: struct { z: f32 } };
export var p: point = .{ .x = 1, .y = .{ .z = 2.0 } };
export var ps: [2]point = @zeros([2]point);
export const table = [3]i16{ 1, 2, 3 };
fn f() void {}
"""


@pytest.mark.parametrize(
    ("declarations", "use", "codes"),
    [
        ("extern const table: [3]i16;", "x = table[x];", []),
        (
            "const q = struct { x: i16, y: struct { z: f32 } }; extern var p: q;",
            "p = q{ .x = x, .y = .{ .z = 1.0 } };",
            [],
        ),
        ("const q = struct { x: i16, z: f32 }; extern var p: q;", "p.x = x;", ["type-mismatch"]),
        (
            "const q = struct { x: i16, y: struct { z: f32 } }; extern var ps: [2]q;",
            "ps[x] = .{ .x = x, .y = .{ .z = 1.0 } }; const r: *q = &ps[0]; x = r.*.x;",
            [],
        ),
        ("extern var ps: [3]m.point;", "ps[x].x = x;", ["type-mismatch"]),
        ("extern var ps: [2]struct { x: i16 };", "ps[x].x = x;", ["type-mismatch"]),
        ("extern const table: [2]i16;", "x = table[x];", ["type-mismatch"]),
        ("extern var table: [3]i16;", "x = table[x];", ["not-assignable"]),
        ("extern var tables: [3]i16;", "x = tables[x];", ["unresolved-extern"]),
        ("extern var x2: i16 = 3;", "x = x2;", ["type-mismatch"]),
    ],
)
def test_extern_variables_are_those_that_a_module_exports(analyze, declarations, use, codes):
    source = f"""
    const m = @import_module("m.csl");
    {declarations}
    var x: i16 = 1;
    fn run() void {{ {use} m.f(); }}
    """
    assert analyze(source, files={"m.csl": EXPORTING}).codes == codes


EXPORTING_FUNCTIONS = """
const point = struct { x: i16, y: i16 };
export var total: i16;
export fn add(by: i16, to: *i16) i16 { total += by; to.* = total; return by; }
export fn sum(p: point) i16 { return p.x + p.y; }
export fn twice() void linkname("f") { }
export fn again() void linkname("f") { }
export fn any(x: anytype) void { _ = x; }
fn private() void { }
"""


@pytest.mark.parametrize(
    ("declaration", "use", "codes"),
    [
        ("extern fn add(x: i16, to: *i16) i16;", "x = add(x, &x);", []),
        ('extern fn plus(x: i16, to: *i16) i16 linkname("add");', "x = plus(x, &x);", []),
        ("extern fn sum(p: m.point) i16;", "x = sum(.{ .x = x, .y = 1 });", []),
        ("extern fn sum(p: struct { x: i16, y: i16 }) i16;", "x = sum(x);", ["type-mismatch"]),
        ("extern fn add(x: i16, to: *i16) void;", "add(x, &x);", ["type-mismatch"]),
        ("extern fn add(x: i16) i16;", "x = add(x);", ["type-mismatch"]),
        ("extern fn any(x: anytype) void;", "any(x);", ["type-mismatch"]),
        ("extern fn add(comptime x: i16, to: *i16) i16;", "x = add(1, &x);", ["type-mismatch"]),
        ("extern fn add(x: comptime_int, to: *i16) i16;", "x = add(1, &x);", ["type-mismatch"]),
        ("extern fn add(x: i16, to: *i16) type;", "x = add(x, &x);", ["type-mismatch"]),
        ("extern fn total() void;", "total();", ["type-mismatch"]),
        ("extern var add: i16;", "x = add;", ["type-mismatch"]),
        ("extern fn private() void;", "private();", ["unresolved-extern"]),
        ("extern fn nobody() void;", "nobody();", ["unresolved-extern"]),
        ("extern fn nobody() void;", "x = 1;", []),
        ("extern fn f() void;", "f();", ["unresolved-extern"]),
        ("extern fn add(x: i16, to: *i16) i16;", "x = add(x);", ["wrong-argument-count"]),
        ("extern fn add(x: i16, to: *i16) i16;", "x = comptime add(1, &x);", ["wrong-context"]),
    ],
)
def test_extern_functions_are_those_that_a_module_exports(analyze, declaration, use, codes):
    source = f"""
    const m = @import_module("m.csl");
    {declaration}
    var x: i16 = 1;
    fn run() void {{ {use} }}
    """
    assert analyze(source, files={"m.csl": EXPORTING_FUNCTIONS}).codes == codes


def test_an_extern_function_has_the_address_of_the_exported_one(analyze):
    source = """
    const m = @import_module("m.csl");
    extern fn add(by: i16, to: *i16) i16;
    var x: i16 = 1;
    fn run() void { var f = &add; f = &m.add; x = f(x, &x); }
    """
    instance = analyze(source, files={"m.csl": EXPORTING_FUNCTIONS}).instance
    (dispatcher,) = (f for f in instance.functions if f.name.startswith("call "))
    (test,) = dispatcher.body
    assert isinstance(test, ir.If)
    assert isinstance(test.otherwise[0], ir.Trap)


@pytest.mark.parametrize(
    ("declaration", "use", "label"),
    [
        ("extern fn add() void;", "add();", "exported here"),
        ("extern fn private() void;", "private();", "this one is without `export`"),
    ],
)
def test_an_extern_function_that_does_not_fit_is_shown_with_the_other(
    analyze, declaration, use, label
):
    source = f"""
    const m = @import_module("m.csl");
    {declaration}
    fn run() void {{ {use} }}
    """
    error = analyze(source, files={"m.csl": EXPORTING_FUNCTIONS}).error
    assert error.primary.span.source.path == "main.csl"
    assert (label, "m.csl") in [(a.label, a.span.source.path) for a in error.secondary]


def test_another_function_may_import_what_is_named(analyze):
    source = """
    extern var ps: [2]struct { x: i16, y: struct { z: f32 } };
    extern const table: [3]i16;
    var x: i16;
    fn run() void { x = table[x]; import(); ps[1].x = x; }
    fn import() void { const m = @import_module("m.csl"); m.f(); }
    """
    assert not analyze(source, files={"m.csl": EXPORTING}).codes


@pytest.mark.parametrize(
    ("body", "is_late"),
    [
        ("x = table[x]; const m = @import_module(FILE); m.f();", True),
        ("const m = @import_module(FILE); x = table[x]; m.f();", None),
        ("x = missing[x]; const m = @import_module(FILE); m.f();", True),
        ("const m = @import_module(FILE); x = missing[x]; m.f();", False),
    ],
)
def test_an_import_that_comes_too_late_is_shown(analyze, body, is_late):
    source = f"""
    extern const table: [3]i16;
    extern const missing: [3]i16;
    var x: i16;
    fn run() void {{ {body.replace("FILE", '"m.csl"')} }}
    """
    result = analyze(source, files={"m.csl": EXPORTING})
    assert result.codes == ([] if is_late is None else ["unresolved-extern"])
    if is_late is None:
        return
    own = [a for a in result.error.secondary if a.label.startswith("imported here, and known")]
    assert len(own) == is_late
    assert result.error.help.startswith(
        "import the module that exports it above the use of the variable"
        if is_late
        else "declare it in"
    )


def test_functions_that_wait_for_each_other_are_analysed(analyze):
    source = """
    extern var nowhere: i16;
    extern fn no_one() void;
    extern fn named() void linkname(1);
    fn run() void { nowhere = 1; other(); }
    fn other() void { no_one(); named(); run(); }
    """
    codes = ["unresolved-extern", "unresolved-extern", "type-mismatch"]
    assert analyze(source).codes == codes


OWNER = """
param symbol: comptime_string = "shared";
export var kept: i16 linkname(symbol) = 1;
export var plain: i16 = 2;
var own: i16 = 3;
fn f() void { own += kept + plain; }
"""


def test_exported_variables_have_their_own_names_and_others_those_of_their_module(analyze):
    """SDK documentation, "Storage classes" and "Modules"."""
    inner = 'const inner = @import_module("owner.csl"); fn g() void { inner.f(); }'
    source = 'const m = @import_module("m.csl"); fn main() void { m.g(); }'
    instance = analyze(source, files={"m.csl": inner, "owner.csl": OWNER}).instance
    assert {g.name for g in instance.globals} == {"shared", "plain", "m.inner.own"}


@pytest.mark.parametrize(
    ("second", "exported", "codes"),
    [
        ("", "", ["duplicate-declaration"] * 2),
        ('.{ .symbol = "other" }', "", ["duplicate-declaration"]),
        (None, "export var shared: i16 = 4;", ["duplicate-declaration"]),
        (None, "var shared: i16 = 4; var plain: i16;", []),
    ],
)
def test_a_symbol_is_exported_once(analyze, second, exported, codes):
    params = f", {second}" if second else ""
    more = "" if second is None else f'const b = @import_module("owner.csl"{params});'
    source = f'const a = @import_module("owner.csl"); {more} {exported}'
    assert analyze(source, files={"owner.csl": OWNER}).codes == codes
