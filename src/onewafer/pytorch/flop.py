"""Count the floating point operations of this process, forward and backward, in every thread.

In: the formulas of `torch.utils.flop_counter`. Out: their numbers, for each operation that a kernel
of the host computes.

PyTorch's `FlopCounterMode` sees one thread, slows down every operation, and stops Dynamo. Here the
dispatcher calls us instead, and only for operations that have a formula: at `BackendSelect`, the
key that every operation passes right before its kernel, below autograd and the modes that trace,
and which has no other use for operations on tensors. It sees more than the mode where a kernel
calls others: fused encoder layers, `cdist`, `bilinear`.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch._C import (
    DispatchKey,
    DispatchKeySet,
    _dispatch_keyset_full_after,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._ops import OpOverloadPacket
from torch.utils import flop_counter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from torch._ops import OpOverload

    Formula = Callable[..., int]

_BELOW = _dispatch_keyset_full_after(DispatchKey.BackendSelect)
_TWINS = {
    "_scaled_dot_product_flash_attention_for_cpu": "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu_backward": (
        "_scaled_dot_product_flash_attention_backward"
    ),
}
"""Operations of the CPU without a formula → the same ones of other devices, which have one."""


@contextmanager
def count_flop(add: Callable[[int], None]) -> Generator[None]:
    """Give the FLOP of each operation that the host computes inside to `add`, when it is done.

    A process that is forked inside counts nothing.
    """
    thread, process_id = _Thread(), os.getpid()
    library = torch.library.Library("aten", "IMPL")
    try:
        for operation, formula in _find_operations():
            counted = _Counted(operation, formula, add, thread, process_id)
            name = operation.name().removeprefix("aten::")
            library.impl(name, counted.compute, DispatchKey.BackendSelect.name, with_keyset=True)
        yield
    finally:
        library._destroy()  # noqa: SLF001  # no public name


class _Thread(threading.local):
    """What this thread is doing."""

    is_inside = False
    """Whether an operation is being computed: what its kernel calls does not count again."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """An operation that is counted."""

    operation: OpOverload
    formula: Formula
    add: Callable[[int], None]
    thread: _Thread
    process_id: int
    known: dict[object, int] = field(default_factory=dict[object, int])
    """Shapes → FLOP, unless the formula reads elements, too."""

    def compute(self, keys: DispatchKeySet, *args: object, **options: object) -> object:
        """Return what the kernel returns; count it unless only its shape is computed."""
        thread, below = self.thread, keys & _BELOW
        if thread.is_inside or keys.has(DispatchKey.Meta) or os.getpid() != self.process_id:
            return self.operation.redispatch(below, *args, **options)
        thread.is_inside = True
        try:
            result = self.operation.redispatch(below, *args, **options)
        finally:
            thread.is_inside = False
        self.add(self._count(args, options, result))
        return result

    def _count(
        self, args: Sequence[object], options: Mapping[str, object], result: object
    ) -> int:
        try:
            if not hasattr(self.formula, "__wrapped__"):  # what PyTorch gives shapes only
                return self.formula(*args, **options, out_val=result)
            shapes = tuple(_look(arg) for arg in args)
            if shapes not in self.known:
                self.known[shapes] = self.formula(*args, **options, out_val=result)
            return self.known[shapes]
        except Exception:  # noqa: BLE001  # formulas refuse layouts and shapes in their own ways
            return 0


def _look(arg: object) -> object:
    """Return what a formula may read of an argument."""
    match arg:
        case torch.Tensor():
            return arg.shape
        case list():
            return tuple(cast("list[object]", arg))
        case _:
            return arg


def _find_operations() -> Iterator[tuple[OpOverload, Formula]]:
    """Yield operations and formulas, but for those that consist of others."""
    formulas = cast("dict[Any, Formula]", flop_counter.flop_registry)
    known = {packet: f for packet, f in formulas.items() if isinstance(packet, OpOverloadPacket)}
    for name, twin in _TWINS.items():
        formula = known[getattr(torch.ops.aten, twin)]
        known.setdefault(getattr(torch.ops.aten, name), formula)
    for packet, formula in known.items():
        for name in packet.overloads():
            yield getattr(packet, name), formula
