"""Errors as a user reads them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from onewafer.terminal import cut_words, printable

if TYPE_CHECKING:
    from onewafer.errors import OnewaferError


def complain(error: OnewaferError) -> None:
    """Say an error, and what else is known of it."""
    text = "\n".join((f"onewafer: {error}", *getattr(error, "__notes__", ())))
    print(printable(cut_words(text)), file=sys.stderr)
