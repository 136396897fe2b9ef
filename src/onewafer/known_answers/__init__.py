"""CSL programs with known answers: compiled from the package, their values held against NumPy's.

`benchmarks` times them, `validation` holds their cycles against published figures. A program whose
values are wrong has no time.
"""

from onewafer.known_answers.checks import WrongResultError, check_bits, check_bound
from onewafer.known_answers.program import KnownProgram

__all__ = ["KnownProgram", "WrongResultError", "check_bits", "check_bound"]
