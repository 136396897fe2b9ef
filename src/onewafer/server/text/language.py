"""The text side of a served model: reads prompts, makes grammars and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.server.contract.generation import Conversation, PlainText, TokenIds, ToolUse
from onewafer.server.text.answers import AnswerPlan, AnswerText
from onewafer.server.text.constraints import read_grammar
from onewafer.server.text.prompts import PromptReader
from onewafer.server.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from onewafer.server.contract.generation import Generation
    from onewafer.server.models import TextModel
    from onewafer.server.text.constraints import Grammar


class Language:
    """Reads requests and writes answers for one model."""

    def __init__(self, model: TextModel) -> None:
        self.model = model
        self.vocabulary = Vocabulary(model)
        self._prompts = PromptReader(model)

    def read_prompt(self, generation: Generation) -> tuple[int, ...]:
        """Return the tokens of a request's prompt.

        Raises:
            RequestError: the prompt is invalid.
        """
        return self._prompts.read(generation)

    def read_grammar(self, generation: Generation) -> Grammar | None:
        """Return the grammar of a request's answers; None: any text is allowed.

        Raises:
            RequestError: a schema is not supported.
        """
        return read_grammar(generation, self.vocabulary, self._prompts.call_format)

    def begin_answer(self, generation: Generation, answer: int, *, most_tokens: int) -> AnswerText:
        """Return the converter of an answer's tokens to events."""
        tools = generation.tools
        has_calls = bool(tools.tools) and tools.use is not ToolUse.NONE
        plan = AnswerPlan(
            request_id=generation.id,
            answer=answer,
            most_tokens=most_tokens,
            min_tokens=generation.sampling.min_tokens,
            stops=generation.stop,
            calls=self._prompts.call_format if has_calls else None,
            has_logprobs=generation.top_logprobs is not None,
        )
        return AnswerText(plan, self.vocabulary)

    def echoed(self, generation: Generation) -> str:
        """Return the prompt's text if the answers begin with it (`echo`), else ''."""
        match generation.prompt:
            case PlainText(text) if generation.echo:
                return text
            case TokenIds(ids) if generation.echo:
                return self.vocabulary.text_of(ids)
            case PlainText() | TokenIds() | Conversation():
                return ""
