"""`@import_comptime_value(T, path)`: a JSON file as a value that is known while compiling."""

from __future__ import annotations

import json
import re
from math import prod
from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.ids import color_of
from onewafer.csl.sema.builtins.values import text
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin
from onewafer.csl.sema.values import (
    Array,
    Scalar,
    Struct,
    Text,
    Undefined,
    Value,
    boolean,
    conversions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span

_ARRAY: Final = re.compile(r"\[\s*(\d+)\s*\]\s*(\w+)")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class _Contents(dict[tuple[str, str], Json]):
    """Contents of JSON files, by path and importer: each is read once."""


@comptime_builtin("import_comptime_value", 2)
def import_comptime_value(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the content of a JSON file as a value of a type."""
    type_ = rules.expect_type(args[0], site.argument_spans[0])
    path = text(args[1], site.argument_spans[1], "the path")
    session, key = module.session, (path, module.path)
    known = session.kept(_Contents)
    if key not in known:
        source = session.find_text(path, module.path, site.argument_spans[1])
        known[key] = _parse(source, path, site.argument_spans[1])
    reader = _Reader(path, site.span, session.architecture.num_colors)
    return reader.value(known[key], type_, "")


def _parse(source: str, path: str, span: Span) -> Json:
    try:
        return json.loads(source, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = f"{error}" if isinstance(error, ValueError) else "it nests too deeply"
        fail("unreadable-file", f"`{path}` is not a JSON file: {reason}", span)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Return an object, or fail at a duplicate name, which JSON leaves undefined."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the field {twice!r} twice")
    return found


class _Reader:
    """Converts the content of a file to values."""

    def __init__(self, path: str, span: Span, num_colors: int) -> None:
        self.path = path
        self.span = span
        self.num_colors = num_colors

    def value(self, found: Json, type_: t.Type, where: str) -> Value:
        """Return `found` as a `type_`; `where` is its path in the file: `.a[2]`."""
        what = f"`{self.path}`{where and f' at `{where}`'}"
        match found, type_:
            case list(), t.ArrayType(_, element):
                entries = self._entries(found, type_, where)
                return Array(type_, [self.value(entry, element, at) for entry, at in entries])
            case dict(), t.StructType(names) if names is not None:
                return self._struct(found, type_, where)
            case dict(), t.PackedType(names, wanted):
                return self._packed(found, type_, dict(zip(names, wanted, strict=True)), where)
            case int(), t.COLOR if not isinstance(found, bool):
                return color_of(Scalar(t.COMPTIME_INT, found), self.num_colors, self.span)
            case dict(), _ if type_ is t.COMPTIME_STRUCT:
                return self._labelled(found, where)
            case ((bool() | int() | float() | str()), _):
                return conversions.coerce(self._any(found, where), type_, self.span, what)
            case _:
                self._wrong(type_, where)

    def _labelled(self, found: dict[str, Json], where: str) -> Struct:
        """Return an object as an anonymous struct; a name may end in a type: `"count:u16"`."""
        fields: dict[str, Value] = {}
        for label, entry in found.items():
            name, colon, spelled = (part.strip() for part in label.partition(":"))
            at = f"{where}.{name}"
            if name in fields:
                what = f"`{self.path}`{where and f' at `{where}`'}"
                fail("duplicate-declaration", f"{what} has two fields `{name}`", self.span)
            type_ = self._spelled(spelled, at) if colon else None
            fields[name] = self._any(entry, at) if type_ is None else self.value(entry, type_, at)
        return Struct(tuple(fields), tuple(fields.values()))

    def _spelled(self, name: str, where: str) -> t.Type:
        """Return the type named in a label: `bool`, `u3`, `[8]i16`."""
        array = _ARRAY.fullmatch(name)
        size, element = array.groups() if array else (None, name)
        type_ = t.PREDECLARED.get(element) or t.any_width(element)
        if type_ is None:
            fail(
                "unknown-name",
                f"`{name}` at `{where}` in `{self.path}` is not a builtin type or array of one",
                self.span,
                help='labels look like `"count:u16"` and `"list:[8]i16"`',
            )
        return type_ if size is None else t.ArrayType((int(size),), type_)

    def _struct(self, found: dict[str, Json], type_: t.StructType, where: str) -> Struct:
        if type_.is_union:
            return self._union(found, type_, where)
        names = type_.names or ()
        missing = [name for name in names if name not in found]
        if missing or len(found) > len(names):
            self._other_fields(type_, where, missing, [n for n in found if n not in names])
        fields = [
            self.value(found[name], field, f"{where}.{name}")
            for name, field in zip(names, type_.fields, strict=True)
        ]
        return Struct(names, tuple(fields), type_ if type_.origin is not None else None)

    def _packed(
        self, found: dict[str, Json], type_: t.PackedType, wanted: dict[str, t.Type], where: str
    ) -> Value:
        for name in found:
            if name not in wanted:
                self._other_fields(type_, where, [], [name])
        missing = [name for name in wanted if name not in found]
        if missing and not type_.is_union:
            self._other_fields(type_, where, missing, [])
        fields = [self.value(found[name], wanted[name], f"{where}.{name}") for name in found]
        return conversions.coerce(Struct(tuple(found), tuple(fields)), type_, self.span)

    def _union(self, found: dict[str, Json], type_: t.StructType, where: str) -> Struct:
        """Return a union; the object names its active variant."""
        names, part = type_.names or (), f" at `{where}`" if where else ""
        if len(found) != 1:
            fail(
                "type-mismatch",
                f"the value{part} of `{self.path}` is not a `{type_}`: it has {len(found)} fields, "
                "and a union has one",
                self.span,
            )
        (name,) = found
        if name not in names:
            self._other_fields(type_, where, [], [name])
        fields = (
            self.value(found[name], field, f"{where}.{name}") if name == each else Undefined()
            for each, field in zip(names, type_.fields, strict=True)
        )
        return Struct(names, tuple(fields), type_)

    def _other_fields(
        self, type_: t.Type, where: str, missing: list[str], extra: list[str]
    ) -> NoReturn:
        """Fail because an object does not have exactly the fields of a struct."""
        lacks = f"lacks {_listed(missing)}" if missing else ""
        has = f"has {_listed(extra)}, which the type lacks" if extra else ""
        part = f" at `{where}`" if where else ""
        fail(
            "missing-field" if missing else "unknown-field",
            f"the value{part} of `{self.path}` is not a `{type_}`: "
            f"it {' and '.join(filter(None, (lacks, has)))}",
            self.span,
        )

    def _any(self, found: Json, where: str) -> Value:
        """Return a value of the type that follows from its JSON form."""
        match found:
            case bool():
                return boolean(found)
            case int():
                return Scalar(t.COMPTIME_INT, found)
            case float():
                return Scalar(t.COMPTIME_FLOAT, found)
            case str():
                return Text(found)
            case list():
                entries = [self._any(entry, f"{where}[{i}]") for i, entry in enumerate(found)]
                return Struct(None, tuple(entries))
            case dict():
                return self.value(found, t.COMPTIME_STRUCT, where)
            case None:
                self._wrong(t.COMPTIME_STRUCT, where)

    def _entries(self, found: list[Json], type_: t.ArrayType, where: str) -> list[tuple[Json, str]]:
        """Return the elements of nested lists, or of one list, the last index fastest."""
        if len(found) == type_.num_elements and not any(isinstance(e, list) for e in found):
            return [(entry, f"{where}[{i}]") for i, entry in enumerate(found)]
        entries: list[tuple[Json, str]] = [(found, where)]
        for axis, size in enumerate(type_.dimensions):
            inner: list[tuple[Json, str]] = []
            for entry, at in entries:
                if not isinstance(entry, list) or len(entry) != size:
                    self._wrong(t.ArrayType(type_.dimensions[axis:], type_.element), at)
                inner += [(part, f"{at}[{i}]") for i, part in enumerate(entry)]
            entries = inner
        assert len(entries) == prod(type_.dimensions)
        return entries

    def _wrong(self, type_: t.Type, where: str) -> NoReturn:
        part = f" at `{where}`" if where else ""
        fail(
            "type-mismatch",
            f"the value{part} of `{self.path}` is not a `{type_}`",
            self.span,
            help="lists are arrays, objects structs with the same fields; `null` is nothing",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
