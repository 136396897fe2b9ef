"""Run-time code: what is known folds, the rest becomes typed IR."""

from __future__ import annotations

import pytest

from onewafer.csl.ir import walk
from onewafer.csl.sema.runtime import dispatch
from onewafer.csl.syntax import ast
from onewafer.diagnostics import Severity

VARIABLES = """
var a: i16 = 0; var b: i16 = 0; var u: u16 = 0; var f: f32 = 0.0; var h: f16 = 0.0; var c: bool = false;
var w: u32 = 0;
var v: [8]i16; var pair: [2]i16; var m = @zeros([3, 4]f32);
const table = [4]u16{ 1, 2, 4, 8 }; fn g() i16 { return a; }
"""


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        ("a = b + 1;", ["[&a] = ([&b] ADD.i16 1i16)"]),
        ("a = 2 * 3 - 7;", ["[&a] = -1i16"]),
        ("a += b;", ["[&a] = ([&a] ADD.i16 [&b])"]),
        ("c = a > b;", ["[&c] = ([&b] LESS.i16 [&a])"]),
        ("c = a >= b;", ["[&c] = ([&b] LESS_EQUAL.i16 [&a])"]),
        ("c = !c;", ["[&c] = NOT([&c])"]),
        ("a = -a;", ["[&a] = NEG([&a])"]),
        ("u = ~u;", ["[&u] = NOT([&u])"]),
        ("u = u << 3;", ["[&u] = ([&u] SHL.u16 3u16)"]),
        ("a = a >> u;", ["[&a] = ([&a] SHR.i16 [&u])"]),
        ("f = f * 0.5;", ["[&f] = ([&f] MUL.f32 1056964608f32)"]),
        ("f = @as(f32, a);", ["[&f] = i16→f32([&a])"]),
        ("h = @as(f16, f);", ["[&h] = f32→f16([&f])"]),
        ("u = @bitcast(u16, h);", ["[&u] = [&h]"]),
        ("a = @bitcast(i16, h);", ["[&a] = u16→i16([&h])"]),
        ("w = @bitcast(u32, f);", ["[&w] = [&f]"]),
        ("v[2] = 5;", ["[&v+4] = 5i16"]),
        ("v[a] = 5;", ["[(&v ADD.u16 (i16→u16([&a]) SHL.u16 1u16))] = 5i16"]),
        ("v[u] += 1;", ["[(&v ADD.u16 ([&u] SHL.u16 1u16))] = ([(&v ADD.u16 ([&u] SHL.u16 1u16))] ADD.i16 1i16)"]),
        ("f = m[1, u];", ["[&f] = [(&m+16 ADD.u16 ([&u] SHL.u16 2u16))]"]),
        ("f = m[u, 1];", ["[&f] = [(&m+4 ADD.u16 ([&u] SHL.u16 4u16))]"]),
        ("u = table[2];", ["[&u] = 4u16"]),
        ("u = table[u];", ["[&u] = [(&table ADD.u16 ([&u] SHL.u16 1u16))]"]),
        ("a = if (c) 1 else b;", ["[&a] = ([&c] ? 1i16 : [&b])"]),
        ("a += if (c) 1 else 2;", ["[&a] = ([&a] ADD.i16 ([&c] ? 1i16 : 2i16))"]),
        ("v[2] -= if (c) 1 else b;", ["[&v+4] = ([&v+4] SUB.i16 ([&c] ? 1i16 : [&b]))"]),
        ("f *= switch (a) { 1 => 2.0, else => 1.0 };", ["[&f] = ([&f] MUL.f32 (([&a] EQUAL.i16 1i16) ? 1073741824f32 : 1065353216f32))"]),
        ("c = c and a == 0;", ["[&c] = ([&c] ? ([&a] EQUAL.i16 0i16) : 0bool)"]),
        ("c = c or a == 0;", ["[&c] = ([&c] ? 1bool : ([&a] EQUAL.i16 0i16))"]),
        ("const x = a + 1; a = x;", ["x = ([&a] ADD.i16 1i16)", "[&a] = x"]),
        ("const x = 4; a = x;", ["[&a] = 4i16"]),
        ("const b = [2]i16{ a, 3 }; a = b[1];", ["[&main.b] = [&a]", "[&main.b + 2] = 3i16", "[&a] = [&main.b+2]"]),
        ("const s = .{ .b = pair }; pair[1] = 4; a = s.b[1];",
         ["offset = 0u16", "while (offset LESS.u16 4u16)", "  [(&main.s.b ADD.u16 offset)] = [(&pair ADD.u16 offset)]", "; offset = (offset ADD.u16 2u16)", "[&pair+2] = 4i16", "[&a] = [&main.s.b+2]"]),
        ("var x: i16 = 4; x = 5;", ["x = 4i16", "x = 5i16"]),
        ("var x: i16 align(8) = 4; x = 5;", ["[&main.x] = 4i16", "[&main.x] = 5i16"]),
        ("var x: i16; x = 5;", ["x = 0i16", "x = 5i16"]),
        ("_ = a;", []),
        ("_ = a + g();", ["_ = ([&a] ADD.i16 g())"]),
        ("const s = .{ .x = a, .y = .{ g(), 2 } }; a = s.x + s.y[0];", ["s.x = [&a]", "s.y.0 = g()", "[&a] = (s.x ADD.i16 s.y.0)"]),
        ("@assert(a == 0);", ["assert ([&a] EQUAL.i16 0i16): assertion failed: a == 0"]),
    ],
)  # fmt: skip
def test_statement(body, statement, lines):
    assert body(statement, VARIABLES) == lines


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        ("if (c) a = 1; else a = 2;", ["if [&c]", "  [&a] = 1i16", "else", "  [&a] = 2i16"]),
        ("if (false) { nonsense(); } else { a = 2; }", ["[&a] = 2i16"]),
        ("while (a < 3) : (a += 1) { b += 1; }",
         ["while ([&a] LESS.i16 3i16)", "  [&b] = ([&b] ADD.i16 1i16)", "; [&a] = ([&a] ADD.i16 1i16)"]),
        ("for (@range(u16, 3)) |i| { u = i; }",
         ["i = 0u16", "while (i LESS.u16 3u16)", "  [&u] = i", "; i = (i ADD.u16 1u16)"]),
        ("for (@range(i16, 3, 0, -1)) |i| { a = i; }",
         ["i = 3i16", "while (0i16 LESS.i16 i)", "  [&a] = i", "; i = (i SUB.i16 1i16)"]),
        ("for (@range(u8, 250, 255, 3)) |i| { }",
         ["i = 250u8", "while (i NOT_EQUAL.u8 0u8)", "; i = (i ADD.u8 3u8)"]),
        ("for (@range(u16, u)) |i| { u = i; }",
         ["stop = [&u]", "i = 0u16", "while (i LESS.u16 stop)", "  [&u] = i", "; i = (i ADD.u16 1u16)"]),
        ("for (v) |e, k| { a = e; u = k; }",
         ["offset = 0u16", "k = 0u16", "while (offset LESS.u16 16u16)",
          "  e = [(&v ADD.u16 offset)]", "  [&a] = e", "  [&u] = k",
          "; offset = (offset ADD.u16 2u16)", "; k = (k ADD.u16 1u16)"]),
        ("for (.{ 1, 2 }) |e| { a = e; }", ["[&a] = 1i16", "[&a] = 2i16"]),
        ("while (true) { if (c) break; continue; }",
         ["while 1bool", "  if [&c]", "    break", "  continue"]),
        ("switch (a) { 1, 2 => b = 1, else => b = 2 }",
         ["scrutinee = [&a]",
          "if ((scrutinee EQUAL.i16 1i16) ? 1bool : (scrutinee EQUAL.i16 2i16))",
          "  [&b] = 1i16", "else", "  [&b] = 2i16"]),
        ("switch (3) { 3 => a = 1, else => nonsense() }", ["[&a] = 1i16"]),
        ("a = switch (b) { 1 => 10, else => a };", ["[&a] = (([&b] EQUAL.i16 1i16) ? 10i16 : [&a])"]),
        ("return;", ["return"]),
        ("{ var x: i16 = 1; a = x; }", ["x = 1i16", "[&a] = x"]),
        ("var t = [2]i16{ a, 3 }; b = t[1];",
         ["[&main.t] = [&a]", "[&main.t + 2] = 3i16", "[&b] = [&main.t+2]"]),
        ("var t = @zeros([20]i16); b = t[1];",
         ["offset = 0u16", "while (offset LESS.u16 40u16)", "  [(&main.t ADD.u16 offset)] = 0i16",
          "; offset = (offset ADD.u16 2u16)", "[&b] = [&main.t+2]"]),
        ("var x: i16 = 1; var p = &x; p.* = 2;", ["[&main.x] = 1i16", "p = &main.x", "[p] = 2i16"]),
    ],
)  # fmt: skip
def test_control_flow(body, statement, lines):
    assert body(statement, VARIABLES) == lines


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("a = f;", "type-mismatch"),
        ("a = a + u;", "type-mismatch"),
        ("a = 40000;", "value-out-of-range"),
        ("a = nonsense;", "unknown-name"),
        ("table[1] = 2;", "not-assignable"),
        ("const x: i16 = a; x = 2;", "not-assignable"),
        ("if (a) { }", "type-mismatch"),
        ("v[8] = 1;", "index-out-of-range"),
        ("m[1] = 1.0;", "type-mismatch"),
        ("break;", "misplaced-jump"),
        ("@as(i16, 1)();", "not-callable"),
        ("var x = 1; ", "not-runtime"),
        ("var x: i65 = 1; ", "unsupported-feature"),
        ('var x: i16 linkname("y") = 1;', "unsupported-feature"),
        ("var x: i16 align(3) = 1;", "value-out-of-range"),
        ("a = b / 0;", "division-by-zero"),
        ("a = b % @as(i16, 0);", "division-by-zero"),
        ("switch (pair) { else => { a = 1; } }", "type-mismatch"),
        ("a = switch (pair) { else => 1 };", "type-mismatch"),
        ("const s = .{ .x = a }; switch (s) { else => { a = 1; } }", "type-mismatch"),
        ("comptime { switch (.{ .x = 1 }) { else => {} } }", "type-mismatch"),
        ("const k = comptime switch (.{ 1, 2 }) { else => 3 }; a = k;", "type-mismatch"),
        ("for (@range(u16, 0, u, 0)) |i| { }", "value-out-of-range"),
        ("const n = comptime a;", "not-comptime"),
        ("var z: [a]i16;", "not-comptime"),
        ("@fadd(a, b);", "unknown-builtin"),
        ("comptime { @set_active_prng(1); }", "wrong-context"),
        ("@set_active_prng(-1);", "value-out-of-range"),
        ("@random_of(0);", "unknown-builtin"),
        ("@set_rectangle(1, 1);", "wrong-context"),
        ("return 1;", "type-mismatch"),
        ("a = if (c) 1;", "missing-else"),
        ("var x: i16 = 0; var x: i16 = 1;", "duplicate-declaration"),
        ("@as(i16);", "wrong-argument-count"),
        ("@unblock_command_stream();", "unknown-builtin"),
    ],
)
def test_mistake(analyze, statement, code):
    assert analyze(f"{VARIABLES}\nfn main() void {{ {statement} }}").codes == [code]


