"""The Python API, which the commands use too; `import onewafer` has its names.

`wafers` runs PyTorch modules on a wafer, `scripts` whole scripts, `comparisons` compares machines,
`programs` compiles CSL, `runners` runs it. What a call needs is imported by the call: the compiler,
the simulator, PyTorch, pandas.
"""

from onewafer.api.arguments import as_argument, as_option
from onewafer.api.comparisons import (
    Comparison,
    compare,
    compare_described,
    compare_options,
    list_systems,
)
from onewafer.api.csl_options import csl_options, half_formats
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
from onewafer.api.simulation import simulation_settings
from onewafer.api.single_answer import (
    NUMBERS_OF_JOBS,
    Question,
    describe_catalogued,
    question,
    wafer_of,
)
from onewafer.api.torch_presence import require_torch
from onewafer.api.wafers import Wafer, open_session, wafer, wafer_options

__all__ = [
    "NUMBERS_OF_JOBS",
    "PARAMETERS_FILE",
    "Comparison",
    "CompileWarning",
    "Program",
    "Question",
    "RunReport",
    "Runner",
    "Wafer",
    "as_argument",
    "as_option",
    "check_folder",
    "compare",
    "compare_described",
    "compare_options",
    "compile_csl",
    "csl_options",
    "describe_catalogued",
    "half_formats",
    "list_systems",
    "load",
    "open_session",
    "parameters_to_json",
    "question",
    "require_torch",
    "run",
    "simulation_settings",
    "wafer",
    "wafer_of",
    "wafer_options",
    "write_folder",
]
