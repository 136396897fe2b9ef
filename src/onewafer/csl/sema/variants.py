"""Names of the tile programs that one file becomes: the params that tell them apart.

In: the instances of a layout, each with the params of its PEs. Out: the same instances with names
like `pe.csl (is_first=true)`. Only as many params are named as tell the instances of a file apart.
A param that differs among the PEs of an instance is named by its least and greatest value, if the
name needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.values import Scalar, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.csl import ir
    from onewafer.csl.sema.session.scalars import Number


_RANGE = "…"


@dataclass(frozen=True, slots=True)
class Variant:
    """An instance, and the params of its PEs."""

    instance: ir.InstanceIr
    deciding: tuple[str, ...]
    """Paths of the params that decide between it and other instances."""
    columns: Mapping[str, tuple[int, t.Type]]
    """Path of a param → its place in the rows, and its type."""
    rows: Sequence[tuple[Number, ...]]
    """The params of its PEs."""

    def value(self, path: str) -> str:
        """Return a param's value on all PEs, or its range as digits; else an empty string."""
        if path not in self.columns:
            return ""
        place, type_ = self.columns[path]
        first = self.rows[0][place]
        if all(row[place] == first for row in self.rows):
            return show(Scalar(type_, first))
        values = [row[place] for row in self.rows]
        bounds = [show(Scalar(type_, bound)) for bound in (min(values), max(values))]
        return _RANGE.join(bounds) if all(map(str.isdigit, bounds)) else ""


def name_variants(variants: Sequence[Variant]) -> list[ir.InstanceIr]:
    """Return instances named by their files, and by params where a file has several."""
    of_path: dict[str, list[Variant]] = {}
    for variant in variants:
        of_path.setdefault(variant.instance.path, []).append(variant)
    named: list[ir.InstanceIr] = []
    for path, members in of_path.items():
        params = _telling_params(members)
        shown = [[(name, value) for name in params if (value := m.value(name))] for m in members]
        short = [tuple(pair for pair in pairs if _RANGE not in pair[1]) for pairs in shown]
        for member, pairs, fewer in zip(members, shown, short, strict=True):
            told = fewer if fewer and short.count(fewer) == 1 else pairs
            text = ", ".join(f"{name}={value}" for name, value in told)
            named.append(replace(member.instance, name=f"{path} ({text})" if text else path))
    return named


def _telling_params(variants: Sequence[Variant]) -> list[str]:
    """Return as few params as tell variants apart: of decisions, else `bool`s, else any.

    Structs of different forms make variants without a decision, hence the other params.
    """
    deciding = dict.fromkeys(path for variant in variants for path in variant.deciding)
    known = {path: type_ for one in variants for path, (_, type_) in one.columns.items()}
    flags = [path for path, type_ in known.items() if type_ == t.BOOL]
    kinds: list[tuple[str, ...]] = [()] * len(variants)
    chosen: list[str] = []
    for paths in (deciding, flags, known):
        values = {path: [variant.value(path) for variant in variants] for path in paths}
        while values and len(set(kinds)) < len(kinds):
            counts = {
                path: len({*zip(kinds, found, strict=True)}) for path, found in values.items()
            }
            best = max(counts, key=counts.__getitem__)
            if counts[best] == len(set(kinds)):
                break
            kinds = [(*kind, value) for kind, value in zip(kinds, values.pop(best), strict=True)]
            chosen.append(best)
    return [path for path in known if path in chosen]
