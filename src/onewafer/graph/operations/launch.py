"""The values of one launch of a graph, or of its rows of one sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.draws import SEEDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.graph.draws import Draw

    Array = NDArray[Any]
    Cache = dict[str, tuple[Array, Array]]
    """Result of a causal attention → keys and values of the sequence so far; result of its gradient
    → gradients carried to keys and values of earlier launches."""


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """The values of tensors in one launch, by name."""

    values: dict[str, Array]
    cache: Cache
    start: int
    """The position of the first row."""
    num_rows: int
    first_table_row: int
    """The row of position tables for the first row."""

    def __getitem__(self, name: str) -> Array:
        """Return the value of a tensor."""
        return self.values[name]

    def at_positions(self, table: str) -> Array:
        """Return the rows of a position table for the launch; raise HostError beyond its end."""
        end, rows = self.first_table_row + self.num_rows, self.values[table]
        if end > len(rows):
            raise HostError(f"position {end - 1} is beyond the {len(rows)} positions of {table!r}")
        return rows[self.first_table_row : end]

    def factors(self, draw: Draw) -> Array:
        """Return the dropout factors of the rows; raise HostError without seeds."""
        if SEEDS not in self.values:
            raise HostError(f"the input {SEEDS!r} is missing")
        return draw.factors(self[SEEDS], self.start, self.num_rows)

    def append(self, name: str, keys: Array, values: Array) -> tuple[Array, Array]:
        """Cache the launch's keys and values; return those of the sequence so far."""
        if self.start:
            old_keys, old_values = self.cache.get(name, (keys[:0], values[:0]))
            if self.start > len(old_keys):
                raise HostError(
                    f"a launch starts at position {self.start}, "
                    f"but earlier launches gave {len(old_keys)} rows"
                )
            keys = np.concatenate([old_keys[: self.start], keys])
            values = np.concatenate([old_values[: self.start], values])
        self.cache[name] = keys, values
        return keys, values

    def cached(self, name: str, keys: Array, values: Array) -> tuple[Array, Array]:
        """Return the cached keys and values of the sequence up to the end of this launch.

        `keys` and `values` are those of the launch, which are returned for a whole sequence.
        """
        if not self.start:
            return keys, values
        kept, end = self.cache.get(name), self.start + self.num_rows
        if kept is None or len(kept[0]) < end:
            raise HostError(f"no launch has kept keys and values up to position {end - 1}")
        return kept[0][:end], kept[1][:end]

    def carry(self, name: str, of_keys: Array, of_values: Array) -> tuple[Array, Array]:
        """Return the gradients of this launch's keys and values; keep those of earlier launches.

        The arguments cover all rows of the sequence up to this launch. If the launch that follows
        in the sequence was processed just before, the gradients that it kept are added.
        """
        kept = self.cache.get(name)
        if kept is not None and len(kept[0]) == len(of_keys):
            of_keys, of_values = of_keys + kept[0], of_values + kept[1]
        self.cache[name] = of_keys[: self.start], of_values[: self.start]
        return of_keys[self.start :], of_values[self.start :]
