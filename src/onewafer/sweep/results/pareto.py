"""The Pareto front: rows that no other row beats in every objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LARGEST = "max"


def pareto_front(
    rows: Sequence[Mapping[str, Any]], objectives: Sequence[tuple[str, str]]
) -> list[Mapping[str, Any]]:
    """Return the rows on the front, in their order; `objectives` are figures with `min` or `max`.

    A row without one of the figures is not on it; of equal rows all are.

    >>> rows = [{"a": 1, "b": 5}, {"a": 2, "b": 2}, {"a": 3, "b": 4}]
    >>> pareto_front(rows, [("a", "min"), ("b", "min")])
    [{'a': 1, 'b': 5}, {'a': 2, 'b': 2}]
    """
    costs: list[tuple[tuple[float, ...], int]] = []
    signs = [-1 if wanted == _LARGEST else 1 for _, wanted in objectives]
    for number, row in enumerate(rows):
        values: list[Any] = [row.get(name) for name, _ in objectives]
        if None not in values:
            signed = (sign * value for sign, value in zip(signs, values, strict=True))
            costs.append((tuple(signed), number))
    costs.sort()
    front: list[tuple[float, ...]] = []
    kept: list[int] = []
    for cost, number in costs:  # any row that beats another comes before it
        if not any(_beats(other, cost) for other in front):
            kept.append(number)
            if cost not in front:
                front.append(cost)
    return [rows[number] for number in sorted(kept)]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
