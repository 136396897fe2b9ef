"""Tokens of CSL: their kinds, by spelling."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TokenKind(StrEnum):
    """The kinds of tokens. Keywords and punctuation are their own spelling."""

    IDENTIFIER = "identifier"
    BUILTIN = "builtin"
    INTEGER = "integer"
    FLOAT = "float"
    STRING = "string"
    CHARACTER = "character"
    ERROR = "error"
    """Text that the lexer has already reported."""
    END = "end of file"

    ALIGN = "align"
    AND = "and"
    ANYTYPE = "anytype"
    ASM = "asm"
    BREAK = "break"
    COMPTIME = "comptime"
    CONST = "const"
    CONTINUE = "continue"
    ELSE = "else"
    ENUM = "enum"
    EXPORT = "export"
    EXTERN = "extern"
    FALSE = "false"
    FN = "fn"
    FOR = "for"
    IF = "if"
    INLINE = "inline"
    LAYOUT = "layout"
    LINKNAME = "linkname"
    LINKSECTION = "linksection"
    NULL = "null"
    OR = "or"
    PARAM = "param"
    RETURN = "return"
    STRUCT = "struct"
    SWITCH = "switch"
    TASK = "task"
    TRUE = "true"
    UNION = "union"
    VAR = "var"
    VOLATILE = "volatile"
    WHILE = "while"

    LEFT_PARENTHESIS = "("
    RIGHT_PARENTHESIS = ")"
    LEFT_BRACKET = "["
    RIGHT_BRACKET = "]"
    LEFT_BRACE = "{"
    RIGHT_BRACE = "}"
    COMMA = ","
    SEMICOLON = ";"
    COLON = ":"
    DOT = "."
    ARROW = "->"
    FAT_ARROW = "=>"
    ASSIGN = "="
    ADD_ASSIGN = "+="
    SUBTRACT_ASSIGN = "-="
    MULTIPLY_ASSIGN = "*="
    DIVIDE_ASSIGN = "/="
    REMAINDER_ASSIGN = "%="
    SHIFT_LEFT_ASSIGN = "<<="
    SHIFT_RIGHT_ASSIGN = ">>="
    AND_ASSIGN = "&="
    OR_ASSIGN = "|="
    XOR_ASSIGN = "^="
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS_EQUAL = "<="
    GREATER_EQUAL = ">="
    LESS = "<"
    GREATER = ">"
    SHIFT_LEFT = "<<"
    SHIFT_RIGHT = ">>"
    PLUS = "+"
    MINUS = "-"
    STAR = "*"
    SLASH = "/"
    PERCENT = "%"
    AMPERSAND = "&"
    PIPE = "|"
    CARET = "^"
    EXCLAMATION = "!"
    TILDE = "~"


_LITERALS = frozenset(
    {
        TokenKind.IDENTIFIER,
        TokenKind.BUILTIN,
        TokenKind.INTEGER,
        TokenKind.FLOAT,
        TokenKind.STRING,
        TokenKind.CHARACTER,
        TokenKind.ERROR,
        TokenKind.END,
    }
)

KEYWORDS = {
    kind.value: kind for kind in TokenKind if kind.value.isalpha() and kind not in _LITERALS
}

PUNCTUATION = {kind.value: kind for kind in TokenKind if not kind.value[0].isalpha()}

CLOSING = {
    TokenKind.LEFT_PARENTHESIS: TokenKind.RIGHT_PARENTHESIS,
    TokenKind.LEFT_BRACKET: TokenKind.RIGHT_BRACKET,
    TokenKind.LEFT_BRACE: TokenKind.RIGHT_BRACE,
}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the source: characters `[start, end)`, spelled `text`."""

    kind: TokenKind
    start: int
    end: int
    text: str

    @property
    def description(self) -> str:
        """The token's name in a message."""
        match self.kind:
            case TokenKind.END:
                return "the end of the file"
            case TokenKind.STRING | TokenKind.CHARACTER:
                return f"the {self.kind} {self.text}"
            case TokenKind.INTEGER | TokenKind.FLOAT:
                return f"the number `{self.text}`"
            case _ if self.kind in KEYWORDS.values():
                return f"the keyword `{self.text}`"
            case _:
                return f"`{self.text}`"