def test_a_value_that_is_not_used_is_a_warning_and_its_calls_are_made(analyze):
    result = analyze("""
        var a: i16 = 1;
        fn next() i16 { a += 1; return a; }
        fn main() void { next() == 2; _ = next(); }
    """)
    assert [(d.code, d.severity) for d in result.diagnostics] == [
        ("unused-value", Severity.WARNING)
    ]
    assert walk.callees(result.function("main")) == (result.function("next"),)
    assert len(result.function("main").body) == 2


def test_one_mistake_gives_one_message_and_two_give_two(analyze):
    result = analyze(
        "fn f() i16 { const x: i16 = nonsense; const y = x + 1; const z: i16 = true; return y; }"
    )
    assert result.codes == ["unknown-name", "type-mismatch"]


def test_calls_are_specialised_by_comptime_arguments_and_types(analyze):
    result = analyze("""
        var a: i16 = 1; var h: f32 = 1.0;
        fn scale(comptime n: i16, x: anytype) @type_of(x) { return if (n > 1) x + x else x; }
        fn f() void { a = scale(2, a); a = scale(2, a); a = scale(1, a); h = scale(2, h); }
    """)
    assert [f.name for f in result.instance.functions] == ["f", "scale", "scale#2", "scale#3"]


def test_functions_with_comptime_results_run_while_compiling(body):
    declared = "var a: u16 = 0; fn count(n: u16) comptime_int { var s: u16 = 0; while (s < n) : (s += 1) {} return s; }"
    assert body("a = count(5);", declared) == ["[&a] = 5u16"]
    assert body("a = count(a);", declared)[0].startswith("not-comptime")


