"""Served models: their files, tokenizers and weights.

The names of `loading`, which imports torch and transformers, are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from onewafer.server.models.fingerprints import fingerprint
from onewafer.server.models.sources import (
    SMOLLM2,
    SMOLLM2_INSTALL,
    ModelSource,
    check_model,
    find_source,
    refuse_without_memory,
)
from onewafer.server.models.text_model import TextModel

if TYPE_CHECKING:
    from onewafer.server.models.loading import LoadedModel, load_model, load_text
    from onewafer.server.models.stand_ins import load_words

__all__ = [
    "SMOLLM2",
    "SMOLLM2_INSTALL",
    "LoadedModel",
    "ModelSource",
    "TextModel",
    "check_model",
    "find_source",
    "fingerprint",
    "load_model",
    "load_text",
    "load_words",
    "refuse_without_memory",
]
_LATE = {
    "LoadedModel": "loading",
    "load_model": "loading",
    "load_text": "loading",
    "load_words": "stand_ins",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"onewafer.server.models.{_LATE[name]}"), name)
