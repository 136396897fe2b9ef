"""The Python API, which the commands use too; `import onewafer` has its names.

`wafers` runs PyTorch modules on a wafer, `scripts` whole scripts, `comparisons` compares machines,
`programs` compiles CSL, `runners` runs it. What a call needs is imported by the call: the compiler,
the simulator, PyTorch, pandas.
"""

from onewafer.api.comparison_options import (
    EquationOptions,
    JobKind,
    JobOptions,
    MappingOptions,
    Numbers,
    SystemOptions,
    equations,
)
from onewafer.api.comparisons import Comparison, compare, compare_described, list_systems
from onewafer.api.csl_options import csl_options, half_formats
from onewafer.api.models import check_model
from onewafer.api.program_folder import (
    PARAMETERS_FILE,
    check_folder,
    parameters_to_json,
    write_folder,
)
from onewafer.api.programs import CompileWarning, Program, compile_csl
from onewafer.api.run_report import RunReport
from onewafer.api.runners import Runner, load
from onewafer.api.scripts import run
from onewafer.api.single_answer import Question, describe_catalogued, question, wafer_of
from onewafer.api.torch_presence import require_torch
from onewafer.api.wafers import Wafer, open_session, wafer

__all__ = [
    "PARAMETERS_FILE",
    "Comparison",
    "CompileWarning",
    "EquationOptions",
    "JobKind",
    "JobOptions",
    "MappingOptions",
    "Numbers",
    "Program",
    "Question",
    "RunReport",
    "Runner",
    "SystemOptions",
    "Wafer",
    "check_folder",
    "check_model",
    "compare",
    "compare_described",
    "compile_csl",
    "csl_options",
    "describe_catalogued",
    "equations",
    "half_formats",
    "list_systems",
    "load",
    "open_session",
    "parameters_to_json",
    "question",
    "require_torch",
    "run",
    "wafer",
    "wafer_of",
    "write_folder",
]
