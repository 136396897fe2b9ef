"""The tokens of a prompt.

A conversation is rendered by the model's chat template. Text of a message never becomes a control
token, even if it spells one: into each `<|im_end|>` of a message an invisible mark is inserted
before rendering. The rendered text is then split at the control tokens that the template wrote, and
the rest is tokenized as plain text. A conversation without such spellings has the tokens of
`apply_chat_template`.

In a plain text (`/v1/completions`) control tokens are recognised, as in transformers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import jiter
from jinja2 import TemplateError

from onewafer.server.contract.failures import RequestError
from onewafer.server.contract.generation import (
    Conversation,
    Message,
    PlainText,
    Role,
    TokenIds,
    ToolUse,
)
from onewafer.server.models.chat_template import ChatTemplate
from onewafer.server.text.call_format import (
    TAGGED,
    describe_tool,
    format_of_template,
    instructions,
)
from onewafer.server.text.pieces import PieceReader
from onewafer.server.text.vocabulary import own_tokenizer
from onewafer.terminal import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tokenizers import Tokenizer as Backend

    from onewafer.server.contract.generation import Generation, Tool
    from onewafer.server.contract.json_values import Json
    from onewafer.server.models import TextModel

_MARKS: Final = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Noncharacters of Unicode, which texts do not use."""


class PromptReader:
    """Tokenizes prompts."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self._template = ChatTemplate(model.tokenizer)
        self._plain = own_tokenizer(model.tokenizer)
        """A copy: calls of transformers change the options of the original, in any thread."""
        own_format = format_of_template(model.chat_template)
        self.call_format = own_format or TAGGED
        self._knows_tools = own_format is not None
        self._pieces = PieceReader(model.tokenizer)

    def read(self, generation: Generation) -> tuple[int, ...]:
        """Return the tokens of a request's prompt, tools included.

        Raises:
            RequestError: the template refuses the conversation, or the prompt is empty.
        """
        match generation.prompt:
            case Conversation() as conversation:
                tokens = self._read_conversation(conversation, _offered(generation))
            case PlainText(text):
                tokens = _encode(self._plain, text, with_special=True)
            case TokenIds(ids):
                tokens = self._check(ids)
        if not tokens:
            raise RequestError("the prompt is empty: write at least one word", param="prompt")
        return tuple(tokens)

    def _check(self, ids: tuple[int, ...]) -> Sequence[int]:
        size = self._model.vocabulary_size
        wrong = next((token for token in ids if not 0 <= token < size), None)
        if wrong is not None:
            raise RequestError(
                f"the prompt has token {wrong}; the model has {size}", param="prompt"
            )
        return ids

    def _read_conversation(
        self, conversation: Conversation, tools: tuple[Tool, ...]
    ) -> Sequence[int]:
        if self._model.chat_template is None:
            raise RequestError(
                f"{quoted(self._model.id)} has no chat template, so it only continues texts: "
                "ask /v1/completions",
                param="messages",
            )
        messages = conversation.messages
        if not self._knows_tools:
            messages = tuple(_without_tools(messages, tools))
            tools = ()
        turns = [_turn(message) for message in messages]
        described = [describe_tool(tool) for tool in tools]
        written = json.dumps([turns, described], ensure_ascii=False)
        if not self._pieces.spelled.search(written):
            rendered = self._render(turns, described)
            is_exact = self._pieces.is_exact
            return self._pieces.read(rendered) if is_exact else _encode(self._plain, rendered)
        mark = next((mark for mark in _MARKS if mark not in written), None)
        if mark is None:
            raise RequestError("a message has characters that Unicode forbids", param="messages")
        marked = [self._mark(turn, mark) for turn in turns]
        rendered = self._render(marked, [self._mark(tool, mark) for tool in described])
        return self._pieces.read(rendered, mark=mark)

    def _render(
        self, turns: Sequence[Mapping[str, Json]], tools: Sequence[Mapping[str, Json]]
    ) -> str:
        try:
            return self._template.render(turns, tools)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise RequestError(
                f"the model's chat template refuses the conversation: {quoted(str(error))}",
                param="messages",
            ) from error

    def _mark(self, value: Mapping[str, Json], mark: str) -> dict[str, Json]:
        """Return a copy with marks inside all spellings of control tokens."""
        return {
            self._mark_text(key, mark): self._mark_value(item, mark) for key, item in value.items()
        }

    def _mark_text(self, text: str, mark: str) -> str:
        return self._pieces.spelled.sub(lambda found: f"{found[0][0]}{mark}{found[0][1:]}", text)

    def _mark_value(self, value: Json, mark: str) -> Json:
        match value:
            case str():
                return self._mark_text(value, mark)
            case dict():
                return self._mark(value, mark)
            case list():
                return [self._mark_value(item, mark) for item in value]
            case _:
                return value


def _encode(tokenizer: Backend, text: str, *, with_special: bool = False) -> Sequence[int]:
    """Return the tokens of a text, without computing their offsets."""
    [encoding] = tokenizer.encode_batch_fast([text], add_special_tokens=with_special)
    return encoding.ids


def _offered(generation: Generation) -> tuple[Tool, ...]:
    tools = generation.tools
    return () if tools.use is ToolUse.NONE else tools.tools


def _turn(message: Message) -> dict[str, Json]:
    """Return a message in the form that chat templates take."""
    turn: dict[str, Json] = {"role": message.role.value, "content": message.text}
    if message.calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _parsed(call.arguments)},
            }
            for call in message.calls
        ]
    if message.call_id is not None:
        turn["tool_call_id"] = message.call_id
    return turn


def _parsed(arguments: str) -> Json:
    """Return arguments as an object, since templates format it themselves."""
    try:
        return jiter.from_json(arguments.encode())  # with a limit of nesting
    except ValueError:  # a truncated answer, for instance
        return arguments


def _without_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> Iterable[Message]:
    """Yield a conversation with tools, calls and results written as plain text."""
    if tools:
        told = instructions(tools, TAGGED)
        is_first = bool(messages) and messages[0].role is Role.SYSTEM
        system = f"{messages[0].text}\n\n{told}" if is_first else told
        yield Message(role=Role.SYSTEM, text=system)
        messages = messages[1:] if is_first else messages
    for message in messages:
        if message.calls:
            texts = [message.text, *map(TAGGED.write, message.calls)]
            yield Message(role=message.role, text="\n".join(filter(None, texts)))
        elif message.role is Role.TOOL:
            yield Message(role=Role.USER, text=f"<tool_response>\n{message.text}\n</tool_response>")
        else:
            yield message
