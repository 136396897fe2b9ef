"""The source of logits, as the queue of sequences sees it (`host.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Tokens of one sequence that are read at once."""

    slot: int
    start: int
    """The position of the first, from 0."""
    tokens: Sequence[int]
    wants_logits: bool
    """True if a token is chosen behind the last."""


class Computation(Protocol):
    """Computes what comes behind tokens."""

    @property
    def most_rows(self) -> int | None:
        """Tokens that one step can have; None: prompts are read whole."""
        ...

    @property
    def simulated_cycles(self) -> int | None:
        """Cycles of the last step on a simulated wafer; None: no wafer computes the values."""
        ...

    def begin(self, slot: int, prompt: Sequence[int]) -> int:
        """Begin a sequence; return how many tokens of its prompt need not be read again."""
        ...

    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Return the logits behind the last token of each chunk that wants them, a row each.

        Chunks of one sequence come in order, each token once.
        """
        ...

    def end(self, slot: int) -> None:
        """Forget a sequence."""
        ...
