"""The layout block: rectangle, tile code, routes, exported names."""

from __future__ import annotations

import pytest

from onewafer.diagnostics import Severity
from onewafer.image import (
    CounterFilter,
    PopMode,
    RangeFilter,
    ScalarType,
    SwitchPosition,
    SymbolKind,
)

WEST, EAST, SOUTH, NORTH, RAMP = (1 << i for i in range(5))


def _layout(statements, width=2, height=1):
    return f"layout {{ @set_rectangle({width}, {height}); @set_tile_code(1, 0); {statements} }}"


def _config(analyze, text):
    neighbour = ".{ .routes = .{ .rx = WEST, .tx = RAMP } }"
    program = analyze(
        _layout(
            f"@set_color_config(0, 0, @get_color(3), {text});"
            f"@set_color_config(1, 0, @get_color(3), {neighbour});"
        )
    ).program
    assert program.config_of_color[0, 0, 3] == 0
    return program.color_configs[0]


def test_routes_may_be_empty(analyze):
    config = _config(analyze, ".{ .routes = .{}, .teardown = true }")
    assert (config.positions, config.teardown) == ((SwitchPosition(0, 0),), True)


def test_routes_and_switches(analyze):
    config = _config(
        analyze,
        """.{ .routes = .{ .rx = .{ RAMP }, .tx = .{ EAST, RAMP } },
            .switches = .{ .pos1 = .{ .tx = EAST }, .pos3 = .{ .rx = WEST },
                           .current_switch_pos = 1, .ring_mode = true,
                           .pop_mode = .{ .always_pop = true } } }""",
    )
    # Each position changes one side of the one before it.
    assert config.positions == (
        SwitchPosition(RAMP, EAST | RAMP), SwitchPosition(RAMP, EAST), None, SwitchPosition(WEST, EAST),
    )  # fmt: skip
    assert (config.current_position, config.ring_mode, config.pop_mode) == (
        1, True, PopMode.ALWAYS_POP,
    )  # fmt: skip


NUMBERED = """
const sides = @import_module("<directions>");
const Pop = struct { always_pop: bool };
const Switches = struct {
  pos1: u16, pos2: u16, pos3: u16, ring_mode: bool, current_switch_pos: u16, pop_mode: Pop };
const Config = struct { routes: u16, switches: Switches };
layout {
  @set_rectangle(2, 1);
  @set_tile_code(0, 0);
  @set_tile_code(1, 0);
  const out = sides.dirToTxBits(EAST);
  @set_color_config(0, 0, @get_color(3), Config{
    .routes = sides.RX_RAMP | sides.TX_RAMP | out,
    .switches = Switches{
      .pos1 = out, .pos2 = 0, .pos3 = sides.dirToRxBits(sides.flip(EAST)), .ring_mode = true,
      .current_switch_pos = 1, .pop_mode = Pop{ .always_pop = true } } });
  @set_color_config(1, 0, @get_color(3), .{ .routes = .{ .rx = WEST, .tx = RAMP } });
}
"""


def test_routes_and_switches_as_numbers(analyze):
    """The same configuration as in the test before, with types of structs and without tuples."""
    config = analyze(NUMBERED).program.color_configs[0]
    assert config.positions == (
        SwitchPosition(RAMP, EAST | RAMP), SwitchPosition(RAMP, EAST), None, SwitchPosition(WEST, EAST),
    )  # fmt: skip
    assert (config.current_position, config.ring_mode, config.pop_mode) == (
        1, True, PopMode.ALWAYS_POP,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("routes", "position", "code"),
    [
        ("1 << 10", "0", "value-out-of-range"),
        ("-1", "0", "value-out-of-range"),
        ("0x201", "0x400", "value-out-of-range"),
        ("0x201", "0x201", "type-mismatch"),
        ("0x201", "0x60", "type-mismatch"),
    ],
)
def test_numbers_that_are_no_directions(analyze, routes, position, code):
    config = f".{{ .routes = {routes}, .switches = .{{ .pos1 = {position} }} }}"
    entry = _layout(f"@set_color_config(0, 0, @get_color(3), {config});")
    assert analyze(entry).codes == [code]


