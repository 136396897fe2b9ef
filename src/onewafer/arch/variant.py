"""Machines that differ from one of the catalog in some numbers: `wse3:hop_cycles=1`.

    name   := machine [":" change ("," change)*]
    change := field "=" number          a field of `Architecture` or `Timing`
            | table "." key "=" number  an entry of `instruction_cycles` or `elements_per_cycle`

Its name describes a variant fully, so that an image or another process can refer to it. Colors,
queues and task ids are those of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from onewafer.arch.timing import Timing
from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch.architecture import Architecture

_FACTS = {
    "fabric_width": "int",
    "fabric_height": "int",
    "memory_bytes": "int",
    "runtime_bytes": "int",
    "io_bytes_per_second": "float",
    "clock_hertz": "float",
}
"""The fields of `Architecture` that may differ, and their types."""
_TABLES = ("instruction_cycles", "elements_per_cycle")
_MAY_BE_ZERO = frozenset(
    f"{name}_cycles"
    for name in (
        "memory_setup",
        "fabric_setup",
        "scalar_setup",
        "resume",
        "dispatch",
        "task_start",
        "branch_taken",
        "timestamp",
        "timestamp_wait",
        "timestamp_drain",
        "wrap",
        "result",
    )
)
_MOST_DIGITS = 15
_MOST_CYCLES = 10_000
_MOST_OF = {"memory_bytes": (1 << 31) - 1, "fabric_width": 100_000, "fabric_height": 100_000}
"""Addresses are numbers of 32 bits; coordinates are not far from those of a wafer."""
_MOST_DENOMINATOR = 1_000
"""The largest denominator of a rate that is written with a point: `1.333` is 1333/1000."""


@dataclass(frozen=True, slots=True)
class Change:
    """One changed number."""

    field: str
    """`hop_cycles`, `elements_per_cycle.fmach`."""
    value: int | float | Fraction

    def __str__(self) -> str:
        """Return the change as in the name of a variant."""
        return f"{self.field}={_spelled(self.value)}"


SEPARATOR = ":"
"""Separates the machine from its changes in a name."""


def split_variant(name: str) -> tuple[str, str]:
    """Return the machine of the catalog, and the changes as text.

    >>> split_variant("wse3:hop_cycles=1"), split_variant("wse2")
    (('wse3', 'hop_cycles=1'), ('wse2', ''))
    """
    machine, _, changes = name.partition(SEPARATOR)
    return machine, changes


def changeable_fields() -> tuple[str, ...]:
    """Return the fields that a variant may change, without the entries of tables."""
    timing = (field.name for field in fields(Timing) if field.name not in _TABLES)
    return (*_FACTS, *timing)


def variant_name(machine: str, changes: Mapping[str, int | float | Fraction]) -> str:
    """Return the name of a variant of a machine; the same for the same changes.

    >>> variant_name("wse3", {"memory_bytes": 98304, "hop_cycles": 1})
    'wse3:hop_cycles=1,memory_bytes=98304'
    """
    texts = [str(Change(field, value)) for field, value in sorted(changes.items())]
    return SEPARATOR.join((machine, ",".join(texts))) if texts else machine


def varied(machine: Architecture, changes: str) -> Architecture:
    """Return a machine of the catalog with the changes that a name spells out.

    Raises ConfigurationError for an unknown field or an impossible number.
    """
    timing = machine.timing
    facts: dict[str, int | float | Fraction] = {}
    for text in changes.split(","):
        change = _parse(text, machine)
        if change.field in _FACTS:
            facts[change.field] = change.value
        else:
            timing = _with_timing(timing, change)
    title, _, rest = machine.title.partition(" (")
    name = SEPARATOR.join((machine.name, changes))
    found = replace(
        machine,
        **facts,  # pyright: ignore[reportArgumentType]  # checked by `_parse`
        name=name,
        title=f"{title} with {changes.replace(',', ', ')}{rest and f' ({rest}'}",
        timing=timing,
    )
    _check_margins(found)
    return found


def _parse(text: str, machine: Architecture) -> Change:
    field, equals, number = (part.strip() for part in text.partition("="))
    if not equals:
        raise ConfigurationError(
            f"{machine.name}: {text!r} changes nothing; write FIELD=NUMBER, as in hop_cycles=1"
        )
    table, dot, key = field.partition(".")
    if dot and table in _TABLES:
        entries: Mapping[str, object] = getattr(machine.timing, table)
        if key not in entries:
            raise ConfigurationError(
                f"{machine.name} has no entry {key!r} in {table}{_nearest(key, entries)}"
            )
        is_rate = table == "elements_per_cycle"
        return Change(field, _rate(field, number) if is_rate else _whole(field, number, least=0))
    if field not in changeable_fields():
        raise ConfigurationError(
            f"a machine has no number {field!r} that can be changed"
            f"{_nearest(field, changeable_fields())}. They are {', '.join(changeable_fields())}, "
            f"and entries of {' and '.join(_TABLES)}, as in elements_per_cycle.fmach"
        )
    return Change(field, _number(field, number))


def _number(field: str, text: str) -> int | float | Fraction:
    kinds: dict[str, object] = {**_FACTS, **{one.name: one.type for one in fields(Timing)}}
    match str(kinds[field]):
        case "int":
            return _whole(field, text, least=0 if field in _MAY_BE_ZERO else 1)
        case "float":
            return _positive(field, text)
        case _:
            return _rate(field, text)


def _whole(field: str, text: str, *, least: int) -> int:
    most = _MOST_OF.get(field, _MOST_CYCLES if field not in _FACTS else 10**_MOST_DIGITS)
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ConfigurationError(f"{field}={text}: write a whole number, as in {field}={least + 1}")
    if not least <= int(text) <= most:
        raise ConfigurationError(f"{field}={text}: write a number from {least} to {most:,}")
    return int(text)


def _positive(field: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 10**_MOST_DIGITS:
        raise ConfigurationError(f"{field}={text}: write a positive number, as in {field}=1e9")
    return value


def _rate(field: str, text: str) -> Fraction:
    try:
        value = Fraction(text).limit_denominator(_MOST_DENOMINATOR)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value <= _MOST_CYCLES:
        raise ConfigurationError(f"{field}={text}: write a positive rate, as in 4 or 8/9")
    return value


def _with_timing(timing: Timing, change: Change) -> Timing:
    table, dot, key = change.field.partition(".")
    if not dot:
        return replace(timing, **{change.field: change.value})  # pyright: ignore[reportArgumentType]  # checked by `_parse`
    entries = MappingProxyType({**getattr(timing, table), key: change.value})
    return replace(timing, **{table: entries})  # pyright: ignore[reportArgumentType]  # likewise


def _check_margins(machine: Architecture) -> None:
    across = machine.margin_west + machine.margin_east
    down = machine.margin_north + machine.margin_south
    if machine.fabric_width <= across or machine.fabric_height <= down:
        raise ConfigurationError(
            f"a fabric of {machine.fabric_width}×{machine.fabric_height} PEs has none for "
            f"programs: memcpy takes {across} columns and {down} rows of them"
        )


def _nearest(name: str, names: Mapping[str, object] | tuple[str, ...]) -> str:
    found = get_close_matches(name, names, n=2)
    return f"; nearest: {', '.join(found)}" if found else ""


def _spelled(value: float | Fraction) -> str:
    """Return a number as short as possible: whole ones without point or exponent."""
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    return str(int(value)) if value == int(value) else str(value)
