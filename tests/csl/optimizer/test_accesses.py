"""Warnings of accesses outside of arrays, against the indices that the loops really use."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, run_stages
from onewafer.diagnostics import DiagnosticSink

LAYOUT = """
layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }
"""
PROGRAM = """
var a = @zeros([8]i16);
var m = @zeros([3, 4]f32);
const Pair = struct { low: i16, values: [2]i16 };
var pair: Pair;
var pairs: [3]Pair;
var big: [20000]i16;
var flag: bool = false;
task main() void { STATEMENTS }
comptime { @bind_local_task(main, @get_local_task_id(9)); @activate(@get_local_task_id(9)); }
"""


def messages(statements):
    """Return the messages about a program, all of which are warnings of accesses."""
    sink = DiagnosticSink()
    program = PROGRAM.replace("STATEMENTS", statements)
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": program})
    options = CompileOptions(entry="layout.csl", architecture=load_architecture("wse3"))
    assert run_stages(options, files, sink).image is not None
    assert {found.code for found in sink.diagnostics} <= {"index-out-of-range"}
    return [found.message for found in sink.diagnostics]


@pytest.mark.parametrize(
    ("statements", "where"),
    [
        ("for (@range(i16, 9)) |i| { a[i] = 1; }", "8 of `a`, which has 8 elements (0 … 7), is"),
        ("for (@range(i16, 9)) |i| { const x = a[i]; flag = x > 0; }", "8 of `a`"),
        ("var j: i16 = 7; while (j >= 0) : (j -= 1) { a[j - 1] = 1; }", "-1 of `a`"),
        ("for (@range(u16, 2)) |r| { for (@range(u16, 4)) |c| { m[c, r] = 1.0; } }", "12 of `m`"),
        (
            "for (@range(u16, 3)) |i| { pair.values[i] = 1; }",
            "2 of an array of `pair`, which has 2 elements",
        ),
        ("for (@range(i16, 4)) |i| { pairs[i].low = 1; }", "byte 18 of `pairs`, which has 18 B"),
        ("for (@range(u16, 20001)) |i| { big[i] = 1; }", "20,000 of `big`, which has 20,000"),
        ("for (@range(u16, 20000)) |i| { big[i] = 1; }", None),
        ("for (@range(i16, 9)) |i| { @assert(i < 8); a[i] = 1; }", None),
        ("var n: i16 = 12; var i: i16 = 0; while (i < n) : (i += 1) { n -= 1; a[i] = 1; }", None),
        ("var s: i16 = 1; var i: i16 = 0; while (i < 9) : (i += s) { s += 3; a[i] = 1; }", None),
        ("var i: i16 = 0; while (i < 12 - i) : (i += 1) { a[i] = 1; }", None),
        ("var i: i16 = 1; while (i < 9) : (i += i) { if (i == 8) { break; } a[i] = 1; }", None),
        ("for (@range(i16, 9)) |i| { if (flag) { a[i] = 1; } }", None),
        ("for (@range(i16, 9)) |i| { if (flag) { break; } a[i] = 1; }", None),
        ("for (@range(i16, 9)) |i| { if (flag) { continue; } a[i] = 1; }", None),
        ("for (@range(i16, 9)) |i| { if (i < 8) { a[i] = 1; } }", None),
        ("for (@range(i16, 9)) |i| { if (i < 8 and a[i] > 0) { flag = true; } }", None),
        ("var j: i16 = 0; while (flag) : (j += 1) { a[j] = 1; }", None),
        ("var j: i16 = 0; while (j < 9) : (j += 1) { j += a[0]; a[j] = 1; }", None),
        ("if (flag) { return; } for (@range(i16, 9)) |i| { a[i] = 1; }", None),
    ],
)
def test_accesses_that_are_sure_are_warned_of(statements, where):
    found = messages(statements)
    assert len(found) == (where is not None)
    assert where is None or where in found[0]


@settings(max_examples=40)
@given(
    st.tuples(st.integers(-3, 9), st.integers(-3, 12), st.integers(1, 4)),
    st.integers(-2, 2),
    st.integers(-3, 3),
    st.integers(-3, 12),
)
def test_a_warning_is_given_where_an_end_of_the_loop_is_outside(bounds, factor, plus, least):
    start, stop, step = bounds
    rounds = range(start, stop, step)
    index = f"i * {factor} + {plus}".replace("+ -", "- ").replace("* -", "* @as(i16, -1) * ")
    loop = f"var i: i16 = {start}; while (i < {stop}) : (i += {step})"
    used = [number * factor + plus for number in (*rounds[:1], *rounds[-1:])]
    guarded = [number * factor + plus for number in (*rounds[:1], *rounds[-1:]) if number > least]
    for condition, indices in (("", used), (f"if (i > {least})", guarded)):
        found = messages(f"{loop} {{ {condition} {{ a[{index}] = 1; }} }}")
        assert bool(found) == any(not 0 <= number < 8 for number in indices)
