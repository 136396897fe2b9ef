"""One program for many PEs, as long as nothing decides otherwise."""

from __future__ import annotations

import pytest

from onewafer.csl import ir
from onewafer.csl.sema import explain_instances
from onewafer.image import ScalarType

LAYOUT = """
layout {
  @set_rectangle(40, 40);
  for (@range(u16, 40)) |x| {
    for (@range(u16, 40)) |y| {
      @set_tile_code(x, y, "pe.csl", .{ .id = y * 40 + x, .x = x });
    }
  }
}
"""

DATA = """
param id: u16;
param x: i16;
var where: u16 = id;
var twice = [2]u16{ id * 2, 7 };
var buffer: [64]f32;
var dsd = @get_dsd(mem1d_dsd, .{ .base_address = &buffer, .extent = x + 1 });
fn main() void { where = id + 1; @fmovs(dsd, 0.0); }
comptime { @export_symbol(main); @export_symbol(where); @export_symbol(twice); }
"""


def test_data_that_differs_keeps_one_instance(analyze):
    result = analyze(LAYOUT, files={"pe.csl": DATA})
    (instance,) = result.program.instances
    assert len(instance.pes) == 1600
    assert instance.pes[:2] == ((0, 0), (1, 0))
    assert instance.decisions == ()
    assert all(len(column) == 1600 for column in instance.per_pe)
    assert tuple(range(1600)) in instance.per_pe
    assert tuple(2 * i for i in range(1600)) in instance.per_pe
    assert tuple(i + 1 for i in range(1600)) in instance.per_pe
    assert tuple(i % 40 + 1 for i in range(1600)) in instance.per_pe


def test_the_column_is_where_the_value_is_used(analyze):
    instance = analyze(LAYOUT, files={"pe.csl": DATA}).program.instances[0]
    where = next(g for g in instance.globals if g.name == "where")
    (datum,) = where.data
    assert isinstance(datum, ir.Datum)
    assert instance.per_pe[datum.per_pe.index][41] == 41
    twice = next(g for g in instance.globals if g.name == "twice")
    assert [d.word for d in twice.data] == [0, 7]
    assert [d.per_pe is None for d in twice.data] == [False, True]
    (dsd,) = next(g for g in instance.globals if g.name == "dsd").data
    assert dsd.dsd.extent.per_pe is not None


def test_a_branch_splits_and_is_explained(analyze):
    branch = DATA.replace("where = id + 1;", "if (x == 0) { where = 1; } else { where = id; }")
    result = analyze(LAYOUT, files={"pe.csl": branch})
    west, rest = result.program.instances
    assert (len(west.pes), len(rest.pes)) == (40, 1560)
    assert west.decisions[0].params == ("x",)
    assert (west.decisions[0].value, rest.decisions[0].value) == ("true", "false")
    assert (west.name, rest.name) == ("pe.csl (x=0)", "pe.csl (x=1…39)")
    text = explain_instances(result.program)
    assert "split by `x`: if at pe.csl:" in text


def test_variants_are_named_by_few_params_that_tell_them_apart(analyze):
    """Structs of two forms make two programs without a decision: a truth value tells them."""
    layout = """
    fn work(is_end: bool) comptime_struct {
      if (is_end) return .{ .first = @as(u16, 1) };
      return .{ .second = @as(u16, 1), .third = @as(u16, 2) };
    }
    layout {
      @set_rectangle(4, 1);
      for (@range(u16, 4)) |x| {
        @set_tile_code(x, 0, "pe.csl", .{
          .role = .{ .is_end = x == 3, .is_odd = x % 2 == 1, .step = x, .work = work(x == 3) } });
      }
    }
    """
    pe = """
    param role: comptime_struct;
    var kept: u16 = 0;
    fn main() void { kept = if (role.is_odd) 1 else role.step; }
    comptime { @export_symbol(main); }
    """
    instances = analyze(layout, files={"pe.csl": pe}).program.instances

    assert [instance.name for instance in instances] == [
        "pe.csl (role.is_end=false, role.is_odd=false)",
        "pe.csl (role.is_end=false, role.is_odd=true)",
        "pe.csl (role.is_end=true, role.is_odd=true)",
    ]


