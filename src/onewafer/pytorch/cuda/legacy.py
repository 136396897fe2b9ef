"""Types that name a device: `torch.cuda.FloatTensor` and its like, which older scripts use."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# The functions of PyTorch that are replaced here are partly typed, or private.

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

import torch

from onewafer.pytorch.cuda.tensors import OnDevice, mark, unmarked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.pytorch.cuda.moves import Replacement

_DTYPES = {
    "BFloat16Tensor": torch.bfloat16,
    "BoolTensor": torch.bool,
    "ByteTensor": torch.uint8,
    "CharTensor": torch.int8,
    "DoubleTensor": torch.float64,
    "FloatTensor": torch.float32,
    "HalfTensor": torch.float16,
    "IntTensor": torch.int32,
    "LongTensor": torch.int64,
    "ShortTensor": torch.int16,
}
_PREFIX = "torch.cuda."


class _TensorType(type):
    """The class of `torch.cuda.FloatTensor`."""

    dtype: torch.dtype
    notice: Callable[[], None]

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, OnDevice) and cast("Any", instance).dtype is cls.dtype

    def __call__(cls, *args: object) -> object:
        """Make a tensor of a size or of values, as `torch.FloatTensor` does."""
        cls.notice()
        on_host = (unmarked(arg) if isinstance(arg, torch.Tensor) else arg for arg in args)
        return mark(getattr(torch, cls.__name__)(*on_host))


def legacy_replacements(notice: Callable[[], None]) -> Iterator[Replacement]:
    """Yield the replacements; `notice` is called when a type is used."""
    for name, dtype in _DTYPES.items():
        kind = _TensorType(name, (), {"dtype": dtype, "notice": staticmethod(notice)})
        kind.__module__ = "torch.cuda"
        yield torch.cuda, name, kind
    yield torch.Tensor, "type", _convert
    yield torch, "set_default_tensor_type", _make_default(torch.set_default_tensor_type)


def _convert(tensor: torch.Tensor, dtype: Any = None, *args: Any, **kwargs: Any) -> object:
    """Do as `Tensor.type`: name the type, or convert to one."""
    original = torch._C.TensorBase.type
    if dtype is None:
        name = original(unmarked(tensor))
        return name.replace("torch.", _PREFIX, 1) if isinstance(tensor, OnDevice) else name
    name = _name(dtype)
    if name in _DTYPES and _is_of_device(dtype):
        return tensor.to("cuda", _DTYPES[name])
    if name in _DTYPES and not isinstance(dtype, torch.dtype):
        return tensor.to("cpu", _DTYPES[name])
    return original(tensor, dtype, *args, **kwargs)


def _make_default(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def set_default_tensor_type(t: Any) -> None:
        if not _is_of_device(t):
            original(t)
            return
        torch.set_default_dtype(_DTYPES[_name(t)])
        torch.set_default_device("cuda")

    return set_default_tensor_type


def _is_of_device(kind: object) -> bool:
    return isinstance(kind, _TensorType) or (isinstance(kind, str) and kind.startswith(_PREFIX))


def _name(kind: object) -> str:
    text = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return text.rpartition(".")[2]
