"""Alternative names of parameters.

Names changed between versions of the SDK, and its documentation names the same parameter of a
constructor differently for each type of argument.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from onewafer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def also_named(
    **names: str,
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Accept parameters under alternative names: alternative → name.

    >>> @also_named(times="factor")
    ... def scale(number: int, factor: int) -> int:
    ...     return number * factor
    >>> scale(2, times=3)
    6

    The function raises a `HostError` if it is given one parameter under two names.
    """

    def decorate(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        @wraps(function)
        def renamed(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            for other, name in names.items():
                if other not in kwargs:
                    continue
                if name in kwargs:
                    call = function.__qualname__.removesuffix(".__init__")
                    raise HostError(f"{call}: {other} is another name of {name}: leave one out")
                kwargs[name] = kwargs.pop(other)
            return function(*args, **kwargs)

        return renamed

    return decorate
