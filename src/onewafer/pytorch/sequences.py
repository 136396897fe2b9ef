"""A causal language model that keeps several sequences on the wafer, for whoever serves it.

In: a module of transformers and a loader. Out: the sequences of its program, which has the module's
parameters. The context is the longest that fits, of those halved again and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import TooLargeError
from onewafer.execution import SHORTEST_CONTEXT, KeptSequences, Wanted, place_sequence
from onewafer.graph import position_tables, with_positions, with_rows
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.language_model import capture_causal

if TYPE_CHECKING:
    import torch

    from onewafer.execution import Loader, Placed
    from onewafer.pytorch.language_model import CausalModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRoom:
    """The room that a program shall have."""

    sequences: int
    context: int
    """Tokens of a sequence, at most."""
    rows: int
    """Tokens of a launch, of all sequences together; at least one of each."""


def open_sequences(
    module: torch.nn.Module, name: str, loader: Loader, room: SequenceRoom
) -> KeptSequences:
    """Return the sequences of a model, which give the logits behind their last tokens.

    Raises UnsupportedOperationError if the model cannot be on the wafer, TooLargeError if not even
    a short context fits.
    """
    model = capture_causal(module, room.context, gives_all_rows=False, dtype=loader.options.dtype)
    placed = _place_longest(model, loader, room)
    program = loader.load(Wanted(placed, name))
    context, tables = placed.program.context, position_tables(placed.program.graph)
    program.keep(
        {
            parameter: to_numpy(tensor[:context] if parameter in tables else tensor)
            for parameter, tensor in model.parameters().items()
        }
    )
    return KeptSequences(program)


def _place_longest(model: CausalModel, loader: Loader, room: SequenceRoom) -> Placed:
    context = room.context
    while True:
        rows = max(room.sequences, min(room.rows, context))
        graph = with_positions(with_rows(model.graph, rows), context)
        try:
            return place_sequence(
                graph,
                loader.architecture,
                loader.options,
                context=context,
                sequences=room.sequences,
            )
        except TooLargeError:
            if context // 2 < SHORTEST_CONTEXT:
                raise
            context //= 2
