"""What the engine asks of the text side: prompts as tokens, and answers as events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.events import Event
    from onewafer.server.generation import Generation
    from onewafer.server.values.values import Constraint, Produced


class AnswerReader(Protocol):
    """Reads the tokens of one answer; ends it at an end token, a stop text, or its length."""

    @property
    def constraint(self) -> Constraint | None:
        """What restricts the tokens of the answer; None: nothing."""
        ...

    @property
    def is_ended(self) -> bool:
        """Whether `Ended` was among the events."""
        ...

    def read(self, produced: Produced) -> Sequence[Event]:
        """Return what a token adds: deltas, and at the end `Ended`."""
        ...


class Language(Protocol):
    """Tokenizer, chat template and grammars of the served model; may be called in any thread."""

    def read_prompt(self, generation: Generation) -> tuple[int, ...]:
        """Return the tokens of a prompt, at least one.

        Raises RequestError if the prompt, the tools or the form cannot be read.
        """
        ...

    def open_answer(self, generation: Generation, answer: int, *, max_tokens: int) -> AnswerReader:
        """Return a reader of an answer of at most `max_tokens`.

        Raises RequestError for a form or tools that no grammar can be made of.
        """
        ...
