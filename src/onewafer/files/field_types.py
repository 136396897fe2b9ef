"""Check values that were read from a file against the annotations of a dataclass.

A whole number must fit 32 bits, signed or unsigned: every size, index and mask of a program does,
and arrays can hold it.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

Predicate = Callable[[object], bool]
_SURROGATES = re.compile("[\ud800-\udfff]")
_FIRST_NUMBER, _BEHIND_NUMBERS = -(1 << 31), 1 << 32


class _NDArray:
    """Stands for `NDArray` of NumPy, whose type arguments differ between releases."""

    def __class_getitem__(cls, element: type[Any]) -> types.GenericAlias:
        return types.GenericAlias(np.ndarray, (element,))


class FieldTypes:
    """The types of the fields of some dataclasses."""

    def __init__(self, classes: Iterable[type[Any]]) -> None:
        """Take all dataclasses that the annotations name."""
        self._names: dict[str, object] = {cls.__name__: cls for cls in classes}
        self._names |= {"NDArray": _NDArray, "Mapping": Mapping, "np": np}
        self._predicates: dict[type[Any], dict[str, Predicate]] = {}

    def check(self, cls: type[Any], fields: Mapping[str, object]) -> None:
        """Raise `TypeError` if the value of a field of `cls` does not have the annotated type."""
        predicates = self._predicates.get(cls)
        if predicates is None:
            hints = get_type_hints(cls, localns=self._names)
            predicates = {name: _predicate(hint) for name, hint in hints.items()}
            self._predicates[cls] = predicates
        for name, value in fields.items():
            predicate = predicates.get(name)
            if predicate is None or not predicate(value):
                raise TypeError(f"{cls.__name__}.{name} has a value of another kind")


@cache
def _predicate(hint: Any) -> Predicate:  # noqa: ANN401  # any annotation
    """Return the function that tells whether a value has the type of an annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        choices = tuple(map(_predicate, arguments))
        return lambda value: any(choice(value) for choice in choices)
    if origin is tuple:
        return _sequence_of(_predicate(arguments[0]))
    if origin in (dict, Mapping):
        key, item = map(_predicate, arguments)
        return lambda value: (
            isinstance(value, dict)
            and all(key(k) and item(v) for k, v in cast("dict[object, object]", value).items())
        )
    if origin is np.ndarray:
        return _array_of(np.dtype(arguments[0]))
    if hint is int:
        return _is_number
    if hint is float:
        return lambda value: type(value) is float or _is_number(value)
    if hint is str:
        return _is_text
    return lambda value: type(value) is hint


def _sequence_of(item: Predicate) -> Predicate:
    """Return the predicate of `tuple[T, ...]`, the only form that annotations of tuples have."""
    return lambda value: type(value) is tuple and all(map(item, cast("tuple[object, ...]", value)))


def _array_of(dtype: np.dtype[Any]) -> Predicate:
    return lambda value: type(value) is np.ndarray and bool(value.dtype == dtype)


def _is_text(value: object) -> bool:
    """Tell whether a value is a text without lone surrogates, which JSON can spell."""
    return type(value) is str and (value.isascii() or not _SURROGATES.search(value))


def _is_number(value: object) -> bool:
    return type(value) is int and _FIRST_NUMBER <= value < _BEHIND_NUMBERS
