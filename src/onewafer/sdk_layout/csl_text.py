"""A plan as CSL: the `layout` block that a person would have written.

In: a plan. Out: CSL text. Rectangles of equal PEs become loops, so that the text grows with the
kinds of PEs and not with their number.
"""

from __future__ import annotations

import posixpath
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Rectangle
from onewafer.sdk_layout.color import Color
from onewafer.sdk_layout.region_table import RegionTable, cover
from onewafer.sdk_layout.routing import Positions, masks_to_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.sdk_layout.code_region import CodeRegion, ParamValue
    from onewafer.sdk_layout.fabric_plan import FabricPlan


def write_layout(plan: FabricPlan, path: str, integer_params: Mapping[str, frozenset[str]]) -> str:
    """Return the CSL of a plan, for a file at `path`: sources are named relative to it.

    `integer_params` has, by source, the params that take a color as a number.
    """
    lines = [
        "// Written by SdkLayout.compile.",
        "",
        "layout {",
        f"  @set_rectangle({plan.width}, {plan.height});",
    ]
    for region in plan.regions:
        source = _relative(region.source, path)
        lines += ["", f"  // {region}: {region.rectangle}"]
        integers = integer_params[region.source]
        lines += [f"  {line}" for line in _tile_code(region, source, plan, integers)]
    for value, names in _colors(plan):
        lines += ["", f"  // color {value}: {', '.join(names)}"]
        lines += [f"  {line}" for line in _color_configs(value, frozenset(names), plan)]
    return "\n".join([*lines, "}", ""])


def _relative(source: str, path: str) -> str:
    """Return the path of a source file relative to a file at `path`."""
    return source if posixpath.isabs(source) else posixpath.relpath(source, posixpath.dirname(path))


# --- programs ------------------------------------------------------------------------------------


def _tile_code(
    region: CodeRegion, source: str, plan: FabricPlan, integers: frozenset[str]
) -> Iterator[str]:
    place = region.rectangle
    for params, mask in _param_groups(region):
        fields = [
            f".{name} = {_literal(value, plan, is_integer=name in integers)}"
            for name, value in params
        ]
        struct = f".{{ {', '.join(fields)} }}" if fields else ".{}"
        for rectangle in cover(mask):
            yield _for_each(
                _shifted(rectangle, place), f'@set_tile_code(x, y, "{source}", {struct});'
            )


def _param_groups(
    region: CodeRegion,
) -> Iterator[tuple[list[tuple[str, ParamValue]], NDArray[np.bool_]]]:
    """Yield the params of PEs that have equal params, and the mask of these PEs."""
    names = sorted(region.params)
    height, width = region.extent.height, region.extent.width
    if not names:
        yield [], np.ones((height, width), np.bool_)
        return
    tables = [region.params[name] for name in names]
    rows = np.stack([table.indices for table in tables], axis=-1).reshape(-1, len(names))
    kinds, kind_of_pe = np.unique(rows, axis=0, return_inverse=True)
    for number, kind in enumerate(kinds):
        indices: list[int] = kind.tolist()
        params = [
            (name, table.values[index])
            for name, table, index in zip(names, tables, indices, strict=True)
            if index >= 0
        ]
        yield params, (kind_of_pe.reshape(height, width) == number)


def _literal(value: ParamValue, plan: FabricPlan, *, is_integer: bool) -> str:
    match value:
        case Color():
            number = plan.value(value)
            return str(number) if is_integer else f"@get_color({number})"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float_literal(value)


def _float_literal(value: float) -> str:
    """Return a float as CSL spells it: with a point, whatever its size."""
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


# --- colors --------------------------------------------------------------------------------------


def _colors(plan: FabricPlan) -> Iterator[tuple[int, list[str]]]:
    """Yield each value that is used, with the global names that have it."""
    named = sorted((value, name) for name, value in plan.values.items())
    for value, pairs in groupby(named, key=lambda pair: pair[0]):
        yield value, [name for _, name in pairs]


def _color_configs(value: int, names: frozenset[str], plan: FabricPlan) -> Iterator[str]:
    table = RegionTable[Positions].empty(plan.width, plan.height)
    for region in plan.regions:
        for color, paint in region.paints.items():
            if color.get_global_name() in names:
                table.paste(paint, region.rectangle.x, region.rectangle.y)
    for link in plan.routed:
        if not names.isdisjoint(link.net.colors):
            for (x, y), positions in link.hops():
                table.assign(Rectangle(x, y, 1, 1), positions)
    for placed in plan.loc_streams:
        if placed.stream.color.get_global_name() in names:
            table.assign(Rectangle(*placed.stream.pe, 1, 1), placed.positions)
    for positions, mask in table.groups():
        struct = _config_struct(positions)
        for rectangle in cover(mask):
            yield _for_each(rectangle, f"@set_color_config(x, y, @get_color({value}), {struct});")


def _config_struct(positions: Positions) -> str:
    first, *others = positions
    routes = f".routes = .{{ .rx = {_set(first.rx)}, .tx = {_set(first.tx)} }}"
    if not others:
        return f".{{ {routes} }}"
    changes = [
        f".pos{number} = .{{ "
        + (f".rx = {_set(p.rx)}" if p.rx != first.rx else f".tx = {_set(p.tx)}")
        + " }"
        for number, p in enumerate(others, start=1)
    ]
    return f".{{ {routes}, .switches = .{{ {', '.join(changes)} }} }}"


def _set(mask: int) -> str:
    return f".{{ {masks_to_names(mask)} }}"


# --- PEs -----------------------------------------------------------------------------------------


def _shifted(rectangle: Rectangle, place: Rectangle) -> Rectangle:
    return Rectangle(
        rectangle.x + place.x, rectangle.y + place.y, rectangle.width, rectangle.height
    )


def _for_each(pes: Rectangle, statement: str) -> str:
    """Return the loops that run a statement about PE (x, y) for all PEs of a rectangle."""
    x_loop, y_loop = _loop("x", pes.x, pes.width), _loop("y", pes.y, pes.height)
    x_text = "x" if x_loop else str(pes.x)
    y_text = "y" if y_loop else str(pes.y)
    call = statement.replace("(x, y,", f"({x_text}, {y_text},", 1)
    loops = [loop for loop in (y_loop, x_loop) if loop]
    return f"{' '.join(f'{loop} {{' for loop in loops)} {call}{' }' * len(loops)}".strip()


def _loop(name: str, first: int, count: int) -> str:
    if count == 1:
        return ""
    return f"for (@range(i16, {first}, {first + count}, 1)) |{name}|"
