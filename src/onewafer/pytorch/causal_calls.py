"""Calls of causal language models as transformers spells them: arguments in, output out.

In: the arguments of a call `model(…)`. Out: the tokens that it goes on with and what it asks for,
or a refusal with the reason.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.token_batch import TokenBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CACHE_NAMES = ("cache", "past_key_values")
"""Names of the cache among arguments and results in transformers; the second one is older."""


class Config(Protocol):
    """The fields of a model's configuration that are read."""

    num_hidden_layers: int
    max_position_embeddings: int
    use_cache: bool
    return_dict: bool
    output_attentions: bool
    output_hidden_states: bool

    def to_dict(self) -> dict[str, object]:
        """Return all fields."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One call that goes on with some sequences."""

    batch: TokenBatch
    """All tokens of the sequences, those of this call at the end."""
    num_given: int
    """Columns that the call gives, without those in its cache."""
    count: int
    """Columns of logits that the call asks for, at the end."""
    cache: object | None
    """The script's cache; None: it keeps none."""
    makes_cache: bool
    """True if the call asks for a cache without giving one."""
    returns_tuple: bool
    arguments: Mapping[str, object]
    """Token ids, mask and positions as the call gives them, by name."""

    @property
    def keeps_sequences(self) -> bool:
        """True if later calls may go on with them; else one may take the place of another."""
        return self.makes_cache or self.cache is not None

    @property
    def hides_logits(self) -> bool:
        """True if it asks for logits behind padding."""
        return not all(all(row[-self.count :]) for row in self.batch.shown)


def config_of(module: torch.nn.Module) -> Config:
    """Return the configuration of a model of transformers."""
    return cast("Config", module.config)


