"""Expressions and types: precedence climbing over the forms of `ast.Expression`.

Precedence, loosest first: `or`; `and`; comparisons (not associative); `|` `^`; `&`; shifts;
`+` `-`; `*` `/` `%`; prefix operators; postfix operators. `&` binds tighter than `==`, unlike in C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.syntax import ast
from onewafer.csl.syntax.cursor import SyntaxFailure, TokenCursor
from onewafer.csl.syntax.lexer import character_value, integer_value, string_value
from onewafer.csl.syntax.token import TokenKind
from onewafer.diagnostics import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.syntax.token import Token

_COMPARISON_LEVEL = 3

_BINARY = {
    TokenKind.OR: (1, ast.BinaryOperator.OR),
    TokenKind.AND: (2, ast.BinaryOperator.AND),
    TokenKind.EQUAL: (_COMPARISON_LEVEL, ast.BinaryOperator.EQUAL),
    TokenKind.NOT_EQUAL: (_COMPARISON_LEVEL, ast.BinaryOperator.NOT_EQUAL),
    TokenKind.LESS: (_COMPARISON_LEVEL, ast.BinaryOperator.LESS),
    TokenKind.GREATER: (_COMPARISON_LEVEL, ast.BinaryOperator.GREATER),
    TokenKind.LESS_EQUAL: (_COMPARISON_LEVEL, ast.BinaryOperator.LESS_EQUAL),
    TokenKind.GREATER_EQUAL: (_COMPARISON_LEVEL, ast.BinaryOperator.GREATER_EQUAL),
    TokenKind.PIPE: (4, ast.BinaryOperator.BIT_OR),
    TokenKind.CARET: (4, ast.BinaryOperator.BIT_XOR),
    TokenKind.AMPERSAND: (5, ast.BinaryOperator.BIT_AND),
    TokenKind.SHIFT_LEFT: (6, ast.BinaryOperator.SHIFT_LEFT),
    TokenKind.SHIFT_RIGHT: (6, ast.BinaryOperator.SHIFT_RIGHT),
    TokenKind.PLUS: (7, ast.BinaryOperator.ADD),
    TokenKind.MINUS: (7, ast.BinaryOperator.SUBTRACT),
    TokenKind.STAR: (8, ast.BinaryOperator.MULTIPLY),
    TokenKind.SLASH: (8, ast.BinaryOperator.DIVIDE),
    TokenKind.PERCENT: (8, ast.BinaryOperator.REMAINDER),
}

_UNARY = {
    TokenKind.MINUS: ast.UnaryOperator.NEGATE,
    TokenKind.EXCLAMATION: ast.UnaryOperator.NOT,
    TokenKind.TILDE: ast.UnaryOperator.COMPLEMENT,
    TokenKind.AMPERSAND: ast.UnaryOperator.ADDRESS_OF,
}

_FOREIGN_OPERATORS = {
    TokenKind.AMPERSAND: "`&&` is not an operator; write `and`",
    TokenKind.PIPE: "`||` is not an operator; write `or`",
    TokenKind.PLUS: "`++` is not an operator; write `+= 1` as a statement",
    TokenKind.MINUS: "`--` is not an operator; write `-= 1` as a statement",
    TokenKind.STAR: "`**` is not an operator; multiply, or use the library `<math>`",
}

_ENDS_EXPRESSION = frozenset(
    {
        TokenKind.SEMICOLON,
        TokenKind.COMMA,
        TokenKind.RIGHT_PARENTHESIS,
        TokenKind.RIGHT_BRACKET,
        TokenKind.RIGHT_BRACE,
        TokenKind.FAT_ARROW,
        TokenKind.END,
    }
)

_UNSUPPORTED = {
    TokenKind.ASM: "inline assembly is not supported; use builtins",
    TokenKind.VOLATILE: "`volatile` is not supported; every access of memory happens as written",
    TokenKind.NULL: "`null` is not supported; use the void value `{}` for what is absent",
}


_STRUCTS = frozenset((TokenKind.STRUCT, TokenKind.UNION))

_TYPED_STRUCT = (
    TokenKind.LEFT_BRACE,
    TokenKind.DOT,
    TokenKind.IDENTIFIER,
    TokenKind.ASSIGN,
)


class ExpressionParser(TokenCursor):
    """The expression level of the parser."""

    def parse_expression(self) -> ast.Expression:
        """Parse the longest expression at the cursor."""
        return self._binary(1)

    def parse_type(self) -> ast.Expression:
        """Parse a type where a block may follow, so that `[n]T {` is not an array literal."""
        self.enter()
        try:
            if self.at(TokenKind.LEFT_BRACKET):
                return self._bracket_type()
            if self.at(TokenKind.STAR):
                return self._pointer_type()
            return self._postfix(is_before_block=True)
        finally:
            self.leave()

    # --- operators -------------------------------------------------------------------------------

    def _binary(self, lowest: int) -> ast.Expression:
        self.enter()
        try:
            return self._binary_chain(lowest)
        finally:
            self.leave()

    def _binary_chain(self, lowest: int) -> ast.Expression:
        left = self._unary()
        compared = False
        links = 0
        while (row := _BINARY.get(self.token.kind)) and row[0] >= lowest:
            level, operator = row
            token = self.advance()
            self._refuse_foreign_operator(token)
            if compared and level == _COMPARISON_LEVEL:
                self._refuse_chained_comparison(token)
            compared = level == _COMPARISON_LEVEL
            links += 1
            self.check_chain(links)
            right = self._binary(level + 1)
            left = ast.Binary(left.span.to(right.span), operator, left, right)
        return left

    def _refuse_foreign_operator(self, first: Token) -> None:
        message = _FOREIGN_OPERATORS.get(first.kind)
        second = self.token
        if message is None or second.kind is not first.kind or second.start != first.end:
            return
        follows = self.source.text[second.end : second.end + 1]
        if first.kind is TokenKind.MINUS and follows not in {";", ")", ""}:
            return  # `a --b` is `a - (-b)`
        self.advance()
        self.report("unknown-operator", message, self.span(first).to(self.span(second)))

    def _refuse_chained_comparison(self, operator: Token) -> None:
        self.report(
            "chained-comparison",
            "a comparison cannot be compared again",
            self.span(operator),
            help_text="write `a < b and b < c`, or put one comparison in parentheses",
        )

    def _unary(self) -> ast.Expression:
        token = self.token
        match token.kind:
            case TokenKind.MINUS | TokenKind.EXCLAMATION | TokenKind.TILDE | TokenKind.AMPERSAND:
                self.advance()
                operand = self._nested_unary()
                span = self.span(token).to(operand.span)
                return ast.Unary(span, _UNARY[token.kind], operand)
            case TokenKind.COMPTIME:
                self.advance()
                operand = self._nested_unary()
                return ast.ComptimeExpression(self.span(token).to(operand.span), operand)
            case TokenKind.STAR:
                return self._pointer_type()
            case _:
                return self._postfix()

    def _nested_unary(self) -> ast.Expression:
        self.enter()
        try:
            return self._unary()
        finally:
            self.leave()

    def _postfix(self, *, is_before_block: bool = False) -> ast.Expression:
        start = self.token.start  # a parenthesis before the base belongs to what is made of it
        base = self._primary()
        if isinstance(base, ast.IntegerLiteral | ast.FloatLiteral):
            return base
        links = 0
        while True:
            links += 1
            self.check_chain(links)
            match self.token.kind:
                case TokenKind.LEFT_PARENTHESIS:
                    arguments = self._arguments()
                    base = ast.Call(self.span_from(start), base, arguments)
                case TokenKind.LEFT_BRACKET:
                    base = self._index_of(base, start)
                case TokenKind.DOT:
                    base = self._member_of(base, start)
                case _:
                    struct = self._typed_struct(base, is_before_block=is_before_block)
                    if struct is base or not self.at(TokenKind.DOT):
                        return struct
                    base = struct

    def _typed_struct(self, type_: ast.Expression, *, is_before_block: bool) -> ast.Expression:
        """Parse the `{ .a = 1 }` of `T{ .a = 1 }`, if it follows; no block begins like that.

        `{}` is a literal only where no block may follow and without a space before it: in
        `if (x { }`, the missing token is the `)`.
        """
        begins = (self.token.kind, *map(self.kind_ahead, (1, 2, 3)))
        is_empty = begins[:2] == (TokenKind.LEFT_BRACE, TokenKind.RIGHT_BRACE)
        is_empty &= self.previous.end == self.token.start
        if begins != _TYPED_STRUCT and (is_before_block or not is_empty):
            return type_
        where, start = "after the fields of the struct", self.token.start
        fields = self.delimited(TokenKind.LEFT_BRACE, where, self._struct_field)
        literal = ast.StructLiteral(self.span_from(start), fields)
        return ast.TypedStruct(self._from(type_), type_, literal)

    def _arguments(self) -> tuple[ast.Expression, ...]:
        return self.delimited(
            TokenKind.LEFT_PARENTHESIS, "after the arguments of the call", self.parse_expression
        )

    def _index_of(self, base: ast.Expression, start: int) -> ast.Expression:
        if self.next_kind is TokenKind.RIGHT_BRACKET:
            raise self.failure(
                "an index is missing between `[` and `]`",
                help_text="write one index per dimension: `a[i]`, `a[i, j]`",
            )
        indices = self.delimited(TokenKind.LEFT_BRACKET, "after the index", self.parse_expression)
        return ast.Index(self.span_from(start), base, indices)

    def _member_of(self, base: ast.Expression, start: int) -> ast.Expression:
        self.advance()
        if self.accept(TokenKind.STAR):
            return ast.Dereference(self.span_from(start), base)
        token = self.token
        # Fields may be spelled like keywords (`.align`), because nothing else can stand here.
        if token.kind is TokenKind.IDENTIFIER or token.text.isalpha():
            self.advance()
            return ast.Member(self.span_from(start), base, token.text)
        raise self.failure(
            f"expected the name of a member after `.`, found {token.description}",
            help_text="write `module.name`, `struct.field`, or `pointer.*`",
        )

    def _from(self, first: ast.Node) -> Span:
        return self.span_from(first.span.start)

    # --- primary forms ---------------------------------------------------------------------------

    def _primary(self) -> ast.Expression:
        token = self.token
        span = self.span(token)
        match token.kind:
            case TokenKind.IDENTIFIER if self._at_labelled_block():
                return self.parse_block_expression()
            case TokenKind.IDENTIFIER if token.text == "packed" and self.next_kind in _STRUCTS:
                self.advance()
                return self._struct_type(token, "packed")
            case TokenKind.IDENTIFIER:
                self.advance()
                return ast.Name(span, token.text)
            case TokenKind.ANYTYPE:
                self.advance()
                return ast.Name(span, token.text)
            case TokenKind.INTEGER:
                self.advance()
                return ast.IntegerLiteral(span, integer_value(token.text))
            case TokenKind.FLOAT:
                self.advance()
                return ast.FloatLiteral(span, float(token.text))
            case TokenKind.STRING:
                self.advance()
                return ast.StringLiteral(span, string_value(token.text))
            case TokenKind.CHARACTER:
                self.advance()
                return ast.IntegerLiteral(span, character_value(token.text))
            case TokenKind.TRUE | TokenKind.FALSE:
                self.advance()
                return ast.BoolLiteral(span, token.kind is TokenKind.TRUE)
            case TokenKind.BUILTIN:
                return self._builtin_call()
            case _:
                return self._compound_primary(token)

    def _at_labelled_block(self) -> bool:
        return self.next_kind is TokenKind.COLON and self.kind_ahead(2) is TokenKind.LEFT_BRACE

    def parse_block_expression(self) -> ast.BlockExpression:
        """Parse `label: { … }`; the subclass for statements implements it."""
        raise NotImplementedError

    def _compound_primary(self, token: Token) -> ast.Expression:
        match token.kind:
            case TokenKind.LEFT_PARENTHESIS:
                opening = self.open(TokenKind.LEFT_PARENTHESIS, "")
                inner = self.parse_expression()
                self.close(opening, "after the expression")
                return inner
            case TokenKind.DOT if self.next_kind is TokenKind.LEFT_BRACE:
                return self._dot_literal()
            case TokenKind.LEFT_BRACE:
                return self._void_literal()
            case TokenKind.LEFT_BRACKET:
                return self._array_literal_or_type()
            case TokenKind.IF:
                return self._if_expression()
            case TokenKind.SWITCH:
                return self._switch_expression()
            case TokenKind.FN | TokenKind.TASK:
                return self._function_type()
            case TokenKind.ENUM:
                return self._enum_type()
            case TokenKind.STRUCT | TokenKind.UNION:
                return self._struct_type(token)
            case TokenKind.EXTERN if self.next_kind in _STRUCTS:
                self.advance()
                return self._struct_type(token, "extern")
            case TokenKind.PIPE:
                return self._tensor_access()
            case _:
                return self._no_expression(token)

    def _no_expression(self, token: Token) -> ast.Expression:
        if token.kind in _UNSUPPORTED:
            raise self.failure(_UNSUPPORTED[token.kind], code="unsupported-syntax")
        if token.kind is TokenKind.ERROR:
            self.advance()
            return ast.ErrorExpression(self.span(token))
        if token.kind is TokenKind.DOT and self.next_kind is TokenKind.IDENTIFIER:
            raise self.failure(
                "a field with a name stands outside of a struct",
                help_text="fields are permitted inside of `.{ … }`: write `.{ .name = value }`",
            )
        previous = self.previous
        after = f" after {previous.description}" if previous is not token else ""
        self.report(
            "syntax-error",
            f"expected an expression{after}, found {token.description}",
            help_text="write a value here: a literal, a name, a call, or an operation on them",
        )
        if token.kind in _ENDS_EXPRESSION:
            return ast.ErrorExpression(self.span(token))
        raise SyntaxFailure

    def _builtin_call(self) -> ast.Expression:
        token = self.advance()
        if not self.at(TokenKind.LEFT_PARENTHESIS):
            raise self.failure(
                f"expected `(` after `{token.text}`, found {self.token.description}",
                help_text=f"a builtin is always called: `{token.text}(…)`",
            )
        arguments = self._arguments()
        return ast.BuiltinCall(self.span_from(token.start), token.text[1:], arguments)

    def _void_literal(self) -> ast.Expression:
        opening = self.token
        if self.next_kind is not TokenKind.RIGHT_BRACE:
            raise self.failure(
                "a block is not a value",
                code="unsupported-syntax",
                help_text="write `.{ … }` for a struct or tuple, `[n]T{ … }` for an array, "
                "`{}` for the void value",
            )
        self.advance()
        self.advance()
        return ast.VoidLiteral(self.span_from(opening.start))

    def _dot_literal(self) -> ast.Expression:
        """Parse `.{ .a = 1 }`, `.{ 1, 2 }` or `.{}`."""
        start = self.advance().start
        has_fields = self.next_kind is TokenKind.DOT and (
            self.kind_ahead(2) is not TokenKind.LEFT_BRACE
        )
        if has_fields or self.next_kind is TokenKind.RIGHT_BRACE:
            where = "after the fields of the struct"
            fields = self.delimited(TokenKind.LEFT_BRACE, where, self._struct_field)
            return ast.StructLiteral(self.span_from(start), fields)
        where = "after the elements of the tuple"
        elements = self.delimited(TokenKind.LEFT_BRACE, where, self._tuple_element)
        return ast.TupleLiteral(self.span_from(start), elements)

    def _struct_field(self) -> ast.StructField:
        token = self.token
        if token.kind is not TokenKind.DOT:
            raise self.failure(
                f"expected `.name = value` in this struct, found {token.description}",
                help_text="fields have names (`.{ .a = 1, .b = 2 }`), elements of a tuple have "
                "none (`.{ 1, 2 }`); the two do not mix",
            )
        self.advance()
        name = self.token
        if name.kind is not TokenKind.IDENTIFIER and not name.text.isalpha():
            raise self.failure(
                f"expected the name of a field after `.`, found {name.description}",
                help_text="write `.name = value`",
            )
        self.advance()
        self.expect(
            TokenKind.ASSIGN,
            f"after the field `.{name.text}`",
            help_text=f"write `.{name.text} = value`",
        )
        value = self.parse_expression()
        if self.at(TokenKind.ASSIGN) and isinstance(value, ast.Member):
            raise self.failure(
                f"a `,` is missing before the field `.{value.name}`",
                span=Span(self.source, value.base.span.end, value.base.span.end),
            )
        return ast.StructField(self.span_from(token.start), name.text, value)

    def _tuple_element(self) -> ast.Expression:
        token = self.token
        if token.kind is TokenKind.DOT and self.next_kind is TokenKind.IDENTIFIER:
            raise self.failure(
                "expected a value in this tuple, found a field with a name",
                help_text="fields have names (`.{ .a = 1, .b = 2 }`), elements of a tuple have "
                "none (`.{ 1, 2 }`); the two do not mix",
            )
        return self.parse_expression()

    def _if_expression(self) -> ast.Expression:
        """Parse a whole `if … else if … else …` chain without recursion along it."""
        links: list[tuple[Token, ast.Expression, ast.Expression]] = []
        otherwise: ast.Expression | None = None
        while True:
            keyword = self.advance()
            condition = self.parse_condition("if")
            links.append((keyword, condition, self.parse_expression()))
            self.check_chain(len(links))
            if not self.accept(TokenKind.ELSE):
                break
            if not self.at(TokenKind.IF):
                otherwise = self.parse_expression()
                break
        for keyword, condition, then in reversed(links):
            span = self.span_from(keyword.start)
            otherwise = ast.IfExpression(span, condition, then, otherwise)
        return otherwise or ast.ErrorExpression(self.span(self.token))

    def parse_condition(self, keyword: str) -> ast.Expression:
        """Parse `( condition )` after a keyword."""
        if not self.at(TokenKind.LEFT_PARENTHESIS):
            self.report(
                "syntax-error",
                f"expected `(` after `{keyword}`, found {self.token.description}",
                help_text=f"write `{keyword} (…)`; the parentheses are part of the syntax",
            )
            return self.parse_expression()
        opening = self.open(TokenKind.LEFT_PARENTHESIS, f"after `{keyword}`")
        condition = self.parse_expression()
        self._refuse_assignment_in_condition()
        self.close(opening, f"after the condition of `{keyword}`")
        return condition

    def parse_iterable(self) -> ast.Expression:
        """Parse `( iterable )` of a `for`; a `|` starts the captures and is not an operator."""
        opening = self.open(TokenKind.LEFT_PARENTHESIS, "after `for`")
        iterable = self._binary(_BINARY[TokenKind.AMPERSAND][0])
        self.close(opening, "after the iterable of `for`")
        return iterable

    def _refuse_assignment_in_condition(self) -> None:
        if not self.at(TokenKind.ASSIGN):
            return
        self.report(
            "syntax-error",
            "an assignment is not a condition",
            help_text="compare with `==`; assign in a statement before",
        )
        self.advance()
        self.parse_expression()

    def _switch_expression(self) -> ast.Expression:
        keyword = self.advance()
        scrutinee = self.parse_condition("switch")
        arms = self.delimited(
            TokenKind.LEFT_BRACE, "after the arms of the switch", self._switch_value_arm
        )
        self.check_arms(arms)
        return ast.SwitchExpression(self.span_from(keyword.start), scrutinee, arms)

    def _switch_value_arm(self) -> ast.SwitchExpressionArm:
        start = self.token.start
        patterns = self.parse_patterns()
        value = self.parse_expression()
        return ast.SwitchExpressionArm(self.span_from(start), patterns, value)

    def check_arms(self, arms: Sequence[ast.SwitchArm | ast.SwitchExpressionArm]) -> None:
        """Report every `else` of a `switch` after the first."""
        for arm in [arm for arm in arms if not arm.patterns][1:]:
            self.report("syntax-error", "a `switch` has one `else` arm", arm.span)

    def parse_patterns(self) -> tuple[ast.Expression, ...]:
        """Parse `a, b =>` or `else =>` (no patterns)."""
        patterns: tuple[ast.Expression, ...] = ()
        if not self.accept(TokenKind.ELSE):
            patterns = self.separated(TokenKind.FAT_ARROW, self.parse_expression)
        self.expect(
            TokenKind.FAT_ARROW,
            "after the values of a switch arm",
            help_text="write `value => …`, `a, b => …` or `else => …`",
        )
        return patterns

    def _tensor_access(self) -> ast.Expression:
        """Parse `|i, j|{n, m} -> array[…]`."""
        start = self.advance().start
        variables = self.separated(TokenKind.PIPE, self._induction_variable)
        self.expect(TokenKind.PIPE, "after the induction variables")
        extents = self.delimited(TokenKind.LEFT_BRACE, "after the extents", self.parse_expression)
        self.expect(
            TokenKind.ARROW,
            "after the extents",
            help_text="an access is written `|i|{n} -> array[i]`",
        )
        access = self.parse_expression()
        return ast.TensorAccess(self.span_from(start), variables, extents, access)

    def _induction_variable(self) -> ast.Name:
        token = self.expect_identifier("for an induction variable")
        return ast.Name(self.span(token), token.text)

    # --- types -----------------------------------------------------------------------------------

    def _pointer_type(self) -> ast.Expression:
        star = self.advance()
        is_const = self.accept(TokenKind.CONST) is not None
        pointee = self.parse_type()
        return ast.PointerType(
            self.span_from(star.start), pointee, is_const=is_const, is_many=False
        )

    def _bracket_type(self) -> ast.ArrayType | ast.PointerType:
        """Parse `[*]T`, `[n]T` or `[n, m]T`."""
        start = self.token.start
        if self.next_kind is TokenKind.STAR:
            opening = self.open(TokenKind.LEFT_BRACKET, "")
            self.advance()
            self.close(opening, "after `[*`")
            is_const = self.accept(TokenKind.CONST) is not None
            pointee = self.parse_type()
            span = self.span_from(start)
            return ast.PointerType(span, pointee, is_const=is_const, is_many=True)
        if self.next_kind is TokenKind.RIGHT_BRACKET:
            raise self.failure(
                "an array type needs its length",
                help_text="write `[n]T`; `[*]T` is a pointer to elements of unknown number",
            )
        dimensions = self.delimited(
            TokenKind.LEFT_BRACKET, "after the dimensions", self.parse_expression
        )
        element = self.parse_type()
        return ast.ArrayType(self.span_from(start), dimensions, element)

    def _array_literal_or_type(self) -> ast.Expression:
        array_type = self._bracket_type()
        if not self.at(TokenKind.LEFT_BRACE) or isinstance(array_type, ast.PointerType):
            return array_type
        elements = self.delimited(
            TokenKind.LEFT_BRACE, "after the elements of the array", self.parse_expression
        )
        return ast.ArrayLiteral(self._from(array_type), array_type, elements)

    def _function_type(self) -> ast.Expression:
        keyword = self.advance()
        parameters = self.delimited(
            TokenKind.LEFT_PARENTHESIS, "after the parameter types", self._parameter_type
        )
        result = self.parse_type()
        is_task = keyword.kind is TokenKind.TASK
        return ast.FunctionType(self.span_from(keyword.start), parameters, result, is_task=is_task)

    def _parameter_type(self) -> ast.Expression:
        """Return the type of a parameter; an optional name is skipped."""
        if self.at(TokenKind.IDENTIFIER) and self.next_kind is TokenKind.COLON:
            self.advance()
            self.advance()
        return self.parse_type()

    def _struct_type(self, first: Token, qualifier: str = "") -> ast.Expression:
        is_union = self.advance().kind is TokenKind.UNION
        kind = "union" if is_union else "struct"
        fields = self.delimited(
            TokenKind.LEFT_BRACE,
            f"after the fields of the {kind}",
            lambda: self._struct_type_field(kind),
        )
        return ast.StructType(self.span_from(first.start), fields, is_union, qualifier)

    def _struct_type_field(self, kind: str) -> ast.StructTypeField:
        name = self.expect_identifier(f"for a field of the {kind}")
        self.expect(
            TokenKind.COLON,
            f"after the field `{name.text}`",
            help_text=f"a field of a {kind} type has a type: `{name.text}: u16`",
        )
        type_ = self.parse_type()
        return ast.StructTypeField(self.span_from(name.start), name.text, type_)

    def _enum_type(self) -> ast.Expression:
        keyword = self.advance()
        base: ast.Expression = ast.Name(self.span(keyword), "u16")
        if not self.at(TokenKind.LEFT_BRACE):
            opening = self.open(TokenKind.LEFT_PARENTHESIS, "after `enum`")
            base = self.parse_type()
            self.close(opening, "after the integer type of the enum")
        members = self.delimited(
            TokenKind.LEFT_BRACE, "after the members of the enum", self._enum_member
        )
        return ast.EnumType(self.span_from(keyword.start), base, members)

    def _enum_member(self) -> ast.EnumMember:
        name = self.expect_identifier("for a member of the enum")
        value = self.parse_expression() if self.accept(TokenKind.ASSIGN) else None
        return ast.EnumMember(self.span_from(name.start), name.text, value)
