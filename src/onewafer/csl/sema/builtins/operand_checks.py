"""Checks of operands: impossible combinations of sources, and legal but suspicious operands.

The machine moves the given number of elements, of the operation's width, from the start of a DSD,
even past the end of the array. Values that are only known at run time are not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.completion import known_descriptors
from onewafer.csl.sema.builtins.descriptors import element_of
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.values import Dsd, Dsr, Pointer, Scalar, Value, conversions, type_of
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import DsdKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.diagnostics import Span


def check_sources(site: Site, a: Analyzer, operands: Sequence[Value]) -> None:
    """Fail if an operation reads more fabric DSDs than the machine can, or a FIFO with another."""
    machine = a.session.architecture
    num_inputs = sum(_is_fabric_input(a, value) for value in operands[1:])
    if num_inputs > machine.num_fabric_inputs:
        fail(
            "unsupported-on-architecture",
            f"an operation on {machine.name} reads one fabin_dsd, this reads {num_inputs}",
            site.span,
            help="receive one of them into memory before",
        )
    first, *others = [type_of(value) for value in operands[1:]] or [None]
    if others and first in (t.FIFO, t.DSR_FIFO_SRC1):
        fail(
            "type-mismatch",
            f"a FIFO is the last source of `@{site.name}`, here another one follows",
            site.argument_spans[1],
            help=f"let it be the last one, as in `@{site.name}(dest, other, fifo)`, or take its "
            "elements into memory before",
        )


def _is_fabric_input(a: Analyzer, value: Value) -> bool:
    """Tell whether an operand is always a fabin_dsd; for a DSR, in all its loads."""
    if isinstance(value, Dsr):
        key = value.type, value.index
        state = a.instance.dsrs.states.get(key)
        if a.dsrs.last_load(key) is None and (state is None or state.is_sometimes_memory):
            return False
    return any(d.kind is DsdKind.FABIN for d in known_descriptors(a, (value,)))


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand of a DSD operation."""

    value: Value
    span: Span
    num_bytes: int
    """Bytes of an element of the operation at this operand."""


def check_operands(
    site: Site, a: Analyzer, dest: Operand, src0: Operand | None, src1: Operand | None
) -> None:
    """Warn about arrays of another element size, empty DSDs, and DSDs that exceed their array."""
    operands = [o for o in (src0, src1, dest) if o is not None]
    fifos = _fifos_of(operands)
    length, operand = _find_length(operands)
    if operand is not None and length is not None and not length.value:
        if length.taint is None:  # it is 0 at every PE, whatever its params are
            a.instance.report_without_lengths(fifos, _has_no_elements(operand))
        length = None
    is_inside = True
    for other in (dest, src0, src1):
        if other is None or not isinstance(other.value, Dsd) or other.value.base is None:
            continue
        finding = _check_width(site, other.value.base, other)
        if finding is not None:
            a.instance.report(Fault(finding))
        elif length is not None:
            finding = _check_reach(other.value, other.value.base, other, length)
            if finding is not None:
                a.instance.report_without_lengths(fifos, finding)
        is_inside &= finding is None
    if is_inside and operand is not None and length is not None:
        _check_extents(a, operand, length, (dest, src0, src1), fifos)


def _fifos_of(operands: Sequence[Operand]) -> frozenset[int]:
    """Return the FIFOs among operands."""
    descriptors = [o.value.descriptor for o in operands if isinstance(o.value, Dsd)]
    return frozenset(d.fifo for d in descriptors if d.kind is DsdKind.FIFO)


def _find_length(operands: Sequence[Operand]) -> tuple[Scalar | None, Operand | None]:
    """Return the length of the operation (M35) if no FIFO has one, and the operand that has it.

    The length is None if it is a run-time value, or endless.
    """
    for operand in operands:
        match operand.value:
            case Dsd(descriptor=descriptor) if descriptor.kind is DsdKind.FIFO:
                continue
            case Dsd(extent=Scalar(value=value)) if value == _ENDLESS:
                return None, operand
            case Dsd(extent=extent):
                return extent, operand
            case value if type_of(value) in t.DSDS or type_of(value) in t.DSRS:
                return None, operand
            case _:
                continue
    return _ONE, None


def _has_no_elements(operand: Operand) -> Diagnostic:
    return Diagnostic(
        "empty-dsd",
        "this operation has no elements: it does nothing",
        Annotation(operand.span, "the extent of this DSD is 0"),
        notes=("the first source that is a DSD says the length, else the destination",),
        help="give the DSD an extent, or leave the operation out",
        severity=Severity.WARNING,
    )


