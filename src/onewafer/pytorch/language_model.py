"""A causal language model as one graph, for any number of tokens behind any others.

In: a module that gives logits for token ids. Out: the graph of one forward over a whole context
without a cache, and proof that a token's row depends on no later one and not on how many there are:
a program of it may take the tokens piece by piece.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Attention, DataType, FirstRow, RowAt, position_tables, with_rows
from onewafer.pytorch.capture import capture
from onewafer.pytorch.captured import CapturedCall, WaferResult
from onewafer.pytorch.lowering import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.graph import Graph, Operation


_SHORT = 5
"""Tokens of the second capture, which shows what depends on the length of the context."""


@dataclass(frozen=True, slots=True)
class CausalModel:
    """The computation of a language model for the tokens of a launch."""

    call: CapturedCall
    """One input, the ids of a whole context, and one output, the logits."""
    leaves: tuple[object, ...]
    """Leaves of the captured call."""
    gives_all_rows: bool
    """True if there are logits for every token of a launch, not only for the last one."""

    @property
    def graph(self) -> Graph:
        """The operations, with a row for every token of the context."""
        return self.call.graph

    @property
    def context(self) -> int:
        """Most tokens of a sequence."""
        return self.graph.inputs[0].shape[0]

    def parameters(self) -> Mapping[str, torch.Tensor]:
        """Return the parameters and tables as the module has them now.

        Raises UnsupportedOperationError if numbers have changed that the graph was made for.
        """
        if not self.call.capture.holds_for(self.leaves):
            raise UnsupportedOperationError("buffers that its program was made for have changed")
        return self.call.capture.bind(self.leaves).parameters

    def answer(self, logits: NDArray[Any]) -> object:
        """Return what the module returns for logits (sequences, tokens, vocabulary)."""
        (result,) = self.call.results
        assert isinstance(result, WaferResult), "checked when it was captured"  # invariant
        shown = replace(result, layout=Layout.of_matrix(logits.shape))
        matrix = logits.reshape(-1, logits.shape[-1])
        return replace(self.call, results=(shown,)).restore({result.name: matrix})


def capture_causal(
    module: torch.nn.Module, context: int, *, gives_all_rows: bool, dtype: DataType | None = None
) -> CausalModel:
    """Return what a language model computes, for contexts of up to `context` tokens.

    Raises UnsupportedOperationError if its operations, or anything in its tables but the number of
    positions, depend on how many tokens there are, or if a token looks ahead.
    """
    model = _capture(module, context, gives_all_rows=gives_all_rows, dtype=dtype)
    _check_causal(model)
    if context > _SHORT:
        short = _capture(module, _SHORT, gives_all_rows=gives_all_rows, dtype=dtype)
        _check_length_is_free(model.call, short.call)
    return model


def _capture(
    module: torch.nn.Module, tokens: int, *, gives_all_rows: bool, dtype: DataType | None
) -> CausalModel:
    arguments = {
        "input_ids": torch.zeros(1, tokens, dtype=torch.int64),
        "use_cache": False,
        "logits_to_keep": 0 if gives_all_rows else 1,
        "return_dict": True,
    }
    with torch.no_grad():
        call = capture(module, (), arguments, dtype=dtype)
    inputs, results = call.graph.inputs, call.results
    is_plain = len(inputs) == 1 and inputs[0].dtype is DataType.I32
    if not is_plain or len(results) != 1 or not isinstance(results[0], WaferResult):
        raise UnsupportedOperationError("it does more than turn token ids into logits")
    return CausalModel(call, tuple(arguments.values()), gives_all_rows)


def _check_causal(model: CausalModel) -> None:
    for operation in model.graph.operations:
        reason = _looks_beyond(operation)
        if reason is None:
            continue
        error = UnsupportedOperationError(f"{reason} is not supported with a KV cache")
        error.result = operation.result.name
        place = model.call.capture.place_of(error)
        raise UnsupportedOperationError(error.refusal.reason, place)


def _looks_beyond(operation: Operation) -> str | None:
    """Say how an operation reads other tokens than those up to its own; None: it does not."""
    match operation:
        case Attention(bias=str()):
            return "an attention with another mask than a causal one, or with a bias"
        case Attention(is_causal=False):
            return "an attention to later tokens"
        case FirstRow():
            return "the use of the first token of a sequence"
        case RowAt():
            return "the use of a token that an argument names"
        case _:
            return None


def _check_length_is_free(long: CapturedCall, short: CapturedCall) -> None:
    """Refuse a model if more than the number of positions depends on the context."""
    one, other = (with_rows(call.graph, 1) for call in (long, short))
    if (one.operations, one.outputs) != (other.operations, other.outputs):
        raise UnsupportedOperationError("its operations depend on the number of tokens")
    tables = position_tables(long.graph)
    for name, tensor in short.parameters.items():
        whole = long.parameters[name]
        found = whole[: len(tensor)] if name in tables else whole
        if not torch.equal(found, tensor):
            msg = f"{name!r} depends on more than the position of a token: on the number of tokens"
            raise UnsupportedOperationError(msg)