def test_pointer_parameters_and_results(body):
    declared = """
        var t: [4]u16; var a: u16 = 0;
        fn get(p: [*]u16, i: u16) u16 { return p[i]; }
        fn pass(p: *u16) void { p.* = 1; }
    """
    assert body("a = get(&t, 2); pass(&a); pass(&t[1]);", declared) == [
        "[&a] = get(&t, 2u16)", "pass(&a)", "pass(&t+2)",
    ]  # fmt: skip


def test_a_function_is_no_type(analyze):
    error = analyze("fn f16(x: f16) void { } fn f() void { f16(1.0); }").error
    assert error.message == "a type is expected here, this is a function"


def test_missing_return(analyze):
    assert analyze("var c = false; fn f() i16 { if (c) { return 1; } }").codes == ["missing-return"]
    assert analyze("fn f() i16 { while (true) { } }").codes == []
    assert (
        analyze("var c = false; fn f() i16 { if (c) { return 1; } else { return 2; } }").codes == []
    )


@pytest.mark.parametrize(
    "leave",
    [
        "if (n == 0) return m;",
        "if (n > 0) { } else return m;",
        "switch (n) { 0 => return m, else => { } }",
        "{ if (n == 0) { if (m == 1) return m; return 2; } }",
    ],
)
def test_what_is_behind_a_known_return_is_not_part_of_the_function(analyze, leave):
    source = f"""
        var m: u16 = 1;
        fn count(comptime n: u16) u16 {{ {leave} return count(n - 1); }}
        fn f() void {{ m = count(3); }}
    """
    result = analyze(source)
    assert result.codes == []
    names = [function.name for function in result.program.instances[0].functions]
    assert sum(name.startswith("count") for name in names) == 4


