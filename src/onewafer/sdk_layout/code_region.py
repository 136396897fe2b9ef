"""A rectangle of PEs that run one CSL file: params, routes, symbols and ports."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from onewafer.errors import HostError
from onewafer.geometry import Rectangle
from onewafer.host import IntRectangle, IntVector
from onewafer.sdk_layout.color import Color, to_color
from onewafer.sdk_layout.region_table import RegionTable
from onewafer.sdk_layout.routing import (
    Edge,
    EdgeRouteInfo,
    Positions,
    RoutingPosition,
    is_list_of,
    masks_to_names,
    read_open_positions,
    read_positions,
    to_edge,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


ParamValue = bool | int | float | Color
SYMBOL_DTYPES = ("int32", "uint32", "float32", "int16", "uint16")


@dataclass(frozen=True, slots=True, eq=False)
class PortHandle:
    """A side of a region through which a color passes; one lane for each PE of the side."""

    region: CodeRegion
    name: str
    color: Color
    edge: Edge
    is_input: bool
    positions: Positions
    """The switch positions, with 0 for the outer side."""
    size: int
    """Wavelets of one transfer, over all lanes."""

    @property
    def strip(self) -> Rectangle:
        """The PEs of the port, in the coordinates of the region."""
        return self.edge.strip(self.region.extent)

    @property
    def num_lanes(self) -> int:
        """PEs along the side."""
        return self.strip.num_pes

    def __str__(self) -> str:
        """Return its name in messages."""
        kind = "input" if self.is_input else "output"
        return f"{kind} port '{self.name}' ({self.edge.name} side of region '{self.region.name}')"


@dataclass(frozen=True, slots=True)
class SymbolBlocks:
    """Initial values of a variable, one block a PE."""

    name: str
    blocks: NDArray[Any]
    """`[height, width, num_elements]`, in the region's coordinates."""


