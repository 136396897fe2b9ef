"""Every form of declaration."""

import pytest

from onewafer.csl.syntax import ast, parse
from onewafer.diagnostics import DiagnosticSink, SourceFile


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("param n;", "(Param n)"),
        ("param n: u16;", "(Param n u16)"),
        ("param n = {};", "(Param n - (VoidLiteral))"),
        ("param p: *[n]f32 = &x;", "(Param p (PointerType (ArrayType [n] f32)) (Unary & x))"),
        ("param t: task () void;", "(Param t (FunctionType [] void True))"),
        ("const x = 1;", "(Variable x True - 1)"),
        ("export var x: u16;", "(Variable x False u16 - export)"),
        ("var x: [4]u16 align(16) = y;", "(Variable x False (ArrayType [4] u16) y default 16)"),
        (
            'extern var x: u16 linksection("a") linkname("b");',
            "(Variable x False u16 - extern - 'a' 'b')",
        ),
        ("fn f() void { }", "(Function f [] void (Block []))"),
        (
            'fn f() linksection("a") linkname("b") void { }',
            "(Function f [] void (Block []) False default 'b')",
        ),
        (
            'fn f() void linkname("b") linksection("a") { }',
            "(Function f [] void (Block []) False default 'b')",
        ),
        ("inline fn f() [3]u16 { }", "(Function f [] (ArrayType [3] u16) (Block []) False inline)"),
        (
            "fn f(comptime a: type, b: anytype, c: [2]a,) m.T { }",
            (
                "(Function f [(Parameter a type True) (Parameter b) "
                "(Parameter c (ArrayType [2] a))] (Member m T) (Block []))"
            ),
        ),
        ("fn f() @type_of(x) { }", "(Function f [] (BuiltinCall type_of [x]) (Block []))"),
        ("task t(x: u32) void { }", "(Function t [(Parameter x u32)] void (Block []) True)"),
        ("comptime { }", "(ComptimeBlock (Block []))"),
        ("layout { }", "(LayoutBlock (Block []))"),
        ("", ""),
        ("// only a comment", ""),
        ("\ufeffconst x = 1;\r\n", "(Variable x True - 1)"),
    ],
)
def test_forms(tree_of, text, tree):
    assert tree_of(text) == tree


def test_places_are_those_of_the_source():
    source = SourceFile("test.csl", "const a = 1;\nconst long = f(a) + 2; // comment\n")
    tree = parse(source, DiagnosticSink())
    variable = tree.declarations[1]
    assert isinstance(variable, ast.Variable)
    assert variable.initializer is not None
    spans = [variable.span, variable.name_span, variable.initializer.span]
    assert [source.text[s.start : s.end] for s in spans] == [
        "const long = f(a) + 2",
        "long",
        "f(a) + 2",
    ]
    assert str(variable.name_span) == "test.csl:2:7"


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("fn f(x: u16,\nx: u16) void { }", ["2:1"]),
        ("fn f(x: u16) void {\nvar x = 1; const x = 2; }", ["2:5", "2:18"]),
        ("fn f() void { for (a) |e,\ne| { } }", ["2:1"]),
        ("fn f(_: u16, _: u16) void { for (a) |_, _| { } }", []),
        ("fn f(x: u16) void { { const x = 1; } }", []),
    ],
)
def test_names_that_a_function_declares_twice(findings_of, text, findings):
    assert findings_of(text) == [f"duplicate-declaration {place}" for place in findings]