@pytest.mark.parametrize(
    "leave",
    [
        "if (m == 0) { return; } else { return; }",
        "switch (m) { 0 => { return; }, else => { return; } }",
        "{ return; }",
        "while (true) { }",
    ],
)
def test_mistakes_behind_what_leaves_at_run_time_are_said(analyze, leave):
    assert analyze(f"var m: u16 = 1; fn f() void {{ {leave} wrong(); }}").codes == ["unknown-name"]


@pytest.mark.parametrize("name", ["POSITIVE_INF", "NEGATIVE_INF", "NaN"])
def test_numbers_of_math_are_floats(analyze, name):
    source = f'const math = @import_module("<math>"); fn f() void {{ _ = math.{name}(i16); }}'
    error = analyze(source).error
    assert (error.code, error.message) == (
        "comptime-assert",
        f"<math>.{name} is of the types f16, bf16, cb16 and f32",
    )


def test_errors_show_the_calls_that_led_there(analyze):
    error = analyze("""
        var a: i16 = 0; var h: f32 = 0.0;
        fn add(x: anytype, y: anytype) void { _ = x + y; }
        fn f() void { add(a, h); }
    """).error
    assert "`i16` and `f32`" in error.message
    assert [a.label for a in error.secondary] == ["`add` is called here"]


