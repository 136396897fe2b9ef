"""Tensors in host memory that a CUDA script takes for tensors of its device.

They are ordinary CPU tensors of another Python class: they say `cuda:0` when asked for their
device, and so do results of operations on them. Torch's own tracers see them as they are, on the
CPU. The class of a tensor is changed in place, which costs nothing and keeps its identity.
"""

# pyright: reportPrivateUsage=false, reportIncompatibleVariableOverride=false
# pyright: reportIncompatibleMethodOverride=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportAttributeAccessIssue=false
# These classes are meant to answer otherwise than PyTorch's, whose hooks are partly typed.

from __future__ import annotations

import sys
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch._C import DisableTorchFunctionSubclass
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEVICE = torch.device("cuda", 0)

_TRACERS = (
    "torch._dynamo",
    "torch._export",
    "torch._functorch",
    "torch._guards",
    "torch._subclasses",
    "torch.export",
    "torch.fx",
    "torch.utils.checkpoint",
)
"""Packages that lay out memory, or compare, by what a tensor says of its device."""
_LENGTHS_SECOND = (torch._VF._pack_padded_sequence, torch._VF._pad_packed_sequence)
"""Functions whose second result is on the host wherever the first is."""


class OnDevice:
    """The common base of the classes of such tensors."""

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Compute as usual; what comes out is on the device, too."""
        del types
        with DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        if torch.compiler.is_dynamo_compiling() or (args and result is args[0]):
            return result  # of an operation in place, which moves nothing
        mark(result)
        if func in _LENGTHS_SECOND:
            unmark(result[1])
        return result

    @property
    def device(self) -> torch.device:
        """The device that the script asked for."""
        if torch.compiler.is_dynamo_compiling() or _caller().startswith(_TRACERS):
            return torch.device("cpu")
        return DEVICE

    @property
    def is_cuda(self) -> bool:
        """True if the tensor is on a CUDA device."""
        return self.device == DEVICE

    @property
    def is_cpu(self) -> bool:
        """True if the tensor is in host memory."""
        return not self.is_cuda

    def get_device(self) -> int:
        """Return the ordinal of the device."""
        return 0

    def __format__(self, format_spec: str) -> str:
        """Format a single number as Python does, everything else as PyTorch does."""
        tensor = cast("torch.Tensor", self)
        return format(tensor.item() if tensor.dim() == 0 else str(tensor), format_spec)

    def record_stream(self, stream: object) -> None:
        """Do nothing: there is one stream."""

    def __deepcopy__(self, memo: dict[int, object]) -> object:
        """Copy the memory; the copy is on the device, too."""
        copied = mark(deepcopy(unmarked(cast("torch.Tensor", self)), memo))
        memo[id(self)] = copied
        return copied


class DeviceTensor(OnDevice, torch.Tensor):
    """A tensor on the device."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as a plain tensor, which any PyTorch can load."""
        return unmarked(self).__reduce_ex__(protocol)


class DeviceParameter(OnDevice, torch.nn.Parameter):
    """A parameter on the device."""

    def __repr__(self) -> str:
        """Return what PyTorch prints of a parameter."""
        values = self.detach().requires_grad_(self.requires_grad)
        return f"Parameter containing:\n{values!r}"


DeviceTensor.__name__ = "tensor"  # what PyTorch prints before the values


def mark(value: object) -> object:
    """Put tensors on the device: the value, or those in a tuple, list or dictionary that it is."""
    match value:
        case torch.Tensor():
            _mark_tensor(value)
        case tuple() | list():
            for element in cast("tuple[object, ...]", value):
                mark(element)
        case dict():
            for element in cast("dict[object, object]", value).values():
                mark(element)
        case _:
            pass
    return value


def _mark_tensor(tensor: torch.Tensor) -> None:
    # Other classes (stand-ins of a tracer, sparse wrappers) have a device of their own.
    if type(tensor) is torch.Tensor:
        tensor.__class__ = DeviceTensor
    elif type(tensor) is torch.nn.Parameter:
        tensor.__class__ = DeviceParameter


def unmark(tensor: torch.Tensor) -> torch.Tensor:
    """Put a tensor back into host memory, in place."""
    if type(tensor) is DeviceTensor:
        tensor.__class__ = torch.Tensor
    elif type(tensor) is DeviceParameter:
        tensor.__class__ = torch.nn.Parameter
    return tensor


def unmarked(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same memory that is in host memory and, if it was one, a leaf."""
    if not isinstance(tensor, OnDevice):
        return tensor
    with DisableTorchFunctionSubclass():
        alias = tensor.detach()
        if isinstance(tensor, torch.nn.Parameter):
            return torch.nn.Parameter(alias, requires_grad=tensor.requires_grad)
        return alias.requires_grad_(tensor.requires_grad)


def call_plain(
    function: Callable[[tuple[object, ...], dict[str, object]], object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> object:
    """Call with plain tensors; what comes out is on the device if an argument was."""
    if not any(isinstance(leaf, OnDevice) for leaf in pytree.tree_leaves((args, kwargs))):
        return function(args, kwargs)
    args, kwargs = pytree.tree_map_only(torch.Tensor, view_plain, (args, kwargs))
    result = function(args, kwargs)
    for leaf in pytree.tree_leaves(result):
        mark(leaf)
    return result


def view_plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same tensor as a plain one; gradients flow through."""
    if not isinstance(tensor, OnDevice):
        return tensor
    with DisableTorchFunctionSubclass():
        return tensor.as_subclass(torch.Tensor)


def _caller() -> str:
    """Return the name of the module that asked for a property."""
    return sys._getframe(2).f_globals.get("__name__", "")
