"""Modules whose weights take no memory, for captures of large models.

A weight is one element that is seen in the shape of all of them: whatever only asks for shapes and
types, as `torch.export` does, finds a plain tensor of the host. Buffers (angles of rotations, masks
of places) keep their elements, since what is captured depends on them. All that is floating
becomes float32: the format of a job is chosen later, and conversions would only be in the way.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from onewafer.pytorch.structure import copy_structure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LARGE = 1 << 24
"""The least elements of a weight: smaller tensors may be masks or the like."""
_FILLED = (torch.zeros, torch.ones, torch.rand, torch.randn)
"""Functions that make tensors with elements, from their shape."""


def build_weightless(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Return the module that a function makes, in evaluation mode, with weights of one element.

    Its initialisation runs on weights without elements, hence takes no time.
    """
    with _WithoutElements():
        module = build()
    return _fill(module.eval())


def without_weights(module: torch.nn.Module) -> torch.nn.Module:
    """Return a module with the same structure and weights of one element; the other one stays.

    Buffers that have no elements, since the module is on the meta device, become zeros.
    """
    return _fill(copy_structure(module).eval())


def _fill(module: torch.nn.Module) -> torch.nn.Module:
    known: dict[int, torch.nn.Parameter] = {}
    """By identity of what the module has: tied weights stay one."""
    for inner in module.modules():
        registered = vars(inner)["_parameters"], vars(inner)["_buffers"]  # None stays where it is
        parameters, buffers = cast("tuple[dict[str, torch.Tensor | None], ...]", registered)
        for name, parameter in parameters.items():
            if parameter is not None:
                if id(parameter) not in known:
                    known[id(parameter)] = torch.nn.Parameter(
                        _zeros(parameter), requires_grad=False
                    )
                parameters[name] = known[id(parameter)]
        for name, buffer in buffers.items():
            if buffer is not None:
                buffers[name] = _zeros(buffer) if buffer.is_meta else _convert(buffer)
    return module


def _zeros(tensor: torch.Tensor) -> torch.Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return torch.zeros((), dtype=dtype).expand(tensor.shape)


def _convert(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in the one floating format that a capture has."""
    return tensor.float() if tensor.is_floating_point() else tensor


class _WithoutElements(TorchFunctionMode):
    """Puts tensors without written elements, and large ones, on the meta device."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call a function of torch, perhaps on another device."""
        del types
        kwargs = dict(kwargs or {})
        is_weight = func is torch.empty or (func in _FILLED and _num_elements(args) >= _LARGE)
        if is_weight and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _num_elements(args: tuple[object, ...]) -> int:
    sizes = cast("list[object]", pytree.tree_leaves(args))
    return math.prod(size for size in sizes if isinstance(size, int))