def test_unused_functions_and_globals_are_not_analysed(analyze):
    layout = """layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }"""
    pe = """
        param unbound: u16;
        const broken = unbound + true;
        var big: [1000]f32;
        fn unused() void { nonsense(); }
        fn main() void { }
        comptime { @export_symbol(main); }
    """
    result = analyze(layout, files={"pe.csl": pe})
    assert result.instance.globals == ()
    assert [f.name for f in result.instance.functions] == ["main"]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("@addc16(d, d, d)", "carry"),
        ("@fnormh(d, d)", "significand"),
        ("@fnorms(&x, x)", "significand"),
    ],
)
def test_results_that_nobody_published_are_a_warning(analyze, call, reason):
    program = """var x: f32; var a: [4]f16;
        const d = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> a[i] });"""
    analysis = analyze(f"{program} fn f() void {{ {call}; }}")
    (warning,) = analysis.diagnostics
    assert warning.code == "undefined-result"
    assert warning.severity is Severity.WARNING
    assert reason in warning.notes[0]
    assert warning.help


NUMBERS = ("i8", "u8", "i16", "u16", "i32", "u32", "f16", "f32")


@pytest.mark.parametrize("source", NUMBERS)
@pytest.mark.parametrize("target", NUMBERS)
def test_numbers_widen_by_themselves_and_do_not_narrow(analyze, source, target):
    is_float, bits = source[0] == "f", int(source[1:])
    keeps_all = int(target[1:]) > bits and (
        target[0] == "f" if is_float else target[0] in {source[0], "i"}
    )
    program = f"var a: {source}; var b: {target}; fn f() void {{ b = a; }}"
    found = analyze(program).codes
    assert found == ([] if keeps_all or source == target else ["type-mismatch"])


@pytest.mark.parametrize(
    ("pointer", "to", "is_accepted"),
    [
        ("*i16", "*[1]i16", True),
        ("*i16", "*const [1]i16", True),
        ("*i16", "*[2]i16", False),
        ("*[1]i16", "*i16", False),
        ("*i16", "*anyopaque", True),
        ("*const i16", "*anyopaque", False),
        ("*anyopaque", "*i16", False),
    ],
)
def test_pointers_convert_as_documented(analyze, pointer, to, is_accepted):
    program = f"fn f(p: {pointer}) void {{ const q: {to} = p; _ = q; }}"
    assert analyze(program).codes == ([] if is_accepted else ["type-mismatch"])


@pytest.mark.parametrize(
    ("use", "pointer"),
    [("x = p.*;", "*"), ("p.* = 1;", "*"), ("x = q[0];", "[*]"), ("q[0] = 1;", "[*]")],
)
def test_nothing_is_read_or_written_through_a_pointer_to_anything(analyze, use, pointer):
    program = f"var x: i16; fn f(p: *anyopaque, q: [*]anyopaque) void {{ {use} }}"
    error = analyze(program).error
    assert error.message == f"a `{pointer}anyopaque` does not say what lies there"
    assert "@ptrcast" in error.help


@pytest.mark.parametrize(
    ("use", "part"),
    [
        ("const q = &p; x = q.x;", "`p.*.x`"),
        ("if (p == p) { x = 1; }", "one by one"),
        ("const z = p; z.x = 1;", "declare it with `var`"),
        ("(made()).x = 1;", "put the value into a `var` first"),
        ("for (ps) |one| { one = p; }", "copy it to one"),
        ("const d = @get_dsd(mem1d_dsd, .{ .base_address = &ps, .extent = 2 });", "&a[0].x"),
        ("x = @bitcast(i16, p);", "`packed struct`"),
        ("x = @bitcast(i16, long);", "over 64 bits"),
        ("if (row == row) {}", "elements one by one"),
        ("row += row;", "elements one by one"),
        ("if (row) {}", "compare it with something"),
        ("x = if (row) 1 else 2;", "compare it with something"),
        ("x = @bitcast(i16, row);", "name an element"),
    ],
)
def test_what_to_write_instead_with_structs_and_arrays_is_said(analyze, use, part):
    declared = """const point = struct { x: i16 }; var p: point; var ps: [2]point; var x: i16;
    var long: packed struct { a: u64, b: u1 }; var row: [3]i16;
    fn made() point { return .{ .x = x }; }"""
    assert part in analyze(f"{declared} fn f() void {{ {use} }}").error.help


