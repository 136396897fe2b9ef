"""The request of a client, in no dialect: the one request type that all dialects translate to.

A dialect reads a body into a `Generation`, and writes the `Event`s (`events.py`) that answer it.
Everything here was checked by the dialect: numbers are in range, texts are Unicode.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.server.contract.json_values import Json


_TURN_CHARACTERS = 40
"""The role that the template writes around a turn."""


class Role(StrEnum):
    """Who says a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    """The result of a call, for the model to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the model makes, in an earlier turn or in this one."""

    id: str
    name: str
    arguments: str
    """The arguments as JSON text, as the model wrote them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str
    calls: tuple[ToolCall, ...] = ()
    """The calls of an assistant's turn."""
    call_id: str | None = None
    """The call that a tool's turn answers."""

    @property
    def length(self) -> int:
        """About how much there is to read, in characters: a turn has some of its own."""
        return _TURN_CHARACTERS + len(self.text) + sum(len(call.arguments) for call in self.calls)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that the model's chat template makes a prompt of, at least one; the answer is next."""

    messages: tuple[Message, ...]

    @property
    def length(self) -> int:
        """About how much there is to read, in characters."""
        return sum(message.length for message in self.messages)


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text that the answer continues."""

    text: str

    @property
    def length(self) -> int:
        """How much there is to read, in characters."""
        return len(self.text)


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Tokens that the answer continues."""

    ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """Nothing to speak of: tokens are read already."""
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
    """The field of the request that has the schema."""


class ToolUse(StrEnum):
    """True if the model calls a tool."""

    NONE = "none"
    AUTO = "auto"
    """The model decides."""
    REQUIRED = "required"
    """The answer is one or more calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools of a request, and what the model may do with them."""

    tools: tuple[Tool, ...] = ()
    use: ToolUse = ToolUse.AUTO
    only: str | None = None
    """The one tool that must be called; `use` is REQUIRED."""
    is_parallel: bool = True
    """True if an answer may have several calls."""


@dataclass(frozen=True, slots=True)
class FreeForm:
    """Any text."""


@dataclass(frozen=True, slots=True)
class JsonObject:
    """One JSON object."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """JSON text that a schema allows."""

    schema: Mapping[str, Json]
    param: str = "schema"
    """The field of the request that has it."""


Form: TypeAlias = FreeForm | JsonObject | JsonSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen from the logits."""

    temperature: float = 1.0
    """0: always the most likely token."""
    top_p: float = 1.0
    """The most likely tokens whose probabilities add up to this, in (0, 1]."""
    top_k: int | None = None
    """The number of most likely tokens, at least 1; None: all."""
    seed: int | None = None
    """None: another one for each request."""
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    """Token → what is added to its logit."""
    frequency_penalty: float = 0.0
    """Amount taken from the logit of a token for each time that it is in the answer."""
    presence_penalty: float = 0.0
    """Amount taken from the logit of a token that is in the answer."""
    repetition_penalty: float = 1.0
    """Divisor of positive logits of tokens in the prompt or the answer, factor of negative ones."""
    min_tokens: int = 0
    """The answer cannot end before it has so many tokens."""
    ignores_end: bool = False
    """True if the model cannot end the answer: it has all the tokens that it may have."""

    @property
    def has_penalties(self) -> bool:
        """True if earlier tokens change the logits of the next one."""
        has_additive = bool(self.frequency_penalty or self.presence_penalty)
        return has_additive or self.repetition_penalty != 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One request for text."""

    id: str
    """The name of the request in logs; answers of dialects are named after it."""
    model: str
    """The name that the client wrote."""
    prompt: Prompt
    others: tuple[Prompt, ...] = ()
    """More prompts (completions only); their answers come behind those of the first one."""
    num_answers: int = 1
    """Answers to each prompt, each sampled for itself (`n`)."""
    max_tokens: int | None = None
    """Tokens of each answer, at least 1; None: up to the end of the context."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer; they are not part of it."""
    sampling: Sampling = field(default_factory=Sampling)
    form: Form = field(default_factory=FreeForm)
    tools: Tools = field(default_factory=Tools)
    top_logprobs: int | None = None
    """Alternatives beside each token, 0 or more; None: no log probabilities."""
    echo: bool = False
    """True if an answer begins with the prompt (completions only)."""
    arrival_seconds: float | None = None
    """When it comes, in wafer time, if the client says so (pace `virtual`)."""

    @property
    def total_answers(self) -> int:
        """The answers to all prompts."""
        return self.num_answers * (1 + len(self.others))

    def each(self) -> tuple[Generation, ...]:
        """Return the same request for each of its prompts."""
        if not self.others:
            return (self,)
        return tuple(replace(self, prompt=one, others=()) for one in (self.prompt, *self.others))

    @property
    def num_characters(self) -> int:
        """About how much there is to read of all prompts."""
        return self.prompt.length + sum(one.length for one in self.others)

    @property
    def is_free(self) -> bool:
        """True if answers may be any text: there is no schema to follow, and no tool to call."""
        return isinstance(self.form, FreeForm) and not self.tools.tools
