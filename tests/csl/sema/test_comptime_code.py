"""What runs while compiling in the middle of run-time code: `comptime var`, and blocks that loop."""

import pytest

PROGRAM = """
var x: u16;
const n = 4;
fn known(k: comptime_int) comptime_int {{ return k * 2; }}
fn run() void {{
  const local: u16 = x;
  comptime var i = 1;
  comptime var list = [2]i16{{ 1, 2 }};
  comptime var point = .{{ .x = 1, .y = @as(i16, 2) }};
  {statements}
}}
"""


@pytest.mark.parametrize(
    "statements",
    [
        "i += known(n); @comptime_assert(i == 9);",
        "list[1] = 7; @comptime_assert(list[1] == 7 and list[0] == 1);",
        "point.x = i + 1; @comptime_assert(point.x == 2);",
        "{ i = 3; { comptime var i = 0; i += 1; } @comptime_assert(i == 3); }",
        "if (n == 4) i = 5 else i = 6; @comptime_assert(i == 5);",
        "for (.{ 1, 2, 3 }) |k| { i += k; } @comptime_assert(i == 7);",
        "inline for (list) |_, k| { i += k; } @comptime_assert(i == 2);",
        "inline for (@range(u8, 3)) |k| { i += k; } @comptime_assert(i == 4);",
        "inline for (@range(i16, 3)) |k| { var y: [k + 1]u16; y[k] = x; x += y[k]; }",
        "comptime { inline for (.{ 1, 2 }) |k| { i += k; } } @comptime_assert(i == 4);",
        "comptime { while (i < n) : (i += 1) { } } @comptime_assert(i == n);",
        "comptime { for (@range(i16, 3)) |k| { i += k; } } @comptime_assert(i == 4);",
        "comptime { var t: type = u16; t = u32; @comptime_assert(t == u32); }",
        "if (x == 1) { comptime { var i = 0; i += 1; } } @comptime_assert(i == 1);",
        "if (x == 1) { comptime var k = 0; comptime { k += i; } @comptime_assert(k == 1); }",
        "comptime const k = known(i); i = k; @comptime_assert(i == 2);",
        "comptime { var t = i; t += 1; @comptime_assert(@type_of(local) == u16); }",
        "var y: [i + 1]u16; y[i] = 1; x = y[1];",
        "comptime var t = .{ list, 3 }; list[0] = 33; @comptime_assert(t[0][0] == 1);",
        "comptime var c = list; c[0] = 33; @comptime_assert(list[0] == 1);",
        "comptime { var c = list; c[0] = 9; list = c; c[0] = 8; @comptime_assert(list[0] == 9); }",
    ],
)
def test_code_that_runs_while_compiling(analyze, statements):
    assert analyze(PROGRAM.format(statements=statements)).codes == []


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        ("if (x == 1) i = 2;", "not-comptime"),
        ("while (x < 2) : (x += 1) { i = 2; }", "not-comptime"),
        ("while (x < 2) : (i += 1) { x += 1; }", "not-comptime"),
        ("if (x == 1) { comptime { i = 2; } }", "not-comptime"),
        ("while (x < 2) : (x += 1) { comptime { list[0] = i; } }", "not-comptime"),
        ("i += local;", "not-comptime"),
        ("inline for (@range(u16, x)) |k| { x += k; }", "not-comptime"),
        ("inline for (x) |k| { x += k; }", "type-mismatch"),
        pytest.param(
            "inline for (@range(u32, 4000000000)) |k| { x += 1; }",
            "step-limit",
            marks=pytest.mark.slow,
        ),
        ("i = x;", "not-comptime"),
        ("comptime var k = x;", "not-comptime"),
        ("comptime var k: u16 = local;", "not-comptime"),
        ("comptime const k = 1; k = 2;", "not-assignable"),
        ("comptime var k;", "type-mismatch"),
        ("i = 1.5;", "type-mismatch"),
        ("list[2] = 1;", "index-out-of-range"),
        ("const p = &i;", "not-assignable"),
        ("comptime { i += 1; return; }", "misplaced-jump"),
        ("comptime { i += 1; @activate(@get_local_task_id(3)); }", "wrong-context"),
        ("comptime { x = 1; }", "not-assignable"),
        ("comptime { var k = 0; while (true) { k = 1; } }", "step-limit"),
    ],
)
def test_what_it_refuses(analyze, statements, code):
    assert analyze(PROGRAM.format(statements=statements)).codes == [code]


