"""Modules, params, lazily analysed globals, comptime code."""

from __future__ import annotations

import pytest

from onewafer.csl.sema.session import session
from onewafer.csl.sema.types import sizes

LAYOUT = """
param n: i16 = 2;
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{ .n = n });
}
"""


def test_every_import_is_a_fresh_instance(analyze):
    pe = """
        const a = @import_module("counter.csl", .{ .start = 1 });
        const b = @import_module("counter.csl", .{ .start = 2 });
        fn main() void { a.bump(); b.bump(); }
        comptime { @export_symbol(main); }
    """
    counter = "param start: i16; var count: i16 = start; fn bump() void { count += 1; }"
    result = analyze(
        LAYOUT.replace(".{ .n = n }", ".{}"), files={"pe.csl": pe, "counter.csl": counter}
    )
    assert [(g.name, g.data[0].word) for g in result.instance.globals] == [
        ("a.count", 1),
        ("b.count", 2),
    ]


def test_globals_do_not_depend_on_their_order(comptime):
    assert comptime("a", "const a = b + 1; const b = c * 2; const c: i16 = 5;") == "11"


def test_a_cycle_is_named(analyze):
    error = analyze(
        "const a = b; const b: i16 = c + 1; const c = a; comptime { @comptime_print(a); }"
    ).error
    assert error.code == "global-cycle"
    assert "a → b → c → a" in error.message


def test_param_defaults_and_types(analyze):
    pe = """
        param n: i16; param m: u16 = 7; param x = {}; param unused: f32;
        var v: [2]u16 = [2]u16{ m, if (@is_same_type(@type_of(x), void)) 1 else 2 };
        comptime { @export_symbol(v); }
    """
    result = analyze(LAYOUT, files={"pe.csl": pe})
    assert [d.word for d in result.variable("v").data] == [7, 1]


def test_an_unbound_param_is_an_error_where_it_is_used(analyze):
    pe = "param n: i16; param m: i16; var v: i16 = m; comptime { @export_symbol(v); }"
    result = analyze(LAYOUT, files={"pe.csl": pe})
    assert result.codes == ["unbound-param"]
    assert "`m`" in result.error.message


def test_an_undeclared_param_is_a_warning(analyze):
    result = analyze(LAYOUT, files={"pe.csl": "param m: i16 = 1;"})
    assert result.codes == []
    assert [d.code for d in result.diagnostics] == ["unknown-param"]


def test_command_line_params_are_typed_by_the_file(analyze):
    pe = "param n: i16; var v: [n]u16; comptime { @export_symbol(v); }"
    files = {"pe.csl": pe}
    assert analyze(LAYOUT, files=files, params={"n": "5"}).variable("v").num_bytes == 10
    assert analyze(LAYOUT, files=files, params={"n": "0x10"}).variable("v").num_bytes == 32
    assert analyze(LAYOUT, files=files, params={"n": "100000"}).codes == ["value-out-of-range"]
    assert analyze(LAYOUT, files=files, params={"n": "many"}).codes == ["type-mismatch"]
    assert [d.code for d in analyze(LAYOUT, files=files, params={"N": "5"}).diagnostics] == [
        "unknown-param"
    ]


def test_colors_of_the_command_line(analyze):
    entry = "param c: color; layout { @set_rectangle(1, 1); @comptime_print(@get_int(c)); @set_tile_code(0, 0); }"
    (printed,) = analyze(entry, colors={"c": "4"}).diagnostics
    assert printed.message == "4"
    assert analyze(entry, colors={"c": "24"}).codes == ["id-out-of-range"]


def test_pointers_functions_and_tasks_are_params(analyze):
    pe = """
        var buffer: [8]f32;
        const m = @import_module("inner.csl", .{ .to = &buffer, .done = finish, .next = step });
        var count: u16 = 0;
        fn finish() void { count += 1; }
        task step() void { }
        fn main() void { m.fill(); }
        comptime { @bind_local_task(step, @get_local_task_id(9)); @export_symbol(main); }
    """
    inner = """
        param to: [*]f32; param done: fn () void; param next: task () void;
        fn fill() void { to[1] = 2.0; done(); @activate(next); }
    """
    result = analyze(LAYOUT.replace(".{ .n = n }", ".{}"), files={"pe.csl": pe, "inner.csl": inner})
    assert {f.name for f in result.instance.functions} == {"main", "m.fill", "finish", "step"}


