"""Which functions are kernels, and how they become one with the entries that Python calls.

A kernel takes `Arrays`. `forceinline` lets LLVM see the whole engine as one function. Where the
kernels came with the package compiled, or run as Python functions, the parts stay as they are and
Numba is not even imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from onewafer.simulator.fast.machine_code.execution import Execution, execution, prebuilt_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile a part of the engine into the entry that calls it."""
    return _part(function, forceinline=True)


def merged(function: Function) -> Function:
    """Make a part of the engine one function with the only one that calls it.

    What a compiled function calls is optimised again with each of its callers: the levels near the
    entry, which hold the whole engine, take most of the time. Without them it compiles twice as
    fast.
    """
    return _part(function, inline="always")


def shared(function: Function) -> Function:
    """Compile a part of the engine as a function of its own: it is large, or takes no arrays."""
    return _part(function)


def entry(function: Function) -> Function:
    """Make a function of the engine one that Python calls, with everything in it."""
    match execution():
        case Execution.PREBUILT:
            return cast("Function", prebuilt_entry(function.__name__))
        case Execution.COMPILED:
            from onewafer.simulator.fast.machine_code.jit import compile_entry  # noqa: PLC0415  # Numba

            return compile_entry(function)
        case Execution.PYTHON:
            return function


def _part(function: Function, **options: object) -> Function:
    if execution() is not Execution.COMPILED:
        return function
    from onewafer.simulator.fast.machine_code.jit import compile_part  # noqa: PLC0415  # Numba

    return compile_part(function, **options)
