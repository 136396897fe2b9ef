"""Count the floating point operations of this process, forward and backward, in every thread.

In: the formulas of `torch.utils.flop_counter`. Out: their numbers, for each operation that a kernel
of the host computes.

PyTorch's `FlopCounterMode` sees one thread, slows down every operation, and stops Dynamo. Here the
dispatcher calls us instead, and only for operations that have a formula: at `BackendSelect`, the
key that every operation passes right before its kernel, below autograd and the modes that trace,
and which has no other use for operations on tensors. It sees more than the mode where a kernel
calls others: fused encoder layers, `cdist`, `bilinear`.

Operations of other libraries (`torch.library`) have no formula. Unless what such a kernel calls is
counted, the operation is named: the count is not all.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch._C import (
    DispatchKey,
    DispatchKeySet,
    _dispatch_keyset_full_after,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._C import (
    _dispatch_get_all_op_names as all_names,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._C import (
    _dispatch_has_kernel_for_dispatch_key as has_kernel,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._C import (
    _dispatch_tls_is_dispatch_key_excluded as is_excluded,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._C import (
    _dispatch_tls_set_dispatch_key_excluded as set_excluded,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._C import (
    _dispatch_tls_set_dispatch_key_included as set_included,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch._ops import (
    OpOverload,
    OpOverloadPacket,
    _OpNamespace,  # pyright: ignore[reportPrivateUsage]  # no public name
)
from torch.utils import flop_counter

from onewafer.process.blocks import OpenBlocks, Replacement

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    Formula = Callable[..., int]

_KEY = DispatchKey.BackendSelect
_BELOW = _dispatch_keyset_full_after(_KEY)
_TWINS = {
    "_scaled_dot_product_flash_attention_for_cpu": "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu_backward": (
        "_scaled_dot_product_flash_attention_backward"
    ),
}
"""Operations of the CPU without a formula → the same ones of other devices, which have one."""


class Sink(NamedTuple):
    """Receives what is counted."""

    process_id: int
    add: Callable[[int], None]
    note_not_counted: Callable[[str], None]


def _pass_over(name: str) -> None:
    """Forget an operation that nothing counts."""


@contextmanager
def counting_flop(
    add: Callable[[int], None], note_not_counted: Callable[[str], None] = _pass_over
) -> Generator[None]:
    """Give the FLOP of each operation that the host computes inside to `add`, when it is done.

    `note_not_counted` gets the names of those that nothing counts, one for each call.

    Blocks may be nested, in several threads: `OpenBlocks` says which one an operation belongs to.
    A process that is forked inside counts nothing.
    """
    with _COUNTER.in_place(), _COUNTER.blocks.open(Sink(os.getpid(), add, note_not_counted)):
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


def pause(*, is_dense: bool) -> bool:
    """Count nothing in this thread until `go_on`, which takes the result.

    If all that is computed is known to be of dense tensors of the CPU, the dispatcher does not even
    call us. Then nothing is at `BackendSelect`, which knows the device of a new tensor by what is
    asked for: tensors are made on the CPU.
    """
    thread = _COUNTER.thread
    if thread.is_inside:
        return False
    thread.is_inside = True
    if is_dense:
        _leave_out(is_left_out=True)
    return True


def go_on(is_paused: bool) -> None:  # noqa: FBT001  # what `pause` gave
    """Count again in this thread, if it did before."""
    if is_paused:
        _COUNTER.thread.is_inside = False
        _leave_out(is_left_out=False)


@contextmanager
def of_any_kind() -> Generator[None]:
    """Compute tensors of any device and layout inside, though `pause` has said that all are dense.

    Nothing is counted.
    """
    is_left_out = is_excluded(_KEY)
    _leave_out(is_left_out=False)
    try:
        yield
    finally:
        _leave_out(is_left_out=is_left_out)


def _leave_out(*, is_left_out: bool) -> None:
    """Leave our key out of this thread's dispatch, with the CPU as its device, or put it back."""
    set_excluded(_KEY, is_left_out)
    set_included(DispatchKey.CPU, is_left_out)


