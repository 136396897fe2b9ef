"""Kernels that operations of several families call, or other kernels."""

from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Module

PIECES = Module("pieces", f"{ELEMENT}, .functions = functions", (FUNCTIONS,))
FACTORS = Module("factors", ELEMENT)
LAST_ROW = Module("last_row", ELEMENT)
