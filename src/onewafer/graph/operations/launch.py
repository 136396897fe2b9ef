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
    """Result of a causal attention → keys and values of all rows of the sequence so far; result of
    its gradient → what is to be added to the gradients of those before the launch."""


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """The values of one launch, by the names of tensors."""

    values: dict[str, Array]
    cache: Cache
    start: int
    """The position of the first row."""
    num_rows: int
    first_table_row: int
    """The row of tables of positions that the first row takes."""

    def __getitem__(self, name: str) -> Array:
        """Return the value of a tensor."""
        return self.values[name]

    def at_positions(self, table: str) -> Array:
        """Return the rows of a table for the rows of the launch; raise HostError beyond its end."""
        end, rows = self.first_table_row + self.num_rows, self.values[table]
        if end > len(rows):
            raise HostError(f"position {end - 1} is beyond the {len(rows)} positions of {table!r}")
        return rows[self.first_table_row : end]

    def factors(self, draw: Draw) -> Array:
        """Return what is drawn for the rows; raise HostError without seeds."""
        if SEEDS not in self.values:
            raise HostError(f"the input {SEEDS!r} is missing")
        return draw.factors(self[SEEDS], self.start, self.num_rows)

    def append(self, name: str, keys: Array, values: Array) -> tuple[Array, Array]:
        """Return keys and values of the sequence up to this launch, and keep them."""
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
        """Return keys and values of the sequence up to this launch, which have been kept.

        What a launch of a whole sequence has is given.
        """
        if not self.start:
            return keys, values
        kept, end = self.cache.get(name), self.start + self.num_rows
        if kept is None or len(kept[0]) < end:
            raise HostError(f"no launch has kept keys and values up to position {end - 1}")
        return kept[0][:end], kept[1][:end]

    def carry(self, name: str, of_keys: Array, of_values: Array) -> tuple[Array, Array]:
        """Return gradients of the keys and values of this launch, and keep those of earlier ones.

        Given are those of all rows of the sequence up to this launch. What the launch that begins
        where this one ends has kept is added, if it was the one before.
        """
        kept = self.cache.get(name)
        if kept is not None and len(kept[0]) == len(of_keys):
            of_keys, of_values = of_keys + kept[0], of_values + kept[1]
        self.cache[name] = of_keys[: self.start], of_values[: self.start]
        return of_keys[self.start :], of_values[self.start :]
