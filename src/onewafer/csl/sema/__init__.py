"""Semantic analysis: trees in, typed IR out.

    analysis     from files and options to the program: runs the layout, then each instance
    instances    one analysis for all PEs with the same result
    builtins     the meaning of each `@name`, while compiling and at run time
    layout       the layout program: rectangle, tiles, colors
    runtime      function bodies, partially evaluated → IR
    modules      files with bound params, and the programs that contain them
    closures     comptime code, compiled once to Python closures
    instance     the program of one instance, the current function, registered builtins
    rules        the rules of the language, for both evaluators
    values       kinds of values, conversions, operators
    session      options, files and quotas of one analysis, its numbers, loops that run once
    faults       errors in the user's program, and suggestions
    types        kinds, names, sizes and parts of types

Each imports only packages below it.
"""

from onewafer.csl.sema.analysis import analyze_program
from onewafer.csl.sema.builtins.catalog import builtin_names
from onewafer.csl.sema.instances import explain_instances
from onewafer.csl.sema.session import MAX_CALL_DEPTH, AnalysisOptions, ParsedFiles

__all__ = [
    "MAX_CALL_DEPTH",
    "AnalysisOptions",
    "ParsedFiles",
    "analyze_program",
    "builtin_names",
    "explain_instances",
]
