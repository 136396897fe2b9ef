"""What a script's cache stands for; needs transformers.

A script passes a `DynamicCache` from call to call and asks it how long it is. Where the host
computes the values, it stays as it is, with a note of its tokens. Otherwise its layers are
replaced by stand-ins that know the tokens, hence the length, and whose data the host computes again
from the tokens at the first request for more: then a stand-in hands everything on to an
ordinary layer, and the sequence goes on on the host.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

from transformers.cache_utils import (
    CacheLayerMixin,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

from onewafer.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    HostLayers = Callable[[tuple[int, ...]], Sequence[CacheLayerMixin]]
    """Tokens → the layers of a cache that the host has filled with them."""


_DATA = frozenset({"keys", "values", "device", "dtype", "cumulative_length", "sliding_window"})
"""Attributes of ordinary layers."""


class WaferLayer(CacheLayerMixin):
    """One layer of a cache whose keys and values are on the wafer."""

    is_croppable = True
    is_sliding = False

    def __init__(self, index: int, tokens: tuple[int, ...], host_layers: HostLayers) -> None:
        # Not the inherited one: `keys` and `values` must be missing for `__getattr__`.
        self.is_initialized = True
        self._index = index
        self._tokens = tokens
        self._host_layers = host_layers
        self._host: CacheLayerMixin | None = None

    @property
    def tokens(self) -> tuple[int, ...] | None:
        """Tokens whose keys and values it stands for; None once the host has them."""
        return self._tokens if self._host is None else None

    def on_host(self) -> CacheLayerMixin:
        """Return the ordinary layer, which from now on is the one that counts."""
        if self._host is None:
            # A shallow copy: layers bind their tensors anew and never write into them.
            self._host = copy.copy(self._host_layers(self._tokens)[self._index])
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
        other = WaferLayer(self._index, self._tokens, self._host_layers)
        other._host = copy.deepcopy(self._host, memo)
        return other

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: it has been initialised."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append rows that the host has computed."""
        return self.on_host().update(key_states, value_states, *args, **kwargs)  # pyright: ignore[reportUnknownMemberType]  # untyped

    def get_max_cache_shape(self) -> int:
        """Return that it grows without an end; older releases of transformers ask."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length after a query, and 0."""
        if self._host is not None:
            return self._host.get_mask_sizes(query_length)
        return len(self._tokens) + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of tokens."""
        return len(self._tokens) if self._host is None else self._host.get_seq_length()

    def get_max_length(self) -> int:
        """Return −1, which stands for no maximum."""
        return -1

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens, given as a negative number."""
        if self._host is not None or tokens_to_remove > 0:
            cast("DynamicLayer", self.on_host()).crop(tokens_to_remove)
        elif tokens_to_remove:
            self._tokens = self._tokens[:tokens_to_remove]

    def reset(self) -> None:
        """Forget all tokens."""
        if self._host is not None:
            self._host.reset()
        self._tokens = ()

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Take the sequences of beams; a single one stays as it is."""
        if self._host is not None or not _is_first(beam_idx):
            self.on_host().reorder_cache(beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Take some sequences; a single one stays as it is."""
        if self._host is not None or not _is_first(indices):
            cast("DynamicLayer", self.on_host()).batch_select_indices(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat the sequence."""
        if self._host is not None or repeats != 1:
            cast("DynamicLayer", self.on_host()).batch_repeat_interleave(repeats)

    def offload(self) -> None:
        """Do nothing unless the host has the data."""
        if self._host is not None:
            self._host.offload()

    def prefetch(self) -> None:
        """Do nothing unless the host has the data."""
        if self._host is not None:
            self._host.prefetch()


def _is_first(indices: torch.Tensor) -> bool:
    return indices.numel() == 1 and int(indices) == 0


_NOTED = "_onewafer_tokens"
"""Attribute of a cache of the host: the tokens whose keys and values it has, those of later calls
included that a script has cut off since."""


def note_tokens(cache: object, tokens: tuple[int, ...]) -> None:
    """Note the tokens whose keys and values the host has put in a cache."""
    vars(cache)[_NOTED] = tokens


def tokens_of(cache: object) -> tuple[int, ...]:
    """Return the tokens that a cache stands for; raise UnsupportedOperationError if not known."""
    if type(cache) is not DynamicCache:
        msg = f"its cache is a {type(cache).__name__}; only a DynamicCache can stay on the wafer"
        raise UnsupportedOperationError(msg)
    noted: tuple[int, ...] | None = vars(cache).get(_NOTED)
    if noted is not None and cache.get_seq_length() <= len(noted):
        return noted[: cache.get_seq_length()]
    layers = cast("list[CacheLayerMixin]", cache.layers)
    stand_ins = [layer for layer in layers if isinstance(layer, WaferLayer)]
    if not stand_ins and all(_is_empty(layer) for layer in layers):
        return ()
    tokens = {layer.tokens for layer in stand_ins}
    if len(stand_ins) < len(layers) or len(tokens) != 1 or None in tokens:
        raise UnsupportedOperationError("its cache has keys and values that the host computed")
    (found,) = tokens
    assert found is not None, "looked for above"  # invariant
    return found


def _is_empty(layer: CacheLayerMixin) -> bool:
    return type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) and not layer.get_seq_length()


def keep_on_wafer(
    cache: DynamicCache, tokens: tuple[int, ...], num_layers: int, host_layers: HostLayers
) -> None:
    """Let a cache stand for the keys and values of some tokens, which are on the wafer."""
    cache.layers[:] = [WaferLayer(index, tokens, host_layers) for index in range(num_layers)]
