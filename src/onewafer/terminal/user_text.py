"""Text as data: escapes for control characters, and texts of users quoted in messages."""

from __future__ import annotations

import re
from typing import Final

_LONG_WORD: Final = re.compile(r"[^\s:;,'`\"]{501,}")
_MOST_CHARACTERS: Final = 80
_LAST_BYTE: Final = 0xFF


def visible(text: str) -> str:
    r"""Escape control characters and line ends of a user's text inside a sentence.

    A whole output, of several lines, goes through `terminal.printable` instead.

    >>> print(visible("main\x1b[2J\n"))
    main\x1b[2J\x0a
    """
    return "".join(c if c.isprintable() else escaped(ord(c)) for c in text)


def escaped(code: int) -> str:
    r"""Return the escape sequence of a character's code point.

    >>> print(escaped(27), escaped(0x2028))
    \x1b \u{2028}
    """
    return f"\\x{code:02x}" if code <= _LAST_BYTE else f"\\u{{{code:x}}}"


def cut(text: str) -> str:
    """Shorten a long text to its start and its length.

    >>> cut("7" * 5000)
    '7777777777777777777777777777777777777777… (5,000 characters)'
    """
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[: _MOST_CHARACTERS // 2]}… ({len(text):,} characters)"


def quoted(text: str) -> str:
    """Return a user's text as messages quote it: escaped and shortened."""
    return visible(cut(text))


def cut_words(text: str) -> str:
    """Shorten words of more than 500 characters, such as huge numbers; paths stay whole."""
    return _LONG_WORD.sub(lambda word: cut(word[0]), text)


_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_LINES = "\n\t"
_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Bidirectional controls, which can make a line read as something else."""
_ESCAPES = {c: escaped(c) for c in (*_CONTROLS, *_DIRECTIONS) if chr(c) not in _LINES}


def printable(text: str) -> str:
    r"""Escape control characters in an output, except line ends and tabs.

    All output goes through it. A user's text that is quoted inside a sentence goes through
    `visible` first, which keeps it on one line.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return text.translate(_ESCAPES)
