"""`/v1/responses` of OpenAI, stateless: every request contains its whole conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, cast

from pydantic import Discriminator, Field, Tag

from onewafer.server.contract.failures import RequestError
from onewafer.server.contract.generation import (
    Conversation,
    Form,
    Generation,
    Message,
    Role,
    ToolCall,
    Tools,
)
from onewafer.server.dialects.dialect import Asked, Envelope
from onewafer.server.dialects.openai_wire import (
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    MAX_TURNS,
    Content,
    Count,
    Fraction,
    FreeJson,
    FunctionTool,
    Temperature,
    ToolMode,
    mode_or_choice,
    read_form,
    read_sampling,
    read_text,
    read_tool,
    read_tools,
    require_field,
)
from onewafer.server.dialects.response_writer import ResponseWriter
from onewafer.server.dialects.wire import Wire, read_wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.json_values import Json

LOGPROBS = "message.output_text.logprobs"
"""The value of `include` that asks for log probabilities."""


class MessageItem(Wire):
    """A turn of the conversation."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class CallItem(Wire):
    """A tool call of the model."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class CallOutputItem(Wire):
    """The result of a tool call."""

    type: Literal["function_call_output"]
    call_id: str
    output: Content


class ReasoningItem(Wire):
    """Reasoning of another model; it is ignored."""

    type: Literal["reasoning"]


def _item_kind(value: object) -> str:
    kind = cast("Mapping[str, object]", value).get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else "message"


Item: TypeAlias = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(
        _item_kind,
        custom_error_type="item",
        custom_error_message=(
            "type must be message, function_call, function_call_output or reasoning; the server "
            "keeps no items"
        ),
    ),
]


def _text_or_items(value: object) -> str:
    return "text" if isinstance(value, str) else "items"


class AnyTool(Wire):
    """A tool; only functions are offered to the model."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: FreeJson | None = None


class ToolChoice(Wire):
    """A choice of one function, or of some."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[AnyTool] | None = None


class TextFormat(Wire):
    """The requested format of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: FreeJson | None = Field(default=None, alias="schema")


class TextOptions(Wire):
    """Options of the answer's text."""

    format: TextFormat | None = None


