"""Output on terminals and in notebooks, for all commands and the Python API.

The names of `console`, which loads Rich, are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from onewafer.terminal.frames import frame_of_entries, make_frame
from onewafer.terminal.notebook import NotebookLine, find_notebook
from onewafer.terminal.progress import ProgressBar, progress_bar, progress_line, text_column
from onewafer.terminal.shown import SHOWN_COLUMNS, Shown
from onewafer.terminal.standing_line import StandingLine
from onewafer.terminal.user_text import cut, cut_words, escaped, printable, quoted, visible

if TYPE_CHECKING:
    from onewafer.terminal.console import PlainConsole, labelled, stdout_console, to_text

__all__ = [
    "SHOWN_COLUMNS",
    "NotebookLine",
    "PlainConsole",
    "ProgressBar",
    "Shown",
    "StandingLine",
    "cut",
    "cut_words",
    "escaped",
    "find_notebook",
    "frame_of_entries",
    "labelled",
    "make_frame",
    "printable",
    "progress_bar",
    "progress_line",
    "quoted",
    "stdout_console",
    "text_column",
    "to_text",
    "visible",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("onewafer.terminal.console"), name)
