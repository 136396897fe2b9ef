"""The OpenAPI document of the server (`/openapi.json`), derived from the wire types of bodies.

A few rules between fields are not in it, such as that a chosen tool must be among the tools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from pydantic.json_schema import models_json_schema

from onewafer import __version__
from onewafer.server.dialects.chat_completions import ChatRequest
from onewafer.server.dialects.completions import CompletionRequest
from onewafer.server.dialects.messages import CountRequest, MessagesRequest
from onewafer.server.dialects.responses import ResponsesRequest
from onewafer.server.http.endpoints import Advance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.json_values import Json
    from onewafer.server.contract.service import ServedModel
    from onewafer.server.dialects.wire import Wire

_BODIES: Final[Mapping[str, tuple[str, type[Wire]]]] = {
    "/v1/chat/completions": ("Answer a conversation, as OpenAI does", ChatRequest),
    "/v1/completions": ("Go on with a text, as OpenAI does", CompletionRequest),
    "/v1/responses": ("Answer, as OpenAI does", ResponsesRequest),
    "/v1/responses/input_tokens": ("Count the tokens of a prompt", ResponsesRequest),
    "/v1/messages": ("Answer a conversation, as Anthropic does", MessagesRequest),
    "/v1/messages/count_tokens": ("Count the tokens of a prompt", CountRequest),
    "/onewafer/advance": ("Move the clock on, with --pace virtual", Advance),
}
_READINGS: Final = {
    "/v1/models": "List the model that is served",
    "/health": "Say whether requests are answered: 200 if so, else 503",
    "/metrics": "Measure the server, for Prometheus",
}
_ANSWERS: Final = {
    "200": {"description": "The answer; a stream of events if the body asks for one."},
    "4XX": {"description": "What is wrong, in the shape of the dialect."},
    "503": {"description": "The model is being loaded, or the server ends."},
}


def to_openapi(models: Sequence[ServedModel]) -> Json:
    """Return the document; `models`, if any, are the allowed values of `model` in a body."""
    kinds = {kind for _, kind in _BODIES.values()}
    references, definitions = models_json_schema(
        [(kind, "validation") for kind in sorted(kinds, key=lambda kind: kind.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = definitions["$defs"]
    names: Json = [model.id for model in models]
    for kind in kinds:
        fields: dict[str, Any] = schemas[kind.__name__]["properties"]
        if names and "model" in fields:
            fields["model"] = {"type": "string", "enum": names}
    paths: dict[str, Json] = {
        path: {"post": _posting(summary, references[kind, "validation"])}
        for path, (summary, kind) in _BODIES.items()
    }
    paths |= {path: {"get": _operation(summary)} for path, summary in _READINGS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "onewafer serve", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": cast("Json", schemas),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _posting(summary: str, schema: Mapping[str, Any]) -> Json:
    content: Json = {"application/json": {"schema": dict(schema)}}
    return {**_operation(summary), "requestBody": {"required": True, "content": content}}


def _operation(summary: str) -> dict[str, Json]:
    return {"summary": summary, "responses": cast("Json", _ANSWERS)}
