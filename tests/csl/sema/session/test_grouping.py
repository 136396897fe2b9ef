"""A layout loop that runs once for many iterations gives what the plain loop gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.csl.sema.closures import grouped_loops
from onewafer.csl.sema.session import grouping, session
from onewafer.csl.sema.session.grouping import Recorder
from tests.csl.sema.conftest import analyze_sources

PE = """
param a: u16;
param b: comptime_struct = .{};
param c: i32 = 0;
param list: [2]u16 = [2]u16{ 0, 0 };
param flag: bool = false;
var one: u16 = a;
var two: i32 = c + list[1];
fn main() void { if (flag) { one = a + 1; } }
comptime { @export_symbol(main); @export_symbol(one); @export_symbol(two); }
"""
HEAD = """
const table = [4]u16{ 3, 1, 3, 9 };
fn twice(n: u16) u16 { return 2 * n; }
fn pick(x: u16, y: u16) comptime_struct {
  if (x < y) return .{ .p = x };
  return .{ .p = y, .q = twice(x) };
}
fn paint(x: u16, y: u16, c: color, d: direction) void {
  @set_color_config(x, y, c, .{ .routes = .{ .rx = .{ RAMP }, .tx = .{ d } } });
}
fn give(x: u16, y: u16) void { @set_tile_code(x, y, "pe.csl", .{ .a = x }); }
fn give_twice(x: u16, y: u16) void { give(x, y); if (x == 3 and y == 1) give(x, y); }
"""


def both(layout, width=5, height=4):
    """Analyse a layout with grouped and with plain loops; return what each gave, comparably."""
    source = f"{HEAD} layout {{ @set_rectangle({width}, {height}); {layout} }}"
    outcomes = []
    run = grouped_loops.GroupedLoop.run
    try:
        for is_grouped in (True, False):
            grouped_loops.GroupedLoop.run = run if is_grouped else lambda *_: False
            outcomes.append(summarize(analyze_sources(source, {"pe.csl": PE})))
    finally:
        grouped_loops.GroupedLoop.run = run
    return outcomes


def summarize(result):
    program = result.program
    said = [
        (d.code, d.message, str(d.primary and d.primary.span), d.secondary)
        for d in result.diagnostics
    ]
    if program is None:
        return said
    instances = [(i.name, i.pes, i.per_pe, i.params, len(i.globals)) for i in program.instances]
    return said, instances, program.color_configs, program.config_of_color.tolist()


def count_groups(monkeypatch):
    """Return a list that gets the number of groups of each recorded loop."""
    counts = []
    record = Recorder.record

    def counted(self, *arguments):
        loop = record(self, *arguments)
        counts.append(len(loop.groups))
        return loop

    monkeypatch.setattr(Recorder, "record", counted)
    return counts


NESTED = "for (@range(u16, 4)) |y| {{ for (@range(u16, 5)) |x| {{ {} }} }}"
TILE = '@set_tile_code(x, y, "pe.csl", .{{ {} }});'


def test_inner_pes_are_one_group(monkeypatch):
    counts = count_groups(monkeypatch)
    body = TILE.format(".a = y * 5 + x") + "if (x > 0) paint(x, y, @get_color(1), WEST);"
    grouped, plain = both(NESTED.format(body))
    assert grouped == plain
    assert counts == [2, 1]


def test_a_variable_from_outside_makes_the_loop_plain(monkeypatch):
    counts = count_groups(monkeypatch)
    body = TILE.format(".a = n") + "n += 1;"
    grouped, plain = both("var n: u16 = 0;" + NESTED.format(body))
    assert grouped == plain
    assert counts == []


def test_an_iteration_of_its_own_each_is_not_grouped(monkeypatch):
    counts = count_groups(monkeypatch)
    tiles = "for (@range(u16, 40)) |x| { const y = 0;" + TILE.format(".a = table[x % 4]") + "}"
    grouped, plain = both(tiles, width=40, height=1)
    assert grouped == plain
    assert counts == [4]
    # The route depends on every single x.
    tile = '@set_tile_code(x, 0, "pe.csl", .{ .a = x })'
    alone = f"for (@range(u16, 40)) |x| {{ switch (x) {{ 99 => {{}}, else => {tile} }} }}"
    grouped, plain = both(alone, width=40, height=1)
    assert grouped == plain
    assert counts == [4]


@pytest.mark.parametrize(
    "body",
    [
        TILE.format(".a = x") + "@comptime_print(x, y);",
        "if (x == 3) break;" + TILE.format(".a = x"),
        "if (x == 3) continue;" + TILE.format(".a = x"),
        TILE.format(".a = x, .list = [2]u16{{ x, y }}"),
        TILE.format(".a = x, .b = pick(x, y), .c = @as(i32, x) - @as(i32, y)"),
        TILE.format(".a = x, .flag = x == y"),
        TILE.format(".a = x") + "if (x == 2) paint(x, y + 1, @get_color(2), EAST);",
        TILE.format(".a = x") + "paint(x, y, @get_color(x), EAST);",
        TILE.format(".a = x") + "paint(x, y, @get_color(1), if (x < 2) EAST else SOUTH);",
        "if (x != 2) " + TILE.format(".a = x") + "if (y == 2) @set_tile_code(x, y);",
        TILE.format(".a = x - 1, .c = 7 / @as(i32, x)"),
        "if (x == 4 and y == 3) { @set_tile_code(x, y); } else " + TILE.format(".a = y"),
        TILE.format(".a = unknown"),
        "give_twice(x, y);",
    ],
)
def test_what_a_body_may_do(body):
    grouped, plain = both(NESTED.format(body))
    assert grouped == plain


def test_a_finding_at_replay_says_who_called(monkeypatch):
    counts = count_groups(monkeypatch)
    (finding,), _ = both(NESTED.format("give_twice(x, y);"))
    assert counts
    assert finding[:2] == ("duplicate-tile-code", "PE (3, 1) has code already")
    assert [place.label for place in finding[3]] == [
        "set here first",
        "`give` is called here",
        "`give_twice` is called here",
    ]


def test_endless_loops_still_meet_the_limit(monkeypatch):
    monkeypatch.setattr(session, "STEPS_OF_ANY_PROGRAM", 50_000)
    grouped, plain = both("for (@range(u32, 3000000000)) |x| { const y = x; }")
    assert grouped == plain
    assert grouped[0][0] == "step-limit"
    deep = "for (@range(u32, 900000)) |x| { for (@range(u32, 900000)) |y| { const z = x + y; } }"
    grouped, plain = both(deep)
    assert grouped == plain
    assert grouped[0][0] == "step-limit"


numbers = st.integers(0, 5)
expressions = st.deferred(
    lambda: st.one_of(
        st.sampled_from(["x", "y", "i", "table[x % 4]", "table[(x + y) % 4]", "twice(y)"]),
        numbers.map(str),
        st.tuples(expressions, st.sampled_from("+*&"), expressions).map(
            lambda e: f"({e[0]} {e[1]} {e[2]})"
        ),
    )
)
conditions = st.tuples(
    expressions, st.sampled_from(["==", "!=", "<", ">="]), st.one_of(expressions, numbers.map(str))
).map(lambda c: f"@as(u16, {c[0]}) {c[1]} @as(u16, {c[2]})")
colors = st.integers(0, 7)
directions = st.sampled_from(["EAST", "WEST", "NORTH", "SOUTH", "RAMP"])


@st.composite
def statements(draw, depth=2):
    kind = draw(st.sampled_from(["paint", "if", "else", "const", "loop", "known outside"]))
    color = draw(colors)
    if depth == 0 or kind == "paint":
        return f"paint(x, y, @get_color({color}), {draw(directions)});"
    inner = draw(statements(depth - 1))
    condition = draw(conditions)
    match kind:
        case "if":
            return f"if ({condition}) {{ {inner} }}"
        case "else":
            return f"if ({condition}) {{ {inner} }} else {{ {draw(statements(depth - 1))} }}"
        case "known outside":
            return f"if (is_first) {{ {inner} }}"
        case "const":
            return f"{{ const z: u16 = {draw(expressions)}; if (z == 1) {{ {inner} }} }}"
        case _:
            first = draw(numbers)
            return (
                f"for (@range(u16, {first}, {first + 3}, 1)) |k| {{ if (k == {condition[-2]}) "
                f"{{ {inner} }} }}"
                if condition[-2].isdigit()
                else inner
            )


@st.composite
def layouts(draw):
    fields = [f".a = {draw(expressions)}"]
    if draw(st.booleans()):
        fields.append(f".flag = {draw(conditions)}")
    if draw(st.booleans()):
        fields.append(f".b = .{{ .p = {draw(expressions)}, .q = pick(x, y) }}")
    tile = f'@set_tile_code(x, y, "pe.csl", .{{ {", ".join(fields)} }});'
    if draw(st.booleans()):
        tile = f"if ({draw(conditions)}) {{ {tile} }} else @set_tile_code(x, y);"
    body = tile + " ".join(draw(st.lists(statements(), max_size=3)))
    outer, inner = draw(st.permutations([("x", 5), ("y", 4)]))
    return (
        f"for (@range(u16, {outer[1]})) |{outer[0]}, i| {{ const is_first = {outer[0]} == 0; "
        f"for (@range(u16, {inner[1]})) |{inner[0]}| {{ {body} }} }}"
    )


@settings(max_examples=150, deadline=None)
@given(layouts())
def test_grouped_is_plain(layout):
    grouped, plain = both(layout)
    assert grouped == plain


@settings(max_examples=100, deadline=None)
@given(layouts())
def test_loops_that_are_given_up_leave_nothing_behind(layout):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "_PATIENCE", grouping._Patience(2, 4))
        grouped, plain = both(layout)
    assert grouped == plain


def test_what_the_outer_loop_decides_survives_giving_up_the_inner_one():
    chain = " else ".join(f"if (x == {n}) {{}}" for n in range(20))
    body = (
        TILE.format(".a = x")
        + chain
        + "if (top) paint(x, y, @get_color(1), SOUTH); else paint(x, y, @get_color(1), NORTH);"
    )
    loops = f"for (@range(u16, 12)) |y| {{ const top = y == 0; for (@range(u16, 24)) |x| {{ {body} }} }}"
    grouped, plain = both(loops, width=24, height=12)
    assert grouped == plain
