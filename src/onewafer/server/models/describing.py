"""Capture of a served model without weights, for the performance equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.perf import kept_model, known_models
from onewafer.server.contract.requirements import FOR_CAPTURE, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf import Model
    from onewafer.server.models.sources import ModelSource


def describe_known(name: str, say: Callable[[str], None]) -> Model:
    """Return a model of the catalogue, from the cache or captured now."""
    kept = kept_model(name)
    if kept is not None:
        return kept
    require(FOR_CAPTURE, f"the capture of {name}")
    say("loading PyTorch")
    from onewafer.pytorch import describe_model  # noqa: PLC0415  # loads torch

    return describe_model(name, progress=say)


def describe_files(source: ModelSource, say: Callable[[str], None]) -> Model:
    """Capture the model of a folder or file from its configuration.

    Raises:
        ConfigurationError: it cannot be read.
    """
    require(FOR_CAPTURE, f"the capture of {source.id}")
    say(f"capturing {source.id}, without its weights")
    from onewafer.pytorch import describe_module  # noqa: PLC0415  # loads torch
    from onewafer.server.models.loading import build_without_weights  # noqa: PLC0415  # likewise

    return describe_module(build_without_weights(source), name=source.id)


def is_known(name: str) -> bool:
    """Tell whether the catalogue has a model of this name."""
    return name.lower() in known_models()
