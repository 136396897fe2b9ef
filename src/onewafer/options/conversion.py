"""Converters of options: from what users write to what the program works with."""

from __future__ import annotations

import math
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from onewafer.errors import ConfigurationError
from onewafer.geometry import parse_size
from onewafer.units import check_clock, parse_hertz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from enum import StrEnum
    from os import PathLike

_Said = TypeVar("_Said")
_Meant = TypeVar("_Meant")
_Choice = TypeVar("_Choice", bound="StrEnum")
_SCALES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_MOST_DIGITS = 18


def optional(convert: Callable[[_Said], _Meant]) -> Callable[[_Said | None], _Meant | None]:
    """Return a converter that leaves None as it is."""

    @wraps(convert)
    def converted(value: _Said | None) -> _Meant | None:
        return None if value is None else convert(value)

    return converted


def choose(text: str, choices: Mapping[str, _Meant]) -> _Meant:
    """Return the choice of a name; raise ValueError, with all names, if there is none."""
    found = choices.get(text.strip().lower()) if isinstance(text, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's
    if found is None:
        raise ValueError(f"choose from {', '.join(choices)}")
    return found


def one_of(choices: Iterable[_Choice]) -> Callable[[str], _Choice]:
    """Return a converter from values to members of an enumeration."""
    named = {choice.value: choice for choice in choices}

    def convert(value: str) -> _Choice:
        return choose(value, named)

    return convert


def to_text(value: str) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's
        raise ValueError("write a text")
    return value.strip()


def to_switch(value: bool) -> bool:  # noqa: FBT001  # a converter
    """Return True or False."""
    if not isinstance(value, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's
        raise ValueError("write True or False")  # noqa: TRY004  # as all converters
    return value


def whole(least: int) -> Callable[[int], int]:
    """Return a converter of whole numbers of at least one number."""

    def convert(value: int) -> int:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's
        if not is_number or value % 1 or value < least:  # inf % 1 is nan, which is true
            raise ValueError(f"write a whole number of at least {least}")
        if value >= 10**_MOST_DIGITS:
            raise ValueError(f"write a whole number of {_MOST_DIGITS} digits at most")
        return int(value)

    return convert


def to_number(value: float) -> float:
    """Return a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's
        raise ValueError("write a finite number of at least 0")
    return value


def to_rectangle(value: str | tuple[int, int]) -> tuple[int, int]:
    """Return width and height in PEs."""
    match value:
        case str():
            try:
                return parse_size(value)
            except ConfigurationError:  # it speaks of a rectangle; this may be a region
                raise ValueError("write WIDTHxHEIGHT in PEs, e.g. 8x4") from None
        case (int(width), int(height)) if bool not in map(type, value) and min(value) > 0:
            return width, height
        case _:
            raise ValueError("write width and height in PEs, '8x4' or (8, 4)")


def to_hertz(value: str | float) -> float:
    """Return a clock in hertz."""
    hertz = parse_hertz(value) if isinstance(value, str) else float(to_number(value))
    check_clock(hertz)
    return hertz


def to_pe_cycles(value: str | int) -> int:
    """Return a number of PE-cycles.

    >>> to_pe_cycles("3G"), to_pe_cycles("250M"), to_pe_cycles(0)
    (3000000000, 250000000, 0)
    """
    if not isinstance(value, str):
        return whole(0)(value)
    digits = value.removesuffix(value[-1:]) if value[-1:] in _SCALES else value
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise ValueError("write a number of PE-cycles, as in 3G, 250M or 0")
    return int(digits) * _SCALES.get(value[-1], 1)


def to_path(value: str | PathLike[str]) -> Path:
    """Return a path."""
    try:
        path = Path(value)
    except TypeError:
        path = None
    if path is None or "\0" in str(path):
        raise ValueError("write a path")
    return path


def to_arguments(value: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of a script, which are a list of texts and no text."""
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's
        raise ValueError("write a list of texts, as in ['--epochs', '1']")
    return tuple(value)


USUAL: Mapping[str, Callable[[Any], object]] = {
    "str": to_text,
    "bool": to_switch,
    "int": whole(1),
    "float": to_number,
}
"""Type of an option → its converter, unless it names another."""
