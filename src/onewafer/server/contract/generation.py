"""The request of a client, independent of the dialect.

A dialect reads a body into a `Generation`, and writes the `Event`s (`events.py`) of its answer. The
dialect has checked all fields: numbers are in range, texts are valid Unicode.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.server.contract.json_values import Json


_TURN_CHARACTERS = 40
"""Characters that the chat template adds to a turn, about."""


class Role(StrEnum):
    """The role of a message's author."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    """The result of a tool call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call of the model, in an earlier turn or in this one."""

    id: str
    name: str
    arguments: str
    """The arguments as the JSON text that the model wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str
    calls: tuple[ToolCall, ...] = ()
    """The tool calls of an assistant's turn."""
    call_id: str | None = None
    """The id of the tool call that a tool's turn answers."""

    @property
    def length(self) -> int:
        """The approximate length of the prompt's text in characters, roles included."""
        return _TURN_CHARACTERS + len(self.text) + sum(len(call.arguments) for call in self.calls)


@dataclass(frozen=True, slots=True)
class Conversation:
    """At least one turn; the chat template makes the prompt from them."""

    messages: tuple[Message, ...]

    @property
    def length(self) -> int:
        """The approximate length of the prompt's text in characters."""
        return sum(message.length for message in self.messages)


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text that the answer continues."""

    text: str

    @property
    def length(self) -> int:
        """The number of characters."""
        return len(self.text)


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Tokens that the answer continues."""

    ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """0: no text has to be tokenized."""
        return 0


Prompt: TypeAlias = Conversation | PlainText | TokenIds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: Mapping[str, Json]
    """A JSON schema of an object."""
    param: str = "tools"
    """The field of the request with the schema."""


class ToolUse(StrEnum):
    """The use of tools in an answer."""

    NONE = "none"
    AUTO = "auto"
    """The model decides."""
    REQUIRED = "required"
    """The answer is one or more tool calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools of a request, and their use."""

    tools: tuple[Tool, ...] = ()
    use: ToolUse = ToolUse.AUTO
    only: str | None = None
    """The only tool that may be called, and must be (`use` is REQUIRED)."""
    is_parallel: bool = True
    """True if an answer may have several tool calls."""


@dataclass(frozen=True, slots=True)
class FreeForm:
    """Any text."""


@dataclass(frozen=True, slots=True)
class JsonObject:
    """One JSON object."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """JSON text that conforms to a schema."""

    schema: Mapping[str, Json]
    param: str = "schema"
    """The field of the request with the schema."""


Form: TypeAlias = FreeForm | JsonObject | JsonSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The sampling parameters of an answer."""

    temperature: float = 1.0
    """0: always the most likely token."""
    top_p: float = 1.0
    """The most likely tokens whose probabilities add up to this, in (0, 1]."""
    top_k: int | None = None
    """The number of most likely tokens, at least 1; None: all."""
    seed: int | None = None
    """None: a random one for each request."""
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    """Token → the number added to its logit."""
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit for each occurrence in the answer."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of each token in the answer."""
    repetition_penalty: float = 1.0
    """Tokens in the prompt or answer: a positive logit is divided by it, a negative multiplied."""
    min_tokens: int = 0
    """The least number of tokens before the end."""
    ignores_end: bool = False
    """True if end tokens are never chosen, so that the answer has its maximum length."""

    @property
    def has_penalties(self) -> bool:
        """True if earlier tokens affect the logits of the next one."""
        has_additive = bool(self.frequency_penalty or self.presence_penalty)
        return has_additive or self.repetition_penalty != 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One request for text."""

    id: str
    """The id of the request, in logs and in answers."""
    model: str
    """The name that the client wrote."""
    prompt: Prompt
    others: tuple[Prompt, ...] = ()
    """Further prompts (completions only); their answers come after those of the first one."""
    num_answers: int = 1
    """Independently sampled answers to each prompt (`n`)."""
    max_tokens: int | None = None
    """The most tokens of each answer, at least 1; None: up to the end of the context."""
    stop: tuple[str, ...] = ()
    """Stop texts, which are not part of the answer."""
    sampling: Sampling = field(default_factory=Sampling)
    form: Form = field(default_factory=FreeForm)
    tools: Tools = field(default_factory=Tools)
    top_logprobs: int | None = None
    """Alternatives beside each token, 0 or more; None: no log probabilities."""
    echo: bool = False
    """True if an answer begins with the prompt (completions only)."""
    arrival_seconds: float | None = None
    """The arrival in wafer time, if the client states it (pace `virtual`)."""

    @property
    def total_answers(self) -> int:
        """Number of answers to all prompts."""
        return self.num_answers * (1 + len(self.others))

    def each(self) -> tuple[Generation, ...]:
        """Return one request for each prompt."""
        if not self.others:
            return (self,)
        return tuple(replace(self, prompt=one, others=()) for one in (self.prompt, *self.others))

    @property
    def num_characters(self) -> int:
        """The approximate length of all prompts' text in characters."""
        return self.prompt.length + sum(one.length for one in self.others)

    @property
    def is_free(self) -> bool:
        """True if answers may be any text: the request has neither a form nor tools."""
        return isinstance(self.form, FreeForm) and not self.tools.tools
