"""Host scripts that build a time from 16-bit words, as the SDK's examples do.

They write `words[0] + (words[1] << 16) + (words[2] << 32)` for an array of `uint16`. With NumPy 1 a
shift of such a word had 64 bits; since NumPy 2 it has 16, and the time is silently wrong.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

_SHIFT = re.compile(r"(\w+\[[12]\])\s*<<\s*(16|32)\b")
_COMMENT = re.compile(r"#.*")
_FIRST_NARROW = 2
"""Version of NumPy."""


def warn_of_narrow_shifts() -> None:
    """Say on stderr what the running script would get wrong."""
    if int(np.__version__.partition(".")[0]) < _FIRST_NARROW:
        return
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        text = "" if name is None else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    warning = find_narrow_shift(text)
    if warning is not None:
        sys.stderr.write(f"onewafer: warning: {name}:{warning}\n")


def find_narrow_shift(text: str) -> str | None:
    r"""Return the line of the first such shift in a script and what is wrong with it, if any.

    >>> script = "w = np.zeros(3).astype(np.uint16)\nt = w[0] + (w[1] << 16)"
    >>> print(find_narrow_shift(script).partition(";")[0])
    2: NumPy 2 computes `w[1] << 16` of 16-bit words in 16 bits, so that it is 0
    """
    found = _SHIFT.search(_COMMENT.sub("", text))
    if found is None or "uint16" not in text:
        return None
    line = found.string.count("\n", 0, found.start()) + 1
    return (
        f"{line}: NumPy 2 computes `{found[0]}` of 16-bit words in 16 bits, so that it is 0; "
        f"write `int({found[1]}) << {found[2]}`, or install numpy<2"
    )
