"""What a finding looks like, as text and as JSON."""

import json
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from onewafer.diagnostics import (
    Annotation,
    Diagnostic,
    DiagnosticSink,
    Severity,
    SourceFile,
    Span,
    render,
    to_json,
)

SOURCE = SourceFile(
    "pe_program.csl",
    "var x: u16 = 0;\nconst y: f32 = 1.0;\n\n\n\nfn f() void {\n\tx = y;\n}\n",
)


def place(text, label="", source=SOURCE):
    start = source.text.index(text)
    return Annotation(Span(source, start, start + len(text)), label)


MISMATCH = Diagnostic(
    "type-mismatch",
    "expected `u16`, found `f32`",
    place("y;", "this is `f32`"),
    (place("u16", "the type is declared here"),),
    notes=("numbers of different kinds do not mix",),
    help="convert it: `@as(u16, y)`",
)


def test_a_finding_with_two_places():
    assert render([MISMATCH]) == (
        "error[type-mismatch]: expected `u16`, found `f32`\n"
        " --> pe_program.csl:7:6\n"
        "  |\n"
        "1 | var x: u16 = 0;\n"
        "  |        --- the type is declared here\n"
        "...\n"
        "7 |     x = y;\n"
        "  |         ^^ this is `f32`\n"
        "  |\n"
        "  = note: numbers of different kinds do not mix\n"
        "  = help: convert it: `@as(u16, y)`\n"
    )


def test_two_marks_on_one_line_and_a_line_between():
    source = SourceFile("a.csl", "foo(1, 2;\n\nbar();\n")
    finding = Diagnostic(
        "unclosed-delimiter",
        "`(` is never closed",
        place(";", "missing before this", source),
        (place("(", "this is open", source), place("bar", source=source)),
    )
    assert render([finding]) == (
        "error[unclosed-delimiter]: `(` is never closed\n"
        " --> a.csl:1:9\n"
        "  |\n"
        "1 | foo(1, 2;\n"
        "  |         ^ missing before this\n"
        "  |    - this is open\n"
        "2 |\n"
        "3 | bar();\n"
        "  | ---\n"
    )


def test_places_in_two_files():
    other = SourceFile("layout.csl", "@set_tile_code(0, 0, program);\n")
    finding = Diagnostic(
        "unknown-name", "`z` is not declared", place("y;"), (place("@set_tile_code", "", other),)
    )
    assert render([finding]) == (
        "error[unknown-name]: `z` is not declared\n"
        " --> pe_program.csl:7:6\n"
        "  |\n"
        "7 |     x = y;\n"
        "  |         ^^\n"
        " ::: layout.csl:1:1\n"
        "  |\n"
        "1 | @set_tile_code(0, 0, program);\n"
        "  | --------------\n"
    )


def test_a_warning_without_a_place():
    finding = Diagnostic("a-b", "message", help="two\nlines", severity=Severity.WARNING)
    assert render([finding]) == "warning[a-b]: message\n  = help: two\n          lines\n"


def test_a_blank_line_between_findings():
    finding = Diagnostic("a-b", "message")
    assert render([finding, finding]) == "error[a-b]: message\n\nerror[a-b]: message\n"
    assert render([]) == ""


def test_a_span_of_many_lines_marks_the_first():
    source = SourceFile("a.csl", "fn f() void {\n  a();\n}\n")
    finding = Diagnostic("a-b", "message", Annotation(Span(source, 3, 20)))
    assert render([finding]).splitlines()[3:] == ["1 | fn f() void {", "  |    ^^^^^^^^^^"]


def test_the_end_of_the_file_can_be_marked():
    source = SourceFile("a.csl", "fn")
    finding = Diagnostic("a-b", "message", Annotation(Span(source, 2, 2)))
    assert render([finding]).splitlines()[3:] == ["1 | fn", "  |   ^"]


def test_wide_and_invisible_characters_keep_the_carets_in_place():
    source = SourceFile("a.csl", '"\N{CJK UNIFIED IDEOGRAPH-4E00}\x07" bad\r\n')
    lines = render([Diagnostic("a-b", "message", place("bad", "", source))]).splitlines()
    assert lines[3] == '1 | "\N{CJK UNIFIED IDEOGRAPH-4E00}\\x07" bad'
    assert lines[4] == "  |          ^^^"


def test_colors_are_only_added():
    colored = render([MISMATCH], color=True)
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render([MISMATCH])


