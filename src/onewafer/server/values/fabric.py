# pyright: basic
# The type hints of torch and transformers are partial.
"""The model on a simulated wafer (`--values fabric`): every wavelet, for small models.

A step is one launch of decode rows and prompt chunks. Each sequence has a place of its own in the
PEs' memory; a prompt with the prefix that a free place has cached continues from there. No bit of a
row depends on the rows beside it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.execution import (
    SHORTEST_CONTEXT,
    Fidelity,
    KeptSequences,
    Loader,
    Recordings,
    Simulation,
    WaferOptions,
)
from onewafer.pytorch import SequenceRoom, open_sequences
from onewafer.server.contract.values import Computation
from onewafer.server.values.building import BuiltValues
from onewafer.server.values.host import HostValues
from onewafer.settings import Settings
from onewafer.terminal import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.server.contract.values import Chunk
    from onewafer.server.models import LoadedModel

_ROWS: Final = 16
"""The most tokens of a launch: each takes memory of every PE, also in smaller launches."""


class FabricComputation(Computation):
    """Computes sequences together in the slots of a program on a simulated wafer."""

    def __init__(self, sequences: KeptSequences) -> None:
        self._sequences = sequences
        self._place_of_slot: dict[int, int] = {}
        self._free = list(range(len(sequences)))
        """Places without a sequence, the last used one at the end."""
        self.most_rows = sequences.most_rows

    def begin(self, slot: int, prompt: Sequence[int]) -> int:
        """Begin a sequence in the free place that has most of its prompt cached."""
        known = prompt[:-1]  # the last token is always computed: its logits are needed
        found = {place: self._sequences.count_known(place, known) for place in self._free}
        place = max(found, key=found.__getitem__)  # of equal ones the least recently used
        self._free.remove(place)
        self._place_of_slot[slot] = place
        self._sequences.free(place, keep=found[place])
        return found[place]

    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        tokens = {self._place_of_slot[chunk.slot]: chunk.tokens for chunk in chunks}
        logits, launched = self._sequences.launch(tokens)
        self.simulated_cycles = launched.activity.cycles
        rows = [logits[self._place_of_slot[chunk.slot]] for chunk in chunks if chunk.wants_logits]
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, 0), np.float32)

    def end(self, slot: int) -> None:
        """Free the place of a sequence; its tokens stay cached until another one takes it."""
        self._free.append(self._place_of_slot.pop(slot))


def build_fabric_values(
    model: LoadedModel, *, num_slots: int, context_length: int | None
) -> BuiltValues:
    """Return the values of a model on a simulated wafer.

    Raises:
        ConfigurationError: the model does not fit, or has operations that the wafer lacks.
    """
    wanted = min(context_length or model.text.context_length, model.text.context_length)
    options = WaferOptions(fidelity=Fidelity.FABRIC, context=max(wanted, SHORTEST_CONTEXT))
    room = SequenceRoom(sequences=num_slots, context=wanted, rows=max(num_slots, _ROWS))
    try:
        sequences = open_sequences(model.module, model.text.id, _loader(options), room)
    except UnsupportedOperationError as error:
        raise ConfigurationError(
            f"--values fabric cannot compute {quoted(model.text.id)}, since every wavelet is "
            f"simulated: {error.cause}; serve it with --values host, or try a smaller --max-batch "
            "or --context, or a smaller model"
        ) from error
    program = sequences.program.record.program
    context = program.context or wanted
    values = HostValues(
        FabricComputation(sequences),
        num_slots=num_slots,
        context_length=context,
        end_ids=model.text.end_ids,
    )
    remark = (
        f"every wavelet of {program.width}×{program.height} PEs is simulated, with up to "
        f"{sequences.most_rows} tokens a launch; the times of answers are those of the equations"
    )
    return BuiltValues(values=values, remark=remark)


def _loader(options: WaferOptions) -> Loader:
    """Return a loader, which records runs if the environment asks for it."""
    say = logging.getLogger(__name__).info
    recordings = Recordings.from_settings(Settings.from_environment(), say)
    return Loader(options, Simulation(recordings=recordings))
