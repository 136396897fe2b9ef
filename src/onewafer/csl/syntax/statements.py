"""Statements and blocks, and the recovery between statements."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from onewafer.csl.syntax import ast
from onewafer.csl.syntax.cursor import SyntaxFailure
from onewafer.csl.syntax.expressions import ExpressionParser
from onewafer.csl.syntax.foreign_types import nearest_types
from onewafer.csl.syntax.token import TokenKind

if TYPE_CHECKING:
    from onewafer.csl.syntax.token import Token

_ASSIGNMENT = {
    TokenKind.ASSIGN: None,
    TokenKind.ADD_ASSIGN: ast.BinaryOperator.ADD,
    TokenKind.SUBTRACT_ASSIGN: ast.BinaryOperator.SUBTRACT,
    TokenKind.MULTIPLY_ASSIGN: ast.BinaryOperator.MULTIPLY,
    TokenKind.DIVIDE_ASSIGN: ast.BinaryOperator.DIVIDE,
    TokenKind.REMAINDER_ASSIGN: ast.BinaryOperator.REMAINDER,
    TokenKind.SHIFT_LEFT_ASSIGN: ast.BinaryOperator.SHIFT_LEFT,
    TokenKind.SHIFT_RIGHT_ASSIGN: ast.BinaryOperator.SHIFT_RIGHT,
    TokenKind.AND_ASSIGN: ast.BinaryOperator.BIT_AND,
    TokenKind.OR_ASSIGN: ast.BinaryOperator.BIT_OR,
    TokenKind.XOR_ASSIGN: ast.BinaryOperator.BIT_XOR,
}

_COUNTING = re.compile(r"\([^;]*?(\w+)\s*(?::\s*\w+\s*)?=\s*0\s*;\s*\1\s*<\s*(\w+)\s*;")
"""The header of a C loop that counts from 0: the counter's name, and the end."""
_NUM_SEMICOLONS = 2

_TOP_LEVEL_ONLY = frozenset(
    {TokenKind.PARAM, TokenKind.LAYOUT, TokenKind.EXPORT, TokenKind.EXTERN, TokenKind.INLINE}
)


def _field_target(target: ast.Expression) -> ast.Expression:
    """Return `s.name` for `@field(s, "name")`, which may be assigned to."""
    match target:
        case ast.BuiltinCall(span, "field", (base, ast.StringLiteral(value=name))):
            return ast.Member(span, base, name)
        case _:
            return target