ROUTE = ".routes = .{ .rx = .{ WEST }, .tx = .{ RAMP } }"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (".kind = .{ .range = true }, .min_idx = 3, .max_idx = 5", RangeFilter(3, 5)),
        (".kind = .{ .counter = true }, .limit1 = 7, .max_counter = 2, .count_data = true",
         CounterFilter(2, 7)),
        (""".kind = .{ .counter = true }, .limit1 = 7, .max_counter = 2, .init_counter = 4,
            .count_control = true, .filter_control = true, .fast_mode = true""",
         CounterFilter(2, 7, 4, counts_data=False, counts_control=True, filters_control=True)),
    ],
)  # fmt: skip
def test_filters(analyze, fields, expected):
    entry = _layout(
        f"@set_color_config(0, 0, @get_color(3), .{{ {ROUTE}, .filter = .{{ {fields} }} }});"
    )
    (config,) = analyze(entry).program.color_configs
    assert config.filter == expected


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (".kind = .{ .range = true }, .min_idx = 3", "missing-field"),
        (".kind = .{ .range = true }, .min_idx = 3, .max_idx = 2", "value-out-of-range"),
        (".kind = .{ .range = true }, .min_idx = 3, .max_idx = 65536", "value-out-of-range"),
        (".kind = .{ .range = true }, .min_idx = 3, .max_idx = 5, .limit1 = 1", "unknown-field"),
        (".kind = .{ .counter = true }, .limit1 = 3, .max_counter = -1", "value-out-of-range"),
        (".kind = .{ .counter = true }, .limit1 = 3, .limit2 = 1", "unknown-field"),
        (".kind = .{ .sparse_counter = true }, .filter_control = true", "unknown-field"),
        (".kind = .{ .sparse_counter = true }, .limit1 = 1, .limit2 = 65536", "value-out-of-range"),
        (".kind = .{}", "type-mismatch"),
    ],
)
def test_mistake_in_a_filter(analyze, fields, code):
    entry = _layout(
        f"@set_color_config(0, 0, @get_color(3), .{{ {ROUTE}, .filter = .{{ {fields} }} }});"
    )
    assert analyze(entry).codes == [code]


def test_the_fields_of_filters_are_listed_once(analyze):
    fields = ".kind = .{ .counter = true }, .limit = 1"
    entry = _layout(
        f"@set_color_config(0, 0, @get_color(3), .{{ {ROUTE}, .filter = .{{ {fields} }} }});"
    )
    error = analyze(entry).error
    (note,) = error.notes
    names = note.removeprefix("the fields are ").split(", ")
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("fields", "filter_"),
    [
        (".counter = true }, .limit1 = 3", CounterFilter(0, 3, counts_data=False)),
        (
            ".sparse_counter = true }, .limit1 = 3, .limit2 = 0, .count_data = true",
            CounterFilter(0, 3, is_sparse=True, second_limit=0),
        ),
        (
            ".sparse_counter = true }, .max_counter = 2, .limit2 = 4, .count_data = true",
            CounterFilter(0xFFFF, 0, is_sparse=True),
        ),
    ],
)
def test_counts_that_are_not_given(analyze, fields, filter_):
    """Zeros; a sparse filter without a first limit holds nothing back."""
    config = _config(analyze, f".{{ {ROUTE}, .filter = .{{ .kind = .{{ {fields} }} }}")
    assert config.filter == filter_


