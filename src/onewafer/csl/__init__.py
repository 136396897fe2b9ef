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

__all__ = [
    "Compilation",
    "CompileOptions",
    "DiskFiles",
    "MemoryFiles",
    "SourceFiles",
    "Stage",
    "compile_program",
    "run_stages",
]