def test_imports_are_relative_and_use_import_paths(analyze):
    files = {
        "lib/a.csl": 'const b = @import_module("../other/b.csl"); const v = b.v;',
        "other/b.csl": "const v: i16 = 3;",
        "far/c.csl": "const v: i16 = 4;",
    }
    source = 'const a = @import_module("lib/a.csl"); const c = @import_module("c.csl"); comptime { @comptime_print(a.v + c.v); }'
    assert analyze(source, files=files, import_paths=("far",)).diagnostics[-1].message == "7"
    error = analyze(source, files=files).error
    assert error.code == "import-not-found"
    assert "`c.csl`" in error.message


def test_imports_are_relative_to_the_compiled_file_too(analyze):
    """First to the importing one."""
    files = {
        "lib/a.csl": 'const b = @import_module("lib/b.csl"); const c = @import_module("c.csl");'
        " const v = 10 * b.v + c.v;",
        "lib/b.csl": "const v: i16 = 3;",
        "lib/c.csl": "const v: i16 = 4;",
        "c.csl": "const v: i16 = 5;",
    }
    source = 'const a = @import_module("lib/a.csl"); comptime { @comptime_print(a.v); }'
    assert analyze(source, files=files).diagnostics[-1].message == "34"


def test_comptime_blocks_of_imported_modules_run(analyze):
    pe = 'param n: i16; const unused = @import_module("inner.csl");'
    inner = """
        var v: u16 = 1;
        task t() void { v = 2; }
        comptime { @bind_local_task(t, @get_local_task_id(9)); @activate(@get_local_task_id(9)); }
    """
    (task,) = analyze(LAYOUT, files={"pe.csl": pe, "inner.csl": inner}).instance.tasks
    assert (task.task_id, task.is_active, task.function.name) == (9, True, "unused.t")


def test_comptime_functions_loop_mutate_and_return_arrays(comptime):
    declared = """
        fn squares(comptime n: u16) [n]u16 {
          var r = @zeros([n]u16);
          for (@range(u16, n)) |i| { r[i] = i * i; }
          return r;
        }
        fn total(a: [4]u16) u16 {
          var s: u16 = 0;
          for (a) |v, k| { if (k == 1) continue; s += v; }
          return s;
        }
        fn point() comptime_struct {
          var p = .{ .x = 1, .y = .{ 2, 3 } };
          p.x = 5; p.y[1] = 9;
          return p;
        }
        fn pick(d: direction) comptime_string { return switch (d) { NORTH, SOUTH => "vertical", else => "flat" }; }
        fn forever() void { while (true) { } }
    """
    assert comptime("squares(4)", declared) == "[4]u16{ 0, 1, 4, 9 }"
    assert comptime("total(squares(4))", declared) == "13"
    assert comptime("point()", declared) == ".{ .x = 5, .y = .{ 2, 9 } }"
    assert comptime("pick(SOUTH)", declared) == "vertical"
    assert comptime("pick(RAMP)", declared) == "flat"
    assert comptime("forever()", declared, max_steps=1000) == "step-limit"


def test_arrays_are_values(comptime):
    declared = """
        fn f() comptime_struct {
          var a = [2]u16{ 1, 2 };
          const b = a;
          var c = a;
          a[0] = 9; c[1] = 8;
          return .{ .a = a, .b = b, .c = c };
        }
    """
    assert comptime("f()", declared) == (
        ".{ .a = [2]u16{ 9, 2 }, .b = [2]u16{ 1, 2 }, .c = [2]u16{ 1, 8 } }"
    )


def test_endless_recursion_is_an_error(comptime, analyze):
    declared = "fn f(n: comptime_int) comptime_int { return f(n + 1); }"
    assert comptime("f(0)", declared) == "step-limit"
    generic = "fn g(comptime n: i16) void { g(n + 1); } fn main() void { g(0); }"
    assert "step-limit" in analyze(generic).codes or "value-out-of-range" in analyze(generic).codes