class StatementParser(ExpressionParser):
    """The statement level of the parser."""

    # --- blocks ----------------------------------------------------------------------------------

    def parse_block(self, where: str) -> ast.Block:
        """Parse `{ statements }`, recovering inside it from every bad statement."""
        opening = self.open(TokenKind.LEFT_BRACE, where)
        statements: list[ast.Statement] = []
        while not self.at(TokenKind.RIGHT_BRACE):
            if self.at(TokenKind.END) or self.at_stray_declaration(opening):
                self.report_unclosed_block(opening)
                return ast.Block(self.span_from(opening.start), tuple(statements))
            statement = self._recovering_statement()
            if statement is not None:
                statements.append(statement)
        self.close(opening, "after the block")
        return ast.Block(self.span_from(opening.start), tuple(statements))

    def _recovering_statement(self) -> ast.Statement | None:
        num_open, start = self.num_open, self.position
        try:
            statement = self.parse_statement()
        except SyntaxFailure:
            statement = None
        if statement is None or self.position == start:
            self.skip_statement(num_open, start)
        return statement

    def _braced_body(self, keyword: str) -> ast.Block:
        """Parse the body of a loop; a statement without braces is reported and accepted."""
        if self.at(TokenKind.LEFT_BRACE):
            return self.parse_block("")
        self.report(
            "syntax-error",
            f"expected `{{` before the body of `{keyword}`, found {self.token.description}",
            help_text="a loop body is a block in braces; only the branches of `if` may lack them",
        )
        statement = self.parse_statement()
        return ast.Block(statement.span, (statement,))

    # --- statements ------------------------------------------------------------------------------

    def parse_statement(self) -> ast.Statement:
        """Parse one statement with its `;`."""
        self.enter()
        try:
            return self._statement(self.token)
        finally:
            self.leave()

    def _statement(self, token: Token) -> ast.Statement:
        match token.kind:
            case TokenKind.LEFT_BRACE if self.next_kind is not TokenKind.SEMICOLON:
                return self.parse_block("")
            case TokenKind.CONST | TokenKind.VAR:
                return self.parse_variable(ast.Storage.DEFAULT, token)
            case TokenKind.COMPTIME if self.next_kind is TokenKind.LEFT_BRACE:
                self.advance()
                body = self.parse_block("")
                block = ast.ComptimeBlock(self.span_from(token.start), body)
                self.accept(TokenKind.SEMICOLON)
                return block
            case TokenKind.COMPTIME if self.next_kind in {TokenKind.VAR, TokenKind.CONST}:
                self.advance()
                return self.parse_variable(ast.Storage.DEFAULT, token, is_comptime=True)
            case TokenKind.IF:
                return self._if_statement()
            case TokenKind.WHILE:
                return self._while()
            case TokenKind.FOR:
                return self._for()
            case TokenKind.INLINE if self.next_kind is TokenKind.FOR:
                return self._inline_for()
            case TokenKind.SWITCH:
                return self._switch()
            case TokenKind.BREAK | TokenKind.CONTINUE | TokenKind.RETURN:
                statement = self._jump()
                self.end_statement()
                return statement
            case TokenKind.IDENTIFIER if self.next_kind is TokenKind.COLON:
                return self._labelled()
            case _:
                self._refuse_misplaced(token)
                return self._simple_statement()

    def _refuse_misplaced(self, token: Token) -> None:
        if token.kind is TokenKind.ELSE:
            raise self.failure(
                "this `else` belongs to no `if`",
                help_text="an `else` follows directly after the `}` or the `;` of its `if`",
            )
        if token.kind is TokenKind.INLINE and self.next_kind is TokenKind.WHILE:
            raise self.failure(
                "CSL has no `inline while`",
                code="unsupported-syntax",
                help_text="write `inline for (@range(u16, n)) |i| { … }`, or leave `inline` out",
            )
        if token.kind in _TOP_LEVEL_ONLY or (
            token.kind in {TokenKind.FN, TokenKind.TASK} and self.next_kind is TokenKind.IDENTIFIER
        ):
            raise self.failure(
                f"`{token.text}` is not permitted inside a block",
                code="misplaced-declaration",
                help_text="it is permitted at the top level of the file: move it there",
            )

    def _simple_statement(self) -> ast.Statement:
        statement = self._expression_or_assignment()
        self.end_statement()
        return statement

    def _expression_or_assignment(self) -> ast.Statement:
        expression = self.parse_expression()
        operator = self.token
        if operator.kind not in _ASSIGNMENT:
            return ast.ExpressionStatement(expression.span, expression)
        expression = _field_target(expression)
        self._check_target(expression)
        self.advance()
        value = self.parse_expression()
        span = expression.span.to(value.span)
        return ast.Assign(span, expression, _ASSIGNMENT[operator.kind], value)

    def _check_target(self, target: ast.Expression) -> None:
        match target:
            case ast.Name() | ast.Member() | ast.Index() | ast.Dereference():
                return
            case ast.ErrorExpression():
                return
            case _:
                self.report(
                    "invalid-assignment-target",
                    "a value cannot be assigned to this",
                    target.span,
                    help_text="assign to a variable, an element `a[i]`, a field `s.f`, or what a "
                    "pointer points to `p.*`",
                )

    def end_statement(self) -> None:
        """Read the `;`. It may be absent between a branch and its `else`."""
        if self.accept(TokenKind.SEMICOLON) or self.at(TokenKind.ELSE):
            return
        previous, found = self.previous, self.token
        if previous.kind is not TokenKind.ERROR:
            self.report(
                "missing-semicolon",
                f"expected `;` after this statement, found {found.description}",
                self.span_after(previous),
                label="`;` is missing here",
                help_text=self.help_with_declaration(previous, found),
            )
        is_same_line = "\n" not in self.source.text[previous.end : found.start]
        if is_same_line and found.kind is not TokenKind.RIGHT_BRACE:
            raise SyntaxFailure

    @staticmethod
    def help_with_declaration(first: Token, second: Token) -> str:
        """Return help for `int x`, a C type before a name; empty for any other two tokens."""
        nearest = nearest_types(first.text)
        if not nearest or second.kind is not TokenKind.IDENTIFIER:
            return ""
        return f"the type comes after the name: `var {second.text}: {nearest[0]} = …;`"

    def _if_statement(self) -> ast.Statement:
        """Parse a whole `if … else if … else …` chain without recursion along it."""
        links: list[tuple[Token, ast.Expression, ast.Statement]] = []
        otherwise: ast.Statement | None = None
        while True:
            keyword = self.advance()
            condition = self.parse_condition("if")
            links.append((keyword, condition, self.parse_statement()))
            self.check_chain(len(links))
            if not self.accept(TokenKind.ELSE):
                break
            if not self.at(TokenKind.IF):
                otherwise = self.parse_statement()
                break
        keyword, condition, then = links.pop()
        statement = ast.If(self.span_from(keyword.start), condition, then, otherwise)
        for keyword, condition, then in reversed(links):
            statement = ast.If(self.span_from(keyword.start), condition, then, statement)
        return statement

    def _while(self) -> ast.While:
        keyword = self.advance()
        condition = self.parse_condition("while")
        step: ast.Statement | None = None
        if self.accept(TokenKind.COLON):
            opening = self.open(TokenKind.LEFT_PARENTHESIS, "after the `:` of `while`")
            step = self._expression_or_assignment()
            self.close(opening, "after the continue expression of `while`")
        body = self._braced_body("while")
        return ast.While(self.span_from(keyword.start), condition, step, body)

    def _for(self) -> ast.For:
        keyword = self.advance()
        if self._at_three_part_header():
            return self._three_part_for(keyword)
        iterable = self.parse_iterable()
        pipe = self.token
        self.expect(
            TokenKind.PIPE,
            "after the iterable of `for`",
            help_text="name the element: `for (@range(u16, n)) |i| { … }`",
        )
        element, index = self._captures(pipe)
        self.expect(TokenKind.PIPE, "after the captures of `for`")
        body = self._braced_body("for")
        return ast.For(self.span_from(keyword.start), iterable, element, index, body)

    def _inline_for(self) -> ast.For:
        keyword = self.advance()
        return replace(self._for(), is_inline=True, span=self.span_from(keyword.start))

    def _at_three_part_header(self) -> bool:
        """Tell whether `(…; …; …)` follows, as in C."""
        depth = num_semicolons = 0
        for distance in count():
            match self.kind_ahead(distance):
                case TokenKind.LEFT_PARENTHESIS:
                    depth += 1
                case TokenKind.RIGHT_PARENTHESIS:
                    depth -= 1
                    if not depth:
                        return num_semicolons == _NUM_SEMICOLONS
                case TokenKind.SEMICOLON:
                    num_semicolons += 1
                case TokenKind.LEFT_BRACE | TokenKind.RIGHT_BRACE | TokenKind.END:
                    return False
                case _:
                    pass
            if not depth:
                return False
        raise AssertionError

    def _three_part_for(self, keyword: Token) -> ast.For:
        """Report a C-style `for`, and parse its body."""
        opening, start = self.token, self.token.start
        depth = 0
        while True:
            kind = self.advance().kind
            depth += (kind is TokenKind.LEFT_PARENTHESIS) - (kind is TokenKind.RIGHT_PARENTHESIS)
            if not depth:
                break
        header = self.span_from(start)
        written = _COUNTING.match(self.source.text, header.start, header.end)
        name, number = written.groups() if written else ("i", "n")
        self.report(
            "syntax-error",
            "a `for` of CSL goes over a range or an array and has no `;`",
            header,
            help_text=f"write `for (@range(i16, {number})) |{name}| {{ … }}`; or "
            f"`while (condition) : ({name} += 1) {{ … }}`",
        )
        body = self._braced_body("for")
        iterable = ast.ErrorExpression(header)
        element = ast.Name(self.span(opening), name)
        return ast.For(self.span_from(keyword.start), iterable, element, None, body)

    def _captures(self, pipe: Token) -> tuple[ast.Name, ast.Name | None]:
        captures = self.separated(TokenKind.PIPE, self._capture)
        match captures:
            case (element,):
                return element, None
            case (element, index):
                if index.name == element.name != "_":
                    self.report_twice(index.name, index.span, element.span)
                return element, index
            case _:
                raise self.failure(
                    f"`for` captures one or two names, found {len(captures)}",
                    span=self.span_from(pipe.start),
                    help_text="write `|element|` or `|element, index|`; `_` discards one",
                )

    def _capture(self) -> ast.Name:
        token = self.expect_identifier("for a capture of `for`")
        return ast.Name(self.span(token), token.text)

    def _switch(self) -> ast.Statement:
        keyword = self.advance()
        scrutinee = self.parse_condition("switch")
        arms = self.delimited(
            TokenKind.LEFT_BRACE, "after the arms of the switch", self._switch_arm
        )
        self.check_arms(arms)
        return ast.Switch(self.span_from(keyword.start), scrutinee, arms)

    def _switch_arm(self) -> ast.SwitchArm:
        start = self.token.start
        patterns = self.parse_patterns()
        body: ast.Statement
        if self.at(TokenKind.LEFT_BRACE):
            body = self.parse_block("")
        elif self.at(TokenKind.BREAK, TokenKind.CONTINUE, TokenKind.RETURN):
            body = self._jump()
        else:
            body = self._expression_or_assignment()
            if self.at(TokenKind.SEMICOLON):
                self.report(
                    "syntax-error",
                    "an arm of a switch ends with `,`, found `;`",
                    help_text="write `,`, or put statements in braces: `value => { …; },`",
                )
                self.advance()
        return ast.SwitchArm(self.span_from(start), patterns, body)

    def _jump(self) -> ast.Statement:
        """Parse `break`, `continue` or `return` without its `;`."""
        keyword = self.advance()
        if keyword.kind is TokenKind.RETURN:
            value = self._jump_value()
            return ast.Return(self.span_from(keyword.start), value)
        label = self._jump_label()
        if keyword.kind is TokenKind.CONTINUE:
            return ast.Continue(self.span_from(keyword.start), label)
        value = self._jump_value() if label is not None else None
        return ast.Break(self.span_from(keyword.start), label, value)

    def _jump_label(self) -> str | None:
        if not self.accept(TokenKind.COLON):
            return None
        return self.expect_identifier("for the label after `:`").text

    def _jump_value(self) -> ast.Expression | None:
        if self.at(TokenKind.SEMICOLON, TokenKind.COMMA, TokenKind.RIGHT_BRACE, TokenKind.ELSE):
            return None
        return self.parse_expression()

    def _labelled(self) -> ast.Statement:
        label = self.advance()
        self.advance()
        node: ast.Block | ast.While | ast.For
        match self.token.kind:
            case TokenKind.LEFT_BRACE:
                node = self.parse_block("")
            case TokenKind.WHILE:
                node = self._while()
            case TokenKind.FOR:
                node = self._for()
            case TokenKind.INLINE if self.next_kind is TokenKind.FOR:
                node = self._inline_for()
            case _:
                raise self._not_labelled(label)
        span = self.span_from(label.start)
        if isinstance(node, ast.Block) and self.next_kind is not TokenKind.ELSE:
            self.accept(TokenKind.SEMICOLON)  # it may be a value
        return replace(node, label=label.text, span=span)

    def _not_labelled(self, label: Token) -> SyntaxFailure:
        return self.failure(
            f"`{label.text}:` labels a block or a loop, found {self.token.description}",
            help_text=f"write `{label.text}: {{ … }}`, `{label.text}: while …` or "
            f"`{label.text}: for …`",
        )

    def parse_block_expression(self) -> ast.BlockExpression:
        """Parse `label: { … }` as a value."""
        label = self.advance()
        self.advance()
        block = self.parse_block("")
        span = self.span_from(label.start)
        return ast.BlockExpression(span, replace(block, label=label.text, span=span))

    # --- variables, also at top level ------------------------------------------------------------

    def parse_variable(
        self, storage: ast.Storage, first: Token, *, is_comptime: bool = False
    ) -> ast.Variable:
        """Parse from `const`/`var` to `;`; the declaration starts at token `first`."""
        keyword = self.advance()
        name = self.expect_identifier(f"after `{keyword.text}`")
        declared = self.parse_type() if self.accept(TokenKind.COLON) else None
        attributes: dict[TokenKind, ast.Expression] = {}
        while self.at(TokenKind.ALIGN, TokenKind.LINKSECTION, TokenKind.LINKNAME):
            attribute = self.advance()
            attributes[attribute.kind] = self.parse_condition(attribute.text)
        initializer = self.parse_expression() if self.accept(TokenKind.ASSIGN) else None
        self._refuse_other_assignment()
        span = self.span_from(first.start)
        self.end_statement()
        return ast.Variable(
            span,
            name.text,
            self.span(name),
            keyword.kind is TokenKind.CONST,
            declared,
            initializer,
            storage,
            attributes.get(TokenKind.ALIGN),
            attributes.get(TokenKind.LINKSECTION),
            attributes.get(TokenKind.LINKNAME),
            is_comptime,
        )

    def _refuse_other_assignment(self) -> None:
        if self.token.kind in _ASSIGNMENT and not self.at(TokenKind.ASSIGN):
            raise self.failure(
                f"a declaration has no `{self.token.text}`",
                help_text="give the first value with `=`",
            )
