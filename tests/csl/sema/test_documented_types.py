"""Rules of types and declarations that the language's documentation states."""

import pytest

from onewafer.diagnostics import Severity


def in_main(statements, declarations=""):
    return f"{declarations}\nfn main() void {{ {statements} }}"


# --- pointers ------------------------------------------------------------------------------------

POINTERS = """
const fixed = [3]i16{ 1, 2, 3 };
var list = [3]i16{ 1, 2, 3 };
var cube = @zeros([3, 3, 3]i16);
var many: [*]i16 = &list;
var readable: [*]const i16 = &fixed;
fn fill(to: [*]i16) void { to[0] = 1; }
fn read(from: [*]const i16) i16 { return from[0]; }
"""


@pytest.mark.parametrize(
    "statements",
    [
        "fill(&fixed);",
        "fill(readable);",
        "const p: [*]i16 = &fixed; _ = p[0];",
        "const p: [*]i16 = readable; _ = p[0];",
        "many = readable;",
        "const p: *const [3]i16 = &list; many = p;",
        "const p: *[3]i16 = &fixed; _ = p;",
    ],
)
def test_const_is_not_dropped(analyze, statements):
    error = analyze(in_main(statements, POINTERS)).error
    assert error.code == "type-mismatch"
    assert "declare that with `var`, or take a `" in error.help


@pytest.mark.parametrize(
    "statements",
    [
        "_ = read(&fixed); _ = read(&list); _ = read(many); _ = read(readable);",
        "fill(&list); fill(many); many = &list; readable = many;",
        "fill(&cube);",  # as public programs do
        "const p: *const [3]i16 = &list; _ = read(p);",
        "fill(@ptrcast([*]i16, &fixed));",
    ],
)
def test_pointers_convert_where_nothing_is_lost(analyze, statements):
    assert analyze(in_main(statements, POINTERS)).codes == []


def test_global_pointers_keep_const(analyze):
    source = "const fixed = [3]i16{ 1, 2, 3 }; export var p: [*]i16 = &fixed; fn main() void {}"
    assert analyze(source).codes == ["type-mismatch"]


@pytest.mark.parametrize(
    "statements",
    [
        "many.* = 10;",
        "many.* += 1;",
        "_ = many.*;",
        "_ = &many.*;",
        "readable.* = 1;",
        "const p: [*]i16 = &list; p.* = 1;",
    ],
)
def test_a_pointer_to_many_is_not_dereferenced(analyze, statements):
    error = analyze(in_main(statements, POINTERS)).error
    assert (error.code, error.help) == ("type-mismatch", "write `p[0]`")


@pytest.mark.parametrize("place", ["p.*", "&p.*", "@type_of(p.*)"])
def test_nor_is_it_while_compiling(comptime, place):
    declared = "var a = [2]i16{ 1, 2 }; const p: [*]i16 = &a;"
    assert comptime(place, declared) == "type-mismatch"


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("1.0 / 0.0", "division-by-zero"),
        ("0.0 / 0.0", "division-by-zero"),
        ("1.0 / 0", "division-by-zero"),
        ("1.0 / -0.0", "division-by-zero"),
        ("@as(f32, 1.0) / 0.0", "inf"),
        ("@as(f16, 1.0) / @as(f16, 0.0)", "inf"),
        ("0.0 / 2.0", "0.0"),
    ],
)
def test_known_divisions_by_zero(comptime, expression, result):
    assert comptime(expression) == result


NUMBERS = """
const inf = @bitcast(f32, @as(u32, 0x7f800000));
const nan = @bitcast(f32, @as(u32, 0x7fc00000));
const Step = enum(u16) { LOAD, ADD };
"""


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "@as(f16, inf)"])
@pytest.mark.parametrize("type_", ["i32", "u8", "i64", "comptime_int", "Step"])
def test_what_is_not_finite_is_no_integer(analyze, number, type_):
    error = analyze(in_main(f"const x = @as({type_}, {number}); _ = x;", NUMBERS)).error
    assert error.code == "value-out-of-range"
    assert error.message.endswith(" is not an integer")


