"""The picture of a color's route, as SVG.

The two directions between neighbours are drawn side by side: eastward traffic above westward
traffic, southward traffic to the right of northward traffic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from onewafer.geometry import Direction
from onewafer.image import CounterFilter, RangeFilter
from onewafer.viewer.routes import LINKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.image import ColorConfig
    from onewafer.viewer.routes import ColorMap, RouterCell, Stretch

_PITCH, _SIDE = 76, 52
"""The distance of PEs, and the side of a PE, in pixels."""
_LEFT, _TOP = 76, 108
_LANE = 6
"""The distance of traffic from the middle line."""
_LEGEND_WIDTH, _LEGEND_LINE = 640, 24
_ROUTE, _OTHER, _SOURCE, _SINK, _BROKEN = "#1f5fbf", "#8d99ab", "#2a9d4a", "#e07b1a", "#cc2936"
_STYLE = f"""\
text {{ font: 11px sans-serif; fill: #223 }}
.title {{ font-size: 15px; font-weight: bold }}
.small {{ font-size: 9px }}
.pe {{ fill: #ffffff; stroke: #7a8699 }}
.off {{ fill: #eef0f3; stroke: #cfd5de }}
.route {{ stroke: {_ROUTE}; stroke-width: 2.5; fill: none }}
.other {{ stroke: {_OTHER}; stroke-width: 1.5; stroke-dasharray: 4 3; fill: none }}
.broken {{ stroke: {_BROKEN}; stroke-width: 2.5; fill: none }}
.source {{ fill: {_SOURCE} }}
.sink {{ stroke: {_SINK}; stroke-width: 3; fill: none }}
.badge {{ fill: #fff2c8; stroke: #b8902a }}"""
_MARKERS = "".join(
    f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8Z" fill="{fill}"/></marker>'
    for name, fill in (("ahead", _ROUTE), ("other-ahead", _OTHER), ("broken-ahead", _BROKEN))
)


def draw_routes(color_map: ColorMap, *, program: str) -> str:
    """Return the picture; `program` is the program's name."""
    width = max(_LEFT + _PITCH * len(color_map.columns) + 20, _LEGEND_WIDTH)
    bottom = _TOP + _PITCH * len(color_map.rows) + 16
    legend = list(_legend(color_map, bottom))
    height = bottom + len(_legend_entries(color_map)) * _LEGEND_LINE + 16
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<style>{_STYLE}</style><defs>{_MARKERS}</defs>",
        f'<rect width="{width}" height="{height}" fill="#fbfcfd"/>',
        *_heading(color_map, program),
        *_axes(color_map),
    ]
    for place, cell in color_map.cells.items():
        parts += _box(place, cell)
    for place, cell in color_map.cells.items():
        parts += _ways(place, cell)
    for place, cell in color_map.cells.items():
        parts += _ramp(place, cell)
        parts += _badges(place, cell)
    return "\n".join([*parts, *legend, "</svg>", ""])


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:g}" y="{y:g}"{kind} text-anchor="{anchor}">{escape(text)}</text>'


def describe_map(color_map: ColorMap) -> str:
    """Return one line about the routers, sources and destinations of the color."""
    words = [
        _routing(color_map.num_configured),
        f"it enters from {_pes(color_map.num_sources, 'ramp')}",
        f"it leaves to {_pes(color_map.num_sinks, 'ramp')}",
    ]
    if color_map.num_from_host:
        words.append(f"the host sends at {_pes(color_map.num_from_host, 'PE')}")
    if color_map.num_to_host:
        words.append(f"the host receives at {_pes(color_map.num_to_host, 'PE')}")
    if color_map.num_breaks:
        words.append(f"{_pes(color_map.num_breaks, 'send')} to where no PE takes it")
    return "; ".join(words)


def _routing(count: int) -> str:
    return "1 PE routes it" if count == 1 else f"{count:,} PEs route it"


def _pes(count: int, what: str) -> str:
    if what == "send":
        return "1 PE sends" if count == 1 else f"{count:,} PEs send"
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _heading(color_map: ColorMap, program: str) -> Iterator[str]:
    yield _text(16, 24, f"{color_map.title} of {program}", "title")
    shown = f"PEs {color_map.shown}" + (", alike columns and rows folded" * color_map.is_folded)
    yield _text(16, 42, shown)
    yield _text(16, 57, describe_map(color_map))


def _axes(color_map: ColorMap) -> Iterator[str]:
    for i, column in enumerate(color_map.columns):
        yield _text(_centre(i), _TOP - 14, _label("x", column, is_first=not i), anchor="middle")
    for j, row in enumerate(color_map.rows):
        yield _text(_LEFT - 14, _middle(j) + 4, _label("y", row, is_first=not j), anchor="end")


def _label(axis: str, stretch: Stretch, *, is_first: bool) -> str:
    return f"{axis} = {stretch}" if is_first else str(stretch)


def _centre(i: int) -> float:
    return _LEFT + _PITCH * i + _PITCH / 2


def _middle(j: int) -> float:
    return _TOP + _PITCH * j + _PITCH / 2


# --- PEs -----------------------------------------------------------------------------------------


def _box(place: tuple[int, int], cell: RouterCell) -> Iterator[str]:
    x, y = _centre(place[0]) - _SIDE / 2, _middle(place[1]) - _SIDE / 2
    style = "pe" if cell.config is not None else "off"
    yield f'<rect x="{x:g}" y="{y:g}" width="{_SIDE}" height="{_SIDE}" rx="6" class="{style}"/>'
    if not cell.has_program:
        yield _text(x + _SIDE / 2, y + _SIDE - 4, "no program", "small", "middle")


def _ways(place: tuple[int, int], cell: RouterCell) -> Iterator[str]:
    """Draw the inputs and outputs of a router, the initial switch position on top."""
    for position, sets in cell.positions():
        is_current = position == cell.current
        style = "route" if is_current else "other"
        for direction in LINKS:
            if sets.rx >> direction & 1:
                yield _line(place, direction, style, "", comes=True)
        for direction in LINKS:
            if not sets.tx >> direction & 1:
                continue
            is_broken = (position, direction) in cell.breaks
            shown = "broken" if is_broken else style
            head = {"broken": "broken-ahead", "other": "other-ahead"}.get(shown, "ahead")
            yield _line(place, direction, shown, head, comes=False)
            if is_broken:
                yield _cross(place, direction)
            if not is_current:
                yield _position_number(place, direction, position)


def _edge(
    place: tuple[int, int], direction: Direction, distance: float, *, comes: bool
) -> tuple[float, float]:
    """Return the point at a distance from the middle of a PE, on the lane of the traffic."""
    dx, dy = direction.step
    # Travel: away from the PE, or towards it. The lane is to the left of travel on the screen.
    travel = (-dx, -dy) if comes else (dx, dy)
    lane = travel[1] * _LANE, -travel[0] * _LANE
    x = _centre(place[0]) + dx * distance + lane[0]
    return x, _middle(place[1]) + dy * distance + lane[1]


def _line(
    place: tuple[int, int], direction: Direction, style: str, head: str, *, comes: bool
) -> str:
    """Return the path from a PE's side to its middle, or from its middle to the next PE's side."""
    reach = _SIDE / 2 if comes else _PITCH - _SIDE / 2
    x, y = _edge(place, direction, reach, comes=comes)
    cx, cy = _centre(place[0]), _middle(place[1])
    bend = _edge(place, direction, _SIDE / 4, comes=comes)
    points = [(x, y), bend, (cx, cy)] if comes else [(cx, cy), bend, (x, y)]
    path = "L".join(f"{a:g} {b:g}" for a, b in points)
    marker = f' marker-end="url(#{head})"' if head else ""
    return f'<path d="M{path}" class="{style}"{marker}/>'


def _cross(place: tuple[int, int], direction: Direction) -> str:
    x, y = _edge(place, direction, _PITCH / 2, comes=False)
    return f'<path d="M{x - 5:g} {y - 5:g}l10 10m0 -10l-10 10" class="broken"/>'


def _position_number(place: tuple[int, int], direction: Direction, position: int) -> str:
    x, y = _edge(place, direction, _SIDE / 2 - 6, comes=False)
    return _text(x + 4, y - 3, str(position), "small")


def _ramp(place: tuple[int, int], cell: RouterCell) -> Iterator[str]:
    """Draw the marks of a PE whose ramp is a source or a destination."""
    x, y = _centre(place[0]), _middle(place[1])
    receive = transmit = 0
    for _, sets in cell.positions():
        receive, transmit = receive | sets.rx, transmit | sets.tx
    if receive >> Direction.RAMP & 1:
        yield f'<circle cx="{x:g}" cy="{y:g}" r="6" class="source"/>'
    if transmit >> Direction.RAMP & 1:
        yield f'<circle cx="{x:g}" cy="{y:g}" r="10" class="sink"/>'


def badges_of(config: ColorConfig) -> tuple[str, ...]:
    """Return short marks for switches, teardown, filter, host and swap of a color at a router."""
    badges: list[str] = []
    num_positions = sum(position is not None for position in config.positions)
    if num_positions > 1:
        ring = "↻" if config.ring_mode else ""
        badges.append(f"{config.current_position}/{num_positions}{ring}")
    if config.teardown:
        badges.append("T")
    match config.filter:
        case RangeFilter() | CounterFilter():
            badges.append("F")
        case None:
            pass
    if config.from_host or config.to_host:
        badges.append("H")
    if config.swap_mask:
        badges.append("X")
    return tuple(badges)


def _badges(place: tuple[int, int], cell: RouterCell) -> Iterator[str]:
    """Draw the badges in the western corners, where no traffic is."""
    left = x = _centre(place[0]) - _SIDE / 2 - 8
    top, bottom = _middle(place[1]) - _SIDE / 2 - 6, _middle(place[1]) + _SIDE / 2 - 7
    for badge in badges_of(cell.config) if cell.config is not None else ():
        is_switch = "/" in badge
        yield _badge(left if is_switch else x, bottom if is_switch else top, badge)
        x += 0 if is_switch else _badge_width(badge) + 1


def _badge(x: float, y: float, badge: str) -> str:
    width = _badge_width(badge)
    box = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="13" rx="3" class="badge"/>'
    return box + _text(x + width / 2, y + 10, badge, "small", "middle")


def _badge_width(badge: str) -> float:
    return 6 + 5 * len(badge)


# --- legend --------------------------------------------------------------------------------------


def _legend_entries(color_map: ColorMap) -> list[tuple[str, str]]:
    """Return (sign, meaning) of the signs in the picture."""
    configs = [cell.config for cell in color_map.cells.values() if cell.config is not None]
    badges = {badge for config in configs for badge in badges_of(config)}
    has_switches = any("/" in badge for badge in badges)
    wanted = [
        (True, "route", "the way of a wavelet, in the switch position at the start"),
        (has_switches, "other", "its way in another switch position, whose number is beside"),
        (color_map.num_sources > 0, "source", "it comes from the ramp of this PE"),
        (color_map.num_sinks > 0, "sink", "it goes to the ramp of this PE"),
        (color_map.num_breaks > 0, "broken", "it goes where no PE takes it, and waits forever"),
        (has_switches, "0/2", "the switch position at the start, of how many; ↻ in a ring"),
        ("T" in badges, "T", "starts in teardown mode: traffic is held"),
        ("F" in badges, "F", "a filter stands before the ramp"),
        ("H" in badges, "H", "the host sends or receives here"),
        ("X" in badges, "X", f"color {color_map.color ^ 1} becomes it from {_swapped(configs)}"),
    ]
    return [(sign, meaning) for is_there, sign, meaning in wanted if is_there]


def _swapped(configs: list[ColorConfig]) -> str:
    """Return the links at which the other color of the pair is swapped in."""
    masks = {config.swap_mask for config in configs}
    ways = [d.name for d in LINKS if any(mask >> d & 1 for mask in masks)]
    return f"links {', '.join(ways)}"


def _legend(color_map: ColorMap, top: float) -> Iterator[str]:
    for line, (sign, meaning) in enumerate(_legend_entries(color_map)):
        y = top + _LEGEND_LINE * line + 12
        match sign:
            case "route" | "other" | "broken":
                head = {"route": "ahead", "other": "other-ahead"}.get(sign, "broken-ahead")
                yield f'<path d="M20 {y:g}H56" class="{sign}" marker-end="url(#{head})"/>'
            case "source":
                yield f'<circle cx="38" cy="{y:g}" r="6" class="source"/>'
            case "sink":
                yield f'<circle cx="38" cy="{y:g}" r="10" class="sink"/>'
            case badge:
                yield _badge(38 - _badge_width(badge) / 2, y - 7, badge)
        yield _text(76, y + 4, meaning)