def test_json_has_every_part():
    (finding,) = json.loads(to_json([MISMATCH]))
    assert finding == {
        "code": "type-mismatch",
        "severity": "error",
        "message": "expected `u16`, found `f32`",
        "primary": {
            "path": "pe_program.csl",
            "line": 7,
            "column": 6,
            "end_line": 7,
            "end_column": 8,
            "label": "this is `f32`",
        },
        "secondary": [
            {
                "path": "pe_program.csl",
                "line": 1,
                "column": 8,
                "end_line": 1,
                "end_column": 11,
                "label": "the type is declared here",
            }
        ],
        "notes": ["numbers of different kinds do not mix"],
        "help": "convert it: `@as(u16, y)`",
    }
    assert json.loads(to_json([Diagnostic("a-b", "message")]))[0]["primary"] is None


@given(st.text(max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_any_place_of_any_text_can_be_shown(text, first, second):
    start, end = sorted((min(first, len(text)), min(second, len(text))))
    annotation = Annotation(Span(SourceFile("a.csl", text), start, end), "label")
    shown = render([Diagnostic("a-b", "message", annotation, (annotation,))])
    assert shown.count("^") >= 1
    assert "label" in shown


def test_control_characters_are_spelled_out():
    source = SourceFile("a.csl", "var \x00\x1b[2J x;\n")
    finding = Diagnostic("invalid-character", "`\x00` has no meaning", place("\x00", source=source))
    lines = render([finding]).splitlines()
    assert lines[0] == r"error[invalid-character]: `\x00` has no meaning"
    assert lines[3] == r"1 | var \x00\x1b[2J x;"
    assert lines[4] == "  |     ^^^^"


def test_control_characters_of_names_and_notes_are_spelled_out():
    source = SourceFile("a[red]\x1b[31m.csl", SOURCE.text)
    notes = ("imported as \x9b31m",)
    finding = Diagnostic("type-mismatch", "no", place("x", source=source), notes=notes)
    text = render([finding])
    assert "a[red]\\x1b[31m.csl:1:5" in text
    assert "imported as \\x9b31m" in text


def test_a_very_long_line_is_cut_around_its_mark():
    source = SourceFile("a.csl", "a" * 5000 + "bad" + "c" * 5000 + "end")
    finding = Diagnostic("x", "m", place("bad", "here", source), (place("end", "there", source),))
    lines = render([finding]).splitlines()
    shown, primary, secondary = lines[3:6]
    assert shown == "1 | …" + "a" * 40 + "bad" + "c" * 117 + "…"
    assert primary == "  | " + " " * 41 + "^^^ here"
    assert secondary == "  | " + " " * 161 + "- there"
    last = Diagnostic("x", "m", place("end", source=source))
    assert render([last]).splitlines()[3].endswith("cccend")


def test_a_sink_keeps_a_hundred_of_each_severity_and_counts_the_others():
    sink = DiagnosticSink()
    for number in range(150):
        sink.report(Diagnostic("unused-value", f"{number}", severity=Severity.WARNING))
        sink.report(Diagnostic("comptime-print", f"{number}", severity=Severity.NOTE))
    assert not sink.has_errors
    for number in [*range(120), *range(120)]:
        sink.report(Diagnostic("type-mismatch", f"{number}"))
    assert sink.has_errors
    assert Counter(finding.severity for finding in sink.diagnostics) == {
        Severity.WARNING: 100,
        Severity.NOTE: 150,
        Severity.ERROR: 100,
    }
    assert (sink.num_left_out, sink.num_findings) == (70, 420)
    other = DiagnosticSink()
    other.extend(sink)
    assert other.diagnostics == sink.diagnostics
    assert other.num_findings == sink.num_findings


@given(st.text(alphabet="a\n", max_size=20))
def test_lines_are_those_of_split(text):
    source = SourceFile("a.csl", text)
    lines = [source.line_text(line + 1) for line in range(len(source.line_starts))]
    assert lines == text.split("\n")


def test_file_names_and_notes_move_no_cursor():
    source = SourceFile("\x1b[2J.csl", "x\n")
    finding = Diagnostic("a", "b", Annotation(Span(source, 0, 1)), notes=("\x1b[1m",), help="\x07")
    assert "\x1b" not in render([finding])
    assert "\\x1b[2J.csl:1:1" in render([finding])