_ONE = Scalar(t.U16, 1)
"""Length of an operation none of whose operands has one."""
_ENDLESS = 0x7FFF
"""Extent of a fabric operand without end (M35)."""


def _check_width(site: Site, base: Pointer, operand: Operand) -> Diagnostic | None:
    held = t.num_bytes(element_of(base, operand.span))
    if held == operand.num_bytes:
        return None
    return Diagnostic(
        "element-size-mismatch",
        f"`@{site.name}` works on elements of {8 * operand.num_bytes} bits here, "
        f"and those of `{base.variable.name}` have {8 * held}",
        Annotation(operand.span),
        (Annotation(base.variable.span, f"`{base.variable.name}` is a `{base.variable.type}`"),),
        ("the machine takes the width of the operation, whatever the array holds",),
        "use the operation for these elements (`@…16` and `@…h` have 16 bits, `@…32` and `@…s` 32)",
        severity=Severity.WARNING,
    )


def _check_reach(dsd: Dsd, base: Pointer, operand: Operand, length: Scalar) -> Diagnostic | None:
    start, size = base.reach

    def excess(count: int) -> int:
        """Return the number of elements past the end of the array (negative: before it)."""
        lowest, highest = _bounds(dsd, count)
        first = base.offset - start + lowest * operand.num_bytes
        end = base.offset - start + (highest + 1) * operand.num_bytes
        if end > size:
            return -(-(end - size) // operand.num_bytes)
        return min(0, first // operand.num_bytes)

    if dsd.stride.taint is not None or not conversions.decide(
        length, lambda count: excess(int(count)) != 0, "extent", operand.span
    ):
        return None
    far = excess(int(length.value))
    name, noun = _name_of_array(base), "element" if abs(far) == 1 else "elements"
    side = f"past the end of `{name}`" if far > 0 else f"before the beginning of `{name}`"
    made = (Annotation(dsd.span, "this is the DSD"),) if dsd.span is not None else ()
    return Diagnostic(
        "dsd-outside-array",
        f"the operation reaches {abs(far):,} {noun} {side}",
        Annotation(operand.span),
        (*made, Annotation(base.variable.span, f"`{name}` has {size:,} bytes")),
        ("at run time this is not an error: the memory there is read or overwritten",),
        "make the extent of the DSD smaller, or the array larger",
        severity=Severity.WARNING,
    )


def _check_extents(
    a: Analyzer,
    measure: Operand,
    length: Scalar,
    operands: Sequence[Operand | None],
    fifos: frozenset[int],
) -> None:
    """Warn of an array whose DSD has another extent than the operand that says the length.

    The extent of a fabric DSD that is a destination has no meaning, and programs write any there.
    """
    for operand in operands:
        if operand is None or operand is measure or not isinstance(operand.value, Dsd):
            continue
        extent = operand.value.extent
        if operand.value.base is None or length.taint is not None or extent.taint is not None:
            continue
        if extent.value != length.value:
            a.instance.report_without_lengths(fifos, _other_extent(operand, measure, length))


def _other_extent(operand: Operand, measure: Operand, length: Scalar) -> Diagnostic:
    assert isinstance(operand.value, Dsd)
    extent, count = int(operand.value.extent.value), int(length.value)
    where = f"{abs(extent - count):,} elements {'too long' if extent > count else 'too short'}"
    return Diagnostic(
        "unequal-extents",
        f"the operation takes {count:,} elements, and the extent of this DSD is {extent:,}",
        Annotation(operand.span, where),
        (Annotation(measure.span, "this DSD says the length"),),
        ("the machine ignores the extents of all other operands",),
        "give the DSDs the same extent, or set it with `@set_dsd_length`",
        severity=Severity.WARNING,
    )


def _name_of_array(base: Pointer) -> str:
    """Return the name of a DSD's variable, or of its struct field."""
    fields = t.named_parts(base.variable.type)
    found = (name for name, offset, part in fields if (offset, t.num_bytes(part)) == base.reach)
    return base.variable.name + next(found, "")


def _bounds(dsd: Dsd, count: int) -> tuple[int, int]:
    """Return the lowest and the highest of `count` elements, counted from the base.

    For a mem4d operand that is partly read, or empty, only of the first element.
    """
    loops = [(count, int(dsd.stride.value))]
    if dsd.descriptor.kind is DsdKind.MEM4D:
        loops = [*zip(dsd.descriptor.extents, dsd.descriptor.strides, strict=True)]
        if count < dsd.extent.value or not dsd.extent.value:
            return 0, 0
    ends = [(extent - 1) * stride for extent, stride in loops]
    return sum(min(0, end) for end in ends), sum(max(0, end) for end in ends)
