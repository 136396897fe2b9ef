"""Make a model with random weights, and the arguments of its call."""

from __future__ import annotations

from typing import cast

import timm
import torch
import transformers

from tools.model_coverage.model import Floats, Group, Model, Tokens

_SEED = 7
_NOISE = 0.02
"""Added to every weight: those that begin as zeros or ones would hide an operation left out."""


def build(model: Model) -> torch.nn.Module:
    """Return the model in evaluation mode; the same weights each time."""
    torch.manual_seed(_SEED)
    if model.group is Group.TIMM and timm.is_model(model.name):
        built = timm.create_model(model.name, pretrained=False, **model.config)
    elif model.group is Group.TIMM:
        built = getattr(timm.models, model.name)(**model.config)
    else:
        wanted = getattr(transformers, model.name)
        built = wanted(wanted.config_class(**model.config))
    built = cast("torch.nn.Module", built)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * _NOISE)
    return built.eval()


def arguments(model: Model) -> dict[str, object]:
    """Return the keywords of the call; the same tensors each time.

    The random numbers that the call itself draws are the same each time, too.
    """
    generator = torch.Generator().manual_seed(_SEED)
    torch.manual_seed(_SEED)
    tensors: dict[str, object] = {}
    for name, wanted in model.inputs.items():
        match wanted:
            case Tokens(shape, below):
                tensors[name] = torch.randint(2, below, shape, generator=generator)
            case Floats(shape):
                tensors[name] = torch.randn(shape, generator=generator)
    return tensors | dict(model.keywords)
