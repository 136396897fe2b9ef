"""Parts of bodies that OpenAI's dialects share: texts, tools, formats of an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, TypeVar, cast

from pydantic import Discriminator, Field, Tag

from onewafer.server.contract.failures import RequestError
from onewafer.server.contract.generation import (
    Form,
    FreeForm,
    JsonObject,
    JsonSchema,
    Sampling,
    Tool,
    Tools,
    ToolUse,
)
from onewafer.server.dialects.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.json_values import Json

_Value = TypeVar("_Value")
MAX_ANSWERS = 128
MAX_BIASES = 1024
"""The most tokens with a bias: each costs time at every token of an answer."""
MORE_THAN_ANY_CONTEXT = 2**53
"""Tokens; a number that every client can represent exactly."""
MAX_TURNS = 10_000
"""The most turns, and parts of a turn: with more, a body takes seconds to check."""
MAX_STOPS = 4
MAX_REPETITION_PENALTY = 100.0
MAX_TOOLS = 512
MAX_TOP_LOGPROBS = 20
Seed: TypeAlias = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Temperature: TypeAlias = Annotated[float, Field(ge=0, le=2)]
Penalty: TypeAlias = Annotated[float, Field(ge=-2, le=2)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=1, lt=MORE_THAN_ANY_CONTEXT)]
Natural: TypeAlias = Annotated[int, Field(ge=0, lt=MORE_THAN_ANY_CONTEXT)]
Biases: TypeAlias = Annotated[
    dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=MAX_BIASES)
]
NumAnswers: TypeAlias = Annotated[int, Field(ge=1, le=MAX_ANSWERS)]
FreeJson: TypeAlias = dict[str, object]
"""A JSON object of any content, such as a JSON schema."""


class Part(Wire):
    """A content part of a message; only text is supported."""

    type: str
    text: str | None = None
    refusal: str | None = None


def _text_or_parts(value: object) -> str | None:
    return "text" if isinstance(value, str) else "parts" if isinstance(value, list) else None


Content: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Part], Field(max_length=MAX_TURNS), Tag("parts")],
    Discriminator(
        _text_or_parts,
        custom_error_type="content",
        custom_error_message="Input should be a text, or a list of parts",
    ),
]
Stop: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[str], Tag("parts")],
    Discriminator(
        _text_or_parts,
        custom_error_type="stop",
        custom_error_message="Input should be a text, or a list of texts",
    ),
]


class StreamOptions(Wire):
    """Options of a stream."""

    include_usage: bool | None = None


def mode_or_choice(value: object) -> str:
    """Return the tag of a `tool_choice`: `mode` for a word, `choice` for an object."""
    return "mode" if isinstance(value, str) else "choice"


def read_text(content: str | Sequence[Part] | None, param: str) -> str:
    """Return the text of a content, its parts as lines; raise RequestError for other parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(_part_text(part, f"{param}.{i}") for i, part in enumerate(content))


def _part_text(part: Part, param: str) -> str:
    text = part.refusal if part.type == "refusal" else part.text
    if "text" not in part.type and part.type != "refusal":
        raise RequestError(
            f"{param}: the model reads text only, not a part of the type {part.type[:40]!r}",
            param=param,
            code="unsupported_content",
        )
    return require_field(text, f"{param}.text")


def require_field(value: _Value | None, param: str) -> _Value:
    """Return a value; raise RequestError if the field is missing."""
    if value is None:
        raise RequestError(f"{param}: Field required", param=param)
    return value


def read_stop(stop: str | Sequence[str] | None, *, most: int = MAX_STOPS) -> tuple[str, ...]:
    """Return the stop texts; raise RequestError if there are too many, or one is empty."""
    texts = () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
    if len(texts) > most:
        raise RequestError(f"stop: at most {most} texts, not {len(texts)}", param="stop")
    if "" in texts:
        raise RequestError("stop: the empty text would end every answer", param="stop")
    return texts