@pytest.mark.parametrize(
    ("elements", "use"),
    [
        ("[2]comptime_int{ 1, 2 }", "x = table[i];"),
        ("[2]row{ .{ .n = 1 }, .{ .n = 2 } }", "x = table[i].n;"),
        ("[2]dsr_dest{ @get_dsr(dsr_dest, 1), @get_dsr(dsr_dest, 2) }", "@mov16(table[i], 5);"),
    ],
)
def test_an_index_of_run_time_needs_elements_of_run_time(analyze, elements, use):
    declared = "const row = struct { n: comptime_int }; var x: i16; var i: u16;"
    error = analyze(f"{declared} const table = {elements}; fn f() void {{ {use} }}").error
    assert error.code == "not-comptime"
    assert "exist while compiling only" in error.message


@pytest.mark.parametrize(
    "value",
    [
        "if (x == 1) p else ps[0]",
        "if (true) p else ps[0]",
        "switch (x) { 1 => p, else => ps[1] }",
        "one: { break :one ps[1]; }",
        "one: { if (x == 1) break :one p; break :one ps[1]; }",
    ],
)
@pytest.mark.parametrize("part", [".x", ".row[0]", ".row[i]", ".inner.y"])
def test_nothing_is_assigned_to_a_choice_between_structs(analyze, value, part):
    declared = """const inner = struct { y: i16 };
    const point = struct { x: i16, row: [2]i16, inner: inner };
    var p: point; var ps: [2]point; var x: i16; var i: u16;"""
    assert analyze(f"{declared} fn f() void {{ x = ({value}){part}; }}").codes == []
    error = analyze(f"{declared} fn f() void {{ ({value}){part} = 1; }}").error
    assert error.code == "not-assignable"
    assert error.message == f"`({value}){part}` is constant"


@pytest.mark.parametrize("use", ["x = ps[i].x;", "ps[i].x = 3;"])
def test_a_variable_of_structs_without_a_size_is_refused_once(analyze, use):
    declared = "const open = struct { x: comptime_int }; var ps: [2]open; var x: i16; var i: u16;"
    error = analyze(f"{declared} fn f() void {{ {use} }}").error
    assert error.code == "type-mismatch"
    assert "has no size at run time" in error.message
    assert error.primary is not None


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("i16", "i32", "i32"),
        ("u32", "u16", "u32"),
        ("u16", "i32", "i32"),
        ("f32", "f16", "f32"),
        ("u16", "i16", None),
        ("i32", "u32", None),
        ("i32", "f32", None),
    ],
)
@pytest.mark.parametrize("operator", ["+", "<"])
def test_the_narrower_operand_widens(analyze, first, second, result, operator):
    wanted = "bool" if operator == "<" else result
    program = f"""var a: {first}; var b: {second}; fn f() void {{
      const c = a {operator} b; @comptime_assert(@is_same_type(@type_of(c), {wanted or "bool"}));
    }}"""
    assert analyze(program).codes == ([] if result else ["type-mismatch"])


@pytest.mark.parametrize(
    ("first", "second", "is_accepted"),
    [("u8", "i16", True), ("i16", "u32", False), ("f16", "i16", False)],
)
def test_elements_of_an_array_widen(analyze, first, second, is_accepted):
    program = f"""var a: {first}; var b: {second}; var c: i32; fn f() void {{
      const both = [2]i32{{ a, b }}; c = both[0] + both[1];
    }}"""
    assert analyze(program).codes == ([] if is_accepted else ["type-mismatch"])


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ("i16", "i32", "i32"),
        ("f32", "f16", "f32"),
        ("*i32", "*const i32", "*const i32"),
        ("*[2]i32", "[*]i32", "[*]i32"),
    ],
)
@pytest.mark.parametrize("branches", ["a else b", "b else a"])
def test_the_narrower_branch_widens(analyze, a, b, result, branches):
    program = f"""fn f(t: bool, a: {a}, b: {b}) void {{
      const either = if (t) {branches};
      @comptime_assert(@is_same_type(@type_of(either), {result}));
    }}"""
    assert analyze(program).codes == []


