"""A causal language model as one program that remembers a sequence.

In: a module that gives logits for token ids, and what builds an executor for a graph. Out: logits
for the next tokens of any sequence. The graph is that of one forward over a whole context without a
cache; keys and values of the tokens seen so far stay with the executor, so a call runs only the
tokens that it adds. Whatever sequence a call belongs to, the executor goes on from the
longest beginning that it shares with the tokens that are there.

Unknown here: caches of scripts (`wafer_cache`), rectangles, devices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.execution import SHORTEST_CONTEXT, Phase
from onewafer.graph import (
    Attention,
    DataType,
    FirstRow,
    position_tables,
    with_positions,
    with_rows,
)
from onewafer.mesh import Launch
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.capture import CapturedCall, WaferResult, capture, check_indices
from onewafer.pytorch.lowering import Layout
from onewafer.pytorch.tracing import leaving_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.execution import Launched, ResidentProgram
    from onewafer.graph import Graph, Operation


_SHORT = 5
"""Tokens of the second capture, which shows what depends on the length of the context."""


@dataclass(frozen=True, slots=True)
class CausalModel:
    """What a language model computes for the tokens of a launch."""

    call: CapturedCall
    """One input, the ids of a whole context, and one output, the logits."""
    leaves: tuple[object, ...]
    """Leaves of the captured call."""
    gives_all_rows: bool
    """Whether there are logits for every token of a launch, not only for the last one."""

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
        """Return what the module returns for logits (rows, vocabulary): its class of outputs."""
        (result,) = self.call.results
        assert isinstance(result, WaferResult), "checked when it was captured"  # invariant
        layout = Layout.of_matrix((1, *logits.shape))
        shown = replace(result, layout=layout)
        return replace(self.call, results=(shown,)).restore({result.name: logits})


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


@singledispatch
def _looks_beyond(operation: Operation) -> str | None:
    """Say how an operation reads other tokens than those up to its own; None: it does not."""
    del operation
    return None


@_looks_beyond.register(Attention)
def _(operation: Attention) -> str | None:
    if operation.bias is not None:
        return "an attention with another mask than a causal one, or with a bias"
    return None if operation.is_causal else "an attention to later tokens"


@_looks_beyond.register(FirstRow)
def _(operation: FirstRow) -> str:
    del operation
    return "the use of the first token of a sequence"


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


class ResidentModel:
    """A language model with an executor, and the tokens whose keys and values it has."""

    def __init__(
        self, model: CausalModel, build: Callable[[Graph, int], ResidentProgram], rows: int
    ) -> None:
        """Load a program whose launches take up to `rows` tokens; it has no parameters yet.

        `build` gets the graph and the most tokens of a sequence; it raises TooLargeError if
        they do not fit, and is asked for half as many.
        """
        self.model = model
        longest = _build_longest(model, build, rows)
        self.context, self._graph, self._program, self._no_longer = longest
        self._tables = position_tables(self._graph)
        self._rows = self._graph.inputs[0].shape[0]
        self._tokens: list[int] = []

    def update(self) -> None:
        """Send what has changed of the parameters; keys and values follow from them."""
        arrays = {
            name: to_numpy(tensor[: self.context] if name in self._tables else tensor)
            for name, tensor in self.model.parameters().items()
        }
        with leaving_turn(), self._program.alone():
            if self._program.keep(arrays):
                self._tokens = []

    def check(self, tokens: Sequence[int], count: int) -> None:
        """Make sure that `logits` can answer.

        Raises UnsupportedOperationError if the sequence is longer than the context, or for several
        rows of logits from a program that has only the last one; OutsideTableError for a token that
        the model does not have.
        """
        if len(tokens) > self.context:
            msg = f"{len(tokens)} tokens are more than the {self.context} of its context"
            reason = f": {self._no_longer}" if self._no_longer else ""
            raise UnsupportedOperationError(msg + reason)
        if count > 1 and not self.model.gives_all_rows:
            raise UnsupportedOperationError(f"its program gives 1 row of logits, not {count}")
        check_indices(self._graph, {self._graph.inputs[0].name: torch.tensor(tokens)})

    def logits(
        self,
        tokens: Sequence[int],
        count: int,
        *,
        num_given: int | None = None,
        host: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Return the logits (count, vocabulary) of the last tokens of a sequence.

        `num_given` are the tokens that the call gives, without those in its cache; None: all.
        `host` has the logits already if the host computes the values. Raises as `check` does.
        """
        self.check(tokens, count)
        with leaving_turn(), self._program.alone():
            first = min(_common_beginning(self._tokens, tokens), len(tokens) - count)
            made = [
                self._launch(
                    tokens[start : start + self._rows], start, self._rows_of(host, tokens, start)
                )
                for start in range(first, len(tokens), self._rows)
            ]
        given = len(tokens) if num_given is None else num_given
        self._count_call(made, tokens[first:], asked=range(len(tokens) - given, len(tokens)))
        if host is not None:
            return host
        (output,) = self._graph.outputs
        if not self.model.gives_all_rows:
            return made[-1].outputs[output][:1]
        rows = np.concatenate([launched.outputs[output] for launched in made])
        return rows[: len(tokens) - first][-count:]

    def _count_call(self, made: Sequence[Launched], tokens: Sequence[int], *, asked: range) -> None:
        """Count a call that launched some tokens, and asked for those at some positions."""
        is_decode = len(tokens) == 1 and asked.stop > 1
        phase = Phase.DECODE if is_decode else Phase.PREFILL
        graph, cached = with_rows(self._graph, len(asked)), asked.start
        flop = (
            op.count_product_flop(graph.by_name, cached_tokens=cached) for op in graph.operations
        )
        self._program.count_call(phase, made, rows=len(tokens), flop=sum(flop))

    def _rows_of(
        self, host: NDArray[Any] | None, tokens: Sequence[int], start: int
    ) -> NDArray[Any] | None:
        """Return the host's logits of the launch from `start` on, NaN in rows that it lacks."""
        if host is None:
            return None
        end, missing = min(start + self._rows, len(tokens)), len(tokens) - len(host)
        if not self.model.gives_all_rows:
            return host[-1:] if end == len(tokens) else host[:0]
        return np.pad(
            host[max(start - missing, 0) : max(end - missing, 0)],
            ((min(max(missing - start, 0), end - start), 0), (0, 0)),
            constant_values=np.nan,
        )

    def _launch(self, tokens: Sequence[int], start: int, host: NDArray[Any] | None) -> Launched:
        graph = self._graph
        (output,) = graph.outputs
        ids = np.zeros((self._rows, 1), np.int32)
        ids[: len(tokens), 0] = tokens
        del self._tokens[start:]
        launched = self._program.launch(
            {graph.inputs[0].name: ids},
            Launch.at(start, len(tokens)),
            host=None if host is None else lambda: {output: host},
        )
        self._tokens += tokens
        return launched


def _build_longest(
    model: CausalModel, build: Callable[[Graph, int], ResidentProgram], rows: int
) -> tuple[int, Graph, ResidentProgram, str | None]:
    """Return the longest context that fits, of those halved again and again, and its executor.

    The last element is what the longest of all was refused for, which says what to do about it.
    """
    context, refusal = model.context, None
    while True:
        most_rows = min(rows, max(context, SHORTEST_CONTEXT))
        graph = with_positions(with_rows(model.graph, most_rows), context)
        try:
            return context, graph, build(graph, context), refusal
        except TooLargeError as error:
            if context // 2 < SHORTEST_CONTEXT:
                raise
            refusal = refusal or str(error)
            context //= 2


def _common_beginning(one: Iterable[int], other: Iterable[int]) -> int:
    """Return how many tokens two sequences begin with in common.

    >>> _common_beginning([1, 2, 3], [1, 2, 5, 6])
    2
    """
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
