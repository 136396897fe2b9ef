"""From a color configuration struct (6.1) to the router's `ColorConfig`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import Array, Scalar, Struct, Value, conversions, force, type_of
from onewafer.csl.sema.values.structs import read_choice, read_fields, read_flag
from onewafer.geometry import Direction
from onewafer.image import ColorConfig, CounterFilter, PopMode, RangeFilter, SwitchPosition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.diagnostics import Span

_MAX_HALF_WORD = 0xFFFF
_POP_MODES = {
    "no_pop": PopMode.NO_POP,
    "always_pop": PopMode.ALWAYS_POP,
    "pop_on_advance": PopMode.POP_ON_ADVANCE,
    "pop_on_advance_nop": PopMode.POP_ON_ADVANCE_NOP,
}


def read_color_config(value: Value, span: Span) -> ColorConfig:
    """Return the configuration that a struct describes, or fail."""
    fields = read_fields(
        value,
        "a color configuration",
        span,
        known=("routes", "switches", "filter", "teardown"),
        required=("routes",),
    )
    routes: Mapping[str, Value] = {}
    if _is_number(fields["routes"]):
        first = _sides(fields["routes"], "`routes`", span)
    else:
        routes = _routes(fields["routes"], span)
        first = SwitchPosition(_directions(routes["rx"], span), _directions(routes["tx"], span))
    positions, current, ring_mode, pop_mode = _switches(fields, first, span)
    if "pop_mode" in routes:  # where older versions of the SDK have it
        pop_mode = _pop_mode(routes["pop_mode"], span)
    return ColorConfig(
        positions,
        current,
        ring_mode,
        pop_mode,
        teardown=read_flag(fields, "teardown", span),
        filter=_filter(fields["filter"], span) if "filter" in fields else None,
        swap_mask=_swap_mask(routes, span),
    )


def _routes(value: Value, span: Span) -> Mapping[str, Value]:
    """Return the fields of `routes`; `.{}` has no directions."""
    if isinstance(value, Struct) and not value.fields:
        return dict.fromkeys(("rx", "tx"), Struct(None, ()))
    return read_fields(
        value,
        "`routes`",
        span,
        known=("rx", "tx", "color_swap_x", "color_swap_y", "pop_mode"),
        required=("rx", "tx"),
    )


_TRANSMIT_BITS = 5
"""Bits 0 to 4 of a number are directions to send to, bits 5 to 9 those to receive from."""


def _is_number(value: Value) -> bool:
    return isinstance(value, Scalar) and t.is_integer(value.type)


def _sides(value: Value, what: str, span: Span) -> SwitchPosition:
    """Return the directions in a number that `<directions>` made (SDK 2.10)."""
    bits = conversions.forced_integer(value, span, what)
    if not 0 <= bits < 1 << 2 * _TRANSMIT_BITS:
        fail(
            "value-out-of-range",
            f"{what} is {bits}, and a number of directions has bits 0 to 9",
            span,
            help="put it together from `RX_RAMP`, `TX_RAMP`, `dirToRxBits(d)` and `dirToTxBits(d)` "
            "of `<directions>`",
        )
    return SwitchPosition(bits >> _TRANSMIT_BITS, bits & (1 << _TRANSMIT_BITS) - 1)


def _swap_mask(routes: Mapping[str, Value], span: Span) -> int:
    """Return a mask of the ports at which the color is swapped with the other one of its pair."""
    along_x = read_flag(routes, "color_swap_x", span)
    along_y = read_flag(routes, "color_swap_y", span)
    if along_x and along_y:
        return (2 << Direction.RAMP) - 1  # all ports, the ramp included
    if along_x:
        return 1 << Direction.WEST | 1 << Direction.EAST
    return 1 << Direction.NORTH | 1 << Direction.SOUTH if along_y else 0


def _directions(value: Value, span: Span) -> int:
    """Return the mask of a direction, or of a tuple or array of them."""
    match value:
        case Scalar(t.DIRECTION):
            return 1 << int(force(value, "route", span))
        case Struct(None | (), fields) | Array(t.ArrayType(_, t.DIRECTION), fields):
            mask = 0
            for field in fields:
                more = _directions(field, span)
                if mask & more:
                    name = Direction((mask & more).bit_length() - 1).name
                    fail(
                        "type-mismatch",
                        f"{name} is twice in the directions of a route",
                        span,
                        help=f"leave one {name} out",
                    )
                mask |= more
            return mask
        case _:
            fail(
                "type-mismatch",
                f"a route is a set of directions, this is of type `{type_of(value)}`",
                span,
                help="write `.{ .rx = .{ WEST }, .tx = .{ RAMP, EAST } }`",
            )


def _switches(
    fields: Mapping[str, Value], first: SwitchPosition, span: Span
) -> tuple[tuple[SwitchPosition | None, ...], int, bool, PopMode]:
    if "switches" not in fields:
        return (first,), 0, False, PopMode.NO_POP
    switches = read_fields(
        fields["switches"],
        "`switches`",
        span,
        known=("pos1", "pos2", "pos3", "current_switch_pos", "ring_mode", "pop_mode"),
    )
    positions: list[SwitchPosition | None] = [first]
    # Each changes one side of the one before it: public programs first take the ramp out of `tx`,
    # and then make it the `rx`.
    last = first
    for number in (1, 2, 3):
        name = f"pos{number}"
        position = _position(switches[name], last, span) if name in switches else None
        last = position or last
        positions.append(position)
    while positions[-1] is None:
        positions.pop()
    current = 0
    if "current_switch_pos" in switches:
        current = conversions.forced_integer(switches["current_switch_pos"], span, "position")
        if not 0 <= current < len(positions) or positions[current] is None:
            fail("value-out-of-range", f"there is no switch position {current}", span)
    pop_mode = PopMode.NO_POP
    if "pop_mode" in switches:
        pop_mode = _pop_mode(switches["pop_mode"], span)
    return tuple(positions), current, read_flag(switches, "ring_mode", span), pop_mode


def _pop_mode(value: Value, span: Span) -> PopMode:
    chosen = read_choice(value, "`pop_mode`", tuple(_POP_MODES), span)
    return _POP_MODES[chosen] if chosen else PopMode.NO_POP


def _position(value: Value, last: SwitchPosition, span: Span) -> SwitchPosition | None:
    """Return the last position with another `rx` or `tx`; None: `.invalid = true`."""
    if _is_number(value):
        return _numbered_position(value, last, span)
    fields = read_fields(value, "a switch position", span, known=("rx", "tx", "invalid"))
    if "invalid" in fields and len(fields) == 1:
        if not read_flag(fields, "invalid", span):
            fail(
                "type-mismatch",
                "`.invalid` of a switch position can only be true",
                span,
                help="give the position an `.rx` or a `.tx`, or leave it out",
            )
        return None
    if "invalid" in fields:
        fail("type-mismatch", "`.invalid` stands alone in a switch position", span)
    if len(fields) != 1:
        fail("type-mismatch", "a switch position changes either `rx` or `tx`", span)
    if "rx" in fields:
        return _receiving(_directions(fields["rx"], span), last, span)
    return SwitchPosition(last.rx, _directions(fields["tx"], span))


def _numbered_position(value: Value, last: SwitchPosition, span: Span) -> SwitchPosition | None:
    """Return the last position with the `rx` or `tx` of a number; None: the number is 0."""
    sides = _sides(value, "a switch position", span)
    if sides.rx and sides.tx:
        fail("type-mismatch", "a switch position changes either `rx` or `tx`, not both", span)
    if sides.rx:
        return _receiving(sides.rx, last, span)
    return SwitchPosition(last.rx, sides.tx) if sides.tx else None


def _receiving(receive: int, last: SwitchPosition, span: Span) -> SwitchPosition:
    if receive.bit_count() != 1:
        fail(
            "type-mismatch",
            f"a switch position receives from one direction, this from {receive.bit_count()}",
            span,
            help="write `.{ .rx = EAST }`",
        )
    return SwitchPosition(receive, last.tx)


_RANGE_FIELDS = ("min_idx", "max_idx")
_COUNTER_FIELDS = ("count_data", "count_control", "filter_control", "init_counter", "limit1",
                   "max_counter", "fast_mode")  # fmt: skip
_SPARSE_FIELDS = ("count_data", "count_control", "init_counter", "limit1", "limit2", "max_counter")


def _filter(value: Value, span: Span) -> RangeFilter | CounterFilter:
    fields = read_fields(
        value,
        "`filter`",
        span,
        known=tuple(dict.fromkeys(("kind", *_RANGE_FIELDS, *_COUNTER_FIELDS, *_SPARSE_FIELDS))),
        required=("kind",),
    )
    kind = read_choice(
        fields["kind"], "the kind of a filter", ("range", "counter", "sparse_counter"), span
    )
    match kind:
        case "range":
            return _range_filter(value, span)
        case "counter":
            return _counter_filter(value, span)
        case "sparse_counter":
            return _sparse_filter(value, span)
        case _:
            fail("type-mismatch", "the kind of a filter is `.{ .range = true }` or another", span)


def _range_filter(value: Value, span: Span) -> RangeFilter:
    names = ("kind", *_RANGE_FIELDS)
    fields = read_fields(value, "a range filter", span, known=names, required=names)
    low, high = (_half_word(fields[name], "filter bound", span) for name in _RANGE_FIELDS)
    if low > high:
        fail("value-out-of-range", f"no index lies between {low} and {high}", span)
    return RangeFilter(low, high)


def _counter_filter(value: Value, span: Span) -> CounterFilter:
    names = ("kind", *_COUNTER_FIELDS)
    fields = read_fields(value, "a counter filter", span, known=names)
    return CounterFilter(
        maximum=_count(fields, "max_counter", span),
        limit=_count(fields, "limit1", span),
        initial=_count(fields, "init_counter", span),
        counts_data=read_flag(fields, "count_data", span),
        counts_control=read_flag(fields, "count_control", span),
        filters_control=read_flag(fields, "filter_control", span),
    )


def _sparse_filter(value: Value, span: Span) -> CounterFilter:
    """Return a counter filter with up to two limits; without `limit1` it passes all wavelets."""
    fields = read_fields(value, "a sparse counter filter", span, known=("kind", *_SPARSE_FIELDS))
    has_limit = "limit1" in fields
    return CounterFilter(
        maximum=_count(fields, "max_counter", span) if has_limit else _MAX_HALF_WORD,
        limit=_count(fields, "limit1", span),
        initial=_count(fields, "init_counter", span),
        counts_data=read_flag(fields, "count_data", span),
        counts_control=read_flag(fields, "count_control", span),
        is_sparse=True,
        second_limit=_count(fields, "limit2", span) if has_limit and "limit2" in fields else None,
    )


def _count(fields: Mapping[str, Value], name: str, span: Span) -> int:
    """Return a number of wavelets; 0 if it is not given."""
    return _half_word(fields[name], name, span) if name in fields else 0


def _half_word(value: Value, what: str, span: Span) -> int:
    number = conversions.forced_integer(value, span, what)
    if not 0 <= number <= _MAX_HALF_WORD:
        fail("value-out-of-range", f"{what} {number} does not fit 16 bits", span)
    return number