def test_a_file_that_imports_itself_is_an_error(analyze):
    result = analyze('const again = @import_module("main.csl"); fn main() void {}')
    assert result.error.message == "`main.csl` imports itself: main.csl → main.csl"


def test_an_import_cycle_is_named_from_end_to_end(analyze):
    entry = 'const a = @import_module("a.csl"); fn main() void {}'
    others = {
        "a.csl": 'const b = @import_module("b.csl");',
        "b.csl": 'const a = @import_module("a.csl");',
    }
    error = analyze(entry, files=others).error
    assert error.code == "import-cycle"
    assert "a.csl → b.csl → a.csl" in error.message


def test_a_file_may_import_itself_with_other_params(analyze):
    entry = """
        param depth: i16 = 0;
        const next = if (depth < 3) @import_module("main.csl", .{ .depth = depth + 1 }) else {};
        comptime { _ = next; }
        fn main() void {}
    """
    assert analyze(entry).codes == []


def test_imports_with_ever_new_params_end(analyze):
    entry = """
        param depth: i16 = 0;
        const next = @import_module("main.csl", .{ .depth = depth + 1 });
        fn main() void {}
    """
    assert analyze(entry).codes == ["step-limit"]


def test_a_comptime_int_does_not_grow_without_bound(comptime):
    grow = """
        fn grow(comptime op: i16) comptime_int {
          var a: comptime_int = 3;
          for (@range(i16, 60)) |i| {
            switch (op) { 0 => a = a * a, 1 => a = -a * a, else => a = a << 4000 }
          }
          return a;
        }
    """
    for operation in range(3):
        assert comptime(f"grow({operation})", grow) == "value-out-of-range"
    assert comptime("((1 << 4096) >> 4090) + 1") == "65"


def test_the_step_limit_counts_for_each_tile_program_and_names_its_option(analyze, monkeypatch):
    monkeypatch.setattr(session, "STEPS_OF_ANY_PROGRAM", 100)
    monkeypatch.setattr(session, "STEPS_OF_A_PE", 5)
    entry = """layout { @set_rectangle(20, 1);
        for (@range(i16, 20)) |x| { @set_tile_code(x, 0, "pe.csl", .{ .kind = x % 2 == 0 }); } }"""
    program = """
        param kind: bool;
        fn f() i16 { var i: i16 = 0; while (i < LIMIT) : (i += 1) {} return i; }
        comptime { if (kind) { @comptime_assert(f() > 0); } else { @comptime_assert(f() > 1); } }
    """
    short, long = (program.replace("LIMIT", limit) for limit in ("80", "120"))
    assert analyze(entry, files={"pe.csl": short}).codes == []
    error = analyze(entry, files={"pe.csl": long}).error
    assert error.code == "step-limit"
    assert "--max-comptime-steps" in error.help


def source_of(span):
    return span.source.text[span.start : span.end]


def test_calls_that_stand_deep_in_blocks_end_with_their_place(analyze):
    """Python's own stack is short before the calls are too many."""
    depth = 10
    inner = "(1 + " * depth + "f(n - 1)" + ")" * depth
    body = "if (n > 0) { " * depth + f"return {inner};" + " }" * depth
    declared = f"fn f(n: u16) u16 {{ {body} return 0; }} const x = f(250);"
    error = analyze(f"{declared} layout {{ @set_rectangle(1, 1); _ = x; }}").error
    assert (error.code, source_of(error.primary.span)) == ("step-limit", "f(n - 1)")
    assert "the expressions around them" in error.message