class ResponsesRequest(Wire):
    """The body of a request."""

    model: str
    input: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[list[Item], Field(max_length=MAX_TURNS), Tag("items")],
        Discriminator(_text_or_items),
    ]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: Fraction | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    include: list[str] | None = None
    text: TextOptions | None = None
    tools: Annotated[list[AnyTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: (
        Annotated[
            Annotated[ToolMode, Tag("mode")] | Annotated[ToolChoice, Tag("choice")],
            Discriminator(mode_or_choice),
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    conversation: object = None
    prompt: object = None
    background: bool | None = None

    def read(self, envelope: Envelope) -> Generation:
        """Return the generation that the request asks for."""
        self._refuse_unsupported()
        wants_logprobs = self.top_logprobs is not None or LOGPROBS in (self.include or ())
        return Generation(
            id=envelope.id,
            model=self.model,
            prompt=self._read_prompt(),
            max_tokens=self.max_output_tokens,
            sampling=read_sampling(temperature=self.temperature, top_p=self.top_p),
            form=self._read_form(),
            tools=self._read_tools(),
            top_logprobs=(self.top_logprobs or 0) if wants_logprobs else None,
            arrival_seconds=envelope.arrival_seconds,
        )

    def _refuse_unsupported(self) -> None:
        kept = {
            "previous_response_id": self.previous_response_id,
            "conversation": self.conversation,
            "prompt": self.prompt,
        }
        for name, value in kept.items():
            if value is not None:
                raise RequestError(
                    f"{name}: this server keeps nothing; send the whole conversation in 'input'",
                    param=name,
                    code="unsupported_parameter",
                )
        if self.background:
            raise RequestError("background: answers are not kept", param="background")

    def _read_prompt(self) -> Conversation:
        turns: list[Message] = []
        if self.instructions:
            turns.append(Message(role=Role.SYSTEM, text=self.instructions))
        if isinstance(self.input, str):
            turns.append(Message(role=Role.USER, text=self.input))
        else:
            for i, item in enumerate(self.input):
                _add_item(turns, item, f"input.{i}")
        if not turns:
            raise RequestError("input: there is nothing to answer", param="input")
        return Conversation(tuple(turns))

    def _read_form(self) -> Form:
        wanted = self.text.format if self.text else None
        return read_form(wanted and wanted.type, wanted and wanted.schema_, "text.format.schema")

    def _read_tools(self) -> Tools:
        """Return the functions; tools that OpenAI's servers run are left out."""
        functions = [
            read_tool(_function(tool, f"tools.{i}"), f"tools.{i}")
            for i, tool in enumerate(self.tools or ())
            if tool.type == "function"
        ]
        is_parallel = self.parallel_tool_calls is not False
        match self.tool_choice:
            case ToolChoice(type="function", name=str(name)):
                return read_tools(functions, None, only=name, is_parallel=is_parallel)
            case ToolChoice(type="allowed_tools", tools=[*allowed]):
                names = {tool.name for tool in allowed}
                some = [tool for tool in functions if tool.name in names]
                mode = self.tool_choice.mode
                return read_tools(some, mode, only=None, is_parallel=is_parallel)
            case ToolChoice():
                raise RequestError(
                    f"tool_choice: {self.tool_choice.type[:40]!r} is not a function of the request",
                    param="tool_choice",
                )
            case mode:
                return read_tools(functions, mode, only=None, is_parallel=is_parallel)


def _function(tool: AnyTool, param: str) -> FunctionTool:
    name = require_field(tool.name or None, f"{param}.name")
    return FunctionTool(name=name, description=tool.description, parameters=tool.parameters)


def _add_item(turns: list[Message], item: Item, param: str) -> None:
    """Append an item; a tool call is added to the assistant's turn before it, if any."""
    match item:
        case MessageItem():
            role = Role.SYSTEM if item.role == "developer" else Role(item.role)
            turns.append(Message(role=role, text=read_text(item.content, f"{param}.content")))
        case CallItem():
            call = ToolCall(id=item.call_id, name=item.name, arguments=item.arguments)
            if turns and turns[-1].role is Role.ASSISTANT:
                last = turns.pop()
                turns.append(Message(role=last.role, text=last.text, calls=(*last.calls, call)))
            else:
                turns.append(Message(role=Role.ASSISTANT, text="", calls=(call,)))
        case CallOutputItem():
            text = read_text(item.output, f"{param}.output")
            turns.append(Message(role=Role.TOOL, text=text, call_id=item.call_id))
        case ReasoningItem():
            pass


def read_response(value: Json, envelope: Envelope) -> Asked:
    """Read the body of a request for an answer."""
    request = read_wire(ResponsesRequest, value)
    return Asked(
        generation=request.read(envelope),
        is_streamed=bool(request.stream),
        writer=ResponseWriter(_echoed(request, cast("Mapping[str, Json]", value)), envelope),
    )


def read_response_input(value: Json, envelope: Envelope) -> Generation:
    """Read the body of `/v1/responses/input_tokens`."""
    return read_wire(ResponsesRequest, value).read(envelope)


def _echoed(request: ResponsesRequest, body: Mapping[str, Json]) -> dict[str, Json]:
    """Return the fields of the request that a response repeats."""
    return {
        "model": request.model,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": _functions(cast("Sequence[Mapping[str, Json]]", body.get("tools") or ())),
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": "disabled",
        "user": None,
    }


def _functions(tools: Sequence[Mapping[str, Json]]) -> list[Json]:
    """Return the functions among the tools, with the fields that clients require."""
    return [
        {"parameters": {}, "strict": False, **tool} for tool in tools if tool["type"] == "function"
    ]
