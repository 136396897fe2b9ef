"""Tokens to the syntax tree of a file.

In: the text of one file. Out: an `ast.File` that holds every declaration that could be read.
A mistake of the user never raises: it is reported to the sink, and parsing goes on after it.
The grammar is in the docstring of `ast`; the levels of the parser are `cursor` (tokens and
recovery), `expressions`, `statements`, and here the declarations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.syntax import ast
from onewafer.csl.syntax.cursor import SyntaxFailure
from onewafer.csl.syntax.foreign_types import nearest_types
from onewafer.csl.syntax.statements import StatementParser
from onewafer.csl.syntax.token import TokenKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.syntax.token import Token
    from onewafer.diagnostics import DiagnosticSink, SourceFile, Span

_STORAGE = {
    TokenKind.EXPORT: ast.Storage.EXPORT,
    TokenKind.EXTERN: ast.Storage.EXTERN,
    TokenKind.INLINE: ast.Storage.INLINE,
}


def parse(source: SourceFile, sink: DiagnosticSink) -> ast.File:
    """Parse a file; report every syntax error to `sink`, in the order of the source."""
    return _FileParser(source, sink).parse_file()


class _FileParser(StatementParser):
    def parse_file(self) -> ast.File:
        declarations: list[ast.TopDeclaration] = []
        while not self.at(TokenKind.END):
            num_open, start = self.num_open, self.position
            try:
                declarations.append(self._declaration(self.token))
                if self.previous.kind is TokenKind.RIGHT_BRACE:
                    self.accept(TokenKind.SEMICOLON)
            except SyntaxFailure:
                is_declaration = self.position > start
                self.skip_statement(num_open, start)
                if not is_declaration:
                    # The rest of a body that ended too early: one message is enough.
                    self.skip_to_declaration()
        self.flush()
        return ast.File(self.source, tuple(declarations))

    def _declaration(self, first: Token) -> ast.TopDeclaration:
        match first.kind:
            case TokenKind.PARAM:
                return self._param()
            case TokenKind.COMPTIME:
                self.advance()
                body = self.parse_block("after `comptime`")
                return ast.ComptimeBlock(self.span_from(first.start), body)
            case TokenKind.LAYOUT:
                self.advance()
                body = self.parse_block("after `layout`")
                return ast.LayoutBlock(self.span_from(first.start), body)
            case TokenKind.EXPORT | TokenKind.EXTERN | TokenKind.INLINE:
                self.advance()
                return self._stored(_STORAGE[first.kind], first)
            case TokenKind.CONST | TokenKind.VAR | TokenKind.FN | TokenKind.TASK:
                return self._stored(ast.Storage.DEFAULT, first)
            case TokenKind.IDENTIFIER if self._at_old_color():
                return self._old_color()
            case _:
                raise self._not_a_declaration(first)

    def _not_a_declaration(self, first: Token) -> SyntaxFailure:
        """Explain why no top-level declaration starts with this token."""
        if first.kind is TokenKind.RIGHT_BRACE:
            return self.failure(
                "this `}` closes nothing",
                code="unmatched-delimiter",
                help_text="remove it, or look for a block above that ends too early",
            )
        return self.failure(
            f"{first.description} cannot start a declaration",
            code="misplaced-statement",
            help_text=self.help_with_declaration(first, self.peek())
            or "the top level of a file holds `param`, `const`, `var`, `fn`, `task`, "
            "`comptime { … }` and `layout { … }`; statements are permitted inside the last four",
        )

    def _at_old_color(self) -> bool:
        return self.token.text == "color" and self.next_kind is TokenKind.IDENTIFIER

    def _old_color(self) -> ast.Param:
        """Parse `color name;` of older versions of the SDK, which means `param name: color;`."""
        keyword = self.advance()
        name = self.expect_identifier("after `color`")
        span = self.span_from(keyword.start)
        self.end_statement()
        declared = ast.Name(self.span(keyword), keyword.text)
        return ast.Param(span, name.text, self.span(name), declared, None)

    def _stored(self, storage: ast.Storage, first: Token) -> ast.Variable | ast.Function:
        if self.at(TokenKind.FN, TokenKind.TASK):
            return self._function(storage, first)
        if self.at(TokenKind.CONST, TokenKind.VAR):
            return self.parse_variable(storage, first)
        raise self.failure(
            f"expected a declaration after `{first.text}`, found {self.token.description}",
            help_text=f"write `{first.text} var …`, `{first.text} const …` or `{first.text} fn …`",
        )

    def _param(self) -> ast.Param:
        keyword = self.advance()
        name = self.expect_identifier("after `param`")
        declared = self.parse_type() if self.accept(TokenKind.COLON) else None
        default = self.parse_expression() if self.accept(TokenKind.ASSIGN) else None
        span = self.span_from(keyword.start)
        self.end_statement()
        return ast.Param(span, name.text, self.span(name), declared, default)

    def _function(self, storage: ast.Storage, first: Token) -> ast.Function:
        keyword = self.advance()
        name = self.expect_identifier(f"after `{keyword.text}`")
        parameters = self.delimited(
            TokenKind.LEFT_PARENTHESIS,
            "after the parameters",
            self._extern_parameter if storage is ast.Storage.EXTERN else self._parameter,
        )
        link_name = self._linkage()
        result = self._result_type(keyword)
        link_name = self._linkage() or link_name
        is_extern = storage is ast.Storage.EXTERN
        body = self._body_elsewhere(keyword, name) if is_extern else self._body(name)
        self._check_names(parameters, body)
        return ast.Function(
            self.span_from(first.start),
            name.text,
            self.span(name),
            parameters,
            result,
            body,
            keyword.kind is TokenKind.TASK,
            storage,
            link_name,
        )

    def _check_names(self, parameters: Sequence[ast.Parameter], body: ast.Block) -> None:
        """Report parameters with equal names, and locals of the body with a parameter's name."""
        declared: dict[str, Span] = {}
        for parameter in parameters:
            name, span = parameter.name, parameter.span
            if name != "_" and declared.setdefault(name, span) is not span:
                self.report_twice(name, span, declared[name])
        for node in body.statements:
            if isinstance(node, ast.Variable) and node.name in declared:
                self.report_twice(node.name, node.name_span, declared[node.name])

    def _body(self, name: Token) -> ast.Block:
        if self.at(TokenKind.SEMICOLON):
            raise self.failure(
                f"`{name.text}` has no body",
                help_text="write the body in braces; if another module exports it: "
                f"`extern fn {name.text}(…) …;`",
            )
        return self.parse_block(f"before the body of `{name.text}`")

    def _body_elsewhere(self, keyword: Token, name: Token) -> ast.Block:
        """Read the `;` of an `extern` function, whose body is in another module."""
        if keyword.kind is TokenKind.TASK:
            self.report(
                "syntax-error",
                f"the task `{name.text}` cannot be `extern`",
                self.span(name),
                help_text="a task is bound where its module is; share its id instead",
            )
        if self.at(TokenKind.LEFT_BRACE):
            self.report(
                "syntax-error",
                f"`{name.text}` is `extern`: its body is where it is exported",
                self.span(name),
                help_text=f"end it with `;`, or write `export fn {name.text}(…)` if this is it",
            )
            return self.parse_block("")
        end = self.span_after(self.previous)
        self.end_statement()
        return ast.Block(end, ())

    def _linkage(self) -> ast.Expression | None:
        """Parse `linkname(…)` and `linksection(…)`; return the name, the section is ignored."""
        link_name = None
        while self.at(TokenKind.LINKNAME, TokenKind.LINKSECTION):
            attribute = self.advance()
            value = self.parse_condition(attribute.text)
            link_name = value if attribute.kind is TokenKind.LINKNAME else link_name
        return link_name

    def _result_type(self, keyword: Token) -> ast.Expression:
        if not self.at(TokenKind.LEFT_BRACE, TokenKind.SEMICOLON):
            return self.parse_type()
        self.report(
            "syntax-error",
            f"this `{keyword.text}` does not say what it returns",
            help_text=f"write the type before the `{self.token.text}`; `void` if it returns "
            "nothing",
        )
        return ast.ErrorExpression(self.span(self.token))

    def _parameter_example(self, name: Token) -> str:
        nearest = nearest_types(name.text)
        if nearest and self.at(TokenKind.IDENTIFIER):
            return f"`{self.token.text}: {nearest[0]}`"
        return f"`{name.text}: u16`"

    def _extern_parameter(self) -> ast.Parameter:
        """Parse a parameter of a function without a body: a name and a type, or a type alone."""
        is_named = self.at(TokenKind.IDENTIFIER) and self.next_kind is TokenKind.COLON
        if is_named or self.at(TokenKind.COMPTIME):
            return self._parameter()
        declared = self.parse_type()
        return ast.Parameter(declared.span, "_", declared, is_comptime=False)

    def _parameter(self) -> ast.Parameter:
        start = self.token.start
        is_comptime = self.accept(TokenKind.COMPTIME) is not None
        name = self.expect_identifier("for a parameter")
        if not self.accept(TokenKind.COLON):
            self.report(
                "syntax-error",
                f"expected `:` after the parameter `{name.text}`, found {self.token.description}",
                help_text=f"every parameter states its type: {self._parameter_example(name)}",
            )
            if self.at(TokenKind.COMMA, TokenKind.RIGHT_PARENTHESIS):
                error = ast.ErrorExpression(self.span(self.token))
                return ast.Parameter(self.span_from(start), name.text, error, is_comptime)
        declared = None if self.accept(TokenKind.ANYTYPE) else self.parse_type()
        return ast.Parameter(self.span_from(start), name.text, declared, is_comptime)