VARYING = """
const Named = struct { x: i16, y: i16 };
var n: i16 = 3;
var array = [2]i16{ 1, 2 };
var p = .{ .x = @as(i16, 1), .y = @as(i16, 2) };
var t = .{ @as(i16, 1), @as(u32, 2) };
"""


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("p = .{ .x = n, .y = 4 };", None),
        ("const q: Named = p; n = q.x;", None),
        ("p.x += 1; t[1] = 7; t = .{ n, 5 };", None),
        ("p = .{ .y = 1, .x = 2 };", "type-mismatch"),  # another order is another type
        ("p = .{ .x = 1 };", "type-mismatch"),
        ("p = Named{ .x = 1, .y = 2 };", "type-mismatch"),
        ("t = .{ 1, 2, 3 };", "type-mismatch"),
        ("t[2] = 1;", "index-out-of-range"),
        ("t[n] = 1;", "not-comptime"),
        ("const c = .{ .a = array }; c = .{ .a = array };", "not-assignable"),
        ("const c = .{ n, n }; c[0] = 1;", "not-assignable"),
        ("const c = p; c.x = 1;", "not-assignable"),
        ("const c = p; c = p;", "not-assignable"),
        ("_ = &p; _ = &p.x;", None),
        ("p = undefined; t = undefined;", None),
        ("var q = .{ .x = 1 };", "not-runtime"),
        ("var q = .{ .m = i16 };", "not-runtime"),
        ("var r = @range(i16, 4);", None),
        ("var r = @range(i16, 4); r = @range(i16, 5);", "not-assignable"),
    ],
)
def test_variables_of_anonymous_structs(analyze, statement, code):
    expected = [] if code is None else [code]
    assert analyze(f"{VARYING}fn main() void {{ {statement} }}").codes == expected


def test_the_type_behind_a_pointer_is_that_of_the_array(analyze):
    source = """
var a: [4]f32; var b: [2, 3]i16;
fn fill(p: anytype, v: anytype) void {
  for (@range(u16, @element_count(@type_of(p.*)))) |i| { (p.*)[i] = v; }
}
fn f(p: *[4]f32, q: *[2, 3]i16) void {
  @comptime_assert(@type_of(p.*) == [4]f32 and @rank(@type_of(q.*)) == 2);
  fill(p, 1.0);
}
fn g() void { f(&a, &b); fill(&a, 2.5); }
"""
    assert analyze(source).codes == []


@pytest.mark.parametrize("value", ["p", ".{ .x = p.x, .y = 1 }", "named"])
def test_a_variable_is_no_first_value_of_a_struct(analyze, value):
    declared = f"{VARYING}var named = Named{{ .x = 1, .y = 2 }}; var w = {value};"
    assert analyze(f"{declared}fn main() void {{ n = w.x; }}").codes == ["not-comptime"]


def nested_blocks(depth):
    """Return a block whose value is that of a block in it, and so on; each carries a number too."""
    value = "a"
    for level in range(depth):
        inner = f"{{ if (a == {level}) break :b{level} {level}; break :b{level} {value}; }}"
        value = f"b{level}: {inner}"
    return value


def test_blocks_in_blocks_are_analysed_once(body, monkeypatch):
    analysed = []
    analyze_if = dispatch.STATEMENTS[ast.If]

    def count(a, node):
        analysed.append(node)
        return analyze_if(a, node)

    monkeypatch.setitem(dispatch.STATEMENTS, ast.If, count)
    assert body(f"a = {nested_blocks(12)};", VARIABLES)[0] == "labelled"
    assert len(analysed) == len(set(map(id, analysed))) == 12


@pytest.mark.parametrize(
    "statement",
    [
        "comptime { switch (1) {} }",
        "const k = comptime switch (1) {}; a = k;",
        "switch (1) {}",
        "a = switch (a) {};",
    ],
)
def test_a_switch_without_arms_fits_nothing(analyze, statement):
    assert analyze(f"{VARIABLES}\nfn main() void {{ {statement} }}").codes == ["missing-else"]
