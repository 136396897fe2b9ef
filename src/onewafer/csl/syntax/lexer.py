"""Source text to tokens.

In: the text of one file. Out: its tokens, the last one of kind END. Text that is no token is
reported and becomes one ERROR token, so that the parser does not report it again.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from onewafer.csl.syntax.token import KEYWORDS, PUNCTUATION, Token, TokenKind
from onewafer.diagnostics import Annotation, Diagnostic, Span

if TYPE_CHECKING:
    from onewafer.diagnostics import DiagnosticSink, SourceFile

_PUNCTUATION_PATTERN = "|".join(re.escape(p) for p in sorted(PUNCTUATION, key=len, reverse=True))

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\f\v\ufeff]+|//[^\n]*)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<builtin>@[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>0[xXbBoO][0-9A-Za-z_]*|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[0-9A-Za-z_]*)"
    r'|(?P<string>"(?:[^"\\\n]|\\[^\n])*"?)'
    r"|(?P<character>'(?:[^'\\\n]|\\[^\n])*'?)"
    r"|(?P<comment>/\*)"
    rf"|(?P<punctuation>{_PUNCTUATION_PATTERN})"
    r"|(?P<bad>[^\sA-Za-z0-9_\"'/()\[\]{},;:.=+\-*%<>&|^!~@]+|.)",
    re.DOTALL,
)

_INTEGER = re.compile(r"0x[0-9a-fA-F]+|0b[01]+|0o[0-7]+|[0-9]+")
_FLOAT = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", '"': '"', "'": "'"}

_MAX_DIGITS = 1000
"""Longer integer literals are refused: nothing on the machine is wider than 64 bits."""


def tokenize(source: SourceFile, sink: DiagnosticSink) -> list[Token]:
    """Return the tokens of `source`, ending with END; report invalid text to `sink`."""
    return _Lexer(source, sink).tokenize()


def integer_value(text: str) -> int:
    """Return the value of a valid integer literal."""
    return int(text, 0) if text[:2] in {"0x", "0b", "0o"} else int(text)


def string_value(text: str) -> str:
    """Return the value of a valid string literal (with quotes): its decoded bytes.

    Bytes that are not UTF-8 become surrogates (PEP 383).
    """
    octets = bytearray()
    position = 1
    for escape in _ESCAPE.finditer(text, 1, len(text) - 1):
        octets += text[position : escape.start()].encode("utf-8", "surrogatepass")
        octets.append(ord(_character(escape)))
        position = escape.end()
    octets += text[position:-1].encode("utf-8", "surrogatepass")
    return octets.decode("utf-8", "surrogateescape")


def character_value(text: str) -> int:
    """Return the code of the character that a valid character literal (with quotes) holds."""
    return ord(_characters(text))


def _characters(text: str) -> str:
    """Return the characters in a valid character literal."""
    return _ESCAPE.sub(_character, text[1:-1])


def _character(escape: re.Match[str]) -> str:
    """Return the character of a valid escape sequence, one of the first 256."""
    code = escape[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES[code]


class _Lexer:
    def __init__(self, source: SourceFile, sink: DiagnosticSink) -> None:
        self._source = source
        self._sink = sink

    def tokenize(self) -> list[Token]:
        text = self._source.text
        tokens: list[Token] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            assert match is not None  # the last alternative takes any character
            position = match.end()
            group = match.lastgroup
            if group == "comment":
                position = self._block_comment(match.start())
            elif group != "space":
                kind = self._kind(str(group), match[0], match.start())
                tokens.append(Token(kind, match.start(), position, match[0]))
        tokens.append(Token(TokenKind.END, len(text), len(text), ""))
        return tokens

    def _kind(self, group: str, text: str, start: int) -> TokenKind:
        match group:
            case "word":
                return KEYWORDS.get(text, TokenKind.IDENTIFIER)
            case "builtin":
                return TokenKind.BUILTIN
            case "punctuation":
                return PUNCTUATION[text]
            case "number":
                return self._number(text, start)
            case "string":
                return self._quoted(TokenKind.STRING, text, start)
            case "character":
                return self._quoted(TokenKind.CHARACTER, text, start)
            case _:
                return self._bad_text(text, start)

    def _number(self, text: str, start: int) -> TokenKind:
        if _INTEGER.fullmatch(text):
            if len(text) <= _MAX_DIGITS:
                return TokenKind.INTEGER
            message = f"a number of {len(text)} digits is larger than anything the machine holds"
            return self._error("invalid-literal", message, start, start + len(text))
        if _FLOAT.fullmatch(text):
            if math.isfinite(float(text)):
                return TokenKind.FLOAT
            message = f"the number `{text}` is larger than the largest double"
            return self._error("invalid-literal", message, start, start + len(text))
        return self._error(
            "invalid-literal",
            f"`{text}` is not a number",
            start,
            start + len(text),
            help_text="write digits only: `10`, `0x1f`, `0b101`, `0o17`, `1.5`, `1.0e-3`; "
            "CSL has neither suffixes nor digit separators",
        )

    def _quoted(self, kind: TokenKind, text: str, start: int) -> TokenKind:
        quote = text[0]
        end = start + len(text)
        if len(text) == 1 or text[-1] != quote or _ends_in_escape(text):
            return self._error(
                "invalid-literal",
                f"this {kind} literal does not end on its line",
                start,
                end,
                help_text=f"close it with `{quote}`; write a line break as `\\n`",
            )
        for match in _ESCAPE.finditer(text):
            if len(match[1]) == 1 and match[1] not in _ESCAPES:
                return self._error(
                    "invalid-literal",
                    f"`{match[0]}` is not an escape sequence",
                    start + match.start(),
                    start + match.end(),
                    help_text="the escapes are `\\n` `\\t` `\\r` `\\0` `\\\\` `\\\"` `\\'` and "
                    "`\\xHH`; write `\\\\` for a backslash",
                )
        if kind is TokenKind.CHARACTER and len(_characters(text)) != 1:
            return self._error(
                "invalid-literal",
                "a character literal holds exactly one character",
                start,
                end,
                help_text='write text in double quotes: `"…"`',
            )
        return kind

    def _bad_text(self, text: str, start: int) -> TokenKind:
        help_text = "a builtin is written `@name`, without a space" if text == "@" else ""
        message = f"`{text}` has no meaning in CSL outside strings and comments"
        return self._error(
            "invalid-character", message, start, start + len(text), help_text=help_text
        )

    def _block_comment(self, start: int) -> int:
        """Report a C comment and return where it ends."""
        end = self._source.text.find("*/", start + 2)
        end = len(self._source.text) if end < 0 else end + 2
        self._error(
            "unsupported-syntax",
            "CSL has no block comments",
            start,
            start + 2,
            help_text="start every line of the comment with `//`",
        )
        return end

    def _error(
        self, code: str, message: str, start: int, end: int, *, help_text: str = ""
    ) -> TokenKind:
        span = Span(self._source, start, end)
        self._sink.report(Diagnostic(code, message, Annotation(span), help=help_text))
        return TokenKind.ERROR


def _ends_in_escape(text: str) -> bool:
    """Tell whether the last quote of a literal is escaped (so that it is not closed)."""
    backslashes = len(text[:-1]) - len(text[:-1].rstrip("\\"))
    return backslashes % 2 == 1
