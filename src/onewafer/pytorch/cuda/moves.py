"""Everything that makes or moves a tensor, so that `cuda` is understood."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# The functions of PyTorch that are replaced here are partly typed, or private.

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

import torch
from torch._C import DisableTorchFunctionSubclass
from torch.serialization import default_restore_location
from torch.utils import _pytree as pytree
from torch.utils._device import (
    DeviceContext,
)
from torch.utils._device import (
    _device_constructors as device_constructors,
)

from onewafer.pytorch.cuda.tensors import OnDevice, mark, unmark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Function = Callable[..., Any]
    Replacement = tuple[object, str, object]
    """Owner, attribute, value."""

_LIKE = ("empty", "full", "ones", "rand", "randint", "randn", "zeros")
_NEW = ("new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros")
_SHARING = (torch.as_tensor, torch.asarray)
"""Functions that may return their argument, or share its memory, if it need not move."""
_TENSOR = torch.tensor
_BASE = torch._C.TensorBase


_DATA: Any = vars(_BASE)["data"]


class Moves:
    """The functions that take the place of PyTorch's; `notice` is called when `cuda` is used."""

    def __init__(self, notice: Callable[[], None]) -> None:
        self._notice = notice

    def replacements(self) -> Iterator[Replacement]:
        """Yield the replacements."""
        for function in device_constructors():
            for owner in (torch, torch.fft, torch.nested):
                for name, value in [*vars(owner).items()]:
                    if value is function:
                        yield owner, name, self._with_device(function)
        for name in _LIKE:
            yield torch, f"{name}_like", self._with_device(getattr(torch, f"{name}_like"))
        for name in _NEW:
            yield torch.Tensor, name, self._with_device(getattr(_BASE, name))
        yield DeviceContext, "__torch_function__", self._in_context(DeviceContext)
        yield torch.Tensor, "to", self._to()
        yield torch.Tensor, "cuda", self._cuda()
        yield torch.Tensor, "cpu", self._cpu()
        yield torch.Tensor, "pin_memory", self._pin_memory()
        yield torch.Tensor, "data", property(_get_data, _set_data)
        yield torch.nn.Parameter, "__new__", staticmethod(_make_parameter())
        yield torch, "load", self._load(torch.load)

    def means_device(self, device: object) -> bool:
        """Tell whether an argument names the device; raise RuntimeError for a second one."""
        if device is None or isinstance(device, bool):
            return False
        if isinstance(device, int):
            index = device
        else:
            parsed = torch.device(cast("str", device))
            if parsed.type != "cuda":
                return False
            index = parsed.index or 0
        check_ordinal(index)
        if not torch.compiler.is_dynamo_compiling():
            self._notice()
        return True

    def _with_device(self, function: Function) -> Function:
        @functools.wraps(function)
        def create(*args: object, **kwargs: Any) -> object:
            if "device" not in kwargs and "pin_memory" not in kwargs:
                created = function(*args, **kwargs)
                is_copy = function is _TENSOR and isinstance(args[0], OnDevice)
                return mark(created) if is_copy else created
            if kwargs.pop("pin_memory", False):
                self._notice()
            device = kwargs.get("device")
            if not self.means_device(device):
                created = function(*args, **kwargs)
                return created if device is None else _on_host(created)
            created = function(*args, **kwargs | {"device": "cpu"})
            if function in _SHARING and not isinstance(args[0], OnDevice):
                created = created.clone()
            return created if torch.compiler.is_dynamo_compiling() else mark(created)

        return create

    def _in_context(self, context: type[DeviceContext]) -> Function:
        original: Function = context.__torch_function__

        def create(
            self_: Any,
            func: Function,
            types: object,
            args: tuple[object, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> object:
            kwargs = dict(kwargs or {})
            is_ours = func in device_constructors() and kwargs.get("device") is None
            if is_ours and self.means_device(self_.device):
                return mark(func(*args, **kwargs | {"device": "cpu"}))
            return original(self_, func, types, args, kwargs)

        return create

    def _to(self) -> Function:
        original: Function = _BASE.to

        @functools.wraps(original)
        def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            target = kwargs.get("device", args[0] if args else kwargs.get("other"))
            if isinstance(target, torch.Tensor):
                is_ours, is_host = isinstance(target, OnDevice), not isinstance(target, OnDevice)
            elif isinstance(target, str | torch.device | int) and not isinstance(target, bool):
                is_ours, is_host = self.means_device(target), True
            else:
                return original(tensor, *args, **kwargs)
            if is_ours and not isinstance(target, torch.Tensor):
                args, kwargs = _with_host(args, kwargs)
            return _move(
                tensor, lambda t: original(t, *args, **kwargs), to_device=is_ours, to_host=is_host
            )

        return to

    def _cuda(self) -> Function:
        def cuda(
            tensor: torch.Tensor,
            device: object = None,
            non_blocking: object = False,
            memory_format: torch.memory_format = torch.preserve_format,
        ) -> torch.Tensor:
            """Return a copy on the device, or the tensor itself if it is there."""
            del non_blocking
            self.means_device(0 if device is None else device)
            return _move(tensor, lambda t: _BASE.to(t, memory_format=memory_format), to_device=True)

        return cuda

    def _pin_memory(self) -> Function:
        def pin_memory(tensor: torch.Tensor, device: object = None) -> torch.Tensor:
            """Return the tensor: all memory is the host's."""
            del device
            self._notice()
            return tensor

        return pin_memory

    def _cpu(self) -> Function:
        original: Function = _BASE.cpu

        @functools.wraps(original)
        def cpu(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            return _move(tensor, lambda t: original(t, *args, **kwargs), to_device=False)

        return cpu

    def _load(self, original: Function) -> Function:
        @functools.wraps(original)
        def load(f: object, map_location: Any = None, *args: Any, **kwargs: Any) -> object:
            if callable(map_location):
                return original(f, map_location, *args, **kwargs)
            on_device: set[int] = set()

            def locate(storage: torch.UntypedStorage, location: str) -> object:
                match map_location:
                    case None:
                        target = location
                    case dict():
                        target = cast("dict[str, str]", map_location).get(location, location)
                    case _:
                        target = str(torch.device(map_location))
                if torch.device(target).type != "cuda":
                    return default_restore_location(storage, target)
                self.means_device(target)
                on_device.add(storage.data_ptr())
                return storage

            loaded = original(f, locate, *args, **kwargs)
            _mark_loaded(loaded, on_device)
            return loaded

        return load


def check_ordinal(index: int) -> None:
    """Refuse a device that there is not, as CUDA does."""
    if index not in (-1, 0):
        raise RuntimeError(
            f"CUDA error: invalid device ordinal {index}: "
            'under `onewafer run` there is one device, the wafer; write "cuda" or "cuda:0"'
        )


def _with_host(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """Return the arguments of `to` with the CPU in place of the device."""
    if "device" in kwargs:
        return args, kwargs | {"device": "cpu"}
    return ("cpu", *args[1:]), kwargs


def _move(
    tensor: torch.Tensor,
    convert: Callable[[torch.Tensor], torch.Tensor],
    *,
    to_device: bool,
    to_host: bool = True,
) -> torch.Tensor:
    """Convert a tensor and put it where it goes; it is a copy if it was elsewhere before."""
    is_there = isinstance(tensor, OnDevice)
    with DisableTorchFunctionSubclass():
        moved = convert(tensor)
        if moved is tensor and is_there != to_device:
            moved = tensor.clone()
    if to_device:
        mark(moved)
    elif to_host and moved is not tensor:
        unmark(moved)
    return moved


def _on_host(created: object) -> object:
    return unmark(created) if isinstance(created, torch.Tensor) else created


def _get_data(tensor: torch.Tensor) -> torch.Tensor:
    return _DATA.__get__(tensor)


def _set_data(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Take over the memory of a tensor, and with it where it is."""
    with DisableTorchFunctionSubclass():
        _DATA.__set__(tensor, value)
    if isinstance(value, OnDevice):
        mark(tensor)
    else:
        unmark(tensor)


def _make_parameter() -> Function:
    original: Function = torch.nn.Parameter.__new__

    def make(cls: type, data: Any = None, requires_grad: bool = True) -> object:
        if not isinstance(data, OnDevice):
            return original(cls, data, requires_grad)
        with DisableTorchFunctionSubclass():
            host = cast("torch.Tensor", data).detach()
        return mark(original(cls, host, requires_grad))

    return make


def _mark_loaded(loaded: object, pointers: set[int]) -> None:
    """Mark the tensors in what was loaded whose memory is at one of the pointers."""
    if not pointers:
        return
    for leaf in pytree.tree_leaves(loaded):
        tensors: list[torch.Tensor] = []
        if isinstance(leaf, torch.nn.Module):
            tensors = [*leaf.parameters(), *leaf.buffers()]
        elif isinstance(leaf, torch.Tensor):
            tensors = [leaf]
        for tensor in tensors:
            if tensor.untyped_storage().data_ptr() in pointers:
                mark(tensor)