@pytest.mark.parametrize(
    "loop",
    ["for (.{ 1, 2, 3 }) |y| { x += y; }", "inline for (@range(u16, 3)) |y| { x += y; }"],
)
@pytest.mark.parametrize(("limit", "codes"), [(None, []), (3, []), (2, ["step-limit"])])
def test_an_unrolled_loop_may_have_so_many_rounds(analyze, loop, limit, codes):
    """Loops of the layout and of comptime code are not unrolled, nor are those of libraries."""
    entry = """layout { @set_rectangle(20, 1);
        for (@range(i16, 20)) |x| { @set_tile_code(x, 0, "pe.csl"); } }"""
    program = """
        const print = @import_module("<simprint>");
        fn squares() u16 { var s: u16 = 0; for (@range(u16, 9)) |i| { s += i * i; } return s; }
        const sum = squares();
        var x: u16 = 0;
        fn run() void {
          LOOP
          print.fmt("{d} and {d}, {d}, {d}", .{ x, sum, x, x });
        }
        comptime { @comptime_assert(sum == 204); @export_symbol(run); }
    """
    program = program.replace("LOOP", loop)
    result = analyze(entry, files={"pe.csl": program}, max_unrolled=limit)
    assert result.codes == codes
    if codes:
        assert result.error.message == "the loop is unrolled more than 2 times"
        assert "`--max-inlined-iterations=N`" in result.error.help


def test_a_large_layout_may_take_more_steps(analyze, monkeypatch):
    monkeypatch.setattr(session, "STEPS_OF_ANY_PROGRAM", 100)
    monkeypatch.setattr(session, "STEPS_OF_A_PE", 5)
    fill = "for (@range(i16, 20)) |x| { for (@range(i16, 20)) |y| { @set_tile_code(x, y); } }"
    assert analyze(f"layout {{ @set_rectangle(20, 20); {fill} }}").codes == []
    endless = "while (true) {}"
    assert analyze(f"layout {{ @set_rectangle(20, 20); {endless} }}").codes == ["step-limit"]


def test_an_array_that_no_memory_holds_is_an_error(comptime):
    assert comptime("@zeros([1000000, 1000000]u32)") == "value-out-of-range"


def test_a_mistake_in_one_statement_does_not_hide_the_next(analyze):
    result = analyze(
        "comptime { const x = nonsense; @comptime_print(x); @comptime_assert(false); }"
    )
    assert result.codes == ["unknown-name", "comptime-assert"]


def test_a_mistake_in_a_comptime_call_shows_the_way(analyze):
    source = "fn inner(x: i16) i16 { return x / 0; }\nfn outer(x: i16) i16 { return inner(x); }\ncomptime { @comptime_print(outer(1)); }"
    error = analyze(source).error
    assert error.code == "division-by-zero"
    assert [a.label for a in error.secondary] == [
        "`inner` is called here",
        "`outer` is called here",
    ]


def test_structs_join_and_their_fields_are_suggested(comptime, analyze):
    assert comptime("@concat_structs(.{ .a = 1 }, .{ .b = 2 })") == ".{ .a = 1, .b = 2 }"
    assert comptime("@concat_structs(.{ 1 }, .{ 2 })") == ".{ 1, 2 }"
    assert comptime("@concat_structs(.{ .a = 1 }, .{ .a = 2 })") == "duplicate-declaration"
    error = analyze("comptime { const s = .{ .width = 1 }; @comptime_print(s.widht); }").error
    assert error.help == "did you mean `width`?"


def test_misspelt_names_are_suggested(analyze):
    assert (
        analyze("const width = 1; comptime { @comptime_print(widht); }").error.help
        == "did you mean `width`?"
    )
    assert analyze("fn main() void { @fmacz(1, 2, 3, 4); }").error.help.startswith(
        "did you mean `@fmac"
    )


def test_types_are_values(comptime):
    declared = """
        fn Pair(comptime T: type) type { return [2]T; }
        const P = Pair(f16);
    """
    assert comptime("P", declared) == "[2]f16"
    assert comptime("@element_type(P)", declared) == "f16"
    assert comptime("@element_count([2, 3]i16)") == "6"
    assert comptime("*const [4]f32") == "*const [4]f32"
    assert comptime("fn (u16, [*]f32) void") == "fn (u16, [*]f32) void"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("int", "`i16` or `i32`"),
        ("float", "`f32` or `f16`"),
        ("double", "`f32`"),
        ("uint8_t", "`u8`"),
        ("uint64_t", "`u32`"),
        ("long", "`i32`"),
        ("float16", "`f16`"),
    ],
)
def test_types_of_other_languages_are_translated(analyze, name, advice):
    error = analyze(f"var x: {name} = 1; export var y: i16 = x;").error
    assert (error.code, error.help) == ("unknown-name", f"a type of CSL: {advice}")


