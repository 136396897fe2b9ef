"""Kernels that operations of several families call, or other kernels."""

from onewafer.mesh.kinds import ELEMENT, Module

FUNCTIONS = Module("functions")
"""Elementary functions; it has the scratch memory of all kernels that compute with them."""
PIECES = Module("pieces", f"{ELEMENT}, .functions = functions", (FUNCTIONS,))
FACTORS = Module("factors", ELEMENT)
LAST_ROW = Module("last_row", ELEMENT)
