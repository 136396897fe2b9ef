"""The layout program: the state of the `layout` block while it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.csl.layout import ColorTable
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.layout.color_config import read_color_config
from onewafer.csl.sema.modules.context import Context
from onewafer.csl.sema.session.contracts import Where
from onewafer.csl.sema.session.reserved import (
    check_color_swap,
    check_reserved_color,
    check_switchable_color,
)
from onewafer.csl.sema.values import Struct, Value, key_of
from onewafer.diagnostics import Annotation, Diagnostic, Severity

if TYPE_CHECKING:
    from onewafer.csl.sema.session import Session
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span
    from onewafer.image import ColorConfig, Export


@dataclass(frozen=True, slots=True)
class TileCode:
    """One `@set_tile_code`."""

    x: int
    y: int
    file: ast.File
    params: Value
    span: Span | None
    row: tuple[int, ...] = ()
    """Loop iterations, from which the tainted numbers in `params` follow; see `grouping`."""


class LayoutContext(Context):
    """The state of the layout block so far."""

    kind = Where.LAYOUT
    is_layout = True

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.width = 0
        self.height = 0
        self.entry: TileCode | None = None
        """The file of the layout block, with its params."""
        self.runs_entry = False
        """True if a PE runs the file of the layout block, too."""
        self.tiles: dict[tuple[int, int], TileCode | None] = {}
        self.exports: dict[str, Export] = {}
        self.export_spans: dict[str, Span] = {}
        self.color_names: dict[str, str] = {}
        self._table: ColorTable | None = None
        self._rectangle: Span | None = None
        self._tile_spans: dict[tuple[int, int], Span] = {}
        self._configs: dict[object, tuple[Value, ColorConfig]] = {}

    @property
    def has_rectangle(self) -> bool:
        """True if the size of the program is known."""
        return self._table is not None

    @property
    def table(self) -> ColorTable:
        """The color configurations of the rectangle."""
        assert self._table is not None
        return self._table

    def set_rectangle(self, width: int, height: int, span: Span | None) -> None:
        """Set the size of the rectangle, once."""
        if self._table is not None:
            earlier = (Annotation(self._rectangle, "set here first"),) if self._rectangle else ()
            fail("duplicate-rectangle", "the rectangle is set twice", span, secondary=earlier)
        if width < 1 or height < 1:
            fail("value-out-of-range", f"a rectangle of {width}×{height} PEs is empty", span)
        self._check_fabric(width, height, span)
        self.width, self.height = width, height
        self._rectangle = span
        self._table = ColorTable(width, height)
        self.session.extend_quota(width * height)

    def _check_fabric(self, width: int, height: int, span: Span | None) -> None:
        options, machine = self.session.options, self.session.architecture
        east = machine.margin_east if options.uses_memcpy else 0
        south = machine.margin_south if options.uses_memcpy else 0
        need = (options.offset_x + width + east, options.offset_y + height + south)
        have = (
            options.fabric_width or machine.fabric_width,
            options.fabric_height or machine.fabric_height,
        )
        if need[0] > machine.fabric_width or need[1] > machine.fabric_height:
            fail(
                "wafer-too-small",
                f"a rectangle of {width}×{height} PEs at offset ({options.offset_x}, "
                f"{options.offset_y}) needs {need[0]}×{need[1]} PEs, and the wafer of "
                f"{machine.name} has {machine.fabric_width}×{machine.fabric_height}",
                span,
                help="use a smaller rectangle and give each PE more of the data",
            )
        if need[0] > have[0] or need[1] > have[1]:
            fail(
                "fabric-too-small",
                f"a rectangle of {width}×{height} PEs at offset ({options.offset_x}, "
                f"{options.offset_y}) needs a fabric of {need[0]}×{need[1]}, "
                f"it is {have[0]}×{have[1]}",
                span,
                help=f"compile with `--fabric-dims={need[0]},{need[1]}`",
            )

    def check_pe(self, x: int, y: int, span: Span) -> None:
        """Fail unless PE (x, y) is inside of the rectangle."""
        if self._table is None and self.session.sink.has_errors:
            raise Fault(None)
        if self._table is None:
            fail(
                "missing-rectangle",
                "the rectangle is not set yet",
                span,
                help="begin the layout block with `@set_rectangle(width, height);`",
            )
        if not (0 <= x < self.width and 0 <= y < self.height):
            fail(
                "pe-outside-rectangle",
                f"PE ({x}, {y}) is outside of the rectangle of {self.width}×{self.height}",
                span,
            )

    def set_tile(self, x: int, y: int, tile: TileCode | None, span: Span) -> None:
        """Assign code to PE (x, y), once; None: it has no code."""
        earlier = self._tile_spans.get((x, y))
        if earlier is not None:
            fail(
                "duplicate-tile-code",
                f"PE ({x}, {y}) has code already",
                span,
                secondary=(Annotation(earlier, "set here first"),),
            )
        self._tile_spans[x, y] = span
        self.tiles[x, y] = tile
        if tile is not None and self.entry is not None and tile.file is self.entry.file:
            self.runs_entry = True

    def set_own_tile(self, x: int, y: int, span: Span) -> None:
        """Assign the layout block's file to PE (x, y); no code if it has no `comptime` block."""
        entry = self.entry
        assert entry is not None
        has_code = bool(self.session.source_code(entry.file).comptime_blocks)
        self.set_tile(x, y, replace(entry, x=x, y=y, span=span) if has_code else None, span)

    def check_tile_code(self, block: ast.LayoutBlock) -> None:
        """Report a program without any tile code, and PEs without tile code."""
        if not self.tiles:
            fail(
                "missing-tile-code",
                "the layout block gives no PE a program",
                self._rectangle or block.span,
                help='write `@set_tile_code(x, y, "pe_program.csl", .{ … });` for each PE',
            )
        num_missing = self.width * self.height - len(self.tiles)
        if not num_missing or not self.exports or self._rectangle is None:
            return
        x, y = self._first_without_code()
        more = f" and {num_missing - 1:,} more" if num_missing > 1 else ""
        self.session.sink.report(
            Diagnostic(
                "missing-tile-code",
                f"PE ({x}, {y}){more} of the rectangle {'have' if more else 'has'} no code",
                Annotation(self._rectangle),
                notes=("the exported names do not exist there: the host cannot copy to such a PE",),
                help="call `@set_tile_code`; without a file if the PE is to have no code",
                severity=Severity.WARNING,
            )
        )

    def _first_without_code(self) -> tuple[int, int]:
        places = ((x, y) for y in range(self.height) for x in range(self.width))
        return next(place for place in places if place not in self.tiles)

    def set_color(self, x: int, y: int, color: int, config: Value, span: Span) -> None:
        """Configure one color of one router."""
        self.set_color_config(x, y, color, self.read_color(color, config, span), span)

    def read_color(self, color: int, config: Value, span: Span) -> ColorConfig:
        """Return a configuration that the routers can give a color, or fail."""
        check_reserved_color(self.session.options, color, span)
        read = self.color_config(config, span)
        if len(read.positions) > 1:
            check_switchable_color(self.session.options, color, span)
        if read.swap_mask:
            check_color_swap(self.session.options, span)
        return read

    def set_color_config(self, x: int, y: int, color: int, config: ColorConfig, span: Span) -> None:
        """Configure one color of one router with the result of `read_color`."""
        self.table.set(x, y, color, config, span=span, sink=self.session.sink)

    def check_filter(self, x: int, y: int, color: int, span: Span) -> None:
        """Fail unless a color has a filter at a PE whose program names it."""
        config = self.table.config_at(x, y, color)
        if config is None or config.filter is None:
            place = self.table.span_at(x, y, color)
            fail(
                "missing-filter",
                f"color {color} has no filter at PE ({x}, {y})",
                span,
                secondary=(Annotation(place, "configured here"),) if place is not None else (),
                help="give its configuration a `.filter`",
            )

    def set_stream(self, x: int, y: int, color: int, config: ColorConfig, span: Span) -> None:
        """Connect one color of one router with the host; report it if the color has a route."""
        own = self.table.span_at(x, y, color)
        if own is None:
            self.set_color_config(x, y, color, config, span)
            return
        self.session.sink.report(
            Diagnostic(
                "duplicate-color-config",
                f"color {color} is configured at PE ({x}, {y}), where memcpy connects it with the "
                "host",
                Annotation(own),
                help="a `MEMCPYH2D` or `MEMCPYD2H` color has no route of its own: take the "
                "configuration away, or use another color between PEs",
            )
        )

    def color_config(self, value: Value, span: Span) -> ColorConfig:
        """Return the configuration that a struct describes, the same object for the same value."""
        identity = None
        if isinstance(value, Struct):
            identity = (value.names, *map(id, value.fields))
            known = self._configs.get(identity)
            if known is not None:
                return known[1]
        key = key_of(value)
        known = self._configs.get(key)
        if known is None:
            known = self._configs[key] = (value, read_color_config(value, span))
        if identity is not None:
            self._configs[identity] = (value, known[1])
        return known[1]


NO_PARAMS: Value = Struct(None, ())
"""Params of a file that is given none."""