def test_a_name_that_is_a_type_elsewhere_is_free(comptime):
    assert comptime("int", "const int = 3;") == "3"


@pytest.mark.parametrize(
    ("value", "code", "message", "advice"),
    [
        ("s{ .x = 1 }", "missing-field", "also needs the field `y`", "add `.y = …`"),
        (".{ .x = 1 }", "missing-field", "also needs the field `y`", "add `.y = …`"),
        (".{}", "missing-field", "also needs the fields `x`, `y`", "add `.x = …`"),
        (
            ".{ .x = 1, .y = 2, .z = 3 }",
            "unknown-field",
            "has no field `z`",
            "its fields are `x`, `y`",
        ),
        ("s{ .xx = 1, .y = 2 }", "unknown-field", "has no field `xx`", "did you mean `x`?"),
        (".{ 1, 2 }", "type-mismatch", "this is of type", ""),
    ],
)
def test_the_fields_of_a_struct_are_all_and_only_its_own(analyze, value, code, message, advice):
    declared = "const s = struct { x: i16, y: f32 };"
    for where in ("comptime", "fn main() void"):
        error = analyze(f"{declared} {where} {{ var v: s = {value}; }}").error
        assert (error.code, error.help) == (code, advice)
        assert message in error.message


def test_an_array_without_elements_is_said_to_have_none(analyze):
    message = "index 0 is outside of {}, which has no elements"
    error = analyze("var a: [0]f32; fn main() void { a[0] = 1.0; }").error
    assert error.message == message.format("the array")
    error = analyze("const a = @zeros([0]i16); comptime { @comptime_print(a[0]); }").error
    assert error.message == message.format("`[0]i16`")


UNION = """
const number = union { i: i32, f: f32 };
fn turned(x: number) number { return if (x.i > 3) number{ .f = 1.5 } else x; }
fn changed() number {
  var v = number{ .i = 15 };
  v.i = 4;
  v = number{ .f = v.i };
  return v;
}
"""


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("turned(number{ .i = 4 }).f", "1.5"),
        ("turned(number{ .i = 2 }).i", "2"),
        ("@is_same_type(@type_of(changed()), number)", "true"),
    ],
)
def test_a_union_has_its_active_variant(comptime, expression, shown):
    assert comptime(expression, UNION.replace(".f = v.i", ".f = 2.5")) == shown


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("_ = turned(number{ .i = 9 }).i;", "inactive-variant"),
        ("var v = number{ .i = 9 }; v.f = 1.0;", "inactive-variant"),
        ("_ = number{ .i = 9, .f = 1.0 };", "type-mismatch"),
        ("_ = number{ .g = 9 };", "unknown-field"),
        ("_ = changed();", "type-mismatch"),
    ],
)
def test_other_variants_of_a_union_are_refused(analyze, body, code):
    assert analyze(f"{UNION} comptime {{ {body} }}").codes == [code]


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("<maths>", "did you mean `<math>`?"),
        ("math", "did you mean `<math>`"),
        ("<memcpy/memcpy_params>", "did you mean `<memcpy/get_params>`"),
        ("maths.csl", "paths are relative to the importing file"),
    ],
)
def test_a_library_of_nearly_this_name_is_named(analyze, path, advice):
    error = analyze(f'const m = @import_module("{path}"); fn main() void {{ }}').error
    assert (error.code, error.help[: len(advice)]) == ("import-not-found", advice)


