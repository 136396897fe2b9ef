"""Decorators of kernels: functions that are inlined into the entries that Python calls.

A kernel takes `Arrays`. `forceinline` lets LLVM see the whole engine as one function. If the
kernels are prebuilt, or run as Python functions, the functions stay as they are and Numba is not
imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from onewafer.simulator.fast.machine_code.execution import Execution, execution, prebuilt_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Inline a function of the engine into the entry that calls it."""
    return _part(function, forceinline=True)


def merged(function: Function) -> Function:
    """Inline a function of the engine into its only caller, before LLVM.

    LLVM optimises a callee again with each caller: the levels near the entry, which contain the
    whole engine, take most of the time. Merging these levels halves the time of compilation.
    """
    return _part(function, inline="always")


def shared(function: Function) -> Function:
    """Compile a function of the engine without inlining: it is large, or takes no arrays."""
    return _part(function)


def entry(function: Function) -> Function:
    """Compile an entry: a function that Python calls, with all kernels inlined."""
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
