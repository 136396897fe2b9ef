"""The numbers of an instance that differ between its PEs: a table with one row per PE."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.values import Scalar, Taint, formats, map_scalar

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that code and initial data use, and the conversion of scalars to IR."""

    _known: dict[tuple[int, t.Type], tuple[ir.PerPe, Taint]] = field(
        default_factory=dict[tuple[int, t.Type], tuple[ir.PerPe, Taint]]
    )
    _words: dict[int, tuple[Taint, Scalar, Scalar]] = field(
        default_factory=dict[int, tuple[Taint, Scalar, Scalar]]
    )
    """A wide number, by `id` of its taint: its low and high word have a column each."""

    def __iter__(self) -> Iterator[tuple[Taint, t.Type]]:
        """Yield the taint and the type of each column, in the order of `PerPe.index`."""
        for (_, type_), (_, taint) in self._known.items():
            yield taint, type_

    def of(self, value: Scalar) -> ir.PerPe | None:
        """Return the column of a scalar; None: it is the same on all PEs."""
        taint, type_ = value.taint, value.type
        if taint is None:
            return None
        key = (id(taint), type_)
        if key not in self._known:
            self._known[key] = (ir.PerPe(len(self._known)), taint)
        return self._known[key][0]

    def immediate(self, value: Scalar) -> ir.Immediate:
        """Return a scalar of at most 32 bits as IR."""
        scalar = t.scalar_type(value.type)
        assert scalar is not None
        word = formats.canonical_word(value.type, value.value)
        return ir.Immediate(scalar, word, self.of(value))

    def join(self, value: Scalar, held: ir.WideType) -> ir.Join:
        """Return a scalar of more than 32 bits as IR."""
        low, high = map(self.immediate, self.words(value))
        return ir.Join(held, low, high)

    def words(self, value: Scalar) -> tuple[Scalar, Scalar]:
        """Return the low and the high word of a scalar of more than 32 bits."""
        taint = value.taint
        if taint is not None and id(taint) in self._words:
            return self._words[id(taint)][1:]
        low = map_scalar(value, t.U32, lambda n: int(n) & t.WORD_MASK)
        high = map_scalar(value, t.U32, lambda n: int(n) >> t.WORD_BITS & t.WORD_MASK)
        if taint is not None:
            self._words[id(taint)] = (taint, low, high)
        return low, high
