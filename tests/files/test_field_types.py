"""Values from files are held against the annotations of the classes that they become."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onewafer.files.field_types import FieldTypes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Color(IntEnum):
    RED = 1


@dataclass(frozen=True, slots=True)
class Inner:
    number: int


@dataclass(frozen=True, slots=True)
class Outer:
    number: int = 0
    share: float = 0.0
    flag: bool = False
    name: str = ""
    color: Color = Color.RED
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    names: dict[str, str] = None
    counts: Mapping[int, str] = None
    words: NDArray[np.int32] = None


TYPES = FieldTypes((Outer, Inner, Color))


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (
            "number",
            [0, -(1 << 31), (1 << 32) - 1],
            [1 << 32, 1 << 63, 1.0, True, "1", Color.RED],
        ),
        ("share", [0.5, 3], ["0.5", None, True]),
        ("flag", [True], [1, None]),
        ("name", ["", "größe"], ["\ud800", b"", 1, None]),
        ("color", [Color.RED], [1, "RED"]),
        ("inner", [None, Inner(1)], [1, {"number": 1}, Outer()]),
        ("inners", [(), (Inner(1),)], [[Inner(1)], (Inner(1), None), Inner(1)]),
        ("names", [{}, {"a": "b"}], [{"a": 1}, {1: "a"}, [], None]),
        ("counts", [{1: "a"}], [{"1": "a"}]),
        ("words", [np.zeros(3, np.int32)], [np.zeros(3, np.int64), [1], np.zeros(3, object)]),
        ("unknown", [], [1]),
    ],
)
def test_fields_have_their_types(field, good, bad):
    for value in good:
        TYPES.check(Outer, {field: value})
    for value in bad:
        with pytest.raises(TypeError, match=rf"^Outer\.{field} has a value of another kind"):
            TYPES.check(Outer, {field: value})
