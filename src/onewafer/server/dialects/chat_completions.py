"""`/v1/chat/completions` of OpenAI and Cerebras."""

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
from onewafer.server.dialects.chunks import FINISH, ChunkWriter
from onewafer.server.dialects.dialect import Asked, Envelope
from onewafer.server.dialects.openai_wire import (
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    MAX_TURNS,
    Content,
    Count,
    FunctionTool,
    NamedTool,
    Natural,
    NumAnswers,
    ResponseFormat,
    SamplingFields,
    Stop,
    StreamOptions,
    ToolMode,
    ToolNames,
    mode_or_choice,
    read_form,
    read_least,
    read_stop,
    read_text,
    read_tool,
    read_tools,
)
from onewafer.server.dialects.response_writer import chat_logprobs
from onewafer.server.dialects.wire import Wire, read_wire, refuse_fields
from onewafer.server.dialects.writing import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.server.contract.events import CallDelta, Delta, Ended
    from onewafer.server.contract.json_values import Json
    from onewafer.server.dialects.gathered import GatheredAnswer

CEREBRAS_FIELDS = frozenset((
    "clear_thinking", "disable_reasoning", "frequency_penalty", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "messages", "min_completion_tokens", "min_tokens",
    "model", "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
    "reasoning_effort", "reasoning_format", "response_format", "seed", "service_tier", "stop",
    "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p",
    "user",
))  # fmt: skip
"""The fields of Cerebras' client (cerebras_cloud_sdk 1.91)."""


class CalledFunction(Wire):
    """The function of a tool call in an earlier turn."""

    name: str
    arguments: str


class MadeCall(Wire):
    """A tool call in an earlier turn."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class SpokenMessage(Wire):
    """A turn of the system or the user."""

    role: Literal["system", "developer", "user"]
    content: Content
    name: str | None = None


class AssistantMessage(Wire):
    """A turn of the model."""

    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[MadeCall] | None = None


class ToolMessage(Wire):
    """The result of a tool call."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str
    name: str | None = None


def _speaker(value: object) -> str:
    role = cast("Mapping[str, object]", value).get("role") if isinstance(value, dict) else None
    return role if isinstance(role, str) else "system"


ChatMessage: TypeAlias = Annotated[
    Annotated[SpokenMessage, Tag("system")]
    | Annotated[SpokenMessage, Tag("developer")]
    | Annotated[SpokenMessage, Tag("user")]
    | Annotated[AssistantMessage, Tag("assistant")]
    | Annotated[ToolMessage, Tag("tool")],
    Discriminator(
        _speaker,
        custom_error_type="role",
        custom_error_message="role must be system, developer, user, assistant or tool",
    ),
]


class ChatTool(Wire):
    """A tool; functions are the only ones."""

    type: Literal["function"]
    function: FunctionTool


