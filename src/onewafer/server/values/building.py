# pyright: basic
# The type hints of torch and transformers are partial.
"""The choice of a model's computation, and of the context that fits into memory."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from onewafer.errors import ConfigurationError
from onewafer.server.contract.values import Computation
from onewafer.server.values.host import HostValues
from onewafer.server.values.llama import BLOCK, LlamaNetwork, qualifies
from onewafer.server.values.paged import PagedComputation
from onewafer.settings import available_cores, available_memory
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.server.contract.values import Chunk
    from onewafer.server.models import LoadedModel

_DEFAULT_BYTES: Final = 4 << 30
"""Bytes of the KV cache if the available memory is not known."""
_SHARE: Final = 0.6
"""The share of the available memory for the KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Options of the computation on this computer."""

    num_slots: int = 8
    """Sequences at a time; with 1, logits have the bits of `transformers.generate`."""
    context_length: int | None = None
    """The most tokens of a sequence; None: the model's context."""
    cache_bytes: int | None = None
    """Bytes of the KV cache, prefix cache included; None: most of the free memory."""
    num_threads: int | None = None
    """None: one for each core."""
    keeps_prefixes: bool = True
    """True if prefixes of prompts are cached; ignored with one slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltValues:
    """The values of a model, with a remark for the log."""

    values: HostValues
    remark: str
    """A clause about the computation, for the log."""


def build_host_values(model: LoadedModel, options: HostOptions) -> BuiltValues:
    """Return the values of a model on this computer.

    Raises:
        ConfigurationError: not even a short context fits into the memory.
    """
    wanted = min(options.context_length or model.text.context_length, model.text.context_length)
    if options.num_slots == 1 or not qualifies(model.module):
        values = HostValues(
            ModuleComputation(model.module),
            num_slots=options.num_slots,
            context_length=wanted,
            end_ids=model.text.end_ids,
        )
        remark = "transformers computes this kind of model, one sequence after the other"
        if options.num_slots == 1:
            remark = "transformers computes one sequence at a time, with the bits of its generate"
        return BuiltValues(values=values, remark=remark)
    return _paged(model, options, wanted)


def _paged(model: LoadedModel, options: HostOptions, wanted: int) -> BuiltValues:
    block_bytes = LlamaNetwork.block_bytes(model.module)
    room = options.cache_bytes or _free_bytes()
    num_slots = options.num_slots
    fitting = room // block_bytes // num_slots
    if not fitting:
        raise ConfigurationError(
            f"{num_slots} sequences need at least {format_size(num_slots * block_bytes)} for keys "
            f"and values, and there are {format_size(room)}: ask for fewer sequences at a time"
        )
    most_blocks = min(-(-wanted // BLOCK), fitting)
    context_length = min(wanted, most_blocks * BLOCK)
    num_blocks = max(num_slots * most_blocks, room // block_bytes)
    num_threads = options.num_threads or available_cores()
    network = LlamaNetwork(
        model.module,
        num_slots=num_slots,
        num_blocks=num_blocks,
        context_length=context_length,
        num_threads=num_threads,
    )
    computation = PagedComputation(
        network, num_blocks=num_blocks, keeps_prefixes=options.keeps_prefixes
    )
    values = HostValues(
        computation,
        num_slots=num_slots,
        context_length=context_length,
        end_ids=model.text.end_ids,
    )
    remark = f"{num_slots} sequences are computed together, by {num_threads} threads"
    return BuiltValues(values=values, remark=remark)


def _free_bytes() -> int:
    free = available_memory()
    return _DEFAULT_BYTES if free is None else int(_SHARE * free)


_CACHES: Final = ("cache", "past_key_values", "cache_params")
"""Names of the KV cache in outputs of different models and versions."""


@dataclass(frozen=True, slots=True)
class _Cache:
    name: str
    content: Any


class ModuleComputation(Computation):
    """Computes one sequence after the other, with a module of transformers.

    It makes the calls of `transformers.generate`: the whole prompt at once, then a token at a time,
    with the model's own cache. So the logits of a sequence have the same bits.
    """

    def __init__(self, module: Any) -> None:  # noqa: ANN401  # of transformers
        self._module = module
        self._caches: dict[int, _Cache] = {}
        # Some versions of transformers require the positions, although the cache knows them.
        self._takes_places = "cache_position" in signature(module.forward).parameters

    def begin(self, slot: int, prompt: Sequence[int]) -> int:  # noqa: ARG002  # nothing is cached
        self._caches.pop(slot, None)
        return 0

    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        rows = [self._read(chunk) for chunk in chunks]
        wanted = [row for chunk, row in zip(chunks, rows, strict=True) if chunk.wants_logits]
        return np.stack(wanted) if wanted else np.empty((0, 0), np.float32)

    def end(self, slot: int) -> None:
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
