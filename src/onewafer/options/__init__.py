"""Options, each declared once: for commands, Python functions, keys of studies, and the manual.

Every command loads these files first, so the packages that a value needs are imported when one is
converted.
"""

from onewafer.options.conversion import (
    choose,
    one_of,
    optional,
    to_arguments,
    to_hertz,
    to_number,
    to_path,
    to_rectangle,
    to_text,
    whole,
)
from onewafer.options.option import (
    COMMAND_LINE,
    PYTHON,
    STUDY,
    Option,
    OptionError,
    Options,
    Spelling,
    called_with,
    errors_in,
    option,
    options_of,
)
from onewafer.options.simulation import (
    CheckOptions,
    EngineOption,
    LimitOption,
    RecordOptions,
    SimulationOptions,
    StrictOption,
    settings_with,
)
from onewafer.options.wafer import SHORTEST_CONTEXT, Draws, Fidelity, RunOptions, WaferOptions

__all__ = [
    "COMMAND_LINE",
    "PYTHON",
    "SHORTEST_CONTEXT",
    "STUDY",
    "CheckOptions",
    "Draws",
    "EngineOption",
    "Fidelity",
    "LimitOption",
    "Option",
    "OptionError",
    "Options",
    "RecordOptions",
    "RunOptions",
    "SimulationOptions",
    "Spelling",
    "StrictOption",
    "WaferOptions",
    "called_with",
    "choose",
    "errors_in",
    "one_of",
    "option",
    "optional",
    "options_of",
    "settings_with",
    "to_arguments",
    "to_hertz",
    "to_number",
    "to_path",
    "to_rectangle",
    "to_text",
    "whole",
]