def test_single_directions_and_arrays_of_them(analyze):
    one = _config(analyze, ".{ .routes = .{ .rx = RAMP, .tx = [2]direction{ EAST, RAMP } } }")
    assert one.positions == (SwitchPosition(RAMP, EAST | RAMP),)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("@set_color_config(0, 0, @get_color(3), .{});", "missing-field"),
        ("@set_color_config(0, 0, @get_color(3), .{ .routes = .{ .rx = .{ 1 }, .tx = .{ EAST } } });",
         "type-mismatch"),
        ("@set_color_config(0, 0, 3, .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ EAST } } });",
         "type-mismatch"),
        ("@set_color_config(2, 0, @get_color(3), .{ .routes = .{ .rx = RAMP, .tx = EAST } });",
         "pe-outside-rectangle"),
        ('@set_tile_code(0, 0, "none.csl");', "import-not-found"),
        ("@set_color_config(0, 0, @get_color(10), .{ .routes = .{ .rx = RAMP, .tx = EAST }, .switches = .{ .pos1 = .{ .tx = RAMP } } });",
         "unsupported-on-architecture"),
        ("@set_tile_code(0, 0); @set_tile_code(0, 0);", "duplicate-tile-code"),
        ("@set_rectangle(1, 1);", "duplicate-rectangle"),
        ('@export_name("x", [*]f32);', "wrong-argument-count"),
        ('@export_name("x", comptime_int, true);', "type-mismatch"),
        ('@export_name("f", fn () void); @export_name("f", fn () void);', "duplicate-declaration"),
        ("@bind_local_task(1, 2);", "wrong-context"),
        ("_ = @get_color(64);", "id-out-of-range"),
        ("@set_color_config(0, 0, @get_color(32), .{ .routes = .{ .rx = WEST, .tx = EAST } });", "id-out-of-range"),
        ("_ = @get_local_task_id(7);", "id-out-of-range"),
        ("_ = @get_data_task_id(@get_color(1));", "type-mismatch"),
        ("_ = @get_dsd(mem1d_dsd, .{});", "wrong-context"),
        ("@fmovs(1, 2);", "wrong-context"),
    ],
)  # fmt: skip
def test_mistake(analyze, statement, code):
    assert analyze(_layout(statement)).codes == [code]


def test_what_is_neither_true_nor_false_is_named(analyze):
    source = """layout {
      @set_rectangle(1, 1);
      @set_tile_code(0, 0, "pe.csl", .{});
      @set_color_config(0, 0, @get_color(3), .{
        .routes = .{ .rx = RAMP, .tx = RAMP }, .teardown = 3 });
    }"""
    error = analyze(source, files={"pe.csl": ""}).error
    assert error.message == "`.teardown` is `true` or `false`, this is of type `comptime_int`"


def test_the_rectangle_comes_first_and_fits(analyze):
    assert analyze("layout { @set_tile_code(0, 0); }").codes == ["missing-rectangle"]
    assert analyze("layout { }").codes == ["missing-rectangle"]
    small = {"fabric_width": 8, "fabric_height": 3}
    assert analyze("layout { @set_rectangle(1, 1); @set_tile_code(0, 0); }", **small).codes == []
    error = analyze("layout { @set_rectangle(2, 1); @set_tile_code(0, 0); }", **small).error
    assert error.code == "fabric-too-small"
    assert "--fabric-dims=9,3" in error.help


def test_exported_names(analyze):
    exports = analyze(
        _layout("""
        @export_name("a", [*]f16, true); @export_name("n", u16, false); @export_name("f", fn (i16, f32) void);
    """)
    ).program.exports
    assert [(e.name, e.kind, e.element, e.is_mutable, e.argument_types) for e in exports] == [
        ("a", SymbolKind.VARIABLE, ScalarType.F16, True, ()),
        ("n", SymbolKind.VARIABLE, ScalarType.U16, False, ()),
        ("f", SymbolKind.FUNCTION, None, False, (ScalarType.I16, ScalarType.F32)),
    ]


def test_functions_of_other_modules_configure_pes(analyze):
    routes = """
        fn line(y: i16, c: color) void {
          @set_color_config(0, y, c, .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ EAST } } });
          @set_color_config(1, y, c, .{ .routes = .{ .rx = .{ WEST }, .tx = .{ RAMP } } });
        }
    """
    entry = 'const r = @import_module("r.csl");' + _layout(
        "r.line(0, @get_color(1)); r.line(1, @get_color(2));", 2, 2
    )
    program = analyze(entry, files={"r.csl": routes}).program
    assert (program.config_of_color >= 0).sum() == 4
    assert len(program.color_configs) == 2


def test_local_color_configs_count_for_every_pe_of_the_program(analyze):
    pe = """
        comptime { @set_local_color_config(@get_color(1), .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ RAMP } } }); }
    """
    program = analyze(
        "layout { @set_rectangle(2, 1); "
        '@set_tile_code(0, 0, "pe.csl"); @set_tile_code(1, 0, "pe.csl"); }',
        files={"pe.csl": pe},
    ).program
    assert (program.config_of_color[0, :, 1] == 0).all()


