"""The text side, as the engine sees it: prompts as tokens, and answers as events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.events import Event
    from onewafer.server.contract.generation import Generation
    from onewafer.server.values.values import Constraint, Produced


class Grammar(Protocol):
    """The form that answers may have."""

    def begin(self) -> Constraint:
        """Return the grammar at the beginning of an answer."""
        ...


class AnswerText(Protocol):
    """Reads the tokens of one answer; ends it at an end token, a stop text, or its length."""

    @property
    def has_ended(self) -> bool:
        """True if `Ended` was among the events."""
        ...

    def take(self, produced: Produced) -> Sequence[Event]:
        """Return what a token adds: deltas, and at the end `Ended`."""
        ...


class Language(Protocol):
    """Tokenizer, chat template and grammars of the served model.

    Reading takes milliseconds, and happens in threads of its own.
    """

    def read_prompt(self, generation: Generation) -> tuple[int, ...]:
        """Return the tokens of a prompt, at least one.

        Raises RequestError if it cannot be read.
        """
        ...

    def read_grammar(self, generation: Generation) -> Grammar | None:
        """Return what the answers may look like; None: any text will do.

        Raises RequestError for a form or tools that no grammar can be made of.
        """
        ...

    def begin_answer(self, generation: Generation, answer: int, *, most_tokens: int) -> AnswerText:
        """Return what reads the tokens of an answer."""
        ...

    def echoed(self, generation: Generation) -> str:
        """Return the text that answers begin with; it is no part of their tokens."""
        ...
