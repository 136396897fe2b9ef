"""The initial data of globals, from comptime values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.values import (
    Array,
    Dsd,
    FunctionAddress,
    Pointer,
    Scalar,
    Struct,
    Undefined,
    Value,
    formats,
    map_scalar,
    packed,
    type_of,
)
from onewafer.image import ScalarType

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.diagnostics import Span


def fill_globals(instance: Instance) -> None:
    """Write the initial data of all globals, which may add more globals."""
    while instance.to_fill:
        variable = instance.to_fill.popleft()
        assert variable.storage is not None
        try:
            data = _Data(instance, variable.storage, variable.span)
            data.fill(0, variable.type, variable.initial)
        except Fault as fault:
            instance.report(fault)


@dataclass(frozen=True, slots=True)
class _Data:
    """The initial data of one global."""

    instance: Instance
    storage: ir.Global
    span: Span

    def fill(self, offset: int, type_: t.Type, value: Value) -> None:
        """Append the data of a value `offset` bytes into the global; zeros need none."""
        match value:
            case Array(array, elements):
                step = t.num_bytes(array.element)
                blank: set[int] = set()  # zero elements: `@zeros` repeats one object
                for index, element in enumerate(elements):
                    if id(element) in blank:
                        continue
                    if type(element) is Scalar and element.value == 0 and not element.taint:
                        continue
                    num_data = len(self.storage.data)
                    self.fill(offset + index * step, array.element, element)
                    if len(self.storage.data) == num_data:
                        blank.add(id(element))
            case Struct(type=t.PackedType()):
                self._fill_packed(offset, value)
            case Struct(_, fields) if isinstance(type_, t.StructType):
                for index, (field_type, part) in enumerate(zip(type_.fields, fields, strict=True)):
                    start = offset + t.field_offset(type_, index)
                    self.fill(start, field_type, part)
            case Scalar() if isinstance(t.register_type(type_), ir.WideType):
                for index, word in enumerate(self.instance.columns.words(value)):
                    self.fill(offset + index * t.num_bytes(t.U32), t.U32, word)
            case Scalar(_, number, taint):
                element = t.scalar_type(type_)
                word = formats.canonical_word(type_, number)
                if element is not None and (word or taint is not None):
                    column = self.instance.columns.of(Scalar(type_, number, taint))
                    self.storage.data.append(ir.Datum(offset, element, word, column))
            case Pointer():
                self.storage.data.append(ir.AddressDatum(offset, self.instance.address(value)))
            case FunctionAddress():
                word = self.instance.function_number(value).word
                self.storage.data.append(ir.Datum(offset, ScalarType.U16, word))
            case Undefined():
                pass
            case Dsd():
                self.storage.data.append(ir.DsdDatum(offset, self.instance.make_dsd(value)))
            case _:
                fail("type-mismatch", f"`{type_}` cannot be initial data of a variable", self.span)

    def _fill_packed(self, offset: int, value: Struct) -> None:
        """Write the bytes of a packed struct with addresses in it."""
        word, addresses = packed.split(value)
        free = set(range(t.num_bytes(word.type)))
        for bit, address in addresses:
            first, rest = divmod(bit, 8)
            if rest:
                fail(
                    "unsupported-feature",
                    f"an address from bit {bit} of a packed struct on is known to the linker only",
                    self.span,
                    help="let it begin at a byte: at bit 0, 8, 16 …; or give it in a function",
                )
            self.fill(offset + first, type_of(address), address)
            free -= {first, first + 1}
        for byte in free:
            part = map_scalar(word, t.U8, lambda number, at=8 * byte: int(number) >> at & 0xFF)
            self.fill(offset + byte, t.U8, part)
