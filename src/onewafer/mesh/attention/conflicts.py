"""Attention: multiply-adds whose two sources lie in the same banks (M13), in f32 programs.

Sums lie at distances that the slots in use decide, keys and values at distances that the capacity
decides: which meet in the same banks changes from row to row and from launch to launch. In f16
programs sums are f32 and keys and values are not, so that the sources advance differently.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.attention import arrays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from onewafer.mesh.attention.shape import AttentionShape
    from onewafer.mesh.blocks import Block, Launch

    Integers = NDArray[np.int64]

_NUM_BANKS = 4
"""The number of banks: f32 words whose distance is a multiple of it share a bank."""


def of_scores(
    shape: AttentionShape, scores: Block, keys: Block, *, num_places: int, launch: Launch
) -> Integers:
    """Count the elements of `scores.csl` with bank conflicts, `[1, classes, places]`."""
    places = np.arange(num_places)
    begin = np.zeros(num_places, np.int64)
    found = np.zeros((_num_classes(shape), num_places), np.int64)
    for _, part in launch.each_slot():
        slots, lengths = shape.slots(num_places, part), _lengths(shape, places, part)
        row = shape.score_heads * slots
        cache_offset = keys.offset + part.slots[0].sequence * shape.cache_elements
        distance = scores.offset + begin - cache_offset
        rows = distance[:, np.newaxis] + row[:, np.newaxis] * np.arange(part.num_rows)
        begin += part.num_rows * row
        met = [
            (lengths * table[slots[:, np.newaxis] % _NUM_BANKS, rows % _NUM_BANKS]).sum(axis=1)
            for table in _score_tables(shape)
        ]
        found += _largest_of_class(shape, met)
    return found[np.newaxis]


def of_values(
    shape: AttentionShape, totals: Block, values: Block, *, num_places: int, launch: Launch
) -> Integers:
    """Count the elements of `values.csl` with bank conflicts, `[1, classes, places]`."""
    places = np.arange(num_places)
    found = np.zeros((_num_classes(shape), num_places), np.int64)
    for first, part in launch.each_slot():
        lengths = _lengths(shape, places, part)
        cache_offset = values.offset + part.slots[0].sequence * shape.cache_elements
        row = first + np.arange(part.num_rows)
        sums = totals.offset + row * shape.totals_columns - cache_offset
        periods, rest = np.divmod(lengths, _NUM_BANKS)
        met = [
            (periods * table[sums % _NUM_BANKS, _NUM_BANKS] + table[sums % _NUM_BANKS, rest]).sum(
                axis=1
            )
            for table in _value_tables(shape)
        ]
        found += _largest_of_class(shape, met)
    return found[np.newaxis]


def of_factors(
    shape: AttentionShape, scores: Block, factors: Block, *, num_places: int, launch: Launch
) -> Integers:
    """Count the elements of `score_factors.csl` with bank conflicts, `[1, classes, places]`."""
    slots, capacity = shape.slots(num_places, launch), factors.columns // shape.num_heads
    lengths = _lengths(shape, np.arange(num_places), launch)
    rows = np.arange(launch.num_rows)[:, np.newaxis]
    found = np.zeros((_num_classes(shape), num_places), np.int64)
    seen: set[tuple[int, int, int]] = set()
    for place, label in enumerate(shape.classes.labels.tolist()):
        local, first = shape.local_heads(place).first * shape.group, shape.first_head(place)
        key = label, local % _NUM_BANKS, first % _NUM_BANKS
        if key in seen:  # equal conflicts to an earlier place
            continue
        seen.add(key)
        heads = np.arange(len(shape.local_heads(place).sizes) * shape.group)
        at = (rows * shape.score_heads + local + heads) * slots[:, np.newaxis, np.newaxis]
        given = (rows * shape.num_heads + first + heads) * capacity
        is_met = (scores.offset + at - factors.offset - given) % _NUM_BANKS == 0
        met = (lengths[..., np.newaxis] * is_met).sum(axis=(1, 2))
        found[label] = np.maximum(found[label], met)
    return found[np.newaxis]


def _lengths(shape: AttentionShape, places: Integers, part: Launch) -> Integers:
    """Return the slots that each row attends to, `[places, rows]`."""
    first = shape.first(part)
    reach, step = (first + 1, 1) if shape.is_causal else (first + part.num_rows, 0)
    return arrays.row_lengths(part.num_rows, reach=reach, step=step, b=places, size=len(places))


def _num_classes(shape: AttentionShape) -> int:
    return int(shape.classes.labels.max()) + 1


def _largest_of_class(shape: AttentionShape, met: list[Integers]) -> Integers:
    """Return the slowest PE's count among those that differ in heads only, `[classes, places]`."""
    result = np.zeros((_num_classes(shape), len(met[0])), np.int64)
    for (label, _), counts in zip(_layouts(shape), met, strict=True):
        result[label] = np.maximum(result[label], counts)
    return result


@cache
def _layouts(shape: AttentionShape) -> tuple[tuple[int, arrays.LocalHeads], ...]:
    """Return the distinct head layouts of each class, each layout once."""
    found: dict[tuple[int, int, tuple[int, ...]], arrays.LocalHeads] = {}
    for place, label in enumerate(shape.classes.labels.tolist()):
        heads = shape.local_heads(place)
        found.setdefault((label, heads.first % _NUM_BANKS, heads.sizes), heads)
    return tuple((label, heads) for (label, *_), heads in found.items())


@cache
def _score_tables(shape: AttentionShape) -> tuple[Integers, ...]:
    """Return for each layout the number of conflicting operations, `[slots % 4, distance % 4]`.

    The distance is that from the first key to the first sum of a row.
    """
    return tuple(_score_table(shape, heads) for _, heads in _layouts(shape))


def _score_table(shape: AttentionShape, heads: arrays.LocalHeads) -> Integers:
    table = np.zeros((_NUM_BANKS, _NUM_BANKS), np.int64)
    for head, block in heads.blocks():
        members = head * shape.group + np.arange(shape.group)
        keys = np.arange(int(block.start), int(block.stop)) * shape.capacity
        for slots in range(_NUM_BANKS):
            distances = (keys - members[:, np.newaxis] * slots) % _NUM_BANKS
            table[slots] += np.bincount(distances.reshape(-1), minlength=_NUM_BANKS)
    return table


@cache
def _value_tables(shape: AttentionShape) -> tuple[Integers, ...]:
    """Return for each layout the number of conflicting elements, `[distance % 4, slots up to 4]`.

    The distance is that from the cache to a row of totals.
    """
    return tuple(_value_table(shape, heads) for _, heads in _layouts(shape))


def _value_table(shape: AttentionShape, heads: arrays.LocalHeads) -> Integers:
    table = np.zeros((_NUM_BANKS, _NUM_BANKS + 1), np.int64)
    for member, (begin, size), slot in _value_operations(shape, heads):
        sums = shape.most + begin + member * shape.width
        values = (shape.width + begin) * shape.capacity + slot * size
        table[(values - sums) % _NUM_BANKS, slot + 1 :] += size
    return table


def _value_operations(
    shape: AttentionShape, heads: arrays.LocalHeads
) -> Iterator[tuple[int, tuple[int, int], int]]:
    """Yield member, feature range and slot of each operation on the first 4 slots."""
    for _, block in heads.blocks():
        for member in range(shape.group):
            for slot in range(_NUM_BANKS):
                yield member, (block.start, block.stop - block.start), slot
