"""Count element-wise results: floating point numbers that such operations, softmax and norms give.

They are a count of their own, no FLOP. A mode of PyTorch sees each operation, which takes
microseconds. It is there when a program is captured, and in the first call of a module on the host
with arguments of some shapes.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch._C import DispatchKey
from torch._C import (
    _dispatch_has_kernel_for_dispatch_key as has_kernel,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._ops import OpOverload
from torch.utils import _python_dispatch as modes
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from contextlib import AbstractContextManager

_MODES = cast("Any", modes)
_COMPOSITE = DispatchKey.CompositeImplicitAutograd
_ROW_WISE = frozenset(
    (
        *("_softmax", "_log_softmax", "glu", "native_dropout", "_prelu_kernel"),
        *("native_layer_norm", "native_group_norm", "_fused_rms_norm", "native_batch_norm"),
        *("_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    )
)
"""Operations that count, though PyTorch does not tag them as element-wise."""


class Observer(modes.TorchDispatchMode):
    """Counts the results of this thread: of tensors with elements, or of those with shapes only."""

    supports_higher_order_operators = True

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let Dynamo compile beneath it, which under another mode it never does again."""
        return True

    def __init__(self, *, sees_shapes: bool = False) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]  # partly typed
        self.count = 0
        self._sees_shapes = sees_shapes

    def __enter__(self) -> Self:
        """Count from now on; leave flags alone that PyTorch's own method sets for all threads."""
        _MODES._push_mode(self)  # noqa: SLF001  # no public name
        return self

    def __exit__(self, *_: object) -> None:
        """Count no more."""
        _MODES._pop_mode()  # noqa: SLF001  # no public name

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # of any function
        """Do what is asked for, and count it."""
        del types
        options = kwargs or {}
        operation = cast("OpOverload[..., Any]", func) if isinstance(func, OpOverload) else None
        if operation and has_kernel(operation.name(), "CompositeImplicitAutograd"):
            with self:  # in inference mode; elsewhere the operations that it consists of come
                return cast("Any", operation)._op_dk(_COMPOSITE, *args, **options)  # noqa: SLF001  # no public name
        result: Any = cast("Callable[..., Any]", func)(*args, **options)
        if operation and _is_element_wise(operation):
            self._add(result)
        return result

    def _add(self, result: object) -> None:
        """Count a tensor, or the first of several: norms give their means, too."""
        if isinstance(result, tuple):
            result = cast("tuple[object, ...]", result)[0]
        if isinstance(result, torch.Tensor) and result.is_meta is self._sees_shapes:
            is_counted = result.is_floating_point() or result.is_complex()
            self.count += result.numel() if is_counted else 0


def set_aside() -> AbstractContextManager[object]:
    """Suspend the count of this thread inside: another call there counts itself."""
    is_counting = type(_MODES._get_current_dispatch_mode()) is Observer  # noqa: SLF001  # no public name
    return _MODES._pop_mode_temporarily() if is_counting else nullcontext()  # noqa: SLF001  # as above


def kind_of(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> Hashable:
    """Return a key that is equal for calls of a module that count the same, as a rule."""
    leaves = cast("list[object]", pytree.tree_leaves((args, dict(kwargs))))
    return module.training, *map(_look, leaves)


def _look(leaf: object) -> Hashable:
    if isinstance(leaf, torch.Tensor) and not leaf.is_nested:
        return leaf.shape
    return type(leaf)


def _is_element_wise(operation: OpOverload[..., Any]) -> bool:
    name = operation.name().removeprefix("aten::").partition(".")[0]
    is_tagged = torch.Tag.pointwise in operation.tags and name != "clone"
    return is_tagged or name in _ROW_WISE