@pytest.mark.parametrize(
    ("first", "second", "codes"),
    [
        ("1", "x", []),
        ("x", "1", []),
        ("1", "2", ["not-runtime"]),
        ("70000", "x", ["value-out-of-range"]),
        ("1.5", "x", ["type-mismatch"]),
    ],
)
def test_values_of_a_block_have_one_type(analyze, first, second, codes):
    source = f"""
    var x: u16;
    fn run() void {{
      const y = b: {{ if (x == 3) {{ break :b {first}; }} break :b {second}; }};
      x = y;
    }}
    """
    assert analyze(source).codes == codes


@pytest.mark.parametrize(
    ("statements", "result"),
    [
        ("const p = pairs[1]; pairs[1].list[0] = 9; return p.list[0];", 3),
        ("var p = pairs[1]; p.list[0] = 9; return pairs[1].list[0];", 3),
        ("var p = pairs[1]; p = pairs[0]; p.list[1] = 9; return pairs[0].list[1];", 2),
        ("const all = pairs; pairs[1].list[0] = 9; return all[1].list[0];", 3),
        ("var p = made(); p.list[0] = 9; return p.list[0] + made().list[0];", 10),
        ("const s = .{ .p = pairs[0] }; pairs[0].list[0] = 9; return s.p.list[0];", 1),
        ("var t: i16 = 0; for (list) |e, i| { list[(i + 1) % 3] = e; t += e; } return t;", 3),
        ("var t: i16 = 0; for (list) |e| { list = [3]i16{ 5, 6, 7 }; t += e; } return t;", 14),
        ("var t: i16 = 0; for (pairs[0].list) |e| { pairs[0].list[1] = 9; t += e; } return t;", 10),
        ("list[0] = b: { list = [3]i16{ 7, 7, 7 }; break :b 4; }; return list[0] + list[1];", 11),
    ],
)
def test_arrays_of_variables_are_their_own(analyze, statements, result):
    source = f"""
    const Pair = struct {{ list: [2]i16 }};
    fn made() Pair {{ return Pair{{ .list = [2]i16{{ 1, 2 }} }}; }}
    fn work() i16 {{
      var pairs = [2]Pair{{ made(), Pair{{ .list = [2]i16{{ 3, 4 }} }} }};
      var list = [3]i16{{ 1, 2, 3 }};
      {statements}
    }}
    comptime {{ @comptime_assert(work() == {result}); }}
    """
    assert analyze(source).codes == []


def test_results_are_remembered_by_the_bits_of_numbers(analyze):
    source = """
    fn bits(x: f32) u32 { return @bitcast(u32, x); }
    fn of(n: u32) f32 { return @bitcast(f32, n); }
    comptime {
      @comptime_assert(bits(of(0x7fc00000)) == 0x7fc00000);
      @comptime_assert(bits(of(0xffc00002)) == 0xffc00002);
      @comptime_assert(bits(of(0x80000000)) == 0x80000000 and bits(of(0)) == 0);
      @comptime_assert(bits(@as(f32, @as(f16, of(0xffc00002)))) == 0x7fc00000);
    }
    """
    assert analyze(source).codes == []


@pytest.mark.parametrize(
    "block",
    [
        "comptime { bind(); }",
        "comptime { var k: u16 = 0; while (k < 1) { bind(); k += 1; } }",
        "comptime { for (@range(u16, 1)) |_| { bind(); } }",
        "inline for (@range(u16, 1)) |_| { comptime { bind(); } }",
        "comptime { var k: u16 = 0; bind(); k += 1; }",
        "bind();",
    ],
)
def test_code_of_run_time_changes_nothing_of_the_program(analyze, block):
    """It would take effect whether the function runs or not."""
    files = {
        "m.csl": """
            task finish() void {}
            fn bind() void { @bind_local_task(finish, @get_local_task_id(9)); }
        """
    }
    block = block.replace("bind()", "m.bind()")
    imported = 'const m = @import_module("m.csl");'
    run = f"{imported} fn run() void {{ {block} }} comptime {{ @export_symbol(run); }}"
    assert analyze(run, files=files).codes == ["wrong-context"]
    assert analyze(f"{imported} comptime {{ m.bind(); }}", files=files).codes == []
