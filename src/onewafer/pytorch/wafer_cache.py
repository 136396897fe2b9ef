"""The tokens that a script's cache stands for; needs transformers.

A script passes a `DynamicCache` from call to call, asks it how long it is, cuts it, and takes other
sequences of it: beams. Where the host computes the values, it stays as it is, and its first layer
notes the tokens. Otherwise its layers are replaced by stand-ins that know the tokens, hence the
length, and whose data the host computes again from the tokens at the first request for more: then a
stand-in hands everything on to an ordinary layer, and the sequences go on on the host.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers.cache_utils import (
    CacheLayerMixin,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

from onewafer.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.pytorch.token_batch import TokenBatch

    HostLayers = Callable[[TokenBatch], Sequence[CacheLayerMixin]]
    """Tokens → the layers of a cache that the host has filled with them."""


_DATA = frozenset({"keys", "values", "device", "dtype", "cumulative_length", "sliding_window"})
"""Attributes of ordinary layers."""


class WaferLayer(CacheLayerMixin):
    """One layer of a cache whose keys and values are on the wafer."""

    is_croppable = True
    is_sliding = False

    def __init__(self, index: int, batch: TokenBatch | None, host_layers: HostLayers) -> None:
        # Not the inherited one: `keys` and `values` must be missing for `__getattr__`.
        self.is_initialized = True
        self._index = index
        self._batch = batch
        self._host_layers = host_layers
        self._host: CacheLayerMixin | None = None

    @property
    def has_host_data(self) -> bool:
        """True if the host has computed its keys and values, which now count."""
        return self._host is not None

    @property
    def batch(self) -> TokenBatch | None:
        """Tokens whose keys and values it stands for, unless the host has them; None: of none."""
        return self._batch

    def on_host(self) -> CacheLayerMixin:
        """Return the ordinary layer, which from now on is the one that counts."""
        if self._host is None:
            # A shallow copy: layers bind their tensors anew and never write into them.
            batch = self._batch
            self._host = (
                DynamicLayer()
                if batch is None
                else copy.copy(self._host_layers(batch)[self._index])
            )
        return self._host

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # of the layer
        """Return what only an ordinary layer has: keys, values, device."""
        if name not in _DATA:
            raise AttributeError(f"a layer whose data are on the wafer has no {name!r}")
        return getattr(self.on_host(), name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute of the ordinary layer, unless it is one of ours."""
        if name.startswith("_") or name == "is_initialized":
            object.__setattr__(self, name, value)
        else:
            setattr(self.on_host(), name, value)

    def __deepcopy__(self, memo: dict[int, object]) -> WaferLayer:
        """Return a layer of the same tokens; the model is not copied with it."""
        other = WaferLayer(self._index, self._batch, self._host_layers)
        other._host = copy.deepcopy(self._host, memo)
        return other

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: it has been initialised."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append rows that the host has computed."""
        return self.on_host().update(key_states, value_states, *args, **kwargs)  # pyright: ignore[reportUnknownMemberType]  # untyped

    def get_max_length(self) -> int:
        """Return −1, which stands for no maximum."""
        return -1

    get_max_cache_shape = get_max_length  # its name in older releases of transformers

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length after a query, and 0."""
        if self._host is not None:
            return self._host.get_mask_sizes(query_length)
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of tokens, padding included."""
        if self._host is not None:
            return self._host.get_seq_length()
        return 0 if self._batch is None else self._batch.num_columns

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens, given as a negative number."""
        if self._host is not None or tokens_to_remove > 0:
            cast("DynamicLayer", self.on_host()).crop(tokens_to_remove)
        else:
            self._batch = _cut(self._batch, self.get_seq_length() + tokens_to_remove)

    def reset(self) -> None:
        """Forget all tokens."""
        if self._host is not None:
            self._host.reset()
        self._batch = None

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Take the sequences of beams."""
        if self._host is not None:
            self._host.reorder_cache(beam_idx)
        else:
            self._batch = _select(self._batch, beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Take some sequences."""
        if self._host is not None:
            cast("DynamicLayer", self._host).batch_select_indices(indices)
        else:
            self._batch = _select(self._batch, indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each sequence."""
        if self._host is not None:
            cast("DynamicLayer", self._host).batch_repeat_interleave(repeats)
        else:
            self._batch = _repeat(self._batch, repeats)

    def offload(self) -> None:
        """Do nothing unless the host has the data."""
        if self._host is not None:
            self._host.offload()

    def prefetch(self) -> None:
        """Do nothing unless the host has the data."""
        if self._host is not None:
            self._host.prefetch()


class _Noting(DynamicLayer):
    """A layer of the host that notes which tokens its keys and values are of."""

    batch: TokenBatch | None = None

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens."""
        super().crop(tokens_to_remove)
        self.batch = _cut(self.batch, self.get_seq_length())

    def reset(self) -> None:
        """Forget all tokens."""
        super().reset()
        self.batch = None

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Take the sequences of beams."""
        super().reorder_cache(beam_idx)
        self.batch = _select(self.batch, beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Take some sequences."""
        super().batch_select_indices(indices)
        self.batch = _select(self.batch, indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each sequence."""
        super().batch_repeat_interleave(repeats)
        self.batch = _repeat(self.batch, repeats)


class NotingLayer(_Noting):
    """A layer that keeps all positions."""


class NotingWindowLayer(_Noting, DynamicSlidingWindowLayer):
    """A layer that keeps the positions of a window."""


_NOTING: dict[type[CacheLayerMixin], type[_Noting]] = {
    DynamicLayer: NotingLayer,
    DynamicSlidingWindowLayer: NotingWindowLayer,
}
_KNOWN = frozenset((WaferLayer, *_NOTING, *_NOTING.values()))
"""The classes of layers whose tokens are known, or that note them."""


def _cut(batch: TokenBatch | None, num_columns: int) -> TokenBatch | None:
    return None if batch is None or num_columns <= 0 else batch.first_columns(num_columns)


def _select(batch: TokenBatch | None, indices: torch.Tensor) -> TokenBatch | None:
    return None if batch is None else batch.select(_to_indices(batch, indices))


def _to_indices(batch: TokenBatch, indices: torch.Tensor) -> list[int]:
    """Return sequences that a tensor chooses: by number, or by a truth value for each."""
    chosen = indices.nonzero().flatten() if indices.dtype is torch.bool else indices
    return [int(index) % batch.num_sequences for index in chosen]


def _repeat(batch: TokenBatch | None, repeats: int) -> TokenBatch | None:
    if batch is None:
        return None
    return batch.select(i for i in range(batch.num_sequences) for _ in range(repeats))


def note_batch(cache: object, batch: TokenBatch) -> None:
    """Note the tokens whose keys and values the host has put in a cache."""
    layers = cast("list[CacheLayerMixin]", getattr(cache, "layers", ()))
    for first in layers[:1]:
        if type(first) in _NOTING:
            first.__class__ = _NOTING[type(first)]
        if isinstance(first, _Noting):
            first.batch = batch


def batch_of(cache: object) -> TokenBatch | None:
    """Return the tokens that a cache stands for; None: it is empty.

    Raises UnsupportedOperationError if they are not known.
    """
    if type(cache) is not DynamicCache:
        msg = f"its cache is a {type(cache).__name__}; only a DynamicCache can stay on the wafer"
        raise UnsupportedOperationError(msg)
    layers = cast("list[CacheLayerMixin]", cache.layers)
    other = next((type(layer) for layer in layers if type(layer) not in _KNOWN), None)
    if other is not None:  # whose state may be of anything, and which need not know its length
        msg = f"its cache has a {other.__name__}; only keys and values can stay on the wafer"
        raise UnsupportedOperationError(msg)
    if all(_is_empty(layer) for layer in layers):
        return None
    first = layers[0]
    if isinstance(first, _Noting) and first.batch is not None and _fits(first, first.batch):
        return first.batch
    stand_ins = [layer for layer in layers if isinstance(layer, WaferLayer)]
    batches = {layer.batch for layer in stand_ins}
    is_on_host = any(layer.has_host_data for layer in stand_ins)
    if len(stand_ins) < len(layers) or len(batches) != 1 or is_on_host:
        raise UnsupportedOperationError("its cache has keys and values that the host computed")
    return batches.pop()


def _fits(layer: _Noting, batch: TokenBatch) -> bool:
    """Tell whether a layer has as much as was noted: a script may have changed it."""
    assert layer.keys is not None, "it is not empty"  # invariant
    return (layer.keys.shape[0], layer.get_seq_length()) == (batch.num_sequences, batch.num_columns)


def _is_empty(layer: CacheLayerMixin) -> bool:
    return type(layer) is not WaferLayer and not layer.get_seq_length()


def keep_on_wafer(
    cache: DynamicCache, batch: TokenBatch, num_layers: int, host_layers: HostLayers
) -> None:
    """Let a cache stand for the keys and values of some tokens, which are on the wafer."""
    cache.layers[:] = [WaferLayer(index, batch, host_layers) for index in range(num_layers)]