class JsonSchemaFormat(Wire):
    """The schema of a structured answer."""

    name: str
    schema_: FreeJson | None = Field(default=None, alias="schema")
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(Wire):
    """The requested format of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


def read_form(kind: str | None, schema: FreeJson | None, param: str) -> Form:
    """Return the requested form of an answer; `param` is the field of the schema.

    Raises RequestError if the form is a schema, and there is none.
    """
    match kind:
        case None | "text":
            return FreeForm()
        case "json_object":
            return JsonObject()
        case _:
            return JsonSchema(read_schema(require_field(schema, param), param), param)


def read_schema(schema: FreeJson, param: str) -> Mapping[str, Json]:
    """Return a schema; raise RequestError if it has a number beyond float64, such as 1e999."""
    try:
        json.dumps(schema, allow_nan=False)
    except ValueError:
        raise RequestError(f"{param}: a number is too large", param=param) from None
    return cast("Mapping[str, Json]", schema)


class FunctionTool(Wire):
    """A function that the model may call."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: FreeJson | None = None
    strict: bool | None = None


def read_tool(function: FunctionTool, param: str) -> Tool:
    """Return a tool; without `parameters`, its schema is an empty object."""
    schema = function.parameters or {"type": "object", "properties": {}}
    param = f"{param}.parameters"
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=read_schema(schema, param),
        param=param,
    )


class ToolNames(Wire):
    """The name of a function."""

    name: str


class NamedTool(Wire):
    """A choice of one tool."""

    type: Literal["function"]
    function: ToolNames


ToolMode: TypeAlias = Literal["none", "auto", "required"]


def read_tools(
    tools: Sequence[Tool], mode: ToolMode | None, *, only: str | None, is_parallel: bool
) -> Tools:
    """Return the tools of a request and their use; `only` is the tool that must be called.

    That tool is called once: programs that force a call read only one.

    Raises RequestError if two tools have one name, or the choice has no tool.
    """
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"tools: two tools have the name {name[:80]!r}", param="tools")
    if only is not None and only not in names:
        raise RequestError(f"tool_choice: no tool has the name {only[:80]!r}", param="tool_choice")
    if mode == "required" and not tools:
        raise RequestError("tool_choice: 'required' needs tools", param="tool_choice")
    use = ToolUse.REQUIRED if only is not None else ToolUse(mode or "auto")
    return Tools(tools=tuple(tools), use=use, only=only, is_parallel=is_parallel and only is None)


class SamplingFields(Wire):
    """The sampling parameters of chats and completions."""

    temperature: Temperature | None = None
    top_p: Fraction | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    seed: Seed | None = None
    logit_bias: Biases | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=MAX_REPETITION_PENALTY)] | None = None
    ignore_eos: bool | None = None

    def read_sampling(self, *, min_tokens: int) -> Sampling:
        """Return the sampling; raise RequestError if a key of `logit_bias` is no token."""
        return replace(
            read_sampling(temperature=self.temperature, top_p=self.top_p, top_k=self.top_k),
            seed=self.seed,
            logit_bias={_token(name): bias for name, bias in (self.logit_bias or {}).items()},
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            repetition_penalty=self.repetition_penalty or 1.0,
            min_tokens=min_tokens,
            ignores_end=bool(self.ignore_eos),
        )


def read_sampling(
    *, temperature: float | None, top_p: float | None, top_k: int | None = None
) -> Sampling:
    """Return the sampling; a `top_p` of 0 becomes a `top_k` of 1, and a `top_k` of 0 or -1 none."""
    if top_p == 0:
        top_p, top_k = 1.0, 1
    return Sampling(
        temperature=1.0 if temperature is None else temperature,
        top_p=1.0 if top_p is None else top_p,
        top_k=top_k if top_k is not None and top_k > 0 else None,
    )


def read_least(least: int | None, limit: int | None) -> int:
    """Return the least number of tokens; raise RequestError if it is more than the limit."""
    if least and limit is not None and least > limit:
        raise RequestError(
            f"min_tokens: {least} is more than the most, which is {limit}", param="min_tokens"
        )
    return least or 0


def _token(name: str) -> int:
    if name.isascii() and name.isdecimal() and len(name) < 10:  # noqa: PLR2004  # any vocabulary
        return int(name)
    raise RequestError(
        f"logit_bias: {name[:40]!r} is not the number of a token", param="logit_bias"
    )
