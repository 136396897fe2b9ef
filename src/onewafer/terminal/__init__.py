"""What a person sees on a terminal or in a notebook, once for all commands and the Python API."""

from onewafer.terminal.shown import SHOWN_COLUMNS, Shown

__all__ = ["SHOWN_COLUMNS", "Shown"]