def test_get_rectangle(analyze):
    source = _layout(
        "const r = @get_rectangle(); @comptime_print(r.width, r.height, r.offsets.width);", 5, 4
    )
    assert analyze(source).diagnostics[0].message == "5 4 4"


# --- what the command line and memcpy say --------------------------------------------------------


def test_a_layout_without_any_program_is_an_error(analyze):
    error = analyze("layout { @set_rectangle(2, 2); }").error
    assert (error.code, error.primary.span.start) == ("missing-tile-code", 9)


def test_pes_nobody_speaks_of_are_a_warning_if_names_are_exported(analyze):
    pe = {"pe.csl": 'fn f() void {} comptime { @export_symbol(f, "f"); }'}
    one = '@export_name("f", fn () void); @set_tile_code(0, 0, "pe.csl");'
    (warning,) = analyze(f"layout {{ @set_rectangle(2, 2); {one} }}", files=pe).diagnostics
    assert warning.code == "missing-tile-code"
    assert "PE (1, 0) and 2 more" in warning.message
    said = f"layout {{ @set_rectangle(2, 1); {one} @set_tile_code(1, 0); }}"
    assert analyze(said, files=pe).diagnostics == []


def test_a_rectangle_larger_than_the_wafer_is_not_told_to_use_a_larger_fabric(analyze):
    error = analyze("layout { @set_rectangle(1000, 1); }").error
    assert error.code == "wafer-too-small"
    assert "762×1172" in error.message
    assert "--fabric-dims" not in error.help


PROGRAMS = {
    "pe.csl": """
        param c: color;
        const out = @get_dsd(fabout_dsd, .{
          .fabric_color = c, .extent = 1, .output_queue = @get_output_queue(2) });
        task t() void { @mov32(out, 1); }
        comptime { @bind_local_task(t, @get_local_task_id(9)); @activate(t); }
    """
}


@pytest.mark.parametrize("arch", ["wse2", "wse3"])
@pytest.mark.parametrize(
    "use",
    [
        "@set_color_config(0, 0, c, .{ .routes = .{ .rx = RAMP, .tx = RAMP } });",
        '@set_tile_code(0, 0, "pe.csl", .{ .c = c });',
    ],
)
def test_a_color_of_memcpy_is_refused_where_it_is_used(analyze, use, arch):
    entry = f"const c = @get_color(22); {_layout(use)}"
    result = analyze(entry, files=PROGRAMS, arch=arch)
    error = result.error
    assert (error.code, error.primary is not None) == ("id-out-of-range", True)
    assert error.message == f"color 22 belongs to memcpy on {arch}"
    assert error.help == "with memcpy, the program may use 0 … 20"
    assert analyze(entry, files=PROGRAMS, arch=arch, uses_memcpy=False).codes in (
        [],
        ["two-drivers"],
    )


def test_a_queue_of_memcpy_is_refused_where_it_is_used(analyze):
    program = PROGRAMS["pe.csl"].replace("queue(2)", "queue(0)")
    entry = _layout('@set_tile_code(0, 0, "pe.csl", .{ .c = @get_color(3) });')
    error = analyze(entry, files={"pe.csl": program}, arch="wse3").error
    assert error.message == "output queue 0 belongs to memcpy on wse3"
    assert error.help == "with memcpy, the program may use 1 … 7"


def test_output_queues_of_wse2_serve_memcpy_and_programs(analyze):
    program = PROGRAMS["pe.csl"].replace("queue(2)", "queue(0)")
    entry = _layout('@set_tile_code(0, 0, "pe.csl", .{ .c = @get_color(3) });')
    assert analyze(entry, files={"pe.csl": program}, arch="wse2").codes == []


def test_importing_memcpy_without_asking_for_it_is_a_warning(analyze):
    entry = 'const m = @import_module("<memcpy/get_params>", .{ .width = 1, .height = 1 });'
    entry += _layout("", 2, 1)
    assert analyze(entry).diagnostics == []
    (warning,) = analyze(entry, uses_memcpy=False).diagnostics
    assert (warning.code, warning.help) == ("memcpy-not-enabled", "compile with `--memcpy`")


