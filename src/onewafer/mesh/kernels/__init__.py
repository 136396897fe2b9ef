"""Kernels that operations of several families call, or other kernels."""

from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Module

FACTORS = Module("factors", ELEMENT)
