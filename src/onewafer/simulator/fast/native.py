# pyright: basic
# Numba's type hints are partial; this file and `compilation` are the only ones that touch it.
# ruff: noqa: ANN001, ANN202
"""How compiled kernels see `Arrays`: one pointer, and numbers that are all 64-bit integers.

Numba would pass 35 arrays as some 250 values at every call, look for a negative index at every
access, and assume that a store into one array may change every other. Here `bind` writes addresses
and shapes into a small array of numbers, its *frame*, and kernels get the address of that:
`s.arena[i]` is a load, a conversion to int64, and nothing else. Each array has a type of its own,
so LLVM is told that they do not overlap (TBAA), and that the frame never changes while kernels run
(`invariant.load`).

With NUMBA_BOUNDSCHECK every index is checked. With NUMBA_DISABLE_JIT kernels are Python functions
and get the `Arrays` themselves.
"""

from __future__ import annotations

import operator
from typing import Any

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

from onewafer.simulator.fast.arrays import DTYPES, Arrays

_config: Any = numba_config
_infer_getattr: Any = infer_getattr
_from_dtype: Any = from_dtype
_intrinsic: Any = intrinsic
_INT64 = ir.IntType(64)
_FRAME_WORDS = 6
"""Of an array: address and up to five dimensions."""


Bound = Any
"""What `bind` returns."""


def bind(arrays: Arrays) -> Bound:
    """Return what kernels take; `arrays` has to outlive it."""
    if _config.DISABLE_JIT:
        return arrays
    frame = np.zeros((len(arrays), _FRAME_WORDS), np.int64)
    for row, (name, array) in zip(frame, arrays._asdict().items(), strict=True):
        assert array.dtype == DTYPES[name][0], name
        assert array.ndim == DTYPES[name][1], name
        assert array.flags.c_contiguous, name
        row[0] = array.ctypes.data
        row[1 : 1 + array.ndim] = array.shape
    return frame.reshape(-1)


def opened(bound: Bound) -> Arrays:
    """Return the arrays behind what `bind` returned."""
    return bound


class StateType(types.Type):
    """The address of a frame, for kernels: `Arrays`."""

    def __init__(self) -> None:
        """Name the only type of its kind."""
        super().__init__(name="State")


class TableType(types.Type):
    """The address of an array's words in a frame, for kernels: the array."""

    def __init__(self, field: str) -> None:
        """Take the dtype and the number of dimensions of a field."""
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
def _open(_context, bound):
    def generate(context, builder, sig, arguments):
        array = context.make_array(sig.args[0])(context, builder, arguments[0])
        return builder.bitcast(array.data, ir.PointerType(_INT64))

    return _STATE(bound), generate


@overload(opened)
def _opened(bound):  # noqa: ARG001
    return lambda bound: _open(bound)  # noqa: PLW0108  # Numba wants a Python function


# --- attributes ----------------------------------------------------------------------------------


@_infer_getattr
class _StateAttributes(AttributeTemplate):
    key = StateType

    def generic_resolve(self, _state, field):
        return _TABLES[field]


@lower_getattr_generic(StateType)
def _get_field(_context, builder, _state, value, field):
    place = Arrays._fields.index(field) * _FRAME_WORDS
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


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, arguments, _keywords):
        table, index = arguments
        if isinstance(table, TableType):
            return signature(types.int64, table, index)
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, arguments, _keywords):
        table, index, value = arguments
        if isinstance(table, TableType):
            return signature(types.none, table, index, value)
        return None


def prefetch(table: Any, index: Any) -> None:
    """Ask for the cache line of an element that will be needed soon."""
    del table, index


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
        kinds, indices = list(index_type.types), cgutils.unpack_tuple(builder, index)
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
    """Say that a load or store touches this array and no other."""
    module = builder.module
    root = module.add_metadata([ir.MetaDataString(module, "onewafer")])
    zero = _INT64(0)
    kind = module.add_metadata([ir.MetaDataString(module, table.field), root, zero])
    access.set_metadata("tbaa", module.add_metadata([kind, kind, zero]))
