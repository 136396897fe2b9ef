"""`/v1/messages` and `/v1/messages/count_tokens` of Anthropic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import jiter
from pydantic import Discriminator, Field, Tag

from onewafer.server.contract.events import CallDelta, Completed, Delta, Ended, Reason, Started
from onewafer.server.contract.failures import RequestError
from onewafer.server.contract.generation import (
    Conversation,
    Form,
    Generation,
    Message,
    Role,
    Tool,
    ToolCall,
    Tools,
)
from onewafer.server.dialects.dialect import Asked, Envelope, Writer
from onewafer.server.dialects.error_shapes import anthropic_error
from onewafer.server.dialects.measures import measures
from onewafer.server.dialects.openai_wire import (
    MAX_TOOLS,
    MAX_TURNS,
    Count,
    Fraction,
    FreeJson,
    Natural,
    read_form,
    read_sampling,
    read_schema,
    read_stop,
    read_tools,
    require_field,
)
from onewafer.server.dialects.wire import Wire, read_wire
from onewafer.server.dialects.writing import to_json, to_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onewafer.server.contract.events import Event, Usage
    from onewafer.server.contract.json_values import Json
    from onewafer.server.dialects.gathered import Gathered

MAX_STOPS = 64
_STOP_REASONS = {
    Reason.END: "end_turn",
    Reason.STOP_TEXT: "stop_sequence",
    Reason.LENGTH: "max_tokens",
    Reason.TOOL_CALLS: "tool_use",
}


class Block(Wire):
    """A content block of a turn: text, a tool call, or the result of a tool call."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: FreeJson | None = None
    tool_use_id: str | None = None
    content: Content | None = None


def _text_or_blocks(value: object) -> str | None:
    return "text" if isinstance(value, str) else "blocks" if isinstance(value, list) else None


Content: TypeAlias = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[Block], Field(max_length=MAX_TURNS), Tag("blocks")],
    Discriminator(
        _text_or_blocks,
        custom_error_type="content",
        custom_error_message="Input should be a text, or a list of blocks",
    ),
]


class Turn(Wire):
    """A turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: Content


class ClientTool(Wire):
    """A function of the client."""

    type: str | None = None
    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    input_schema: FreeJson | None = None


class ToolChoice(Wire):
    """The client's choice of tools."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class OutputFormat(Wire):
    """The requested format of the answer."""

    type: Literal["json_schema"]
    schema_: FreeJson = Field(alias="schema")


class OutputConfig(Wire):
    """Options of the answer's format."""

    format: OutputFormat | None = None


