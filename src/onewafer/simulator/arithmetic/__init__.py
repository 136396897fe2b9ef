"""Scalar arithmetic, written once for every engine: bit patterns in, bit patterns out.

Every function takes and returns canonical register words, integers in [0, 2**32) (see
`image.ScalarType`). They are plain Python functions, and Numba code may call them with int64.
"""

from onewafer.simulator.arithmetic.floating import float_to_half, half_to_float, largest_half
from onewafer.simulator.arithmetic.tables import binary, canonical, conversion, dsd_element, unary

__all__ = [
    "binary",
    "canonical",
    "conversion",
    "dsd_element",
    "float_to_half",
    "half_to_float",
    "largest_half",
    "unary",
]