class AllowedTools(Wire):
    """A choice that restricts the model to some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class ToolChoice(Wire):
    """A choice of one tool, or of some."""

    type: Literal["function", "allowed_tools"]
    function: ToolNames | None = None
    allowed_tools: AllowedTools | None = None


class Prediction(Wire):
    """A predicted answer; it is ignored."""

    type: Literal["content"] = "content"
    content: Content | None = None


class ChatRequest(SamplingFields):
    """The body of a request."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_TURNS)]
    n: NumAnswers | None = None
    stop: Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    min_tokens: Natural | None = None
    min_completion_tokens: Natural | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[ChatTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: (
        Annotated[
            Annotated[ToolMode, Tag("mode")] | Annotated[ToolChoice, Tag("choice")],
            Discriminator(mode_or_choice),
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    functions: object = None
    function_call: object = None
    audio: object = None
    # Only checked for their types: they have no effect here.
    clear_thinking: bool | None = None
    disable_reasoning: bool | None = None
    prediction: Prediction | None = None
    prompt_cache_key: str | None = None
    reasoning_effort: str | None = None
    reasoning_format: str | None = None
    service_tier: str | None = None
    user: str | None = None

    def read(self, envelope: Envelope) -> Generation:
        """Return the generation that the request asks for."""
        self._refuse_unsupported()
        limit = self.max_completion_tokens or self.max_tokens
        least = self.min_tokens or self.min_completion_tokens
        return Generation(
            id=envelope.id,
            model=self.model,
            prompt=Conversation(
                tuple(_read_message(message, i) for i, message in enumerate(self.messages))
            ),
            num_answers=self.n or 1,
            max_tokens=limit,
            stop=read_stop(self.stop),
            sampling=self.read_sampling(min_tokens=read_least(least, limit)),
            form=self._read_form(),
            tools=self._read_tools(),
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            arrival_seconds=envelope.arrival_seconds,
        )

    def _refuse_unsupported(self) -> None:
        if self.functions or self.function_call:
            raise RequestError(
                "functions: not supported; name functions in 'tools'", param="functions"
            )
        if self.audio is not None:
            raise RequestError("audio: the model answers with text only", param="audio")
        if self.top_logprobs is not None and not self.logprobs:
            raise RequestError("top_logprobs: needs 'logprobs': true", param="top_logprobs")
        if self.stream_options is not None and not self.stream:
            raise RequestError("stream_options: needs 'stream': true", param="stream_options")

    def _read_form(self) -> Form:
        wanted = self.response_format
        given = None if wanted is None else wanted.json_schema
        schema = None if given is None else given.schema_
        return read_form(wanted and wanted.type, schema, "response_format.json_schema.schema")

    def _read_tools(self) -> Tools:
        tools = [
            read_tool(tool.function, f"tools.{i}.function")
            for i, tool in enumerate(self.tools or ())
        ]
        is_parallel = self.parallel_tool_calls is not False
        match self.tool_choice:
            case ToolChoice(type="function", function=ToolNames() as function):
                return read_tools(tools, None, only=function.name, is_parallel=is_parallel)
            case ToolChoice(type="allowed_tools", allowed_tools=AllowedTools() as allowed):
                names = {tool.function.name for tool in allowed.tools}
                some = [tool for tool in tools if tool.name in names]
                return read_tools(some, allowed.mode, only=None, is_parallel=is_parallel)
            case ToolChoice():
                param = f"tool_choice.{self.tool_choice.type}"
                raise RequestError(f"{param}: Field required", param=param)
            case mode:
                return read_tools(tools, mode, only=None, is_parallel=is_parallel)


def _read_message(message: ChatMessage, index: int) -> Message:
    text = read_text(message.content, f"messages.{index}.content")
    match message:
        case SpokenMessage():
            role = Role.USER if message.role == "user" else Role.SYSTEM
            return Message(role=role, text=text)
        case AssistantMessage():
            calls = tuple(
                ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
                for call in message.tool_calls or ()
            )
            return Message(role=Role.ASSISTANT, text=text or message.refusal or "", calls=calls)
        case ToolMessage():
            return Message(role=Role.TOOL, text=text, call_id=message.tool_call_id)


class ChatWriter(ChunkWriter):
    """Writes completions of a chat."""

    def __init__(self, request: ChatRequest, envelope: Envelope) -> None:
        self._with_logprobs = bool(request.logprobs)
        super().__init__(
            envelope,
            prefix="chatcmpl",
            kinds=("chat.completion.chunk", "chat.completion"),
            model=request.model,
            options=request.stream_options,
            num_answers=request.n or 1,
        )

    def opening(self, answer: int) -> str:
        return _choice(answer, '{"role":"assistant","content":""}')

    def text(self, event: Delta) -> str:
        if event.logprobs:
            logprobs = to_json(chat_logprobs(event.logprobs))
            return _choice(event.answer, f'{{"content":{to_json(event.text)}}}', logprobs=logprobs)
        if not event.text:
            return ""
        return _choice(event.answer, f'{{"content":{to_json(event.text)}}}')

    def call(self, event: CallDelta) -> str:
        # Cerebras' client requires the type in every part.
        call: dict[str, Json] = {"index": event.call, "type": "function"}
        if event.id is not None:
            function = {"name": event.name, "arguments": event.arguments}
            call |= {"id": event.id, "function": function}
        else:
            call["function"] = {"arguments": event.arguments}
        return _choice(event.answer, to_json({"tool_calls": [call]}))

    def closing(self, event: Ended) -> str:
        return _choice(event.answer, "{}", finish=f'"{FINISH[event.reason]}"')

    def answer(self, index: int, answer: GatheredAnswer) -> dict[str, Json]:
        text = answer.text
        message: dict[str, Json] = {"role": "assistant", "refusal": None, "content": text}
        if answer.calls:
            message["content"] = text or None
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in answer.calls
            ]
        return {
            "index": index,
            "message": message,
            "logprobs": chat_logprobs(answer.logprobs) if self._with_logprobs else None,
            "finish_reason": FINISH[answer.reason],
        }


def _choice(answer: int, delta: str, *, logprobs: str = "null", finish: str = "null") -> str:
    return f'{{"index":{answer},"delta":{delta},"logprobs":{logprobs},"finish_reason":{finish}}}'


def read_chat(value: Json, envelope: Envelope, *, is_strict: bool = False) -> Asked:
    """Read a body; `is_strict` refuses the fields that Cerebras does not have."""
    request = read_wire(ChatRequest, value, unknown="forbid" if is_strict else "ignore")
    if is_strict:
        refuse_fields(value, CEREBRAS_FIELDS)
    return Asked(
        generation=request.read(envelope),
        is_streamed=bool(request.stream),
        writer=ChatWriter(request, envelope),
    )
