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

from onewafer.blocks import OpenBlocks

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
def counting_flop(add: Callable[[int], None]) -> Generator[None]:
    """Give the FLOP of each operation that the host computes inside to `add`, when it is done.

    Blocks may be nested, in several threads: `OpenBlocks` says which one an operation belongs to.
    A process that is forked inside counts nothing.
    """
    with _COUNTER.in_place(), _COUNTER.blocks.open((os.getpid(), add)):
        yield


@contextmanager
def counting_flop_of_shapes(add: Callable[[int], None]) -> Generator[None]:
    """Give the FLOP of each operation on meta tensors to `add`, of this thread only."""
    thread = _COUNTER.thread
    with _COUNTER.in_place():
        thread.add_for_shapes = add
        try:
            yield
        finally:
            thread.add_for_shapes = None


class _Counter:
    """What the dispatcher calls while a block is open."""

    def __init__(self) -> None:
        self.blocks = OpenBlocks["tuple[int, Callable[[int], None]]"]()
        """The process that opened a block, and what takes its FLOP."""
        self.thread = _Thread()
        self._lock = threading.Lock()
        self._num_blocks = 0
        self._library: torch.library.Library | None = None

    def taker(self, keys: DispatchKeySet) -> Callable[[int], None] | None:
        """Return the counter of FLOP of this thread now; None: nothing counts them."""
        if self.thread.is_inside:
            return None
        if keys.has(DispatchKey.Meta):
            return self.thread.add_for_shapes
        process_id, add = self.blocks.current or (None, None)
        return add if process_id == os.getpid() else None

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Let the dispatcher call us inside."""
        with self._lock:
            if not self._num_blocks:
                self._library = self._register()
            self._num_blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_blocks -= 1
                if not self._num_blocks and self._library is not None:
                    self._library._destroy()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
                    self._library = None

    def _register(self) -> torch.library.Library:
        library = torch.library.Library("aten", "IMPL")
        for operation, formula in _find_operations():
            name = operation.name().removeprefix("aten::")
            # Not `operation.redispatch`, whose frame would be in tracebacks.
            handle = cast("Any", operation._handle)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
            kernel = _Kernel(handle.redispatch_boxed, formula, self).compute
            library.impl(  # pyright: ignore[reportUnknownMemberType]  # untyped
                name, kernel, DispatchKey.BackendSelect.name, with_keyset=True
            )
        return library


class _Thread(threading.local):
    """The state of the count in one thread."""

    is_inside = False
    """Whether an operation is being computed: what its kernel calls does not count again."""
    add_for_shapes: Callable[[int], None] | None = None
    """Receives the FLOP of operations on meta tensors, which have only a shape."""


@dataclass(frozen=True, slots=True)
class _Kernel:
    """An operation that is counted."""

    compute_on: Callable[..., object]
    """Runs the operation at the keys that are the first argument."""
    formula: Formula
    counter: _Counter
    known: dict[object, int] = field(default_factory=dict[object, int])
    """Shapes → FLOP, unless the formula reads elements, too."""

    def compute(self, keys: DispatchKeySet, *args: object, **options: object) -> object:
        """Return what the kernel returns, and count it."""
        thread, add = self.counter.thread, self.counter.taker(keys)
        below = keys & _BELOW
        if add is None:
            return self.compute_on(below, *args, **options)
        thread.is_inside = True
        try:
            result = self.compute_on(below, *args, **options)
        finally:
            thread.is_inside = False
        add(self._count(args, options, result))
        return result

    def _count(self, args: Sequence[object], options: Mapping[str, object], result: object) -> int:
        try:
            if not hasattr(self.formula, "__wrapped__"):  # what PyTorch gives shapes only
                return self.formula(*args, **options, out_val=result)
            shapes = (*map(_look, args),)
            known = self.known.get(shapes)
            if known is None:
                known = self.known[shapes] = self.formula(*args, **options, out_val=result)
            return known  # noqa: TRY300  # what an operation costs us is microseconds
        except Exception:  # noqa: BLE001  # formulas refuse layouts and shapes in their own ways
            return 0


def _look(arg: object) -> object:
    """Return the part of an argument that a formula may read."""
    if isinstance(arg, torch.Tensor):
        return arg.shape
    return tuple(cast("list[object]", arg)) if isinstance(arg, list) else arg


def _find_operations() -> Iterator[tuple[OpOverload, Formula]]:
    """Yield operations and formulas, except operations that consist of others."""
    formulas = cast("dict[object, Formula]", flop_counter.flop_registry)
    twins = {_packet(name): formulas[_packet(twin)] for name, twin in _TWINS.items()}
    for found, formula in {**twins, **formulas}.items():
        if isinstance(found, OpOverloadPacket):
            packet = cast("OpOverloadPacket[..., object]", found)
            for name in packet.overloads():
                yield getattr(packet, name), formula


def _packet(name: str) -> object:
    return getattr(torch.ops.aten, name)


_COUNTER = _Counter()