def test_values_of_the_command_line_are_shown_as_given(analyze):
    entry = "param size: u16; layout { @set_rectangle(size, 1); }"
    error = analyze(entry, params={"size": "abc"}).error
    assert "the value of `--params=size:abc`" in error.message


def test_an_unbound_param_of_a_pe_program_is_bound_by_the_layout(analyze):
    pe = "param n: u16; export var x: u16 = n;"
    error = analyze(_layout('@set_tile_code(0, 0, "pe.csl");'), files={"pe.csl": pe}).error
    assert error.help == "give it one in the layout: `@set_tile_code(…, .{ .n = … })`"


def test_a_param_of_the_command_line_that_the_file_lacks_is_a_warning(analyze):
    entry = f"param size: u16; param depth: u16; {_layout('')}"
    (warning,) = analyze(entry, params={"zzz": "1"}).diagnostics
    assert (warning.code, warning.help) == ("unknown-param", "its params are `size`, `depth`")
    (warning,) = analyze(_layout(""), params={"zzz": "1"}).diagnostics
    assert warning.help == "the file declares no params"


@pytest.mark.parametrize(
    ("type_", "given", "message", "advice"),
    [
        ("u16", "abc", "is not a `u16` (0 … 65535)", "`--params=size:8`"),
        ("u16", "-8", "is not a `u16` (0 … 65535)", "`--params=size:8`"),
        ("f32", "abc", "is not a `f32`", "`--params=size:0.5`"),
        ("bool", "1", "is not a `bool` (true or false)", "`--params=size:true`"),
        ("comptime_string", "12", "is not a `comptime_string`", """`'--params=size:"12"'`"""),
        ("color", "3", "is not a `color`", "`--colors=size:…`"),
        ("[2]u16", "3", "is not a `[2]u16`", "let the layout make the value"),
    ],
)
def test_a_value_of_the_command_line_that_does_not_fit(analyze, type_, given, message, advice):
    entry = f"param size: {type_}; layout {{ @set_rectangle(1, 1); const n = size; }}"
    error = analyze(entry, params={"size": given}).error
    assert error.code == ("value-out-of-range" if given == "-8" else "type-mismatch")
    assert error.message == f"the value of `--params=size:{given}` {message}"
    assert advice in error.help


def test_a_color_of_the_command_line_for_another_param(analyze):
    entry = "param size: u16; layout { @set_rectangle(size, 1); }"
    error = analyze(entry, colors={"size": "3"}).error
    assert error.message == (
        "the value of `--colors=size:3` is a color, and the param is of type `u16`"
    )
    assert error.help == "write, for example, `--params=size:8`"


@pytest.mark.parametrize(
    ("type_", "value", "codes"),
    [
        ("[*]f16", "&a", []),
        ("[*]f32", "@ptrcast([*]f32, &a)", ["export-mismatch"]),
        ("*[4]i16", "@ptrcast(*[4]i16, &a)", ["export-mismatch"]),
        ("*anyopaque", "&a", []),
    ],
)
def test_an_exported_pointer_leads_to_the_elements_declared(analyze, type_, value, codes):
    layout = """layout {
      @set_rectangle(1, 1);
      @set_tile_code(0, 0, "pe.csl", .{});
      @export_name("x", [*]f16, true);
    }"""
    program = f"""
    var a: [4]f16;
    var p: {type_} = {value};
    comptime {{ @export_symbol(p, "x"); }}
    """
    assert analyze(layout, files={"pe.csl": program}).codes == codes


@pytest.mark.parametrize("routes", [".{}", ".{ .rx = .{}, .tx = .{} }", "if (true) none else some"])
def test_a_route_may_lead_from_nowhere_to_nowhere(analyze, routes):
    entry = (
        "const none = .{ .rx = .{}, .tx = .{} }; const some = .{ .rx = .{ WEST }, .tx = .{ EAST } };"
        + _layout(f"@set_color_config(0, 0, @get_color(3), .{{ .routes = {routes} }});")
    )
    result = analyze(entry, files=PROGRAMS)
    assert result.codes == []
    (config,) = result.program.color_configs
    assert [(position.rx, position.tx) for position in config.positions] == [(0, 0)]