HINTS = """
var a = @zeros([4]f32); var k: u16 = 2;
const math = @import_module("<math>");
const d = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> a[i] });
const c: [4]f32 = @constants([4]f32, 1.0);
"""


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("@fmovs(d, a);", "make a DSD of the array"),
        ("const p: *f32 = &a; p.* = 1.0;", "&array[0]"),
        ("const p: [*]u16 = &a; p[0] = 1;", "@ptrcast([*]u16, …)"),
        ("d.extent = 3;", "@set_dsd_length"),
        ("a[0] = math.pow(2.0, 3.0);", "@as(f32, …)"),
        ("var p = .{ .x = 1 };", "give each field a sized type"),
        ("const p = &a[1]; a[0] = p[1];", "@ptrcast([*]f32, p)"),
        ("for (&a) |x| { _ = x; }", "for (p.*) |x|"),
        ("@queue_flush(@get_color(3));", "@get_output_queue(n)"),
    ],
)
def test_what_to_write_instead_is_said(analyze, statement, part):
    assert part in analyze(f"{HINTS} fn main() void {{ {statement} }}").error.help


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
def test_an_operation_without_a_known_queue_says_what_would_do(analyze, arch):
    source = """
    const q = @get_output_queue(2);
    fn out(n: u16) fabout_dsd {
      return @get_dsd(fabout_dsd, .{ .fabric_color = @get_color(1), .extent = n, .output_queue = q });
    }
    fn main() void { @mov32(out(2), 1, .{ .async = true }); }
    comptime { @initialize_queue(q CONFIG); }
    """.replace("CONFIG", ", .{ .color = @get_color(1) }" if arch == "wse3" else "")
    error = analyze(source, arch=arch).error
    assert error.code == "missing-microthread"
    assert "comptime f(…)" in error.help
    assert ("@get_ut_id" in error.help) == (arch == "wse3")


def test_an_index_is_an_integer(analyze):
    error = analyze(f"{HINTS} fn main() void {{ a[1.5] = 1.0; }}").error
    assert error.message == "an index is an integer, this is of type `comptime_float`"


def test_a_result_that_cannot_be_is_shown_where_the_function_is_called(analyze):
    source = f"{HINTS} fn main() void {{ a[0] = math.floor(-2.5); }}"
    error = analyze(source).error
    assert "`floor` is called here" in [place.label for place in error.secondary]


def test_a_number_is_not_indexed(analyze):
    error = analyze(f"{HINTS} fn main() void {{ a[0] = @as(f32, k[0]); }}").error
    assert error.message == "a value of type `u16` cannot be indexed"


@pytest.mark.parametrize(
    ("declarations", "part"),
    [
        ("const node = struct { next: node }; export var n: node;", "a pointer, `*node`"),
        ("export var a: u16 = a;", "while the program runs"),
        ("export var a = .{ .p = @ptrcast(*anyopaque, &a) };", "write its type: `: T = …`"),
    ],
)
def test_what_to_write_instead_of_a_cycle_is_said(analyze, declarations, part):
    error = analyze(declarations).error
    assert error.code == "global-cycle"
    assert part in error.help


def test_a_part_of_a_variable_is_named_by_the_variable(analyze):
    error = analyze("var p = .{ @as(i16, 1), @as(i16, 2) }; export var q = .{ .x = p };").error
    assert error.code == "not-comptime"
    assert "a part of the variable `p`" in error.message


def test_structs_that_double_their_fields_are_refused_in_time(analyze):
    doubled = "".join(f"const s{i + 1} = struct {{ a: s{i}, b: s{i} }};" for i in range(30))
    error = analyze(f"const s0 = struct {{ x: i16 }}; {doubled} export var s: s30;").error
    assert error.code == "value-out-of-range"
    assert "4,096 fields" in error.message


def test_a_struct_is_laid_out_once(analyze, monkeypatch):
    """Not once for each field: a thousand of them took eight seconds."""
    laid_out = []

    def lay_out(struct, plain=sizes._lay_out):
        laid_out.append(struct)
        return plain(struct)

    monkeypatch.setattr(sizes, "_lay_out", lay_out)
    fields = ", ".join(f"f{i}: i16" for i in range(1000))
    found = analyze(f"const big = struct {{ {fields} }}; export var s: big; export var p: *big;")
    assert not found.diagnostics
    assert 0 < len(laid_out) < 10


def test_an_array_of_more_fields_than_the_compiler_holds_is_refused(analyze):
    declared = "const row = struct { a: [60000]i32, b: i16 };"
    error = analyze(f"{declared} export var rows: [60000]row;").error
    assert error.code == "value-out-of-range"
    assert "3,600,060,000 fields" in error.message
