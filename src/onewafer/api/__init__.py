"""The Python API, which the commands use too; `import onewafer` has its names.

`programs` compiles CSL, `runners` runs it. What a call needs is imported by the call: the compiler,
the simulator, PyTorch, pandas.
"""

from onewafer.api.csl_options import HALF_FORMATS, csl_options
from onewafer.api.program_folder import (
    PARAMETERS_FILE,
    check_folder,
    parameters_to_json,
    write_folder,
)
from onewafer.api.programs import CompileWarning, Program, compile_csl
from onewafer.api.run_report import RunReport
from onewafer.api.runners import Runner, load
from onewafer.api.simulation import simulation_settings

__all__ = [
    "HALF_FORMATS",
    "PARAMETERS_FILE",
    "CompileWarning",
    "Program",
    "RunReport",
    "Runner",
    "check_folder",
    "compile_csl",
    "csl_options",
    "load",
    "parameters_to_json",
    "simulation_settings",
    "write_folder",
]