NO_COLOR = """
    const none = @get_color(32);
    var x: u32;
    const out = @get_dsd(fabout_dsd, .{ .fabric_color = none, .extent = 1, .output_queue = @get_output_queue(2) });
    task never(x: u32) void {}
    fn main() void { if (@get_int(none) < 24) @mov32(out, x); STATEMENT }
    comptime { CONFIGURATION }
"""


def test_a_color_beyond_those_of_routers_stands_for_none(analyze):
    source = NO_COLOR.replace("STATEMENT", "").replace("CONFIGURATION", "")
    result = analyze(source, arch="wse2")
    assert [(d.code, d.severity) for d in result.diagnostics] == [
        ("id-out-of-range", Severity.WARNING)
    ]


def test_a_param_for_a_color_that_is_absent_has_its_default(analyze):
    inner = "param c: color = @get_color(32); const number = @get_int(c);"
    source = 'const m = @import_module("inner.csl", .{ .c = VALUE }); comptime { @comptime_print(m.number); }'
    for value, number in (("{}", "32"), ("@get_color(5)", "5")):
        result = analyze(source.replace("VALUE", value), files={"inner.csl": inner})
        assert result.diagnostics[-1].message == number
    with_no_default = inner.replace(" = @get_color(32)", "")
    assert analyze(source.replace("VALUE", "{}"), files={"inner.csl": with_no_default}).codes == [
        "type-mismatch"
    ]


@pytest.mark.parametrize(
    ("statement", "configuration"),
    [
        ("@mov32(out, x);", ""),
        ("@block(none);", ""),
        ("", "@block(none);"),
        ("", "@unblock(@get_data_task_id(none));"),
        ("", "@bind_data_task(never, @get_data_task_id(none));"),
        ("", "@initialize_queue(@get_input_queue(2), .{ .color = none });"),
        ("", "@set_local_color_config(none, .{ .routes = .{ .rx = WEST, .tx = EAST } });"),
    ],
)
def test_where_a_color_is_needed_it_has_to_be_one(analyze, statement, configuration):
    source = NO_COLOR.replace("STATEMENT", statement).replace("CONFIGURATION", configuration)
    assert analyze(source, arch="wse2").codes == ["id-out-of-range"]


ONE_FILE = """
param number: u16;
var word: u16;
task start() void { word = number; }
comptime { @bind_local_task(start, @get_local_task_id(9)); @activate(@get_local_task_id(9)); }
layout { @set_rectangle(2, 1); %s }
"""


@pytest.mark.parametrize(
    "placed",
    [
        "@set_tile_code(0, 0); @set_tile_code(1, 0);",
        'for (@range(i16, 2)) |x| { @set_tile_code(x, 0, "main.csl", .{ .number = 3 }); }',
    ],
)
def test_a_program_may_be_one_file(analyze, placed):
    """SDK documentation, `@set_tile_code`: "this file" is the code of the PE."""
    instance = analyze(ONE_FILE % placed, params={"number": "3"}).instance
    assert instance.pes == ((0, 0), (1, 0))
    assert [task.function.name for task in instance.tasks] == ["start"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_mistake_in_the_layout_of_one_file_brings_no_others(analyze, place):
    """Before the tiles are set, it is unknown whose the `comptime` blocks are."""
    statements = ["@set_tile_code(0, 0);", "@set_tile_code(1, 0);"]
    statements.insert(place, "wrong();")
    source = ONE_FILE % " ".join(statements)
    assert analyze(source, params={"number": "3"}).codes == ["unknown-name"]


def test_but_mistakes_of_a_layout_of_its_own_are_all_said(analyze):
    source = """
        layout { @set_rectangle(1, 1); wrong(); @set_tile_code(0, 0, "pe.csl"); }
        comptime { @comptime_assert(false, "no"); worse(); }
    """
    codes = analyze(source, files={"pe.csl": ""}).codes
    assert codes == ["unknown-name", "comptime-assert", "unknown-name"]


def test_comptime_blocks_of_a_layout_that_no_pe_runs_are_run(analyze):
    source = ONE_FILE % '@set_tile_code(0, 0, "pe.csl");'
    result = analyze(source, files={"pe.csl": ""}, params={"number": "3"})
    assert result.codes == ["wrong-context", "wrong-context"]
