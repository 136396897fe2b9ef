"""Capture of a served model without weights, for the performance equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.perf import kept_model, known_models
from onewafer.server.contract.requirements import FOR_CAPTURE, require
from onewafer.server.models.sources import find_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf import Model


def describe(name: str, say: Callable[[str], None]) -> Model:
    """Capture a model of the catalogue or of files, without reading its weights.

    Raises:
        ConfigurationError: there is no such model, or it cannot be read.
    """
    source = None if name.lower() in known_models() else find_source(name)
    if source is None and (kept := kept_model(name)) is not None:
        return kept
    require(FOR_CAPTURE, f"the capture of {name if source is None else source.id}")
    say("loading PyTorch" if source is None else f"capturing {source.id}, without its weights")
    from onewafer.pytorch import describe_model, describe_module  # noqa: PLC0415  # loads torch

    if source is None:
        return describe_model(name, progress=say)
    from onewafer.server.models.loading import build_without_weights  # noqa: PLC0415  # likewise

    return describe_module(build_without_weights(source), name=source.id)
