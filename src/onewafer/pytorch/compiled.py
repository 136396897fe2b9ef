"""`torch.compile` in a script that runs on the wafer.

The wafer's own compiler takes over: what a script compiles for another backend is not compiled for
the host. Modules stay what `torch.compile` makes of them, functions stay as they are.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

import torch

from onewafer.process.blocks import Replacement

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

torch_compile: Callable[..., Any] = vars(torch)["compile"]  # partly typed
"""PyTorch's own; a script that runs sees another."""
compiled_for_wafer: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
"""Modules that `torch.compile` returned while a script ran; what they wrap runs in their place."""


def compile_for_wafer() -> AbstractContextManager[object]:
    """Let `torch.compile` leave the work to the wafer, unless it is asked for our backend."""
    return _COMPILE.in_place()


def _replace_compile(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def compile_(model: Any = None, **options: Any) -> Any:  # noqa: ANN401  # as in torch
        if not _COMPILE.is_needed:
            return original(model, **options)
        if model is None:
            return functools.partial(compile_, **options)
        return _compile(model, options)

    return compile_


def _compile(model: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401  # as in torch
    if options.get("backend") == "onewafer":
        return torch_compile(model, **options)
    if not isinstance(model, torch.nn.Module):
        return model
    compiled = torch_compile(model, backend="eager")
    compiled_for_wafer.add(compiled)
    return compiled


_COMPILE = Replacement(torch, "compile", _replace_compile)
