"""Every form of statement."""

import pytest


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("const x: u16 = 1;", "(Variable x True u16 1)"),
        ("var x: u16;", "(Variable x False u16)"),
        ("comptime var x = 1;", "(Variable x False - 1 default - - - True)"),
        ("a[i] += 1;", "(Assign (Index a [i]) + 1)"),
        ("s.f = 1;", "(Assign (Member s f) - 1)"),
        ("p.* <<= 1;", "(Assign (Dereference p) << 1)"),
        ("_ = f();", "(Assign _ - (Call f []))"),
        ("f();", "(ExpressionStatement (Call f []))"),
        ("{ f(); }", "(Block [(ExpressionStatement (Call f []))])"),
        ("comptime { }", "(ComptimeBlock (Block []))"),
        ("if (c) { } else { }", "(If c (Block []) (Block []))"),
        ("if (c) return;", "(If c (Return))"),
        ("if (c) x = 1; else x = 2;", "(If c (Assign x - 1) (Assign x - 2))"),
        ("while (c) { break; }", "(While c - (Block [(Break)]))"),
        ("while (c) : (i += 1) { continue; }", "(While c (Assign i + 1) (Block [(Continue)]))"),
        ("while (c) : (f()) { }", "(While c (ExpressionStatement (Call f [])) (Block []))"),
        ("for (a) |v| { }", "(For a v - (Block []))"),
        ("for (a) |_, i| { }", "(For a _ i (Block []))"),
        ("inline for (a) |v| { }", "(For a v - (Block []) - True)"),
        ("l: inline for (a) |v| { }", "(For a v - (Block []) l True)"),
        ("l: { break :l 1; }", "(Block [(Break l 1)] l)"),
        ("l: { break :l 1; };", "(Block [(Break l 1)] l)"),
        ("return 1;", "(Return 1)"),
        ("switch (x) { }", "(Switch x [])"),
        (
            "switch (x) { A.B, 2 => { }, else => f() }",
            (
                "(Switch x [(SwitchArm [(Member A B) 2] (Block [])) "
                "(SwitchArm [] (ExpressionStatement (Call f [])))])"
            ),
        ),
    ],
)
def test_forms(statement_of, text, tree):
    assert statement_of(text) == tree


def test_branches_need_no_semicolon_before_else(statement_of):
    tree = statement_of("if (c) @a() else if (d) @b() else @e();")
    assert tree == (
        "(If c (ExpressionStatement (BuiltinCall a [])) (If d (ExpressionStatement "
        "(BuiltinCall b [])) (ExpressionStatement (BuiltinCall e []))))"
    )


@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^"])
def test_every_arithmetic_operator_has_a_compound_form(statement_of, operator):
    assert statement_of(f"x {operator}= 1;") == f"(Assign x {operator} 1)"


def test_a_branch_with_a_label_ends_before_else(findings_of):
    assert findings_of("fn f() void { if (c) l: { x = 1; } else { x = 2; } }") == []
    assert findings_of("fn f() void { if (c) l: { x = 1; }; }") == []
    assert findings_of("fn f() void { if (c) l: { x = 1; }; else { x = 2; } }") != []
