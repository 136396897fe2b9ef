"""Whatever the text is, the parser ends, never raises, and every place lies in the file."""

from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.csl.syntax import ast, dump, parse
from onewafer.csl.syntax.token import TokenKind
from onewafer.diagnostics import CODES, DiagnosticSink, SourceFile, render, to_json

PROGRAM = """\
param n: u16 = 4;
const m = @import_module("a.csl", .{ .x = n, .y = .{ 1, 2 } });
export var a: [n, 2]f32 align(16) = @zeros([n, 2]f32);
fn f(comptime T: type, p: [*]f32) fn (u16) void {
    for (@range(i16, n)) |i, _| { a[i, 0] += p[i] * 2.0; }
    while (x < 3 and !y) : (x += 1) { if (x == 2) break; else continue; }
    switch (x) { 1, 2 => { return; }, else => m.g(&a, if (b) 1 else 2) }
    @fmacs(d, @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{n} -> a[i, 1] }), s.*, comptime -1);
}
task t() void { }
comptime { @bind_local_task(t, @get_local_task_id(8)); }
layout { @set_rectangle(1, 1); }
"""

SPELLINGS = sorted(
    {kind.value for kind in TokenKind if not kind.value.startswith("e")}
    | {"else", "enum", "export", "extern", "x", "@f", "1", "1.5", '"s"', "'c'", "$", "\n", '"', "@"}
)

SOUP = st.lists(st.sampled_from(SPELLINGS), max_size=60).map(" ".join)


def spans(value):
    if isinstance(value, tuple):
        for item in value:
            yield from spans(item)
    elif isinstance(value, ast.File | ast.Node) and is_dataclass(value):
        for field in fields(value):
            part = getattr(value, field.name)
            if field.name in {"span", "name_span"}:
                yield part
            elif field.name != "source":
                yield from spans(part)


def check(text):
    source = SourceFile("soup.csl", text)
    sink = DiagnosticSink()
    tree = parse(source, sink)
    places = list(spans(tree))
    for finding in sink.diagnostics:
        assert finding.code in CODES
        assert finding.primary is not None
        places += [finding.primary.span, *(a.span for a in finding.secondary)]
    for span in places:
        assert span.source is source
        assert 0 <= span.start <= span.end <= len(text)
    render(sink.diagnostics, color=True)
    to_json(sink.diagnostics)
    dump(tree)
    return sink.diagnostics


@given(SOUP)
@settings(max_examples=300, deadline=None)
def test_token_soup(text):
    check(text)


@given(SOUP)
@settings(max_examples=300, deadline=None)
def test_token_soup_inside_a_function(text):
    check(f"fn f() void {{ {text} }}")


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text(text):
    check(text)


WORDS = PROGRAM.split(" ")


@given(st.integers(0, len(WORDS) - 1))
@settings(max_examples=len(WORDS), deadline=None)
def test_a_word_too_few_gives_few_findings(index):
    text = " ".join(WORDS[:index] + WORDS[index + 1 :])
    assert len(check(text)) <= 2


@given(st.integers(0, len(WORDS) - 1), st.sampled_from(SPELLINGS))
@settings(max_examples=300, deadline=None)
def test_a_word_too_many(index, word):
    check(" ".join([*WORDS[:index], word, *WORDS[index:]]))


@pytest.mark.parametrize("end", range(0, len(PROGRAM), 7))
def test_a_file_cut_short(end):
    check(PROGRAM[:end])


def test_the_program_itself_is_correct():
    assert check(PROGRAM) == []
