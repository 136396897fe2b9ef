"""What a person sees on a terminal or in a notebook, once for all commands and the Python API.

`console` and `progress`, which load Rich, are imported where something is shown.
"""

from onewafer.terminal.frames import frame_of_entries, make_frame
from onewafer.terminal.shown import SHOWN_COLUMNS, Shown
from onewafer.terminal.text import printable

__all__ = ["SHOWN_COLUMNS", "Shown", "frame_of_entries", "make_frame", "printable"]