def test_other_conversions_of_it_stay(comptime):
    assert comptime("@as(bool, nan)", NUMBERS) == "true"
    assert comptime("@as(f16, inf)", NUMBERS) == "inf"
    assert comptime("@as(comptime_int, @as(u2000, 1 << 1999)) == 1 << 1999") == "true"


def test_a_param_that_is_not_finite_stops_its_pe_alone(analyze):
    layout = """
        layout {
          @set_rectangle(2, 1);
          for (@range(u16, 2)) |x| {
            @set_tile_code(x, 0, "pe.csl", .{ .x = @as(f32, 1.0) / @as(f32, x) });
          }
        }
    """
    pe = "param x: f32; export var n: i16 = @as(i16, x); fn main() void {}"
    assert analyze(layout, files={"pe.csl": pe}).codes == ["value-out-of-range"]


# --- enums ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", ["A = 1, B = 1", "A, B = 3, C = 3", "A = 2, B, C = 1 + 1"])
def test_members_of_an_enum_have_values_of_their_own(analyze, members):
    error = analyze(in_main("_ = E.A;", f"const E = enum(u16) {{ {members} }};")).error
    assert error.code == "duplicate-declaration"
    assert [place.label for place in error.secondary] == ["given here first"]


ENUMS = """
const E = enum(u16) { A, B };
const F = enum(u16) { A, B };
var known = E.B;
"""


@pytest.mark.parametrize("value", ["known", "E.B"])
@pytest.mark.parametrize("conversion", ["@as(F, {})", "choose({})"])
def test_a_value_of_an_enum_is_none_of_another(analyze, value, conversion):
    declared = ENUMS + "fn choose(f: F) F { return f; }"
    error = analyze(in_main(f"const f = {conversion.format(value)}; _ = f;", declared)).error
    assert error.code == "type-mismatch"
    assert "@get_int" in error.help


@pytest.mark.parametrize("value", ["known", "E.B"])
def test_numbers_lead_from_enum_to_enum(analyze, value):
    statements = f"_ = @as(F, @get_int({value})); _ = @as(E, {value}); _ = @as(u8, {value});"
    assert analyze(in_main(statements, ENUMS)).codes == []


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        "fn f(x: u16, x: u16) u16 { return x; }",
        "fn f(x: u16, comptime y: u16, x: anytype) u16 { return x; }",
        "task f(x: u16, x: u16) void {}",
        "extern fn f(x: u16, x: u16) u16;",
        "fn f(x: u16) u16 { const x = 1; return x; }",
        "fn f(x: u16) u16 { var x: u16 = 1; return x; }",
        "fn f(a: [2]i16) void { for (a) |e, e| {} }",
        "comptime { for (@range(u16, 2)) |e, e| {} }",
    ],
)
def test_a_name_is_declared_once(analyze, function):
    error = analyze(f"{function}\nfn main() void {{}}").error
    assert error.code == "duplicate-declaration"
    assert [place.label for place in error.secondary] == ["declared here first"]


@pytest.mark.parametrize(
    "function",
    [
        "fn f(_: u16, _: u16) void {}",
        "extern fn f(u16, u16) u16;",
        "fn f(a: [2]i16) void { for (a) |_, _| {} }",
        "fn f(x: u16) u16 { if (x == 1) { const y = 1; } const y = 2; return y; }",
    ],
)
def test_what_is_discarded_has_no_name(analyze, function):
    assert analyze(f"{function}\nfn main() void {{}}").codes == []


def test_one_mistake_hides_no_other(analyze):
    source = "fn f(x: u16, x: u16, x: u16) void { const x = 1 }"
    assert sorted(analyze(source).codes) == [*["duplicate-declaration"] * 3, "missing-semicolon"]


# --- ranges, tuples, blocks ----------------------------------------------------------------------

LOOPS = "var sum: u32; var n: u32 = 3; var list: [2]u16; var flag: bool;"


def test_a_range_may_be_declared_with_var(body):
    assert body("var r = @range(u32, n); n = 9; for (r) |c| { sum += c; }", LOOPS) == [
        "r = [&n]",
        "[&n] = 9u32",
        "stop = r",
        "c = 0u32",
        "while (c LESS.u32 stop)",
        "  [&sum] = ([&sum] ADD.u32 c)",
        "; c = (c ADD.u32 1u32)",
    ]