def test_a_length_splits_by_value(analyze):
    pe = "param id: u16; param x: i16; var a: [x + 1]u16; comptime { @export_symbol(a); }"
    result = analyze(LAYOUT, files={"pe.csl": pe})
    assert len(result.program.instances) == 40
    assert {len(i.pes) for i in result.program.instances} == {40}
    assert result.program.instances[3].globals[0].num_bytes == 8


def test_a_color_splits(analyze):
    pe = """
    param id: u16; param x: i16;
    const out = @get_dsd(fabout_dsd, .{ .fabric_color = @get_color(x % 3), .extent = 1,
                                        .output_queue = @get_output_queue(2) });
    fn main() void { @mov32(out, 1); }
    comptime { @export_symbol(main); @initialize_queue(@get_output_queue(2), .{ .color = @get_color(x % 3) }); }
    """
    result = analyze(LAYOUT, files={"pe.csl": pe})
    assert len(result.program.instances) == 3


def test_params_in_structs_and_through_modules(analyze):
    layout = LAYOUT.replace(".id = y * 40 + x, .x = x", ".s = .{ .id = y * 40 + x, .x = x }")
    pe = """
    param s: comptime_struct;
    const m = @import_module("inner.csl", .{ .id = s.id });
    fn main() void { m.keep(); }
    comptime { @export_symbol(main); }
    """
    inner = "param id: i16; var kept: i16 = 0; fn keep() void { kept = -id; }"
    (instance,) = analyze(layout, files={"pe.csl": pe, "inner.csl": inner}).program.instances
    assert instance.per_pe == (tuple(-i for i in range(1600)),)


def test_kinds_of_params_make_groups(analyze):
    layout = """
    layout {
      @set_rectangle(2, 1);
      @set_tile_code(0, 0, "pe.csl", .{ .c = {} });
      @set_tile_code(1, 0, "pe.csl", .{ .c = @get_color(1) });
    }
    """
    pe = """
    param c;
    var flag: u16 = if (@is_same_type(@type_of(c), void)) 1 else 2;
    comptime { @export_symbol(flag); }
    """
    first, second = analyze(layout, files={"pe.csl": pe}).program.instances
    assert [i.globals[0].data[0].word for i in (first, second)] == [1, 2]
    assert "`c` = {}" in explain_instances(analyze(layout, files={"pe.csl": pe}).program)


def test_an_error_in_one_class_names_its_pe(analyze):
    pe = 'param id: u16; param x: i16; comptime { @comptime_assert(x != 7, "no seven"); }'
    error = analyze(LAYOUT, files={"pe.csl": pe}).error
    assert (error.code, error.message) == ("comptime-assert", "no seven")
    labels = [a.label for a in error.secondary]
    assert "required by the code of PE (7, 0)" in labels


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("where = @get_int(@get_local_task_id(x));", "id-out-of-range"),
        ("where = twice[x];", "index-out-of-range"),
    ],
)
def test_a_number_that_is_wrong_at_some_pes_only_is_found(analyze, statement, code):
    result = analyze(LAYOUT, files={"pe.csl": DATA.replace("where = id + 1;", statement)})
    assert [error.code for error in result.errors] == [code]


def test_float_and_negative_words_are_canonical(analyze):
    pe = """
    param id: u16; param x: i16;
    var f: f32 = @as(f32, x) * 0.5;
    var n: i16 = -x;
    comptime { @export_symbol(f); @export_symbol(n); }
    """
    (instance,) = analyze(LAYOUT, files={"pe.csl": pe}).program.instances
    datum = instance.globals[0].data[0]
    assert datum.element is ScalarType.F32
    assert instance.per_pe[datum.per_pe.index][:3] == (0, 0x3F000000, 0x3F800000)
    datum = instance.globals[1].data[0]
    assert instance.per_pe[datum.per_pe.index][:3] == (0, -1, -2)


