"""Strings are bytes: their lengths, elements and parts, and what is shown of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.sema.values import Text, show

STRING = 'const string = @import_module("<string>");'


@pytest.mark.parametrize(
    ("literal", "octets"),
    [
        ('""', ""),
        ('"a\\n"', "97, 10"),
        ('"👍"', "240, 159, 145, 141"),
        ('"é"', "195, 169"),
        ('"\\xc3\\xa9"', "195, 169"),
        ('"\\xff"', "255"),
        ('"é\\xff\\0"', "195, 169, 255, 0"),
        ('"\\"\\\\"', "34, 92"),
    ],
)
def test_the_elements_of_a_string_are_its_bytes(comptime, literal, octets):
    count = len(octets.split(", ")) if octets else 0
    assert comptime(f"@strlen({literal})") == str(count)
    assert comptime(f"@get_array({literal})") == f"[{count}]u8{{ {octets} }}"


@pytest.mark.parametrize(
    "condition",
    [
        '"\\xc3\\xa9" == "é"',
        '@strcat("\\xc3", "\\xa9") == "é"',
        '@strcat("\\xf0\\x9f", "\\x91\\x8d") == "👍"',
        'string.fmt("{s}é\\xff{d}", .{ "👍", 7 }) == "👍é\\xff7"',
        '!("\\xff" == "ÿ")',
        '!("\\xfe" == "\\xff")',
        '@get_string_from_byte(65) == "A"',
        '@strcat(@get_string_from_byte(0xc3), @get_string_from_byte(0xa9)) == "é"',
    ],
)
def test_strings_are_equal_if_their_bytes_are(comptime, condition):
    assert comptime(condition, STRING) == "true"


@pytest.mark.parametrize("number", [0, 127, 128, 255])
def test_every_byte_is_a_string(comptime, number):
    assert comptime(f"@get_array(@get_string_from_byte({number}))[0]") == str(number)


@pytest.mark.parametrize("number", [-1, 256])
def test_other_numbers_are_no_bytes(comptime, number):
    assert comptime(f"@get_string_from_byte({number})") == "value-out-of-range"


def test_a_character_is_its_code(comptime):
    assert comptime("'\\xff' + 'é'") == str(255 + 233)


def test_bytes_that_are_no_text_are_shown_as_escapes(analyze):
    result = analyze("""
        fn main() void {
          @comptime_print("é\\xff", .{ .a = "\\xc3" });
          @comptime_assert(false, "not \\xff");
        }
    """)
    assert [d.message for d in result.diagnostics] == ['é\\xff .{ .a = "\\xc3" }', "not \\xff"]


def test_what_the_command_line_gives_is_bytes(comptime):
    octets = b"a\xff".decode("utf-8", "surrogateescape")  # as Python reads arguments
    declared = "param s: comptime_string;"
    assert comptime("@strlen(s)", declared, params={"s": octets}) == "2"
    assert comptime("s", declared, params={"s": octets}) == "a\\xff"


def test_strings_in_memory_are_their_bytes(analyze):
    result = analyze("""
        const trace = @import_module("<debug>", .{ .key = "k", .buffer_size = 16 });
        fn main() void { trace.trace_string("\\xff\\xc3\\xa9"); }
    """)
    data = result.variable("string").data
    assert [(datum.offset, datum.word) for datum in data] == [(0, 255), (1, 0xC3), (2, 0xA9)]


def test_text_of_a_log_can_be_printed(analyze):
    result = analyze("""
        const prt = @import_module("<simprint>");
        fn main() void { prt.print_string("é\\xff"); }
    """)
    printed = [
        statement.text
        for function in result.instance.functions
        for statement in walk.statements(function.body)
        if isinstance(statement, ir.Print)
    ]
    assert "é\\xff" in printed


@given(st.binary(max_size=8))
def test_a_string_keeps_any_bytes(octets):
    string = Text.of(octets)
    assert string.octets == octets
    assert string == Text.of(string.octets)
    assert show(string).encode()


def test_halves_of_pairs_in_json_stay_a_string():
    assert Text("\ud83d").octets == b"\xed\xa0\xbd"
    assert Text("\ud83d").shown == "\\xed\\xa0\\xbd"
