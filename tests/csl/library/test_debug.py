"""`<debug>` and `debug_util`: what was recorded comes back, in order, with its type.

The program lies at (4, 1) of the fabric.
"""

from __future__ import annotations

import numpy as np
import pytest

from cerebras.sdk.debug.debug_util import debug_util
from onewafer.errors import CompileError, HostError
from onewafer.host import SdkRuntime
from onewafer.image import ScalarType, save
from tests.csl.library.one_pe import compile_pe

IMPORTS = """
const place = @import_module("<layout>");
const one = @import_module("<debug>", .{ .key = "first", .buffer_size = 40 });
const two = @import_module("<debug>", .{ .key = "second", .buffer_size = 5 });
const none = @import_module("<debug>", .{ .key = "unused", .buffer_size = 5000 });
var n: i16 = -7;
var pair = [2]f32{ 1.5, -2.0 };
"""
VALUES = """
  one.trace_bool(n < 0); one.trace_u8(200); one.trace_i8(-100); one.trace_u16(65535);
  one.trace_i16(n); one.trace_f16(0.5); one.trace_u32(4000000000); one.trace_i32(-70000);
  one.trace_f32(0.1); one.trace_string("Grüße"); one.trace_string("Grüße"); one.trace(n);
  one.trace("end"); one.put_u16(77);
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a body on a row of PEs and return the view of what it left."""
    monkeypatch.setenv("ONEWAFER_ENGINE", "reference")

    def run(body, width=1, half=ScalarType.F16):
        save(compile_pe(body, IMPORTS, width=width, half=half), tmp_path)
        runtime = SdkRuntime(tmp_path)
        runtime.load()
        runtime.run()
        runtime.launch("run")
        runtime.stop()
        return debug_util(tmp_path)

    return run


def test_every_type_comes_back(run):
    recorded = run(VALUES).read_trace(4, 1, "first")
    expected = [True, 200, -100, 65535, -7, 0.5, 4000000000, -70000, float(np.float32(0.1))]
    assert recorded == [*expected, "Grüße", "Grüße", -7, "end", 77]
    assert [type(value) for value in recorded[:6]] == [bool, int, int, int, int, float]


@pytest.mark.parametrize(
    ("half", "large"), [(ScalarType.BF16, 2.0**100), (ScalarType.CB16, 2.0**20)]
)
def test_the_16_bit_float_of_the_program_comes_back(run, half, large):
    """As an f32, which has all of its numbers, those beyond f16, too."""
    body = f"""
  const x: @fp16() = {large};
  const y: @fp16() = 3.14159;
  one.trace_f16(x); one.trace(n); one.trace(y); one.trace_f16(-y);
"""
    assert run(body, half=half).read_trace(4, 1, "first") == [large, -7, 3.140625, -3.140625]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5", "numbers that have a type: write `trace\\(@as\\(u16, 5\\)\\)`"),
        ("0.5", "numbers that have a type"),
        ("NORTH", "records bool, u8, i8, u16, i16, u32, i32, @fp16"),
        ("@as(i64, 5)", "records bool, u8, i8, u16, i16, u32, i32, @fp16"),
    ],
)
def test_what_is_not_recorded_is_refused(value, message):
    with pytest.raises(CompileError, match=message):
        compile_pe(f"one.trace({value});", IMPORTS)


def test_keys_and_pes_are_apart(run):
    view = run("one.trace_u16(place.get_x_coord()); two.trace_u16(7);", width=3)
    assert [view.read_trace(4 + x, 1, "first") for x in range(3)] == [[0], [1], [2]]
    assert view.read_trace(5, 1, "second") == [7]
    assert view.read_trace(5, 1, "unused") == []


def test_timestamps_are_one_clock_for_all_pes(run):
    body = """
  var delay = 100 * place.get_x_coord();
  while (delay > 0) : (delay -= 1) {}
  one.trace_timestamp(); one.trace_timestamp();
"""
    view = run(body, width=2)
    first, second = (view.read_trace(4 + x, 1, "first") for x in range(2))
    assert 0 < first[0] < first[1] < second[0] < second[1]


def test_records_that_do_not_fit_are_dropped_whole(run):
    view = run("two.trace_u32(1); two.trace_u32(2); two.trace_u16(3);")
    with pytest.warns(UserWarning, match="1 records of 'second' on fabric PE"):
        assert view.read_trace(4, 1, "second") == [1, 3]


def test_variables_of_one_pe_and_of_a_rectangle(run):
    view = run("pair[0] = @as(f32, place.get_x_coord());", width=3)
    assert view.get_symbol(6, 1, "pair", np.float32).tolist() == [2.0, -2.0]
    block = view.get_symbol_rect(((5, 1), (2, 1)), "pair", np.float32)
    assert block.tolist() == [[[1.0, -2.0]], [[2.0, -2.0]]]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda view: view.read_trace(4, 1, "frist"), "did you mean 'first'"),
        (lambda view: view.get_symbol(4, 1, "pear", np.float32), "did you mean 'pair'"),
        (lambda view: view.get_symbol(9, 1, "pair", np.float32), "is outside the program"),
        (lambda view: view.get_symbol(4, 1, "pair", np.dtype("V3")), "no whole number"),
    ],
)
def test_wrong_questions_get_answers(run, ask, message):
    with pytest.raises(HostError, match=message):
        ask(run("one.trace(n); pair[0] = 1.0;"))


def test_a_program_that_never_stopped_left_no_core(tmp_path):
    save(compile_pe("", IMPORTS), tmp_path)
    with pytest.raises(HostError, match="there is no core"):
        debug_util(tmp_path)
