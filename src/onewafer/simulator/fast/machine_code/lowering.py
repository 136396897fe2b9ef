# pyright: basic
# Numba's type hints are partial; this file, `jit` and `kept` are the only ones that touch it.
# ruff: noqa: ANN001, ANN202, ANN401
"""Numba lowering of `Arrays`: one pointer, and elements read as 64-bit integers.

Numba would pass 35 arrays as some 250 values at every call, look for a negative index at every
access, and assume that a store into one array may change every other. Here `native.bind` writes
addresses and shapes into a small array of numbers, its *frame*, and kernels get its address:
`s.arena[i]` is a load, a conversion to int64, and nothing else. Each array has a type of its own,
so LLVM is told that they do not overlap (TBAA), and that the frame never changes while kernels run
(`invariant.load`).

With NUMBA_BOUNDSCHECK every index is checked.
"""

from __future__ import annotations

import ctypes
import operator
import platform
import sys
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core import config as numba_config
from numba.core.datamodel import models
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import (
    intrinsic,
    lower_builtin,
    lower_getattr,
    lower_getattr_generic,
    overload,
    register_model,
)
from numba.np.numpy_support import from_dtype

from onewafer.simulator.fast.machine_code.native import (
    FRAME_WORDS,
    give_way,
    load_signal,
    opened,
    prefetch,
    relax,
    store_signal,
    trailing_zeros,
)
from onewafer.simulator.fast.state.arrays import DTYPES, Arrays

_config: Any = numba_config
_infer_getattr: Any = infer_getattr
_infer_global: Any = infer_global
_from_dtype: Any = from_dtype
_intrinsic: Any = intrinsic
_INT64 = ir.IntType(64)
_WORD_BYTES = 8
_PAUSES = {
    "x86_64": ("llvm.x86.sse2.pause", ()),
    "amd64": ("llvm.x86.sse2.pause", ()),
    "aarch64": ("llvm.aarch64.hint", (ir.IntType(32)(1),)),
    "arm64": ("llvm.aarch64.hint", (ir.IntType(32)(1),)),
}
_PAUSE = _PAUSES.get(platform.machine().lower())
"""The processor's spin-wait hint instruction; None: it has none."""


class StateType(types.Type):
    """The address of a frame, for kernels: `Arrays`."""

    def __init__(self) -> None:
        """Set the name of the type, which has one instance."""
        super().__init__(name="State")


class TableType(types.Type):
    """One array for kernels: the address of its entry in a frame."""

    def __init__(self, field: str) -> None:
        """Set the dtype and the number of dimensions from a field."""
        dtype, self.ndim = DTYPES[field]
        self.field = field
        self.dtype = _from_dtype(np.dtype(dtype))
        super().__init__(name=f"Table({field})")


_STATE = StateType()
_TABLES = {field: TableType(field) for field in Arrays._fields}


@register_model(StateType)
@register_model(TableType)
class _AddressModel(models.PrimitiveModel):
    def __init__(self, manager, front_end_type) -> None:
        super().__init__(manager, front_end_type, ir.PointerType(_INT64))


@_intrinsic
def _open(_context, bound, share):
    def generate(context, builder, sig, arguments):
        array = context.make_array(sig.args[0])(context, builder, arguments[0])
        number = context.cast(builder, arguments[1], sig.args[1], types.int64)
        place = builder.mul(number, _INT64(len(Arrays._fields) * FRAME_WORDS))
        start = builder.bitcast(array.data, ir.PointerType(_INT64))
        return builder.gep(start, [place], inbounds=True)

    return _STATE(bound, share), generate


@overload(opened)
def _opened(bound, share):  # noqa: ARG001
    return lambda bound, share: _open(bound, share)  # noqa: PLW0108  # Numba wants a function


# --- attributes ----------------------------------------------------------------------------------


@_infer_getattr
class _StateAttributes(AttributeTemplate):
    key = StateType

    def generic_resolve(self, _state, field):
        return _TABLES[field]


@lower_getattr_generic(StateType)
def _get_field(_context, builder, _state, value, field):
    place = Arrays._fields.index(field) * FRAME_WORDS
    return builder.gep(value, [_INT64(place)], inbounds=True)


@_infer_getattr
class _TableAttributes(AttributeTemplate):
    key = TableType

    def resolve_shape(self, table):
        return types.UniTuple(types.int64, table.ndim)


@lower_getattr(TableType, "shape")
def _get_shape(context, builder, table, value):
    sizes = [_frame_word(builder, value, 1 + axis) for axis in range(table.ndim)]
    return context.make_tuple(builder, types.UniTuple(types.int64, table.ndim), sizes)


def _frame_word(builder, value, number: int):
    word = builder.load(builder.gep(value, [_INT64(number)], inbounds=True))
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word


# --- elements ------------------------------------------------------------------------------------


@_infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, arguments, _keywords):
        table, index = arguments
        if isinstance(table, TableType):
            return signature(types.int64, table, index)
        return None


@_infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, arguments, _keywords):
        table, index, value = arguments
        if isinstance(table, TableType):
            return signature(types.none, table, index, value)
        return None