class CountRequest(Wire):
    """The body of a request that counts tokens; a request for an answer has more fields."""

    model: str
    messages: Annotated[list[Turn], Field(min_length=1, max_length=MAX_TURNS)]
    system: Content | None = None
    tools: Annotated[list[ClientTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None

    def read_prompt(self) -> Conversation:
        """Return the turns."""
        turns = [
            message
            for i, turn in enumerate(self.messages)
            for message in _read_turn(turn, f"messages.{i}.content")
        ]
        if not turns:
            raise RequestError("messages: no turn says anything", param="messages")
        return Conversation((*_read_system(self.system), *turns))

    def read_tools(self) -> Tools:
        """Return the tools."""
        tools = [_read_tool(tool, f"tools.{i}") for i, tool in enumerate(self.tools or ())]
        choice = self.tool_choice or ToolChoice(type="auto")
        is_parallel = not choice.disable_parallel_tool_use
        match choice.type:
            case "tool":
                name = require_field(choice.name, "tool_choice.name")
                return read_tools(tools, None, only=name, is_parallel=is_parallel)
            case "any":
                return read_tools(tools, "required", only=None, is_parallel=is_parallel)
            case mode:
                return read_tools(tools, mode, only=None, is_parallel=is_parallel)

    def count(self, envelope: Envelope) -> Generation:
        """Return the request whose prompt is counted."""
        return Generation(
            id=envelope.id, model=self.model, prompt=self.read_prompt(), tools=self.read_tools()
        )


class MessagesRequest(CountRequest):
    """The body of a request."""

    max_tokens: Count
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: Fraction | None = None
    top_p: Fraction | None = None
    top_k: Natural | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None

    def read(self, envelope: Envelope) -> Generation:
        """Return the generation that the request asks for."""
        if self.messages[-1].role == "assistant":
            raise RequestError(
                "messages: the model does not go on with a turn that is begun; the last one must "
                "be the user's"
            )
        return Generation(
            id=envelope.id,
            model=self.model,
            prompt=self.read_prompt(),
            max_tokens=self.max_tokens,
            stop=read_stop(self.stop_sequences, most=MAX_STOPS),
            sampling=read_sampling(
                temperature=self.temperature, top_p=self.top_p, top_k=self.top_k
            ),
            form=self._read_form(),
            tools=self.read_tools(),
            arrival_seconds=envelope.arrival_seconds,
        )

    def _read_form(self) -> Form:
        wanted = self.output_config.format if self.output_config else None
        wanted = wanted or self.output_format
        param = "output_config.format.schema"
        return read_form(wanted and wanted.type, wanted and wanted.schema_, param)


def _read_system(content: str | Sequence[Block] | None) -> Iterator[Message]:
    if content:
        yield Message(role=Role.SYSTEM, text=_read_text(content, "system"))


def _read_turn(turn: Turn, param: str) -> Iterator[Message]:
    """Yield the messages of a turn: first a message for each tool result, then the rest."""
    role = Role(turn.role)
    if isinstance(turn.content, str):
        yield Message(role=role, text=turn.content)
        return
    texts: list[str] = []
    calls: list[ToolCall] = []
    for i, block in enumerate(turn.content):
        place = f"{param}.{i}"
        match block.type:
            case "tool_result":
                text = _read_text(block.content or "", f"{place}.content")
                call_id = require_field(block.tool_use_id, f"{place}.tool_use_id")
                yield Message(role=Role.TOOL, text=text, call_id=call_id)
            case "tool_use":
                calls.append(_read_call(block, place))
            case "thinking" | "redacted_thinking":  # of another model, ignored
                pass
            case _:
                texts.append(_block_text(block, place))
    if texts or calls:
        yield Message(role=role, text="\n".join(texts), calls=tuple(calls))


def _read_text(content: str | Sequence[Block], param: str) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_block_text(block, f"{param}.{i}") for i, block in enumerate(content))


def _block_text(block: Block, param: str) -> str:
    if block.type != "text":
        raise RequestError(
            f"{param}: the model reads text only, not a block of the type {block.type[:40]!r}",
            param=param,
        )
    return require_field(block.text, f"{param}.text")


def _read_call(block: Block, param: str) -> ToolCall:
    return ToolCall(
        id=require_field(block.id, f"{param}.id"),
        name=require_field(block.name, f"{param}.name"),
        arguments=to_json(read_schema(block.input or {}, f"{param}.input")),
    )


def _read_tool(tool: ClientTool, param: str) -> Tool:
    if tool.type not in (None, "custom"):
        raise RequestError(
            f"{param}.type: this server has no tool of the type {tool.type[:40]!r}; it calls "
            "tools of the client only",
            param=f"{param}.type",
        )
    schema = tool.input_schema or {"type": "object", "properties": {}}
    return Tool(
        name=tool.name,
        description=tool.description or "",
        parameters=read_schema(schema, f"{param}.input_schema"),
        param=f"{param}.input_schema",
    )


class MessageWriter(Writer):
    """Writes a message, block by block."""

    def __init__(self, request: MessagesRequest, envelope: Envelope) -> None:
        self._envelope = envelope
        self._model = request.model
        self._block = -1
        self._block_type: str | None = None
        self._ended: Ended | None = None

    def write(self, events: Sequence[Event]) -> str:
        return "".join(text for event in events for text in self._write(event))

    def ping(self) -> str:
        return to_named("ping", {"type": "ping"})

    def fail(self, failure: RequestError) -> str:
        return to_named("error", anthropic_error(failure, self._envelope.id))

    def whole(self, gathered: Gathered) -> Mapping[str, Json]:
        [answer] = gathered.answers
        content: list[Json] = []
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        for call in answer.calls:
            value = _parsed(call.arguments)
            block: dict[str, Json] = {"type": "tool_use", "id": call.id, "name": call.name}
            content.append({**block, "input": value})
        completed = gathered.completed
        return {
            **self._message(content, _usage_of(completed.usage)),
            "stop_reason": _STOP_REASONS[answer.reason],
            "stop_sequence": answer.stop,
            **measures(completed, self._envelope.created),
        }

    def _message(self, content: Sequence[Json], usage: Mapping[str, Json]) -> dict[str, Json]:
        return {
            "id": f"msg_{self._envelope.id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def _write(self, event: Event) -> Iterator[str]:
        match event:
            case Delta():
                yield from self._text(event)
            case CallDelta():
                yield from self._call(event)
            case Started():
                yield from self._start(event)
            case Ended():
                yield from self._stop_block()
                self._ended = event
            case Completed():
                yield from self._end(event)

    def _start(self, event: Started) -> Iterator[str]:
        message = self._message([], _usage(event.prompt_tokens, event.cached_tokens, 0))
        yield to_named("message_start", {"type": "message_start", "message": message})
        yield self.ping()

    def _text(self, event: Delta) -> Iterator[str]:
        if not event.text:
            return
        if self._block_type != "text":
            yield from self._stop_block()
            yield self._start_block({"type": "text", "text": ""})
        yield (
            "event: content_block_delta\n"
            f'data: {{"type":"content_block_delta","index":{self._block},'
            f'"delta":{{"type":"text_delta","text":{to_json(event.text)}}}}}\n\n'
        )

    def _call(self, event: CallDelta) -> Iterator[str]:
        if event.id is not None:
            yield from self._stop_block()
            block: dict[str, Json] = {"type": "tool_use", "id": event.id, "name": event.name}
            yield self._start_block({**block, "input": {}})
        if event.arguments:
            delta = {"type": "input_json_delta", "partial_json": event.arguments}
            yield to_named(
                "content_block_delta",
                {"type": "content_block_delta", "index": self._block, "delta": delta},
            )

    def _start_block(self, block: Mapping[str, Json]) -> str:
        self._block += 1
        self._block_type = str(block["type"])
        value = {"type": "content_block_start", "index": self._block, "content_block": block}
        return to_named("content_block_start", value)

    def _stop_block(self) -> Iterator[str]:
        if self._block_type is not None:
            self._block_type = None
            value = {"type": "content_block_stop", "index": self._block}
            yield to_named("content_block_stop", value)

    def _end(self, event: Completed) -> Iterator[str]:
        assert self._ended is not None
        reason = _STOP_REASONS[self._ended.reason]
        value: dict[str, Json] = {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": self._ended.stop},
            "usage": _usage_of(event.usage),
            **measures(event, self._envelope.created),
        }
        yield to_named("message_delta", value)
        yield to_named("message_stop", {"type": "message_stop"})


def _usage(prompt_tokens: int, cached_tokens: int, output_tokens: int) -> dict[str, Json]:
    """Return Anthropic's `usage`, in which input tokens exclude cached ones."""
    return {
        "input_tokens": prompt_tokens - cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached_tokens,
        "output_tokens": output_tokens,
    }


def _usage_of(usage: Usage) -> dict[str, Json]:
    return _usage(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)


def _parsed(arguments: str) -> Json:
    """Return the parsed arguments; {} if they were cut off."""
    try:
        return jiter.from_json(arguments.encode())
    except ValueError:
        return {}


def read_message(value: Json, envelope: Envelope) -> Asked:
    """Read the body of a request for an answer."""
    request = read_wire(MessagesRequest, value)
    return Asked(
        generation=request.read(envelope),
        is_streamed=bool(request.stream),
        writer=MessageWriter(request, envelope),
    )


def read_counted(value: Json, envelope: Envelope) -> Generation:
    """Read the body of `count_tokens`."""
    return read_wire(CountRequest, value).count(envelope)