@pytest.mark.parametrize("keyword", ["var", "const"])
def test_a_range_is_not_assigned_to_again(analyze, keyword):
    statements = f"{keyword} r = @range(u32, n); r = @range(u32, 4);"
    error = analyze(in_main(statements, LOOPS)).error
    assert (error.code, error.message) == ("not-assignable", "the range `r` cannot be assigned to")


def test_comptime_code_assigns_ranges(comptime):
    declared = """
        fn last() comptime_int {
          var r = @range(comptime_int, 3);
          r = @range(comptime_int, 5);
          var found = 0;
          for (r) |c| { found = c; }
          return found;
        }
    """
    assert comptime("last()", declared) == "4"


@pytest.mark.parametrize("loop", ["for", "inline for"])
def test_an_empty_tuple_has_no_elements(body, loop):
    assert body(f"{loop} (.{{}}) |c, i| {{ wrong(c, i); }}") == []


def test_nor_while_compiling(comptime):
    declared = """
        fn count(t: anytype) u16 {
          var n: u16 = 0;
          for (t) |_| { n += 1; }
          return n;
        }
    """
    assert comptime("count(.{})", declared) == "0"
    assert comptime("count(.{ 5, 6 })", declared) == "2"


def test_a_struct_without_fields_is_no_tuple(analyze):
    source = in_main("for (nothing{}) |_| {}", "const nothing = struct {};")
    assert analyze(source).codes == ["type-mismatch"]


@pytest.mark.parametrize(
    "block",
    [
        "blk: { if (flag) { break :blk false; } return; }",
        "blk: { if (flag) { break :blk false; } return; };",
        "blk: { if (flag) { break :blk n; } break :blk 3; }",
        "blk: { break :blk 3; }",
        "blk: { if (flag) break :blk 3; return; }",
        "blk: { if (flag) break :blk 3; if (n == 2) break :blk 4; n = 5; break :blk 6; }",
        'blk: { if (flag) break :blk "a"; return; }',
        "blk: { if (flag) break :blk n; break :blk flag; }",
        "b: { c: { if (flag) break :c 3; break :b; } }",
        "if (flag) blk: { if (n == 1) break :blk true; return; } else n = 2;",
    ],
)
def test_a_block_with_a_value_is_a_statement(analyze, block):
    result = analyze(in_main(f"{block} n = 7;", LOOPS))
    assert result.diagnostics == []


@pytest.mark.parametrize(
    "branch",
    [
        "if (n == 1) here: { if (flag) break :here; n = 2; }",
        "if (true) here: { if (flag) break :here; n = 2; }",
        "switch (n) { 1 => here: { if (flag) break :here; n = 2; }, else => {} }",
        "while (flag) { if (n == 1) here: { if (flag) break :here; n = 2; } }",
    ],
)
def test_a_branch_has_a_label(analyze, branch):
    assert analyze(in_main(branch, LOOPS)).diagnostics == []


def test_its_value_is_discarded_and_all_else_runs(body):
    statements = "blk: { n = 1; if (flag) { break :blk false; } n = 2; return; } n = 3;"
    assert body(statements, LOOPS)[-1] == "[&n] = 3u32"


def test_what_its_value_calls_is_called(analyze):
    declared = f"{LOOPS} fn next() u32 {{ n += 1; return n; }}"
    block = "blk: { if (flag) { break :blk next(); } break :blk n + next(); }"
    (labelled,) = analyze(in_main(block, declared)).function("main").body
    assert repr(labelled).count("=Call(") == 2


def test_a_block_with_a_value_has_one_at_its_end(analyze):
    source = in_main("blk: { if (flag) break :blk true; n = 2; }", LOOPS)
    assert analyze(source).codes == ["type-mismatch"]


