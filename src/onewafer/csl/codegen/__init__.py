"""The back end of the compiler: typed IR → object code → memory plan → tile programs → image."""

from onewafer.csl.codegen.exports import check_exports, with_missing_functions
from onewafer.csl.codegen.link import Placement, assemble, link
from onewafer.csl.codegen.memory_plan import MemoryPlan, fits, plan_memory
from onewafer.csl.codegen.object_code import ObjectProgram
from onewafer.csl.codegen.statements import generate

__all__ = [
    "MemoryPlan",
    "ObjectProgram",
    "Placement",
    "assemble",
    "check_exports",
    "fits",
    "generate",
    "link",
    "plan_memory",
    "with_missing_functions",
]
