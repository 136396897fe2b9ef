"""Semantic analysis: trees in, typed IR out.

    analysis     from files and options to the program: runs the layout, then each instance
    instances    one analysis for all PEs on which it comes out the same
    builtins     what each `@name` means, while compiling and at run time
    layout       the layout program: rectangle, tiles, colors
    runtime      function bodies, partially evaluated → IR
    modules      files with params bound, and the programs that they are part of
    closures     comptime code, compiled once to Python closures
    instance     the program of one instance as it grows, the function at hand, registered builtins
    rules        what both evaluators know of the language
    values       kinds of values, conversions, operators
    session      options, files and quotas of one analysis, its numbers, loops that run once
    faults       how analysis stops at a mistake, and what it suggests
    types        kinds, names, sizes and parts of types

Each imports only what stands below it.
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
