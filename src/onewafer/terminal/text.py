"""Output as data: characters that move the cursor or reorder text are shown as escapes."""

from __future__ import annotations

from onewafer.terminal.user_text import escaped

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
