"""Synthetic tokens (`--values none`) for models that do not fit this computer: 1 µs a token.

A text states that it is synthetic, and continues with sentences of this file. It depends on the
prompt and, unless the temperature is 0, on the seed. It ends after a few hundred tokens, or at the
client's limit. If a grammar does not allow such a text, a short answer that it allows is written:
it ends where it can, and else closes open brackets. There are no logits, so penalties and biases
have no effect.
"""

from __future__ import annotations

import zlib
from array import array
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from onewafer.server.contract.values import Produced, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from onewafer.server.contract.values import Constraint, SequenceRequest

_SENTENCES: Final = (
    "A wafer keeps the weights of a model beside the elements that multiply by them.",
    "Each element sends its sums to its neighbours, a word a cycle.",
    "A prompt is read many tokens at a time, an answer is written one by one.",
    "The keys and values of earlier tokens stay where they were computed.",
    "Several requests share one launch, so that each weight is used more than once.",
    "A request that arrives waits until a slot is free.",
    "The times in this answer are those of the system that is served, not of this computer.",
    "Nothing here answers your question.",
)
MOST_A_STEP = 64
"""The most tokens of one step, so that a thousand sequences do not block the event loop."""
_SHORTEST, _LONGEST = 100, 400
"""The least and the most tokens of a text without a limit."""
_CLOSING: Final = ("}", "]", '"', "0", "null", "true")
"""Tokens that bring an answer in JSON to its end, the best first; in a string only a quote."""
_QUOTE: Final = '"'


@dataclass(slots=True)
class _Sequence:
    """One running answer."""

    id: int
    script: tuple[int, ...]
    length: int
    """Tokens before the end token."""
    is_endless: bool
    constraint: Constraint | None
    has_logprobs: bool
    num_tokens: int = 0


class SyntheticValues(Values):
    """Writes answers without a model."""

    def __init__(
        self,
        *,
        model_id: str,
        encode: Callable[[str], Sequence[int]],
        end_ids: frozenset[int],
        context_length: int,
        num_slots: int = 1024,
    ) -> None:
        super().__init__(num_slots=num_slots, context_length=context_length)
        opening = f"This text is synthetic: the weights of {model_id} are not here to write it. "
        self._scripts = tuple(
            tuple(encode(opening + " ".join(_SENTENCES[start:] + _SENTENCES[:start]) + "\n"))
            for start in range(len(_SENTENCES))
        )
        self._end = min(end_ids, default=None)
        self._quote = encode(_QUOTE)[0]
        self._closing = [tokens[0] for text in _CLOSING if len(tokens := encode(text)) == 1]
        self._running: dict[int, _Sequence] = {}
        self._turns: deque[_Sequence] = deque()
        """Sequences in the order of their next tokens; some may have ended."""

    def begin(self, request: SequenceRequest) -> int:
        sampling = request.sampling
        seed = (sampling.seed or 0) if sampling.temperature else 0
        number = zlib.crc32(array("q", (seed & 0x7FFFFFFFFFFFFFFF, *request.prompt)).tobytes())
        script = self._scripts[number % len(self._scripts)]
        natural = _SHORTEST + number // len(self._scripts) % (_LONGEST - _SHORTEST)
        sequence = self._running[request.id] = _Sequence(
            id=request.id,
            script=script,
            length=max(natural, sampling.min_tokens),
            is_endless=sampling.ignores_end,
            constraint=self._follow(request.constraint, script),
            has_logprobs=request.top_logprobs is not None,
        )
        self._turns.append(sequence)
        return 0

    def step(self) -> list[Produced]:
        turns, produced = self._turns, list[Produced]()
        for _ in range(min(len(turns), MOST_A_STEP)):
            sequence = turns.popleft()
            if self._running.get(sequence.id) is not sequence:
                continue
            turns.append(sequence)
            produced.append(
                self._with_logprob(sequence)
                if sequence.has_logprobs
                else Produced(id=sequence.id, token=self._next(sequence))
            )
        return produced

    def end(self, sequence_id: int) -> None:
        self._running.pop(sequence_id, None)

    def _follow(self, constraint: Constraint | None, script: tuple[int, ...]) -> Constraint | None:
        """Return the grammar, or None if it allows plain text."""
        if constraint is None:
            return None
        allowed = _allowed_tokens(constraint)
        return None if allowed is None or allowed[script[0]] else constraint

    def _next(self, sequence: _Sequence) -> int:
        index = sequence.num_tokens
        sequence.num_tokens = index + 1
        if sequence.constraint is not None:
            return self._constrained(sequence.constraint)
        if index >= sequence.length and self._end is not None and not sequence.is_endless:
            return self._end
        return sequence.script[index % len(sequence.script)]

    def _constrained(self, constraint: Constraint) -> int:
        """Return an allowed token that ends the answer soon."""
        allowed = _allowed_tokens(constraint)
        wanted = self._closing if self._end is None else [self._end, *self._closing]
        if allowed is None:
            return wanted[0]
        if allowed[self._scripts[0][0]]:  # a letter: this is inside a string
            wanted = [self._quote]
        found = next((token for token in wanted if allowed[token]), None)
        token = int(np.argmax(allowed)) if found is None else found
        constraint.take(token)
        return token

    def _with_logprob(self, sequence: _Sequence) -> Produced:
        """Return the next token with probability 1."""
        token = self._next(sequence)
        return Produced(id=sequence.id, token=token, logprob=0.0, top=((token, 0.0),))


def _allowed_tokens(constraint: Constraint) -> NDArray[np.uint8] | None:
    mask = constraint.allowed()
    if mask is None:
        return None
    return np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")
