"""A position in the tokens of a file, and what happens when the wrong token stands there.

Recovery works at two strengths. A *soft* error is reported and parsing goes on as if the missing
token were there. A *hard* error is reported and raises `SyntaxFailure`, which the nearest statement
or declaration catches to skip to its own end. One mistake gives one message: nothing is reported
twice at the same token, nor at a token that the lexer has already reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from onewafer.csl.syntax.lexer import tokenize
from onewafer.csl.syntax.token import CLOSING, Token, TokenKind
from onewafer.diagnostics import Annotation, Diagnostic, DiagnosticSink, Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.diagnostics import SourceFile

_Item = TypeVar("_Item")

MAX_NESTING = 64
"""Levels of parentheses, blocks and operands. Public programs have at most 12; a level costs this
parser up to 9 Python frames, of the 1,000 that Python allows."""

MAX_CHAIN = 100
"""Operations in one chain `a + b + …` or `a.b.c…`, and arms of one `else if` chain."""

_DECLARATION_STARTS = frozenset(
    {
        TokenKind.PARAM,
        TokenKind.FN,
        TokenKind.TASK,
        TokenKind.LAYOUT,
        TokenKind.EXPORT,
        TokenKind.EXTERN,
        TokenKind.INLINE,
    }
)

_TOP_LEVEL_STARTS = _DECLARATION_STARTS | {TokenKind.CONST, TokenKind.VAR, TokenKind.COMPTIME}

_GOES_ON_AFTER_BLOCK = frozenset(
    {
        TokenKind.COMMA,
        TokenKind.RIGHT_PARENTHESIS,
        TokenKind.RIGHT_BRACKET,
        TokenKind.DOT,
        TokenKind.ELSE,
        TokenKind.ASSIGN,
        TokenKind.ARROW,
    }
)


class SyntaxFailure(Exception):  # noqa: N818  # a jump to the recovery point, not an error of ours
    """The construct being parsed cannot be finished; the reason has been reported."""


@dataclass(frozen=True, slots=True)
class _BracePair:
    """A `{` and its `}` at different indentations: a hint to the place of a missing brace."""

    opening: Token
    closing: Token


class TokenCursor:
    """Reads tokens one by one, tracks the open delimiters, reports syntax errors and recovers."""

    def __init__(self, source: SourceFile, sink: DiagnosticSink) -> None:
        self.source = source
        self._sink = DiagnosticSink()
        self._tokens = tokenize(source, self._sink)
        self._outer_sink = sink
        self._index = 0
        self._open: list[Token] = []
        self._reported_index = -1
        self._nesting = 0
        self._suspect: _BracePair | None = None

    # --- reading ---------------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        """The token that stands at the cursor."""
        return self._tokens[self._index]

    @property
    def next_kind(self) -> TokenKind:
        """The kind of the token after the cursor."""
        return self.kind_ahead(1)

    def peek(self) -> Token:
        """Return the token after the cursor."""
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    def kind_ahead(self, distance: int) -> TokenKind:
        """Return the kind of the token `distance` tokens after the cursor."""
        return self._tokens[min(self._index + distance, len(self._tokens) - 1)].kind

    @property
    def previous(self) -> Token:
        """The token before the cursor (the first token at the start)."""
        return self._tokens[max(self._index - 1, 0)]

    def at(self, *kinds: TokenKind) -> bool:
        """Tell whether the token at the cursor is of one of the kinds."""
        return self.token.kind in kinds

    def advance(self) -> Token:
        """Return the token at the cursor and step over it (never past the end)."""
        token = self.token
        if token.kind is not TokenKind.END:
            self._index += 1
        return token

    def accept(self, kind: TokenKind) -> Token | None:
        """Step over the token if it is of the kind."""
        return self.advance() if self.token.kind is kind else None

    def span(self, token: Token) -> Span:
        """Return the place of a token."""
        return Span(self.source, token.start, token.end)

    def span_after(self, token: Token) -> Span:
        """Return the empty place directly after a token, where something may be missing."""
        return Span(self.source, token.end, token.end)

    def span_from(self, start: int) -> Span:
        """Return the place from an offset to the end of the last token that was read."""
        return Span(self.source, start, max(start, self.previous.end))

    # --- reporting -------------------------------------------------------------------------------

    def report(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        label: str = "",
        secondary: tuple[Annotation, ...] = (),
        help_text: str = "",
    ) -> None:
        """Report an error at `span` (default: the token at the cursor), once per token."""
        if self._index == self._reported_index or self.token.kind is TokenKind.ERROR:
            self._reported_index = self._index
            return
        self._reported_index = self._index
        primary = Annotation(span or self.span(self.token), label)
        self._sink.report(Diagnostic(code, message, primary, secondary, help=help_text))

    def report_twice(self, name: str, span: Span, first: Span) -> None:
        """Report a name that is declared twice; the tree is right, so other reports stay."""
        self._sink.report(
            Diagnostic(
                "duplicate-declaration",
                f"`{name}` is declared twice",
                Annotation(span),
                (Annotation(first, "declared here first"),),
                help="give one of the two another name",
            )
        )

    def failure(
        self,
        message: str,
        *,
        code: str = "syntax-error",
        span: Span | None = None,
        help_text: str = "",
    ) -> SyntaxFailure:
        """Report an error; raise the result to give up the construct that is being parsed."""
        self.report(code, message, span, help_text=help_text)
        return SyntaxFailure()

    def expect(self, kind: TokenKind, where: str, *, help_text: str = "") -> Token:
        """Step over a token of the kind, or fail with `expected … {where}, found …`."""
        if self.token.kind is kind:
            return self.advance()
        what = kind.value if kind is TokenKind.IDENTIFIER else f"`{kind}`"
        raise self.failure(
            f"expected {what} {where}, found {self.token.description}",
            help_text=help_text,
        )

    def expect_identifier(self, where: str) -> Token:
        """Step over an identifier, or fail; a reserved word gets its own message."""
        token = self.token
        if token.kind is TokenKind.IDENTIFIER:
            return self.advance()
        if token.text.isalpha() and token.kind is not TokenKind.ERROR:
            self.report(
                "reserved-word",
                f"`{token.text}` is a reserved word and cannot be a name",
                help_text=f"choose another name, for example `{token.text}_`",
            )
            return self.advance()
        raise self.failure(f"expected a name {where}, found {token.description}")

    def flush(self) -> None:
        """Hand all reports to the caller's sink, in the order of the source."""

        def place(diagnostic: Diagnostic) -> int:
            return diagnostic.primary.span.start if diagnostic.primary else -1

        self._sink.diagnostics.sort(key=place)
        self._outer_sink.extend(self._sink)

    # --- nesting ---------------------------------------------------------------------------------

    def enter(self) -> None:
        """Go one level deeper; every call is paired with `leave`."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self._nesting -= 1
            raise self.failure(
                f"this is nested more than {MAX_NESTING} levels deep",
                code="nesting-too-deep",
                help_text="name the inner parts with `const` or move them to functions",
            )

    def leave(self) -> None:
        """Leave a nesting level."""
        self._nesting -= 1

    def check_chain(self, length: int) -> None:
        """Fail if a chain of operations is too long for recursion."""
        if length > MAX_CHAIN:
            raise self.failure(
                f"this chain has more than {MAX_CHAIN} links",
                code="nesting-too-deep",
                help_text="split it: name the parts with `const`, or use a loop or a `switch`",
            )

    # --- delimiters ------------------------------------------------------------------------------

    def open(self, kind: TokenKind, where: str) -> Token:
        """Step over an opening delimiter and remember it."""
        token = self.expect(kind, where)
        self._open.append(token)
        return token

    def close(self, opening: Token, where: str, *, separator: str = "") -> None:
        """Step over the delimiter that closes `opening`.

        The error is soft if the next tokens show that only the delimiter is missing.
        """
        kind = CLOSING[opening.kind]
        if self.token.kind is kind:
            self._note_indentation(opening)
            self.advance()
            self._open.remove(opening)
            return
        wanted = f"{separator}`{kind}`"
        message = f"expected {wanted} {where}, found {self.token.description}"
        opened_here = (Annotation(self.span(opening), f"this `{opening.text}` is open"),)
        if not self._is_missing(kind):
            self.report("syntax-error", message, secondary=opened_here)
            raise SyntaxFailure
        self.report(
            "unclosed-delimiter",
            f"`{opening.text}` is never closed: {message}",
            label=f"`{kind}` is missing before this",
            secondary=opened_here + self._suspect_places(opening),
            help_text=f"write `{kind}` where what the `{opening.text}` opened should end",
        )
        self._open.remove(opening)

    def delimited(
        self, kind: TokenKind, where: str, parse_item: Callable[[], _Item]
    ) -> tuple[_Item, ...]:
        """Parse `( item, … )`, `[ … ]` or `{ … }` with an optional trailing comma."""
        opening = self.open(kind, where)
        items = self.separated(CLOSING[kind], parse_item)
        self.close(opening, where, separator="`,` or ")
        return items

    def separated(self, closing: TokenKind, parse_item: Callable[[], _Item]) -> tuple[_Item, ...]:
        """Parse items separated by commas up to `closing`, which stays at the cursor."""
        items: list[_Item] = []
        while not self.at(closing, TokenKind.END):
            before = self._index
            items.append(parse_item())
            if not self.accept(TokenKind.COMMA) or self._index == before:
                break
        return tuple(items)

    def _is_missing(self, kind: TokenKind) -> bool:
        """Tell whether the next tokens fit if the missing closing delimiter is assumed."""
        if self.at(TokenKind.END) or self._starts_declaration_line():
            return True
        if kind is TokenKind.RIGHT_BRACE:
            return self.at(TokenKind.SEMICOLON)
        return self.at(
            TokenKind.SEMICOLON, TokenKind.LEFT_BRACE, TokenKind.RIGHT_BRACE, TokenKind.PIPE
        ) or (
            self.at(TokenKind.RIGHT_PARENTHESIS, TokenKind.RIGHT_BRACKET)
            and len(self._open) > 1
            and CLOSING[self._open[-2].kind] is self.token.kind
        )

    def _starts_declaration_line(self) -> bool:
        kinds = _DECLARATION_STARTS if self._open else _TOP_LEVEL_STARTS
        return self.token.kind in kinds and self._column(self.token) == 1

    def at_stray_declaration(self, block: Token) -> bool:
        """Tell whether a declaration that is only allowed outside of `block` starts here."""
        return (
            self.token.kind in _DECLARATION_STARTS
            and self.next_kind not in {TokenKind.FOR, TokenKind.WHILE}  # `inline for`
            and self._is_first_on_line(self.token)
            and self._column(self.token) <= self._indentation(block)
        )

    def report_unclosed_block(self, opening: Token) -> None:
        """Report a block that is unclosed at a declaration or the end of the file; close it."""
        self.report(
            "unclosed-delimiter",
            f"`{{` is never closed: {self.token.description} follows inside the block",
            label="a `}` is missing before this",
            secondary=(
                Annotation(self.span(opening), "this block is open"),
                *self._suspect_places(opening),
            ),
            help_text="write `}` where the block should end",
        )
        self._open.remove(opening)

    def _suspect_places(self, opening: Token) -> tuple[Annotation, ...]:
        suspect = self._suspect
        if suspect is None or suspect.opening.start < opening.start:
            return ()
        return (
            Annotation(self.span(suspect.opening), "perhaps this one is meant to be closed"),
            Annotation(self.span(suspect.closing), "by this, which has another indentation"),
        )

    def _note_indentation(self, opening: Token) -> None:
        closing = self.token
        if (
            closing.kind is TokenKind.RIGHT_BRACE
            and self._is_first_on_line(closing)
            and self._column(closing) != self._indentation(opening)
        ):
            self._suspect = self._suspect or _BracePair(opening, closing)

    def _column(self, token: Token) -> int:
        return self.source.line_column(token.start)[1]

    def _indentation(self, token: Token) -> int:
        """Return the 1-based column of the first visible character of the token's line."""
        line, _ = self.source.line_column(token.start)
        text = self.source.line_text(line)
        return len(text) - len(text.lstrip()) + 1

    def _is_first_on_line(self, token: Token) -> bool:
        return self._column(token) == self._indentation(token)

    # --- recovery --------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Index of the token at the cursor, to see whether anything has been read."""
        return self._index

    @property
    def num_open(self) -> int:
        """Number of open delimiters, to be handed to `skip_statement`."""
        return len(self._open)

    def skip_statement(self, num_open: int, start: int) -> None:
        """Skip to the end of a statement or declaration that began at token `start`.

        It ends after a `;` or a block of its own, or before the `}` of the block around it, or
        before a line that starts a declaration. `num_open` delimiters were open at its start.
        """
        own = [CLOSING[token.kind] for token in self._open[num_open:]]
        del self._open[num_open:]
        if self._index == start and not self.at(TokenKind.RIGHT_BRACE):
            self._skip_one(own)
        while not self._is_statement_end(own):
            if self.accept(TokenKind.SEMICOLON):
                if self.at(TokenKind.ELSE):
                    continue
                return
            is_brace = self.at(TokenKind.RIGHT_BRACE) or (
                self.at(TokenKind.LEFT_BRACE) and self.previous.kind is not TokenKind.DOT
            )
            self._skip_one(own)
            ends_block = is_brace and TokenKind.RIGHT_BRACE not in own
            if ends_block and self.token.kind not in _GOES_ON_AFTER_BLOCK:
                self.accept(TokenKind.SEMICOLON)
                return

    def _is_statement_end(self, own: list[TokenKind]) -> bool:
        if self.at(TokenKind.END) or self._starts_declaration_line():
            return True
        # A `}` before `)` or `]` belongs to a literal whose start was not understood.
        is_literal_end = self.next_kind in {TokenKind.RIGHT_PARENTHESIS, TokenKind.RIGHT_BRACKET}
        return (
            self.at(TokenKind.RIGHT_BRACE)
            and TokenKind.RIGHT_BRACE not in own
            and not is_literal_end
        )

    def skip_to_declaration(self) -> None:
        """Skip the remaining tokens of a broken top-level declaration; a block is skipped whole."""
        while not self.at(TokenKind.END) and not (
            self.token.kind in _DECLARATION_STARTS or self._starts_declaration_line()
        ):
            self._skip_one([])

    def _skip_one(self, own: list[TokenKind]) -> None:
        """Skip a token, or everything from an opening delimiter to its counterpart."""
        kind = self.advance().kind
        if kind in own:
            own.remove(kind)
        if kind not in CLOSING:
            return
        expected = [CLOSING[kind]]
        while expected and not self.at(TokenKind.END) and not self._starts_declaration_line():
            token = self.advance()
            if token.kind in CLOSING:
                expected.append(CLOSING[token.kind])
            elif token.kind in CLOSING.values() and token.kind in expected:
                # A missing inner delimiter ends with the outer one.
                while expected.pop() is not token.kind:
                    pass
            elif token.kind is TokenKind.SEMICOLON and TokenKind.RIGHT_BRACE not in expected:
                return
