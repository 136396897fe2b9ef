"""The CSL compiler: source text → wafer image."""

from onewafer.csl.driver import (
    Compilation,
    CompileOptions,
    DiskFiles,
    MemoryFiles,
    SourceFiles,
    Stage,
    compile_program,
    run_stages,
)
from onewafer.csl.params import integer_params

__all__ = [
    "Compilation",
    "CompileOptions",
    "DiskFiles",
    "MemoryFiles",
    "SourceFiles",
    "Stage",
    "compile_program",
    "integer_params",
    "run_stages",
]