def test_the_block_around_it_has_another_value(comptime):
    declared = """
        fn f(c: bool) u16 {
          return outer: {
            inner: { if (c) break :inner false; break :outer 7; }
            if (c) break :outer 8;
            break :outer 9;
          };
        }
        fn g() bool {
          const v = outer: { inner: { break :inner 7; } };
          return @is_same_type(@type_of(v), void);
        }
    """
    assert comptime("f(true) * 10 + f(false)", declared) == "87"
    assert comptime("g()", declared) == "true"


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["const k = f(3); comptime { _ = k; }", "comptime { _ = f(3); }"])
def test_an_extern_function_is_called_by_the_name_that_is_written(analyze, use):
    source = f"""
        extern fn f(i16) i16;
        export fn h(x: i16) i16 linkname("f") {{ return x + 1; }}
        {use}
        fn main() void {{}}
    """
    error = analyze(source).error
    assert error.message.startswith("`f` is `extern`")
    assert [place.label for place in error.secondary] == ["this is the function"]


def test_run_time_code_says_that_name_too(analyze):
    source = """
        extern fn f(i16) i16;
        export fn h(x: i16) i16 linkname("f") { return x + 1; }
        fn main() void { const k = comptime f(3); _ = k; }
    """
    assert analyze(source).error.message.startswith("`f` is `extern`")


def test_an_assertion_stands_for_what_goes_wrong_behind_it(analyze):
    source = """
        fn half(x: anytype) f32 {
          @comptime_assert(@is_same_type(@type_of(x), f32), "x is not a float");
          @comptime_print("went on");
          @comptime_assert(false, "another");
          return x * 0.5;
        }
        fn main() void { _ = half(true); }
    """
    result = analyze(source)
    assert [e.message for e in result.errors] == ["x is not a float", "another"]
    assert [d.message for d in result.diagnostics if d.severity is Severity.NOTE] == ["went on"]


def test_an_assertion_of_a_called_function_hides_nothing(analyze):
    declared = 'fn T(comptime k: u16) type { @comptime_assert(k < 3, "small"); return u16; }'
    error_codes = analyze(in_main("const a: T(4) = 1; unknown();", declared)).codes
    assert error_codes == ["comptime-assert", "unknown-name"]


def test_an_assertion_about_the_argument_is_what_is_said(analyze):
    source = """
        fn abs(x: anytype) @type_of(x) {
          @comptime_assert(@is_same_type(@type_of(x), f32), "x is not a float");
          return x;
        }
        fn main() void { _ = abs("hello"); }
    """
    assert [e.message for e in analyze(source).errors] == ["x is not a float"]


def test_a_result_of_a_type_of_compile_time_is_known(analyze):
    source = """
        var n: i16;
        fn same(x: anytype) @type_of(x) { return x; }
        fn main() void {
          const s = same("abc");
          @comptime_assert(@strlen(s) == 3 and @is_same_type(same(u5), u5));
          n = same(n);
        }
    """
    assert analyze(source).codes == []


# --- blocks as values ----------------------------------------------------------------------------

PEERS = """
var flag: bool; var s: i16 = -3; var l: i32 = 70000; var w: i64; var u: u8; var h: f16; var f: f32;
const known: i16 = 3; var p: *i16 = &s; var c: *const i16 = &known;
"""


@pytest.mark.parametrize(
    ("narrow", "wide", "type_"),
    [
        ("s", "l", "i32"),
        ("u", "s", "i16"),
        ("s", "w", "i64"),
        ("h", "f", "f32"),
        ("3", "l", "i32"),
        ("p", "c", "*const i16"),
        ("@as(i16, 4)", "l", "i32"),
    ],
)
def test_a_block_is_of_the_widest_type(analyze, narrow, wide, type_):
    for first, second in ((narrow, wide), (wide, narrow)):
        block = f"q: {{ if (flag) break :q {first}; break :q {second}; }}"
        result = analyze(in_main(f"const b = {block}; @comptime_print(@type_of(b));", PEERS))
        assert [d.message for d in result.diagnostics] == [type_]


def test_values_that_do_not_widen_are_refused(analyze):
    block = "q: { if (flag) break :q s; break :q f; }"
    assert analyze(in_main(f"const b = {block}; _ = b;", PEERS)).codes == ["type-mismatch"]