class _Counter:
    """The mode that the dispatcher calls while a block is open."""

    def __init__(self) -> None:
        self.blocks = OpenBlocks["Sink"]()
        self.thread = _Thread()
        self._lock = threading.RLock()
        self._num_blocks = 0
        self._libraries: dict[str, torch.library.Library] = {}
        self._named: set[str] = set()
        """Operations that are named, since they have no formula."""
        self._open = ExitStack()

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Let the dispatcher call us inside."""
        with self._lock:
            if not self._num_blocks:
                self._register_all()
                self._open.enter_context(_LOOKUP.in_place())
            self._num_blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_blocks -= 1
                if not self._num_blocks:
                    self._open.close()
                    for library in self._libraries.values():
                        library._destroy()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
                    self._libraries.clear()
                    self._named.clear()

    def note_new(self, found: object) -> None:
        """See that an operation that a library has just defined is named when it is called."""
        if not isinstance(found, OpOverloadPacket):
            return
        packet = cast("OpOverloadPacket[..., object]", found)
        full_name = packet._qualified_op_name  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
        with self._lock:
            if self._num_blocks and _may_multiply(full_name):
                for name in packet.overloads():
                    self._name(getattr(packet, name))

    def _register_all(self) -> None:
        for operation, formula in _find_operations():
            self._register(operation, _counted(_redispatch(operation), formula, self))
            self._named.add(operation.name())
        for name in all_names():
            operation = _find(name) if _may_multiply(name) else None
            if operation is not None:
                self._name(operation)

    def _name(self, operation: OpOverload) -> None:
        name = operation.name()
        consists_of_others = has_kernel(name, "CompositeImplicitAutograd")
        has_ours = name in self._named or has_kernel(name, _KEY.name)
        if not consists_of_others and not has_ours:
            self._named.add(name)
            self._register(operation, _named(operation, self))

    def _register(self, operation: OpOverload, kernel: Callable[..., object]) -> None:
        namespace, _, name = operation.name().partition("::")
        if namespace not in self._libraries:
            self._libraries[namespace] = torch.library.Library(namespace, "IMPL")
        self._libraries[namespace].impl(  # pyright: ignore[reportUnknownMemberType]  # untyped
            name, kernel, _KEY.name, with_keyset=True
        )


class _Thread(threading.local):
    """The state of the count in one thread."""

    is_inside = False
    """True if an operation is being computed: what its kernel calls does not count again."""
    num_counted = 0
    """Calls that were counted or named."""
    add_for_shapes: Callable[[int], None] | None = None
    """Receives the FLOP of operations on meta tensors, which have only a shape."""


def _counted(
    compute_on: Callable[..., object], formula: Formula, counter: _Counter
) -> Callable[..., object]:
    """Return a kernel that counts an operation; `compute_on` runs it at the keys below ours.

    Each call costs microseconds, hence a closure over few names.
    """
    thread, blocks, process_of = counter.thread, counter.blocks, os.getpid
    known: dict[object, int] = {}
    is_of_shapes = hasattr(formula, "__wrapped__")  # what PyTorch gives shapes only

    def count(args: Sequence[object], options: Mapping[str, object], result: object) -> int:
        shapes = (*map(_look, args),)
        try:
            if is_of_shapes and any(type(shape) is _Sparse for shape in shapes):
                return _count_sparse_product(shapes)
            if is_of_shapes and shapes in known:
                return known[shapes]
            found = formula(*args, **options, out_val=result)
        except Exception:  # noqa: BLE001  # formulas refuse layouts and shapes in their own ways
            return 0
        if is_of_shapes:
            known[shapes] = found
        return found

    def compute(keys: DispatchKeySet, *args: object, **options: object) -> object:
        """Return what the kernel returns, and count it."""
        below = keys & _BELOW
        if thread.is_inside:
            return compute_on(below, *args, **options)
        if keys.has(DispatchKey.Meta):
            add = thread.add_for_shapes
        else:
            sink = blocks.current
            add = None if sink is None or sink.process_id != process_of() else sink.add
        if add is None:
            return compute_on(below, *args, **options)
        thread.is_inside = True
        try:
            result = compute_on(below, *args, **options)
        finally:
            thread.is_inside = False
        thread.num_counted += 1
        add(count(args, options, result))
        return result

    return compute


def _named(operation: OpOverload, counter: _Counter) -> Callable[..., object]:
    """Return a kernel that names an operation without a formula, unless it calls counted ones."""
    compute_on, thread, name = _redispatch(operation), counter.thread, operation.name()
    name = name.partition(".")[0]

    def compute(keys: DispatchKeySet, *args: object, **options: object) -> object:
        """Return what the kernel returns."""
        sink = counter.blocks.current
        is_ours = sink is not None and sink.process_id == os.getpid()
        if sink is None or not is_ours or thread.is_inside or keys.has(DispatchKey.Meta):
            return compute_on(keys & _BELOW, *args, **options)
        before = thread.num_counted
        result = compute_on(keys & _BELOW, *args, **options)
        if thread.num_counted == before:
            sink.note_not_counted(name)
            thread.num_counted += 1
        return result

    return compute


def _redispatch(operation: OpOverload) -> Callable[..., object]:
    """Return the function that runs an operation at given dispatch keys."""
    # Not `operation.redispatch`, whose frame would be in tracebacks.
    return cast("Any", operation._handle).redispatch_boxed  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name


class _Sparse(NamedTuple):
    """Shape and non-zeros of a sparse matrix, on which its FLOP depend."""

    shape: torch.Size
    num_nonzeros: int


def _look(arg: object) -> object:
    """Return the part of an argument that a formula may read."""
    if isinstance(arg, torch.Tensor):
        if arg.layout not in _SPARSE:
            return arg.shape
        return _Sparse(arg.shape, arg._nnz())  # noqa: SLF001  # no public name holds before it is coalesced
    return tuple(cast("list[object]", arg)) if isinstance(arg, list) else arg


def _count_sparse_product(shapes: Sequence[object]) -> int:
    """Return the FLOP of a product of which an operand is sparse: of its non-zeros alone.

    Of two sparse ones, each non-zero of the first meets the mean number of a row of the second.
    """
    left, right = [s for s in shapes if isinstance(s, torch.Size | _Sparse)][-2:]
    if isinstance(left, _Sparse) and isinstance(right, _Sparse):
        return 2 * left.num_nonzeros * right.num_nonzeros // max(1, right.shape[-2])
    if isinstance(left, _Sparse):
        assert isinstance(right, torch.Size), "one of the two"  # invariant
        return 2 * left.num_nonzeros * right[-1]
    assert isinstance(right, _Sparse), "the caller has seen one"  # invariant
    return 2 * right.num_nonzeros * left[-2]


def _count_recurrent(
    rows: torch.Tensor,
    inputs: torch.Tensor,
    hidden: torch.Tensor,
    *_args: object,
    **_options: object,
) -> int:
    """Return the FLOP of a layer of an LSTM over [steps, batch, features], one direction."""
    num_rows = rows.numel() // rows.shape[-1]
    return 2 * num_rows * (inputs.numel() + hidden.numel())


def _count_recurrent_backward(*args: torch.Tensor, **_options: object) -> int:
    """Return the FLOP of its gradients: of the input and of the weights."""
    return 2 * _count_recurrent(*args[:3])


def _count_int8(left: torch.Tensor, right: torch.Tensor, *_args: object, **_options: object) -> int:
    """Return the FLOP of a product of 8-bit integers, [m, k] × [k, n], or of a packed [n, k]."""
    return 2 * left.numel() * (right.numel() // left.shape[-1])


def _find_operations() -> Iterator[tuple[OpOverload, Formula]]:
    """Yield operations and formulas, except operations that consist of others."""
    formulas = cast("dict[object, Formula]", flop_counter.flop_registry)
    twins = {_packet(name): formulas[_packet(twin)] for name, twin in _TWINS.items()}
    ours = {_packet(name): formula for name, formula in _FORMULAS.items()}
    for found, formula in {**ours, **twins, **formulas}.items():
        if isinstance(found, OpOverloadPacket):
            packet = cast("OpOverloadPacket[..., object]", found)
            for name in packet.overloads():
                yield getattr(packet, name), formula


@cache
def _may_multiply(name: str) -> bool:
    """Tell whether an operation of this full name may have products, and has no formula."""
    namespace, _, rest = name.partition("::")
    if namespace in _WITH_KERNELS:
        is_packing = any(word in rest for word in _PACKING)
        return not is_packing and any(word in rest for word in _PRODUCTS)
    return namespace not in _OF_PYTORCH


def _find(name: str) -> OpOverload | None:
    """Return an operation by its full name; None: Python has no way to call it."""
    namespace, _, rest = name.partition("::")
    packet, _, overload = rest.partition(".")
    try:
        return getattr(getattr(getattr(torch.ops, namespace), packet), overload or "default")
    except (AttributeError, RuntimeError):
        return None


def _replace_lookup(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let the counter know an operation that is looked up for the first time."""

    def look_up(namespace: object, name: str) -> object:
        found: object = original(namespace, name)
        _COUNTER.note_new(found)
        return found

    return look_up


