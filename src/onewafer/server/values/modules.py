# pyright: basic
# The type hints of torch and transformers are partial.
"""Every model that transformers generates with, one sequence after the other.

What is called is what `transformers.generate` calls: the whole prompt at once, then a token at a
time, with a cache that the model makes itself. So the logits of a sequence have the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.server.contract.computation import Chunk

_CACHES: Final = ("cache", "past_key_values", "cache_params")
"""Names of the keys and values of earlier tokens in versions and families of models."""


@dataclass(frozen=True, slots=True)
class _Cache:
    name: str
    content: Any


class ModuleComputation:
    """Computes each sequence for itself, with a module of transformers: a `Computation`."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401  # of transformers
        self._module = module
        self._caches: dict[int, _Cache] = {}
        # Some versions of transformers want to be told what the cache itself knows.
        self._takes_places = "cache_position" in signature(module.forward).parameters

    @property
    def most_rows(self) -> int | None:
        """Tokens that one step can have: prompts are read whole."""
        return None

    @property
    def simulated_cycles(self) -> int | None:
        """Cycles of a simulated wafer: this computer computes."""
        return None

    def begin(self, slot: int, prompt: Sequence[int]) -> int:  # noqa: ARG002  # of the protocol
        """Begin a sequence; nothing of its prompt is kept."""
        self._caches.pop(slot, None)
        return 0

    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Return the next-token logits of each chunk that asks for logits."""
        rows = [self._read(chunk) for chunk in chunks]
        wanted = [row for chunk, row in zip(chunks, rows, strict=True) if chunk.wants_logits]
        return np.stack(wanted) if wanted else np.empty((0, 0), np.float32)

    def end(self, slot: int) -> None:
        """Forget a sequence."""
        self._caches.pop(slot, None)

    def _read(self, chunk: Chunk) -> NDArray[np.float32]:
        known = self._caches.get(chunk.slot)
        options: dict[str, Any] = {} if known is None else {known.name: known.content}
        if self._takes_places:
            end = chunk.start + len(chunk.tokens)
            options["cache_position"] = torch.arange(chunk.start, end)
        with torch.inference_mode():
            outputs = self._module(
                input_ids=torch.tensor([list(chunk.tokens)]),
                use_cache=True,
                logits_to_keep=1,
                **options,
            )
        name = next(name for name in _CACHES if getattr(outputs, name, None) is not None)
        self._caches[chunk.slot] = _Cache(name, getattr(outputs, name))
        return outputs.logits[0, -1].float().numpy()