@_intrinsic
def _prefetch(_context, table, index):
    def generate(context, builder, sig, arguments):
        address = _address(
            context, builder, sig.args[0], arguments[0], sig.args[1], arguments[1], is_checked=False
        )
        pointer = ir.PointerType(ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [pointer, *3 * [ir.IntType(32)]])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        options = [ir.IntType(32)(option) for option in (1, 3, 1)]  # to write, to keep, no code
        builder.call(function, [builder.bitcast(address, pointer), *options])
        return context.get_dummy_value()

    return types.none(table, index), generate


@overload(prefetch)
def _prefetched(table, index):  # noqa: ARG001
    return lambda table, index: _prefetch(table, index)  # noqa: PLW0108  # as above


@lower_builtin(operator.getitem, TableType, types.Any)
def _get_element(context, builder, sig, arguments):
    table, index = sig.args
    word = builder.load(_address(context, builder, table, arguments[0], index, arguments[1]))
    _tell_apart(builder, word, table)
    return context.cast(builder, word, table.dtype, types.int64)


@lower_builtin(operator.setitem, TableType, types.Any, types.Any)
def _set_element(context, builder, sig, arguments):
    table, index, kind = sig.args
    address = _address(context, builder, table, arguments[0], index, arguments[1])
    wide = context.cast(builder, arguments[2], kind, types.int64)
    narrow = builder.trunc(wide, ir.IntType(table.dtype.bitwidth))
    _tell_apart(builder, builder.store(narrow, address), table)
    return context.get_dummy_value()


def _address(
    context, builder, table: TableType, value, index_type, index, *, is_checked: bool = True
):
    """Return the address of an element of a C-contiguous array."""
    if isinstance(index_type, types.BaseTuple):
        index_types: Any = index_type
        kinds, indices = list(index_types), cgutils.unpack_tuple(builder, index)
    else:
        kinds, indices = [index_type], [index]
    assert len(indices) == table.ndim, table
    place = None
    for axis, (kind, each) in enumerate(zip(kinds, indices, strict=True)):
        number = context.cast(builder, each, kind, types.int64)
        if _config.BOUNDSCHECK and is_checked:
            size = _frame_word(builder, value, 1 + axis)
            cgutils.do_boundscheck(context, builder, number, size, axis)
        if place is None:
            place = number
        else:
            place = builder.mul(place, _frame_word(builder, value, 1 + axis))
            place = builder.add(place, number)
    start = _frame_word(builder, value, 0)
    pointer = builder.inttoptr(start, ir.PointerType(ir.IntType(table.dtype.bitwidth)))
    return builder.gep(pointer, [place], inbounds=True)


def _tell_apart(builder, access, table: TableType) -> None:
    """Mark a load or store with this array's alias class (TBAA)."""
    module = builder.module
    root = module.add_metadata([ir.MetaDataString(module, "onewafer")])
    zero = _INT64(0)
    kind = module.add_metadata([ir.MetaDataString(module, table.field), root, zero])
    access.set_metadata("tbaa", module.add_metadata([kind, kind, zero]))


# --- words that threads use to talk --------------------------------------------------------------


@_intrinsic
def _load_signal(_context, table, index):
    def generate(context, builder, sig, arguments):
        address = _address(context, builder, sig.args[0], arguments[0], sig.args[1], arguments[1])
        return builder.load_atomic(address, "seq_cst", _WORD_BYTES)

    return types.int64(table, index), generate


@overload(load_signal)
def _signal_loaded(table, index):  # noqa: ARG001
    return lambda table, index: _load_signal(table, index)  # noqa: PLW0108  # as above


@_intrinsic
def _store_signal(_context, table, index, value):
    def generate(context, builder, sig, arguments):
        address = _address(context, builder, sig.args[0], arguments[0], sig.args[1], arguments[1])
        word = context.cast(builder, arguments[2], sig.args[2], types.int64)
        builder.store_atomic(word, address, "seq_cst", _WORD_BYTES)
        return context.get_dummy_value()

    return types.none(table, index, value), generate


@overload(store_signal)
def _signal_stored(table, index, value):  # noqa: ARG001
    return lambda table, index, value: _store_signal(table, index, value)  # noqa: PLW0108


@_intrinsic
def _relax(_context):
    def generate(context, builder, _sig, _arguments):
        if _PAUSE is not None:
            name, options = _PAUSE
            kind = ir.FunctionType(ir.VoidType(), [option.type for option in options])
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(function, options)
        return context.get_dummy_value()

    return types.none(), generate


@overload(relax)
def _relaxed():
    return lambda: _relax()  # noqa: PLW0108  # as above


@_intrinsic
def _give_way(_context):
    def generate(context, builder, _sig, _arguments):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, _YIELD), [])
        return context.get_dummy_value()

    return types.none(), generate


@overload(give_way)
def _gave_way():
    return lambda: _give_way()  # noqa: PLW0108  # as above


def _find_yield() -> Any:
    """Return the system's function that yields the core."""
    if sys.platform == "win32":
        return ctypes.CDLL("kernel32").SwitchToThread
    return ctypes.CDLL(None).sched_yield


_YIELD = "onewafer_yield"
llvm.add_symbol(_YIELD, ctypes.cast(_find_yield(), ctypes.c_void_p).value)


# --- bits ----------------------------------------------------------------------------------------


@_intrinsic
def _count_trailing_zeros(_context, mask):
    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(mask), generate


@overload(trailing_zeros)
def _trailing_zeros(mask):  # noqa: ARG001
    return lambda mask: _count_trailing_zeros(np.int64(mask))