class CodeRegion:
    """`width` × `height` PEs that run `source`. Made by `SdkLayout.create_code_region`.

    Coordinates are relative to the region. The last call about a PE counts.
    """

    def __init__(self, source: str, name: str, width: int, height: int) -> None:
        self.source = source
        self.name = name
        self.extent = Rectangle(0, 0, width, height)
        self.place_of: tuple[int, int] | None = None
        """The position that `place` gave; None: not placed yet, which means (0, 0)."""
        self.params: dict[str, RegionTable[ParamValue]] = {}
        self.paints: dict[Color, RegionTable[Positions]] = {}
        self.ports: list[PortHandle] = []
        self.symbols: dict[str, SymbolBlocks] = {}

    @property
    def rectangle(self) -> Rectangle:
        """The PEs of the region, in fabric coordinates."""
        x, y = self.place_of or (0, 0)
        return Rectangle(x, y, self.extent.width, self.extent.height)

    def __str__(self) -> str:
        """Return its name in messages."""
        return f"region '{self.name}'"

    def check_source(self) -> None:
        """Check that the CSL file exists.

        Raises:
            HostError: it does not.
        """
        if not Path(self.source).is_file():
            raise HostError(
                f"{self}: there is no file {self.source!r}; paths are relative to the folder that "
                f"the script runs in, {str(Path.cwd())!r}"
            )

    def color(self, name: str, value: int | None = None) -> Color:
        """Return a color of this region; `compile` chooses its value unless one is given."""
        return Color(name, value, self.name)

    def place(self, x: int, y: int) -> None:
        """Put the region's PE (0, 0) at (x, y) of the fabric; may be called again.

        Raises:
            HostError: a coordinate is negative, or no whole number.
        """
        if not (isinstance(x, Integral) and isinstance(y, Integral)):
            raise HostError(
                f"place({x!r}, {y!r}) of {self}: coordinates are whole numbers, as in width // 2"
            )
        if x < 0 or y < 0:
            raise HostError(f"place({x}, {y}) of {self}: the fabric begins at (0, 0)")
        self.place_of = (int(x), int(y))

    # --- params ---------------------------------------------------------------------------------

    def set_param(
        self,
        coord: IntVector,
        name: str | Color | None = None,
        value: ParamValue | None = None,
        *,
        color: Color | None = None,
    ) -> None:
        """Give a param of one PE a value; a color alone gives the param of its name.

        Raises:
            HostError: the PE is not in the region, or name or value do not fit a param.
        """
        self._set_param(self._pe(coord, "set_param"), name, value, color, call="set_param")

    def set_param_range(
        self,
        rect: IntRectangle,
        name: str | Color | None = None,
        value: ParamValue | None = None,
        *,
        color: Color | None = None,
    ) -> None:
        """Give a param of the PEs of a rectangle a value, as `set_param`.

        Raises:
            HostError: as `set_param`.
        """
        rectangle = self._rectangle(rect, "set_param_range")
        self._set_param(rectangle, name, value, color, call="set_param_range")

    def set_param_all(
        self,
        name: str | Color | None = None,
        value: ParamValue | None = None,
        *,
        color: Color | None = None,
    ) -> None:
        """Give a param of all PEs a value, as `set_param`.

        Raises:
            HostError: as `set_param`.
        """
        self._set_param(self.extent, name, value, color, call="set_param_all")

    def _set_param(
        self,
        where: Rectangle,
        name: str | Color | None,
        value: ParamValue | None,
        color: Color | None,
        *,
        call: str,
    ) -> None:
        if color is not None:
            color = to_color(color, f"{call} of {self}")
            if value is not None:
                raise HostError(f"{call} of {self}: a color is a value, too: leave one out")
            name, value = (color, None) if name is None else (name, color)
        if isinstance(name, Color):
            if value is not None:
                raise HostError(
                    f"{call} of {self}: to give a param another name than its color, write "
                    f'{call}("{name.name}", color)'
                )
            name, value = name.get_local_param_name(), name
        if not (isinstance(name, str) and name.isidentifier()):
            raise HostError(
                f"{call} of {self}: {name!r} is not a name of a CSL param: give one such as "
                "'size', or a color"
            )
        number = _to_param(value, f"{call}({name!r}, …) of {self}")
        if name not in self.params:
            self.params[name] = RegionTable[ParamValue].empty(*self._size)
        self.params[name].assign(where, number)

    # --- routes ---------------------------------------------------------------------------------

    def paint(self, coord: IntVector, color: Color, routes: Sequence[RoutingPosition]) -> None:
        """Set the switch positions of a color at one PE.

        Raises:
            HostError: the PE is not in the region, or a position is incomplete.
        """
        self._paint(self._pe(coord, "paint"), color, routes, "paint")

    def paint_range(
        self, rect: IntRectangle, color: Color, routes: Sequence[RoutingPosition]
    ) -> None:
        """Set the switch positions of a color on the PEs of a rectangle.

        Raises:
            HostError: as `paint`.
        """
        self._paint(self._rectangle(rect, "paint_range"), color, routes, "paint_range")

    def paint_all(
        self,
        color: Color,
        routes: Sequence[RoutingPosition],
        edge_routes: Sequence[EdgeRouteInfo] = (),
    ) -> None:
        """Set the switch positions of a color on all PEs, with others along some sides.

        Raises:
            HostError: as `paint`.
        """
        self._paint(self.extent, color, routes, "paint_all")
        if not is_list_of(EdgeRouteInfo, edge_routes):
            raise HostError(
                f"paint_all of {self}: sides are a list: write [get_edge_routing(Edge.…, […])]"
            )
        for info in edge_routes:
            self._table(color).assign(info.edge.strip(self.extent), info.positions)

    def _paint(
        self, where: Rectangle, color: Color, routes: Sequence[RoutingPosition], call: str
    ) -> None:
        color = to_color(color, f"{call} in {self}")
        positions = read_positions(routes, f"{call} of color '{color.name}' in {self}")
        self._table(color).assign(where, positions)

    def _table(self, color: Color) -> RegionTable[Positions]:
        if color not in self.paints:
            self.paints[color] = RegionTable[Positions].empty(*self._size)
        return self.paints[color]

    # --- ports ----------------------------------------------------------------------------------

    def create_input_port(
        self,
        color: Color,
        edge: Edge,
        routes: Sequence[RoutingPosition],
        data_size: int,
        prefix: str = "",
    ) -> PortHandle:
        """Make a side an input port for `data_size` wavelets of a color.

        The positions give their outputs; `compile` chooses their inputs.

        Raises:
            HostError: positions with an input, a size below 1, or a second port of this name.
        """
        return self._create_port(color, edge, routes, data_size, prefix, is_input=True)

    def create_output_port(
        self,
        color: Color,
        edge: Edge,
        routes: Sequence[RoutingPosition],
        data_size: int,
        prefix: str = "",
    ) -> PortHandle:
        """Make a side an output port for `data_size` wavelets of a color.

        The positions give their inputs; `compile` chooses their outputs.

        Raises:
            HostError: positions with an output, a size below 1, or a second port of this name.
        """
        return self._create_port(color, edge, routes, data_size, prefix, is_input=False)

    def _create_port(
        self,
        color: Color,
        edge: Edge,
        routes: Sequence[RoutingPosition],
        size: int,
        prefix: str,
        *,
        is_input: bool,
    ) -> PortHandle:
        call = f"create_{'input' if is_input else 'output'}_port"
        where = f"{call} of color '{to_color(color, call).name}' in {self}"
        name = prefix + color.name
        if any(port.name == name for port in self.ports):
            raise HostError(
                f"{where}: {self} has a port '{name}' already; pass another `prefix` (the last "
                "argument) for a second port of the color"
            )
        if size < 1:
            raise HostError(f"{where}: {size} wavelets; the size of a port begins at 1")
        positions = read_open_positions(routes, where, is_input=is_input)
        side = to_edge(edge, where)
        port = PortHandle(self, name, color, side, is_input, positions, int(size))
        self._refuse_second_port_on_pe(port, where)
        self.ports.append(port)
        return port

    def _refuse_second_port_on_pe(self, port: PortHandle, where: str) -> None:
        """Refuse a second port of one color at a PE, where a color has one route."""
        for other in self.ports:
            strip = other.strip
            shared = [pe for pe in port.strip.pes() if strip.contains(*pe)]
            if other.color == port.color and shared:
                raise HostError(
                    f"{where}: PE {shared[0]} belongs to {other} of the same color; a color has "
                    "one route at a PE: use a second color"
                )

    # --- symbols --------------------------------------------------------------------------------

    def set_symbol_all(self, symbol: str, data: NDArray[Any], width: int, height: int) -> None:
        """Give a variable initial values: a matrix of `height` rows, cut into one block a PE.

        A PE gets its block row by row.

        Raises:
            HostError: the size of the data is not `width` × `height`, its dtype is not one of
                int32, uint32, float32, int16 and uint16, or the region does not divide it.
        """
        where = f"set_symbol_all({symbol!r}, …) of {self}"
        dtype = getattr(data, "dtype", type(data).__name__)
        if str(dtype) not in SYMBOL_DTYPES:
            raise HostError(
                f"{where}: data of type {dtype}; pass an array of {', '.join(SYMBOL_DTYPES)}"
            )
        if data.size != width * height:
            raise HostError(f"{where}: {data.size} elements are not {width}×{height}")
        columns, rows = self._size
        if width % columns or height % rows:
            raise HostError(
                f"{where}: a matrix of {width}×{height} cannot be cut into {columns}×{rows} equal "
                f"blocks: pad it to multiples of {columns} and {rows}"
            )
        matrix = data.reshape(rows, height // rows, columns, width // columns)
        blocks = matrix.transpose(0, 2, 1, 3).reshape(rows, columns, -1).copy()
        self.symbols[symbol] = SymbolBlocks(symbol, blocks)

    # --- places ---------------------------------------------------------------------------------

    @property
    def _size(self) -> tuple[int, int]:
        return self.extent.width, self.extent.height

    def _pe(self, coord: IntVector, call: str) -> Rectangle:
        _check_place(coord, IntVector, f"{call} of {self}", "IntVector(x, y)")
        if not self.extent.contains(coord.x, coord.y):
            raise HostError(
                f"{call}: PE ({coord.x}, {coord.y}) is not in {self}, which has "
                f"{self.extent.width}×{self.extent.height} PEs; coordinates are relative to it"
            )
        return Rectangle(coord.x, coord.y, 1, 1)

    def _rectangle(self, rect: IntRectangle, call: str) -> Rectangle:
        form = "IntRectangle(IntVector(left, top), IntVector(right, bottom))"
        _check_place(rect, IntRectangle, f"{call} of {self}", form)
        left, top = rect.upper_left.x, rect.upper_left.y
        right, bottom = rect.lower_right.x, rect.lower_right.y
        width, height = self._size
        if (left == right or top == bottom) and right > 0 < bottom:
            raise HostError(
                f"{call}: the rectangle from ({left}, {top}) up to, not including, ({right}, "
                f"{bottom}) has no PEs; if ({right}, {bottom}) is a width and a height, write "
                "IntRectangle(origin=…, dims=…)"
            )
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise HostError(
                f"{call}: the rectangle from ({left}, {top}) up to, not including, ({right}, "
                f"{bottom}) is not in {self}, which has {width}×{height} PEs"
            )
        return Rectangle(left, top, right - left, bottom - top)


def _check_place(given: object, kind: type, where: str, form: str) -> None:
    if not isinstance(given, kind):
        raise HostError(f"{where}: {given!r} is not a place: write {form}")


def _to_param(value: object, where: str) -> ParamValue:
    """Return a Python value for which CSL has a literal, or fail."""
    # NumPy's scalars are not Python's.
    scalar = cast("object", value.item()) if isinstance(value, np.generic) else value  # pyright: ignore[reportUnknownMemberType]
    match scalar:
        case Color() | bool() | int():
            return scalar
        case float() if isfinite(scalar):
            return scalar
        case _:
            raise HostError(
                f"{where}: {value!r} is not a value of a param: pass a number, a bool or a Color"
            )


def describe_positions(positions: Positions) -> str:
    """Return switch positions for messages: `WEST → RAMP, then WEST → EAST`."""
    return ", then ".join(
        f"{masks_to_names(p.rx) or '?'} → {masks_to_names(p.tx) or '?'}" for p in positions
    )
