"""The layers of each pipeline stage.

In: the pieces of a model, stages p, parts a stage v. Out: for each stage how many pieces of each
segment it has. Layers are dealt out in p · v runs of equal length, run i to stage i mod p; where
they do not divide, the last and the first runs are a layer shorter, as those have the head and the
embedding besides (The Llama 3 Herd of Models, section 3.3.2).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onewafer.graph import Segment

Stage = tuple[tuple[int, int], ...]
"""Indices of segments and how many of their pieces."""


def divide(segments: Sequence[Segment], stages: int, parts: int) -> tuple[Stage, ...]:
    """Return the layers of each stage; the outer stages have the embedding and the head, too."""
    repeated = [index for index, segment in enumerate(segments) if segment.repeats > 1]
    if not repeated:
        return (tuple((index, 1) for index in range(len(segments))),)
    layers = [index for index in repeated for _ in range(segments[index].repeats)]
    counts = [Counter[int]() for _ in range(stages)]
    start = 0
    for run, length in enumerate(run_lengths(len(layers), stages * parts)):
        counts[run % stages].update(layers[start : start + length])
        start += length
    for index in range(len(segments)):
        if index not in repeated:
            counts[-1 if index > repeated[-1] else 0][index] += 1
    return tuple(tuple(sorted(count.items())) for count in counts)


def run_lengths(layers: int, runs: int) -> tuple[int, ...]:
    """Return the lengths of runs of layers, the short ones at both ends.

    >>> run_lengths(126, 128)[:3], run_lengths(126, 128)[-2:]
    ((0, 1, 1), (1, 0))
    >>> run_lengths(10, 4)
    (2, 3, 3, 2)
    """
    short, rest = divmod(layers, runs)
    if not rest:
        return (short,) * runs
    lengths = [short + 1] * runs
    for index in _from_both_ends(runs, runs - rest):
        lengths[index] = short
    return tuple(lengths)


def _from_both_ends(count: int, wanted: int) -> Iterator[int]:
    """Return `wanted` indices from both ends: the last, the first, the last but one and so on."""
    for place in range(wanted):
        yield place // 2 if place % 2 else count - 1 - place // 2
