"""A causal language model as one program that remembers sequences.

In: a model's graph, and the loader of a program. Out: logits behind the last tokens of any
sequences. Keys and values of the tokens seen so far stay with the program, so that a call runs only
the tokens that it adds. Whatever sequences a call has, the program goes on from the longest
prefixes that they share with the tokens that are there. Padding is not on the wafer: a sequence
has the tokens that its attention mask shows.

Unknown here: caches of scripts (`wafer_cache`), rectangles, devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.execution import SHORTEST_CONTEXT, KeptSequences, Phase, WantedSequence
from onewafer.graph import position_tables, with_positions, with_rows
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.capture import check_indices
from onewafer.pytorch.tracing import leaving_turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from onewafer.execution import Extended, ResidentProgram
    from onewafer.graph import Graph
    from onewafer.pytorch.language_model import CausalModel
    from onewafer.pytorch.token_batch import TokenBatch

    Build = Callable[[Graph, int, int], ResidentProgram]
    """Graph, most tokens of a sequence, sequences → a loaded program."""


class ResidentModel:
    """A language model with a program, and the tokens whose keys and values that has."""

    def __init__(self, model: CausalModel, build: Build, *, rows: int, sequences: int = 1) -> None:
        """Load a program whose launches take up to `rows` tokens; it has no parameters yet.

        `build` raises TooLargeError if keys and values do not fit, and is then asked for half as
        many tokens of each sequence.
        """
        self.model = model
        longest = _build_longest(model, build, rows, sequences)
        self.context, self._graph, self._program, self._no_longer = longest
        self._tables = position_tables(self._graph)
        self._kept = KeptSequences(self._program)

    def update(self) -> None:
        """Send what has changed of the parameters; keys and values follow from them."""
        arrays = {
            name: to_numpy(tensor[: self.context] if name in self._tables else tensor)
            for name, tensor in self.model.parameters().items()
        }
        with leaving_turn(), self._program.alone():
            if self._program.keep(arrays):
                for sequence in range(len(self._kept)):
                    self._kept.free(sequence)

    def check(self, batch: TokenBatch, count: int) -> None:
        """Make sure that `logits` can answer.

        Raises UnsupportedOperationError if a sequence is longer than the context, or for several
        columns of logits from a program that has only the last ones; OutsideTableError for a token
        that the model does not have.
        """
        longest = max(map(sum, batch.shown))
        farthest = max(map(max, batch.positions))
        if longest > self.context or farthest >= self.context:
            tokens = f"{longest} tokens are more than the {self.context} of its context"
            position = f"position {farthest} is beyond the {self.context} of its context"
            reason = f": {self._no_longer}" if self._no_longer else ""
            message = tokens if longest > self.context else position
            raise UnsupportedOperationError(message + reason)
        if count > 1 and not self.model.gives_all_rows:
            raise UnsupportedOperationError(f"its program gives 1 row of logits, not {count}")
        check_indices(self._graph, {self._graph.inputs[0].name: torch.tensor(batch.ids)})

    def logits(
        self,
        batch: TokenBatch,
        count: int,
        *,
        num_given: int | None = None,
        host: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Return the logits (sequences, count, vocabulary) behind the last columns.

        There are none behind padding: they are NaN. `num_given` are the columns that the call
        gives, without those in its cache; None: all. `host` has the logits already if the host
        computes the values. Raises as `check` does.
        """
        self.check(batch, count)
        asked = np.array(batch.shown)[:, -count:]
        wanted = [
            WantedSequence(
                batch.tokens_of(sequence),
                int(shown.sum()),
                None if host is None else host[sequence][shown],
                batch.positions_of(sequence),
            )
            for sequence, shown in enumerate(asked)
        ]
        with leaving_turn():
            extended = self._kept.extend(wanted)
        self._count_call(extended, batch, batch.num_columns if num_given is None else num_given)
        if host is not None:
            return host
        assert extended.outputs is not None, "they are not left to the host"  # invariant
        vocabulary = self._graph.tensor(self._graph.outputs[0]).shape[-1]
        dtype = extended.launches[-1].outputs[self._graph.outputs[0]].dtype
        logits = np.full((*asked.shape, vocabulary), np.nan, dtype)
        for rows, shown, outputs in zip(logits, asked, extended.outputs, strict=True):
            if shown.any():
                rows[shown] = outputs
        return logits

    def note_padding(self) -> None:
        """Note that the host has computed logits behind padding."""
        self._program.note_on_host("computing the logits behind padding")

    def count_flop(self, batch: TokenBatch, num_given: int | None) -> int:
        """Return the FLOP of a call that gives some columns, the last ones; None: all."""
        given = batch.num_columns if num_given is None else num_given
        graph, cached = with_rows(self._graph, given), batch.num_columns - given
        flop = (
            op.count_product_flop(graph.by_name, cached_tokens=cached) for op in graph.operations
        )
        return batch.num_sequences * sum(flop)

    def _count_call(self, extended: Extended, batch: TokenBatch, num_given: int) -> None:
        """Count a call that gave the last `num_given` columns."""
        shown = np.array(batch.shown)
        new = np.minimum(extended.launched, shown[:, -num_given:].sum(axis=1))
        is_decode = new.max() == 1 and (shown.sum(axis=1) > new)[new > 0].all()
        self._program.count_call(
            Phase.DECODE if is_decode else Phase.PREFILL,
            extended.launches,
            rows=int(new.sum()),
            flop=self.count_flop(batch, num_given),
            again=sum(extended.launched) - int(new.sum()),
        )


def _build_longest(
    model: CausalModel, build: Build, rows: int, sequences: int
) -> tuple[int, Graph, ResidentProgram, str | None]:
    """Return the longest context that fits, of those halved again and again, and its program.

    The last element is the refusal of the model's own context; None: that fits.
    """
    context, refusal = model.context, None
    while True:
        most_rows = min(rows, max(context, SHORTEST_CONTEXT))
        if sequences > 1:  # a launch has a token of each, and more rows than a last one of each
            most_rows = max(most_rows, sequences + 1)
        graph = with_positions(with_rows(model.graph, most_rows), context)
        try:
            return context, graph, build(graph, context, sequences), refusal
        except TooLargeError as error:
            if context // 2 < SHORTEST_CONTEXT:
                raise
            refusal = refusal or str(error)
            context //= 2
