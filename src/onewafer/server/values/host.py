"""The model on this computer (`--values host`).

A step computes a row for every sequence in decode, and a part of the waiting prompts, the oldest
first. The guarantees are:

* With one slot, transformers computes: logits have the bits of `transformers.generate`.
* With several slots, a Llama-like model in float32 is computed by `values.llama`, where no bit of a
  row depends on other rows, on the chunks of its prompt, on the prefix cache, or on the number of
  slots and threads. Its logits differ from those of transformers by rounding only, about 1 part in
  100,000.
* Every other model is computed by transformers, one sequence after the other, with its bits.

So a request with a seed gets the same tokens whatever other requests run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onewafer.server.contract.events import Simulated
from onewafer.server.contract.values import Chunk, Failed, Produced, Values
from onewafer.server.values.sampling import choose, log_probabilities, most_likely

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from onewafer.server.contract.values import Computation, SequenceRequest

_ROWS_BESIDE_ANSWERS: Final = 64
"""The most tokens of a step with decode rows, which must not wait for long prompts."""


@dataclass(slots=True)
class _Sequence:
    """One running answer."""

    request: SequenceRequest
    slot: int
    num_read: int
    """Tokens of prompt and answer in the KV cache."""
    answer: list[int] = field(default_factory=list[int])
    simulated: Simulated | None = None

    @property
    def is_reading(self) -> bool:
        """True if a part of the prompt is not read yet."""
        return self.num_read < len(self.request.prompt)


class HostValues(Values):
    """Computes sequences together, by a `Computation`."""

    def __init__(
        self,
        computation: Computation,
        *,
        num_slots: int,
        context_length: int,
        end_ids: frozenset[int],
    ) -> None:
        super().__init__(num_slots=num_slots, context_length=context_length)
        self._computation = computation
        self._end_ids = end_ids
        self._free = list(range(num_slots - 1, -1, -1))
        self._sequences: dict[int, _Sequence] = {}

    def begin(self, request: SequenceRequest) -> int:
        assert request.prompt
        assert len(request.prompt) < self.context_length
        slot = self._free.pop()
        num_read = self._computation.begin(slot, request.prompt)
        self._sequences[request.id] = _Sequence(request, slot, num_read)
        return num_read

    def step(self) -> list[Produced | Failed]:
        """Advance every sequence that is decoding, and read a part of some prompts."""
        chunks = self._next_chunks()
        if not chunks:
            return []
        logits = iter(self._computation.compute([chunk for _, chunk in chunks]))
        self._note_simulated(sequence for sequence, _ in chunks)
        produced: list[Produced | Failed] = []
        for sequence, chunk in chunks:
            sequence.num_read += len(chunk.tokens)
            if chunk.wants_logits:
                produced.append(self._try_to_choose(sequence, next(logits)))
        return produced

    def end(self, sequence_id: int) -> None:
        sequence = self._sequences.pop(sequence_id, None)
        if sequence is not None:
            self._computation.end(sequence.slot)
            self._free.append(sequence.slot)

    def _next_chunks(self) -> list[tuple[_Sequence, Chunk]]:
        """Return the chunks of the next step."""
        sequences = self._sequences.values()
        chunks = [
            (sequence, _chunk(sequence, sequence.answer[-1:], wants_logits=True))
            for sequence in sequences
            if not sequence.is_reading and sequence.num_read < self.context_length
        ]
        most = self._computation.most_rows
        if most is not None and chunks:
            most = min(most, max(_ROWS_BESIDE_ANSWERS, len(chunks) + 1))
        left = None if most is None else most - len(chunks)
        for sequence in sequences:
            if sequence.is_reading and left != 0:
                rest = sequence.request.prompt[sequence.num_read :]
                part = rest[:left]
                is_last = len(part) == len(rest)
                chunks.append((sequence, _chunk(sequence, part, wants_logits=is_last)))
                left = None if left is None else left - len(part)
        return chunks

    def _note_simulated(self, sequences: Iterable[_Sequence]) -> None:
        """Count the launch for all its sequences, if the step ran on a simulated wafer."""
        cycles = self._computation.simulated_cycles
        if cycles is not None:
            launch = Simulated(launches=1, cycles=cycles)
            for sequence in sequences:
                before = sequence.simulated
                sequence.simulated = launch if before is None else before + launch

    def _try_to_choose(self, sequence: _Sequence, logits: NDArray[np.float32]) -> Produced | Failed:
        try:
            return self._choose(sequence, logits)
        except Exception as error:  # noqa: BLE001  # only this answer fails
            return Failed(id=sequence.request.id, error=error)

    def _choose(self, sequence: _Sequence, logits: NDArray[np.float32]) -> Produced:
        request = sequence.request
        constraint = request.constraint
        token = choose(
            logits,
            request.sampling,
            index=len(sequence.answer),
            end_ids=self._end_ids,
            mask=None if constraint is None else constraint.allowed(),
            prompt=request.prompt,
            answer=sequence.answer,
        )
        if constraint is not None:
            constraint.take(token)
        sequence.answer.append(token)
        produced = Produced(id=request.id, token=token, simulated=sequence.simulated)
        if request.top_logprobs is None:
            return produced
        logprobs = log_probabilities(logits)
        top = most_likely(logprobs, request.top_logprobs)
        return produced._replace(logprob=float(logprobs[token]), top=top)


def _chunk(
    sequence: _Sequence, tokens: list[int] | tuple[int, ...], *, wants_logits: bool
) -> Chunk:
    return Chunk(
        slot=sequence.slot, start=sequence.num_read, tokens=tokens, wants_logits=wants_logits
    )
