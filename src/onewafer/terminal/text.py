"""Text of users as data: what would move the cursor or reorder characters is shown as an escape."""

from __future__ import annotations

from onewafer.terminal.user_text import escaped

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_LINES = "\n\t"
_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that reorder others, so that a line reads as what it is not."""
_ESCAPES = {c: escaped(c) for c in (*_CONTROLS, *_DIRECTIONS) if chr(c) not in _LINES}


def printable(text: str) -> str:
    r"""Return an output with escapes for control characters, except ends of lines and tabs.

    Everything that is printed goes through it. A text of a user that is quoted inside a sentence
    goes through `visible` first, which keeps it on one line.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return text.translate(_ESCAPES)
