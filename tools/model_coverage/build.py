"""Make a model with random weights, and the arguments of its call."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import torch

from tools.model_coverage.model import Floats, Group, Model, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

_SEED = 7
_NOISE = 0.02
"""Added to every weight: those that begin as zeros or ones would hide an operation left out."""
_seed: Callable[[int], object] = vars(torch)["manual_seed"]  # partly typed


def build(model: Model) -> torch.nn.Module:
    """Return the model in evaluation mode; the same weights each time."""
    _seed(_SEED)
    built = _build_timm(model) if model.group is Group.TIMM else _build_transformers(model)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * _NOISE)
    return built.eval()


def _build_timm(model: Model) -> torch.nn.Module:
    """Return an entry of timm's registry, or what one of its classes makes."""
    timm: Any = import_module("timm")  # untyped, and loaded for its own models only
    if timm.is_model(model.name):
        return cast("torch.nn.Module", timm.create_model(model.name, **model.config))
    return cast("torch.nn.Module", getattr(timm.models, model.name)(**model.config))


def _build_transformers(model: Model) -> torch.nn.Module:
    wanted: Any = getattr(import_module("transformers"), model.name)
    return cast("torch.nn.Module", wanted(wanted.config_class(**model.config)))


def arguments(model: Model) -> dict[str, object]:
    """Return the keywords of the call; the same tensors each time.

    The random numbers that the call itself draws are the same each time, too.
    """
    generator = torch.Generator().manual_seed(_SEED)
    _seed(_SEED)
    tensors: dict[str, object] = {}
    for name, wanted in model.inputs.items():
        match wanted:
            case Tokens(shape, below):
                tensors[name] = torch.randint(2, below, shape, generator=generator)
            case Floats(shape):
                tensors[name] = torch.randn(shape, generator=generator)
    return tensors | dict(model.keywords)