def is_language_model(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> bool:
    """Tell whether a call is one of a causal language model of transformers with token ids."""
    transformers = sys.modules.get("transformers")
    if transformers is None or not isinstance(module, transformers.GenerationMixin):
        return False
    ids = kwargs.get("input_ids", args[0] if args else None)
    names = inspect.signature(module.forward).parameters
    is_causal = any(name in names for name in _CACHE_NAMES) and "logits_to_keep" in names
    return is_causal and isinstance(ids, torch.Tensor)


def has_cache(kwargs: Mapping[str, object]) -> bool:
    """Tell whether a call gives a cache."""
    return any(kwargs.get(name) is not None for name in _CACHE_NAMES)


def read_request(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> Request:
    """Return the request of a call; raise UnsupportedOperationError for anything uncommon."""
    names = [*inspect.signature(module.forward).parameters]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    given = {name: value for name, value in given.items() if value is not None}
    config = config_of(module)
    named = ("input_ids", "attention_mask", "position_ids")
    arguments = {name: given[name] for name in named if name in given}
    ids = _take_ids(given)
    cache = next((given.pop(name) for name in _CACHE_NAMES if name in given), None)
    uses_cache = bool(given.pop("use_cache", config.use_cache))
    before = None
    if cache is not None:
        from onewafer.pytorch.wafer_cache import batch_of  # noqa: PLC0415  # imports an extra

        before = batch_of(cache)
    mask, positions = (given.pop(name, None) for name in ("attention_mask", "position_ids"))
    batch = _append(before, ids, mask, positions)
    _check_columns(given.pop("cache_position", None), batch.num_columns, ids.shape[1])
    _check_window(batch, getattr(config, "sliding_window", None))
    keeps = given.pop("logits_to_keep", 0)
    if not isinstance(keeps, int) or keeps < 0:
        raise UnsupportedOperationError("logits_to_keep is not a number of rows at the end")
    returns_tuple = not given.pop("return_dict", config.return_dict)
    for name in ("output_attentions", "output_hidden_states"):
        if given.pop(name, getattr(config, name, False)):
            raise UnsupportedOperationError(f"{name} is not supported: they stay on the wafer")
    if given:
        raise UnsupportedOperationError(f"its argument {next(iter(given))!r} is not supported")
    makes_cache = uses_cache and cache is None
    count = min(keeps or ids.shape[1], ids.shape[1])
    return Request(batch, ids.shape[1], count, cache, makes_cache, returns_tuple, arguments)


def _take_ids(given: dict[str, object]) -> torch.Tensor:
    ids = given.pop("input_ids", None)
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2 or not ids.numel():  # noqa: PLR2004
        raise UnsupportedOperationError("its token ids are not of shape (sequences, tokens)")
    return ids


def _append(
    before: TokenBatch | None, ids: torch.Tensor, mask: object, positions: object
) -> TokenBatch:
    """Return the tokens of a cache with those of a call behind them."""
    count, num_given = ids.shape
    if before is not None and before.num_sequences != count:
        raise UnsupportedOperationError(
            f"its cache has {before.num_sequences} sequences, the call has {count}"
        )
    start = 0 if before is None else before.num_columns
    shown = _read_mask(mask, (count, start + num_given))
    if before is not None and tuple(row[:start] for row in shown) != before.shown:
        raise UnsupportedOperationError(
            "its attention mask shows other tokens of the cache than when they were computed"
        )
    given = _read_positions(positions, [row[start:] for row in shown], [*map(_count, shown)])
    earlier = ((),) * count
    return TokenBatch(
        _join(earlier if before is None else before.ids, _to_rows(ids)),
        shown,
        _join(earlier if before is None else before.positions, given),
    )


def _join(
    earlier: Sequence[tuple[int, ...]], later: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], ...]:
    return tuple((*old, *new) for old, new in zip(earlier, later, strict=True))


def _to_rows(tensor: torch.Tensor) -> list[list[int]]:
    return cast("list[list[int]]", cast("Any", tensor).tolist())


def _count(shown: Sequence[bool]) -> list[int]:
    """Return how many tokens come before each column."""
    return [*accumulate(shown, initial=0)][:-1]


def _read_mask(mask: object, shape: tuple[int, int]) -> tuple[tuple[bool, ...], ...]:
    if mask is None:
        return ((True,) * shape[1],) * shape[0]
    if not isinstance(mask, torch.Tensor) or tuple(mask.shape) != shape:
        raise UnsupportedOperationError(
            f"its attention mask is not of shape {shape}: sequences and all their tokens"
        )
    if not torch.isin(mask, torch.tensor([0, 1], dtype=mask.dtype)).all():
        raise UnsupportedOperationError("its attention mask has other numbers than 0 and 1")
    return tuple(tuple(map(bool, row)) for row in _to_rows(mask))


def _read_positions(
    positions: object, shown: Sequence[Sequence[bool]], counts: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Return the positions of tokens that a call gives, 0 of padding.

    `counts` has how many tokens come before each column. Unless the call gives positions, some
    models count columns and others tokens: both must be the same.
    """
    num_given, num_columns = len(shown[0]), len(counts[0])
    if positions is None:
        columns = [*range(num_columns - num_given, num_columns)]
        rows = [columns] * len(shown)
    else:
        rows = _broadcast_positions(positions, len(shown), num_given)
    found = [
        [position if is_shown else 0 for position, is_shown in zip(row, of_row, strict=True)]
        for row, of_row in zip(rows, shown, strict=True)
    ]
    if min(map(min, found)) < 0:
        raise UnsupportedOperationError("its position_ids are negative")
    if positions is None:
        for of_tokens, of_row, row in zip(counts, shown, found, strict=True):
            tokens = of_tokens[num_columns - num_given :]
            if any(one != other for one, other in compress(zip(row, tokens, strict=True), of_row)):
                raise UnsupportedOperationError(
                    "it has padding before tokens and no position_ids, so that positions may count "
                    "it or not; pass position_ids, as `generate` does"
                )
    return found


def _broadcast_positions(positions: object, count: int, num_given: int) -> list[list[int]]:
    shapes = ((num_given,), (1, num_given), (count, num_given))
    if not isinstance(positions, torch.Tensor) or tuple(positions.shape) not in shapes:
        raise UnsupportedOperationError("its position_ids are not one for each token")
    return _to_rows(positions.expand(count, num_given))


def _check_columns(columns: object, end: int, num_given: int) -> None:
    """Refuse a `cache_position` that is not where the cache ends."""
    if columns is None:
        return
    expected = torch.arange(end - num_given, end)
    is_plain = isinstance(columns, torch.Tensor) and columns.numel() == num_given
    if not is_plain or not torch.equal(cast("torch.Tensor", columns).flatten().cpu(), expected):
        msg = f"its cache_position do not count the tokens from {end - num_given}"
        raise UnsupportedOperationError(msg)


def _check_window(batch: TokenBatch, window: int | None) -> None:
    """Refuse a window of columns that does not have as many tokens."""
    if window is None or batch.num_columns <= window:
        return
    if any(False in row[row.index(True) :] for row in batch.shown if True in row):
        raise UnsupportedOperationError("it has padding between tokens, which its window counts")


def with_cache(answer: object, cache: object | None, *, returns_tuple: bool) -> object:
    """Return a module's output with a cache in it."""
    if cache is not None:
        fields = cast("Mapping[str, object]", getattr(type(answer), "__dataclass_fields__", {}))
        setattr(answer, cache_name(fields), cache)
    if returns_tuple:
        return cast("Any", answer).to_tuple()
    return answer


def cache_of(answer: object) -> object | None:
    """Return the cache in a module's output, if its state can be noted."""
    fields = {name: getattr(answer, name, None) for name in _CACHE_NAMES}
    of_tuple = cast("tuple[object, ...]", answer)[1:] if isinstance(answer, tuple) else ()
    found = (*fields.values(), *of_tuple)
    return next((value for value in found if hasattr(value, "get_seq_length")), None)


def cache_name(names: Mapping[str, object]) -> str:
    """Return the name of the cache among the names of arguments or fields."""
    return next(name for name in _CACHE_NAMES if name in names)