def test_one_param_in_two_types_makes_two_columns(analyze):
    pe = """
    param id: u16; param x: i16;
    var a: i16 = -x; var b: u16 = id; var c: i32 = id; var d: u16 = x;
    comptime { @export_symbol(a); @export_symbol(b); @export_symbol(c); @export_symbol(d); }
    """
    (instance,) = analyze(LAYOUT, files={"pe.csl": pe}).program.instances
    columns = [instance.per_pe[g.data[0].per_pe.index] for g in instance.globals]
    assert [column[41] for column in columns] == [-1, 41, 41, 1]


def test_a_comptime_function_of_equal_modules_runs_once(analyze):
    table = """
    param n: u16;
    fn squares() [50]u32 {
      var found: [50]u32;
      for (@range(u16, 50)) |i| { found[i] = n * i; }
      return found;
    }
    """
    program = """
    param id: u16;
    const table = @import_module("table.csl", .{ .n = 3 });
    var squares = table.squares();
    fn main() void { if (id > 5) { squares[0] = 1; } }
    comptime { @export_symbol(main); @export_symbol(squares); }
    """
    layout = LAYOUT.replace("40", "4")
    result = analyze(layout, files={"pe.csl": program, "table.csl": table}, max_steps=100)
    first, second = result.program.instances
    assert [d.word for d in first.globals[0].data] == [3 * i for i in range(1, 50)]
    assert first.globals[0].data == second.globals[0].data


def test_a_known_array_is_read_while_compiling_at_every_index_that_there_is(analyze):
    pe = """
    param id: u16; param x: i16;
    fn table() [4]i16 { return [4]i16{ 7, 8, 9, 7 }; }
    fn keep(comptime n: i16) void { where = n; }
    var where: i16;
    fn main() void { keep(comptime table()[x & 3]); }
    comptime { @export_symbol(main); }
    """
    result = analyze(LAYOUT, files={"pe.csl": pe})
    assert result.codes == []
    assert sum(len(instance.pes) for instance in result.program.instances) == 1600
    assert len(result.program.instances) == 4


def test_what_a_program_says_of_a_color_sets_pes_apart(analyze):
    layout = """
    layout {
      @set_rectangle(3, 1);
      for (@range(u16, 3)) |x| { @set_tile_code(x, 0, "pe.csl", .{ .x = x }); }
    }
    """
    pe = """
    param x: u16;
    fn main() void {}
    comptime {
      @export_symbol(main);
      const filter = .{ .kind = .{ .range = true }, .min_idx = 3 * x, .max_idx = 3 * x + 2 };
      @set_local_color_config(@get_color(4), .{ .routes = .{ .rx = WEST, .tx = RAMP }, .filter = filter });
    }
    """
    program = analyze(layout, files={"pe.csl": pe}).program
    configs = [program.color_configs[number] for number in program.config_of_color[0, :, 4]]
    assert [config.filter.minimum for config in configs] == [0, 3, 6]


def test_a_constant_can_be_exported(analyze):
    """SDK documentation, `@export_name`: with `false`, what the host only reads."""
    layout = """
    layout {
      @set_rectangle(2, 1);
      for (@range(u16, 2)) |x| { @set_tile_code(x, 0, "pe.csl", .{ .n = x }); }
      @export_name("fixed", i16, false);
      @export_name("scaled", u16, false);
    }
    """
    program = """
    param n: u16;
    const fixed: i16 = -3;
    const scaled = n * 10;
    comptime { @export_symbol(fixed); @export_symbol(scaled); }
    """
    result = analyze(layout, files={"pe.csl": program})
    assert {g.name for g in result.instance.globals} == {"fixed", "scaled"}
    assert result.instance.per_pe == ((0, 10),)
    mutable = layout.replace("u16, false", "u16, true")
    error = analyze(mutable, files={"pe.csl": program}).error
    assert (error.code, "declare it with `var`" in error.help) == ("export-mismatch", True)
