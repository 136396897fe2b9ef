"""Every form of expression, and how operators bind."""

import pytest


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1", "1"),
        ("0x1F", "31"),
        ("0b101", "5"),
        ("0o17", "15"),
        ("'c'", "99"),
        (r"'\n'", "10"),
        ("1.5", "1.5"),
        ("1.0e-3", "0.001"),
        (r"'\xff'", "255"),
        (r'"a\t\"\x41\\"', "'a\\t\"A\\\\'"),
        (r'"\xc3\xa9é\xff"', r"'éé\udcff'"),
        ("true", "True"),
        ("{}", "(VoidLiteral)"),
        (".{}", "(StructLiteral [])"),
        (".{ .a = 1, .b = x, }", "(StructLiteral [(StructField a 1) (StructField b x)])"),
        (".{ 1, x }", "(TupleLiteral [1 x])"),
        (".{ .{ 1 } }", "(TupleLiteral [(TupleLiteral [1])])"),
        (
            "two{ .a = f() }.a",
            "(Member (TypedStruct two (StructLiteral [(StructField a (Call f []))])) a)",
        ),
        (
            "m.t{ .a = 1 }.a.b",
            "(Member (Member (TypedStruct (Member m t) (StructLiteral [(StructField a 1)])) a) b)",
        ),
        ("two{}", "(TypedStruct two (StructLiteral []))"),
        ("f(Z{}, 1)", "(Call f [(TypedStruct Z (StructLiteral [])) 1])"),
        ("pair(u16){}.a", "(Member (TypedStruct (Call pair [u16]) (StructLiteral [])) a)"),
        ("union { a: u16 }", "(StructType [(StructTypeField a u16)] True )"),
        ("packed struct { a: u3 }", "(StructType [(StructTypeField a u3)] False packed)"),
        ("packed + 1", "(Binary + packed 1)"),
        ("(x)", "x"),
        ("f(1, x,)", "(Call f [1 x])"),
        ("@zeros([3]u16)", "(BuiltinCall zeros [(ArrayType [3] u16)])"),
        ("m.f().x", "(Member (Call (Member m f) []) x)"),
        ("p.*", "(Dereference p)"),
        ("(p.*)[i]", "(Index (Dereference p) [i])"),
        ("a[i, j, k]", "(Index a [i j k])"),
        ("[2]u16{ 1, 2 }[i]", "(Index (ArrayLiteral (ArrayType [2] u16) [1 2]) [i])"),
        ("[a, b]T", "(ArrayType [a b] T)"),
        ("*T", "(PointerType T)"),
        ("*const [3]f32", "(PointerType (ArrayType [3] f32) True)"),
        ("[*]f32", "(PointerType f32 False True)"),
        ("fn()void", "(FunctionType [] void)"),
        ("fn(u16, *f32) T", "(FunctionType [u16 (PointerType f32)] T)"),
        ("fn(n: u16, p: *f32) T", "(FunctionType [u16 (PointerType f32)] T)"),
        ("task () void", "(FunctionType [] void True)"),
        ("enum(u16) { A, B = 3, }", "(EnumType u16 [(EnumMember A) (EnumMember B 3)])"),
        ("|i|{n} -> a[i]", "(TensorAccess [i] [n] (Index a [i]))"),
        ("|i, j|{n, m} -> a[j]", "(TensorAccess [i j] [n m] (Index a [j]))"),
        ("if (c) a else b", "(IfExpression c a b)"),
        ("if (c) a else if (d) b", "(IfExpression c a (IfExpression d b))"),
        ("if (c) .{1} else .{}", "(IfExpression c (TupleLiteral [1]) (StructLiteral []))"),
        (
            "switch (x) { 1, 2 => a, else => b }",
            "(SwitchExpression x [(SwitchExpressionArm [1 2] a) (SwitchExpressionArm [] b)])",
        ),
        ("comptime f(x)", "(ComptimeExpression (Call f [x]))"),
        ("undefined", "undefined"),
        ("m.align", "(Member m align)"),
    ],
)
def test_forms(expression_of, text, tree):
    assert expression_of(text) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a - b - c", "(Binary - (Binary - a b) c)"),
        ("a + b * c", "(Binary + a (Binary * b c))"),
        ("n & 1 == 0", "(Binary == (Binary & n 1) 0)"),
        ("n & (n - 1) == 0", "(Binary == (Binary & n (Binary - n 1)) 0)"),
        ("a | b & c", "(Binary | a (Binary & b c))"),
        ("a | b == c", "(Binary == (Binary | a b) c)"),
        ("a << 1 + b", "(Binary << a (Binary + 1 b))"),
        ("a & b << c", "(Binary & a (Binary << b c))"),
        ("a or b and c", "(Binary or a (Binary and b c))"),
        ("a < b and c > d", "(Binary and (Binary < a b) (Binary > c d))"),
        ("-a * b", "(Binary * (Unary - a) b)"),
        ("-a.b", "(Unary - (Member a b))"),
        ("&a[i]", "(Unary & (Index a [i]))"),
        ("!a and ~b == c", "(Binary and (Unary ! a) (Binary == (Unary ~ b) c))"),
        ("a --b", "(Binary - a (Unary - b))"),
        ("if (c) a else b + 1", "(IfExpression c a (Binary + b 1))"),
    ],
)
def test_precedence(expression_of, text, tree):
    assert expression_of(text) == tree