def _packet(name: str) -> object:
    return getattr(torch.ops.aten, name)


_SPARSE = frozenset(
    (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
)
_FORMULAS: dict[str, Formula] = {
    "mkldnn_rnn_layer": _count_recurrent,
    "mkldnn_rnn_layer_backward": _count_recurrent_backward,
    "_int_mm": _count_int8,
    "_weight_int8pack_mm": _count_int8,
}
"""Formulas of operations that PyTorch's counter lacks; those that it has come first."""
_WITH_KERNELS = frozenset(
    ("quantized", "_quantized", "onednn", "mkldnn", "mkl", "prepacked", "mkldnn_prepacked")
)
"""Namespaces of PyTorch with kernels of their own."""
_PRODUCTS = ("linear", "conv", "matmul", "mm", "lstm", "gru", "rnn")
_PACKING = ("pack", "shape", "size", "params", "_is_", "serialized", "data_ptr", "reorder")
"""Words in the names of their operations: of those that multiply, and of those that only look."""
_OF_PYTORCH = frozenset(
    (
        *("aten", "prims", "debugprims", "rngprims", "inductor", "inductor_prims", "export"),
        *("c10d", "c10d_functional", "_c10d_functional", "_c10d_functional_autograd", "symm_mem"),
        *("_dtensor", "fsdp", "profiler", "debug_mode_ops", "_test", "_inductor_test", "_native"),
        *("static_runtime", "quantization", "sparse", "streams", "flex_lib", "onnx"),
        "onnx_symbolic",
    )
)
"""Namespaces of PyTorch whose operations have formulas, consist of others, or compute nothing."""
_LOOKUP = Replacement(_OpNamespace, "__getattr__", _replace_lookup)
_COUNTER = _Counter()
