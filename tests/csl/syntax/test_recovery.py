"""One mistake gives one message at the right place, and what follows is still read."""

import pytest

from onewafer.csl.syntax import dump, parse
from onewafer.csl.syntax.cursor import MAX_CHAIN, MAX_NESTING
from onewafer.diagnostics import DiagnosticSink, SourceFile


def in_function(statement):
    return f"fn f() void {{\n{statement}\nbad bad;\n}}\nfn g(a: u16 {{ }}"


AFTER = ["missing-semicolon 3:4", "unclosed-delimiter 5:13"]
"""The two mistakes that `in_function` adds after the one under test."""


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("x = 1", "missing-semicolon 2:6"),
        ("x = 1 2;", "missing-semicolon 2:6"),
        ("x = ;", "syntax-error 2:5"),
        ("x = 1 + ;", "syntax-error 2:9"),
        ("x = ) + 1;", "syntax-error 2:5"),
        ("f(1, 2;", "unclosed-delimiter 2:7"),
        ("f(1 2);", "syntax-error 2:5"),
        ("f(1,, 2);", "syntax-error 2:5"),
        ("x = (1 + 2;", "unclosed-delimiter 2:11"),
        ("x = a[1;", "unclosed-delimiter 2:8"),
        ("x = a[];", "syntax-error 2:6"),
        ("x = f(a[1);", "unclosed-delimiter 2:10"),
        ("x = .{ .a = , .b = 2 };", "syntax-error 2:13"),
        ("x = .{ .a = 1 .b = 2 };", "syntax-error 2:15"),
        ("x = .{ .a = b .c = 2 };", "syntax-error 2:14"),
        ("x = .{ .a = 1, 2 };", "syntax-error 2:16"),
        ("x = .{ 1, .a = 2 };", "syntax-error 2:11"),
        ("x = .{ .a 1 };", "syntax-error 2:11"),
        ("@f(.{ .a = .{ 1, = } }, 2);", "syntax-error 2:18"),
        ("f(a, .b = 1);", "syntax-error 2:6"),
        ("f(a, .b = .{ 1 } });", "syntax-error 2:6"),
        ("x = { 1 };", "unsupported-syntax 2:5"),
        ("x = []u16{ 1 };", "syntax-error 2:5"),
        ("x = enum u16 { A };", "syntax-error 2:10"),
        ("x = null;", "unsupported-syntax 2:5"),
        ('asm("nop");', "unsupported-syntax 2:1"),
        ("x = @ f();", "invalid-character 2:5"),
        ("x = @f;", "syntax-error 2:7"),
        ("x = 1 $ 2;", "invalid-character 2:7"),
        ("x = 12ab;", "invalid-literal 2:5"),
        ("x = 1_000;", "invalid-literal 2:5"),
        ("x = 0b12;", "invalid-literal 2:5"),
        ("x = 1e999;", "invalid-literal 2:5"),
        (f"x = {'9' * 5000};", "invalid-literal 2:5"),
        ('x = "abc;', "invalid-literal 2:5"),
        (r'x = "a\qb";', "invalid-literal 2:7"),
        (r'x = "abc\";', "invalid-literal 2:5"),
        ("x = 'ab';", "invalid-literal 2:5"),
        ("/* no */ x = 1;", "unsupported-syntax 2:1"),
        ("x++;", "unknown-operator 2:2"),
        ("x--;", "unknown-operator 2:2"),
        ("x = a && b;", "unknown-operator 2:7"),
        ("x = a || b;", "unknown-operator 2:7"),
        ("x = a < b < c;", "chained-comparison 2:11"),
        ("1 + 2 = x;", "invalid-assignment-target 2:1"),
        ("f() = x;", "invalid-assignment-target 2:1"),
        ("var fn = 1;", "reserved-word 2:5"),
        ("var x += 1;", "syntax-error 2:7"),
        ("var = 1;", "syntax-error 2:5"),
        ("if x { }", "syntax-error 2:4"),
        ("if (x { }", "unclosed-delimiter 2:7"),
        ("if (x = 1) { }", "syntax-error 2:7"),
        ("else f();", "syntax-error 2:1"),
        ("if (a) 1 1; else f();", "missing-semicolon 2:9"),
        ("while (x) f();", "syntax-error 2:11"),
        ("while (x) : x += 1 { }", "syntax-error 2:13"),
        ("for (x) { }", "syntax-error 2:9"),
        ("for (x) |a, b, c| { }", "syntax-error 2:9"),
        ("for (x |a| { }", "unclosed-delimiter 2:8"),
        ("for (int i = 0; i < 3; i++) { f(i); }", "syntax-error 2:5"),
        ("for (var i: u16 = 0; i < n; i += 1) f(i);", "syntax-error 2:5"),
        ("for (;;) { }", "syntax-error 2:5"),
        ("for x { }", "syntax-error 2:5"),
        ("inline for x { }", "syntax-error 2:12"),
        ("inline while (x) { }", "unsupported-syntax 2:1"),
        ("int x = 3;", "missing-semicolon 2:4"),
        ("switch (x) { 1 => f(); }", "syntax-error 2:22"),
        ("switch (x) { 1 => { } 2 => { } }", "syntax-error 2:23"),
        ("switch (x) { 1: f() }", "syntax-error 2:15"),
        ("param n: u16;", "misplaced-declaration 2:1"),
        ("  fn inner() void { f(); }", "misplaced-declaration 2:3"),
        ("here: f();", "syntax-error 2:7"),
        ("break :1;", "syntax-error 2:8"),
        ("x = |i|{n} a[i];", "syntax-error 2:12"),
        ("x.;", "syntax-error 2:3"),
    ],
)
def test_one_mistake_one_message(findings_of, statement, finding):
    if statement.startswith("param"):
        statement, finding = f"  {statement}", finding.replace("2:1", "2:3")
    assert findings_of(in_function(statement)) == [finding, *AFTER]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("f();", "misplaced-statement 1:1"),
        ("}", "unmatched-delimiter 1:1"),
        ("color 3;", "misplaced-statement 1:1"),
        ("export u16;", "syntax-error 1:8"),
        ("fn f() void;", "syntax-error 1:12"),
        ("extern fn f() void", "missing-semicolon 1:19"),
        ("extern fn f();", "syntax-error 1:14"),
        ("extern fn f() void { }", "syntax-error 1:11"),
        ("extern task f() void;", "syntax-error 1:13"),
        ("fn f(u16) void { }", "syntax-error 1:9"),
        ("fn f() { }", "syntax-error 1:8"),
        ("fn f(x) void { }", "syntax-error 1:7"),
        ("fn f(x u16) void { }", "syntax-error 1:8"),
        ("fn () void { }", "syntax-error 1:4"),
        ("fn f() void", "syntax-error 2:1"),
        ("param: u16;", "syntax-error 1:6"),
        ("layout f();", "syntax-error 1:8"),
    ],
)
def test_declarations_recover_too(findings_of, text, finding):
    assert findings_of(f"{text}\nconst x = 1 1;") == [finding, "missing-semicolon 2:12"]


