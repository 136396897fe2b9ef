"""`<simprint>`: lines with cycles, in the order of the cycles, the same from both engines."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from onewafer.errors import CompileError, HostError, SimulationError
from onewafer.host import NO_LIMITS
from onewafer.host.runs.print_log import LogFile, PrintLog
from onewafer.image import ScalarType
from tests.csl.library.one_pe import compile_pe, device_of

IMPORTS = """
const prt = @import_module("<simprint>");
const quiet = @import_module("<simprint>", .{ .enable = false });
const place = @import_module("<layout>");
"""


def printed(path, body, *, engine="reference", width=1, declarations="", half=ScalarType.F16):
    """Run `body` and return the lines of the log."""
    image = compile_pe(body, IMPORTS + declarations, width=width, half=half)
    limits = replace(NO_LIMITS, log=PrintLog(image, LogFile(path / "sim.log")))
    device = device_of(image, engine=engine, limits=limits)
    device.launch("run")
    device.stop()
    return (path / "sim.log").read_text(encoding="utf-8").splitlines()


def texts(path, body, **options):
    return [re.sub(r"^@\d+ ", "", line) for line in printed(path, body, **options)]


def test_every_form(tmp_path):
    body = """
  prt.print_u16_decimal(42); prt.print_string(" "); prt.print_u16_hex(42); prt.print_string(" ");
  prt.print_u16_binary(42); prt.print_string("\\n");
  prt.print_u32_decimal(4000000000); prt.print_string(" "); prt.print_u32_hex(48879);
  prt.print_string(" "); prt.print_u32_binary(5); prt.print_string("\\n");
  prt.print_f16(42.0); prt.print_string(" "); prt.print_f32(-0.1); prt.print_string("\\n");
"""
    assert texts(tmp_path, body) == [
        "42 002A 0000000000101010",
        "4000000000 0000BEEF 00000000000000000000000000000101",
        "42.0 -0.1",
    ]


def test_format_strings(tmp_path):
    body = """
  prt.fmt("{d} {X} {b} {f}", .{ @as(u16, 42), @as(u16, 42), @as(u16, 42), @as(f16, 42.0) });
  prt.fmt_no_nl("{{hello} ", .{});
  prt.fmt_with_coords("n = {d}", .{ n });
  quiet.fmt("{d}", .{ n });
"""
    assert texts(tmp_path, body, declarations="var n: u32 = 70000;") == [
        "42 002A 0000000000101010 42.0",
        "{hello} PE(0,0): n = 70000",
    ]


@pytest.mark.parametrize(
    ("half", "shown"),
    [(ScalarType.F16, "10.13"), (ScalarType.BF16, "10.1"), (ScalarType.CB16, "10.12")],
)
def test_the_16_bit_float_of_the_program_is_printed(tmp_path, half, shown):
    body = 'prt.print_f16(x); prt.fmt(" {f}", .{ x });'
    declared = "var x: @fp16() = 10.13;"
    assert texts(tmp_path, body, declarations=declared, half=half) == [f"{shown} {shown}"]


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_lines_come_in_the_order_of_cycles(tmp_path, engine):
    body = """
  var delay = 100 - 40 * place.get_x_coord();
  while (delay > 0) : (delay -= 1) {}
  prt.fmt_with_coords("here", .{});
  prt.print_string("and at the end");
"""
    lines = printed(tmp_path, body, engine=engine, width=3)
    assert lines == printed(tmp_path, body, width=3)
    assert [line.split(" ", 1)[1] for line in lines] == [
        *(f"PE({x},0): here" for x in (2, 1, 0)),
        *["and at the end"] * 3,
    ]
    cycles = [int(line[1:].split()[0]) for line in lines]
    assert cycles == sorted(cycles)


def test_text_stays_behind_when_a_program_stops(tmp_path):
    body = 'prt.print_string("before\\n"); @assert(n == 1); prt.print_string("after\\n");'
    with pytest.raises(SimulationError):
        texts(tmp_path, body, declarations="var n: u16 = 0;")
    assert (tmp_path / "sim.log").read_text(encoding="utf-8").endswith("before\n")


def test_a_log_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "sim.log").mkdir()
    with pytest.raises(HostError, match="cannot write what the program prints"):
        printed(tmp_path, 'prt.print_string("text\\n");')


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('prt.fmt("{d}", .{})', "the format string has 1 specifier(s), 0 value(s) are given"),
        ('prt.fmt("{x}", .{ @as(u16, 1) })', "there is no format specifier `{x}`"),
        ('prt.fmt("{d}", .{ @as(f16, 1.0) })', "`{d}` prints a `u16` or `u32`, this is a `f16`"),
        ('prt.fmt("{", .{})', "has a `{` that begins no specifier"),
        ('prt.fmt("{d}", @as(u16, 1))', "the values of a format string are a tuple"),
    ],
)
def test_wrong_format_strings_are_refused(call, message):
    with pytest.raises(CompileError, match=re.escape(message)):
        compile_pe(f"{call};", IMPORTS)
