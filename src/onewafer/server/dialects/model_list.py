"""`/v1/models`, in one form for clients of OpenAI, Cerebras and Anthropic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.server.contract.clock import to_iso
from onewafer.server.contract.failures import UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.json_values import Json
    from onewafer.server.contract.service import ServedModel


def list_models(models: Sequence[ServedModel]) -> Mapping[str, Json]:
    """Return all models."""
    return {
        "object": "list",
        "data": [_model(model) for model in models],
        "has_more": False,
        "first_id": models[0].id if models else None,
        "last_id": models[-1].id if models else None,
    }


def find_model(models: Sequence[ServedModel], name: str) -> Mapping[str, Json]:
    """Return one model; raise UnknownModelError if it is not served."""
    for model in models:
        if model.id == name:
            return _model(model)
    raise unknown_model(name, models)


def unknown_model(name: str, models: Sequence[ServedModel]) -> UnknownModelError:
    """Return the error about an unknown name of a model."""
    served = ", ".join(repr(model.id) for model in models)
    return UnknownModelError(f"no model {name[:80]!r} is served here; {served} is", param="model")


def _model(model: ServedModel) -> dict[str, Json]:
    name = f"{model.id} (synthetic text)" if model.is_synthetic else model.id
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "type": "model",
        "display_name": name,
        "created_at": to_iso(model.created),
        "lifecycle": "active",
        "max_input_tokens": model.context_length,
        "max_model_len": model.context_length,
        "context_length": model.context_length,
        "system_fingerprint": model.fingerprint,
        "onewafer": {
            "system": model.system,
            "is_synthetic": model.is_synthetic,
            "values": model.values,
        },
    }