def test_an_unclosed_block_shows_both_places_and_the_likely_culprit():
    sink = DiagnosticSink()
    source = SourceFile(
        "test.csl", "fn f() void {\n  if (a) {\n    b();\n}\nfn g() void { c(); }\n"
    )
    tree = parse(source, sink)
    (finding,) = sink.diagnostics
    assert finding.code == "unclosed-delimiter"
    assert finding.primary is not None
    assert str(finding.primary.span) == "test.csl:5:1"
    assert [str(a.span) for a in finding.secondary] == [
        "test.csl:1:13",
        "test.csl:2:10",
        "test.csl:4:1",
    ]
    assert dump(tree).splitlines()[1].startswith("(Function g")


def test_an_unclosed_block_is_reported_once_at_the_end_of_the_file(findings_of):
    assert findings_of("fn f() void { { { if (a) {") == ["unclosed-delimiter 1:27"]


def test_a_body_that_ends_too_early_gives_one_more_message(findings_of):
    text = "fn f() void {\n  }\n  a();\n  if (b) { c(); }\n  d();\n}\nconst x = 1 1;"
    assert findings_of(text) == ["misplaced-statement 3:3", "missing-semicolon 7:12"]


def test_the_message_says_what_where_and_what_to_write():
    sink = DiagnosticSink()
    parse(SourceFile("test.csl", "f();"), sink)
    (finding,) = sink.diagnostics
    assert finding.message == "`f` cannot start a declaration"
    assert "permitted inside the last four" in finding.help


@pytest.mark.parametrize(
    "text",
    [
        "const a = " + "(" * 5000,
        "const a = " + "-" * 5000,
        "const a = " + "@f(a or b and c == d | e & f << g + h * .{ .a = " * 500,
        "const a: " + "[1]*" * 5000,
        "const a = " + "if (a) " * 5000,
        "const a = " + "fn(" * 5000,
        "const a = 1" + " + 1" * 5000 + ";",
        "const a = b" + ".c" * 5000 + ";",
        "fn f() void " + "{" * 5000,
        "fn f() void {" + "if (a) f(); else " * 5000 + "f(); }",
        "fn f() void {" + "switch (a) { 1 => {" * 500,
    ],
)
def test_deep_nesting_is_a_finding(findings_of, text):
    assert findings_of(text)[0].startswith("nesting-too-deep")


def test_nesting_up_to_the_limit_is_read(findings_of):
    depth = MAX_NESTING - 5
    assert findings_of("const a = " + "(" * depth + "1" + ")" * depth + ";") == []
    assert findings_of("const a = 1" + " + 1" * MAX_CHAIN + ";") == []


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("fn f() void { for (int i = 0; i < 3; i++) { } }", "`for (@range(i16, 3)) |i| { … }`"),
        ("fn f() void { for (k = 0; k < n; k += 1) { } }", "`for (@range(i16, n)) |k| { … }`"),
        ("fn f() void { for (i = 5; i > 0; i--) { } }", "`while (condition) : (i += 1) { … }`"),
        ("fn f() void { int x = 3; }", "`var x: i16 = …;`"),
        ("double x;", "`var x: f32 = …;`"),
        ("fn f(float x) void { }", "`x: f32`"),
        ("fn f(x u16) void { }", "`x: u16`"),
    ],
)
def test_what_comes_from_c_is_shown_in_csl(text, advice):
    sink = DiagnosticSink()
    parse(SourceFile("test.csl", text), sink)
    (finding,) = sink.diagnostics
    assert advice in finding.help
