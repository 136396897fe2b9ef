"""Nets: colors that must have one value, since a wavelet keeps its color from port to port.

In: regions and links. Out: nets, each a set of colors that links join, with the PEs that they
take. Unknown here: paths and physical values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.sdk_layout.color import Color
from onewafer.sdk_layout.region_table import rows_and_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.sdk_layout.code_region import CodeRegion
    from onewafer.sdk_layout.link import Link


@dataclass(slots=True)
class Net:
    """Colors that get one physical value."""

    colors: dict[str, Color]
    """Global name → color."""
    links: list[Link]
    pes: NDArray[np.bool_]
    """`[y, x]`: the PEs that use the net's value, including its paths once it is routed."""
    has_switches: bool = False
    """True if a PE has more than one switch position for it."""

    @property
    def name(self) -> str:
        """The names of its colors, for messages."""
        return " = ".join(f"'{name}'" for name in self.colors)

    @property
    def fixed_value(self) -> int | None:
        """The value that the program gave one of its colors.

        Raises:
            HostError: it gave two.
        """
        fixed = {
            color.value: name for name, color in self.colors.items() if color.value is not None
        }
        if len(fixed) > 1:
            (a, first), (b, second), *_ = fixed.items()
            raise HostError(
                f"colors '{first}' and '{second}' are connected, so they are one color on the "
                f"fabric, but have the values {a} and {b}: give one of them a value"
            )
        return next(iter(fixed), None)


def make_nets(
    regions: Sequence[CodeRegion], links: Sequence[Link], shape: tuple[int, int]
) -> list[Net]:
    """Return the nets of a layout on a fabric of `shape` (height, width), in a fixed order.

    Raises:
        HostError: colors that are connected meet at a PE, or one name has two values.
    """
    nets: dict[str, Net] = {}
    for region in regions:
        for color, pes, has_switches in _claims(region):
            net = _net_of(nets, color, shape)
            net.pes[rows_and_columns(region.rectangle)] |= pes
            net.has_switches |= has_switches
    for link in links:
        net = _join(nets, link)
        net.links.append(link)
    return list({id(net): net for net in nets.values()}.values())


def _net_of(nets: dict[str, Net], color: Color, shape: tuple[int, int]) -> Net:
    name = color.get_global_name()
    net = nets.setdefault(name, Net({name: color}, [], np.zeros(shape, np.bool_)))
    known = net.colors[name]
    if known.value is None:
        net.colors[name] = color
    elif color.value not in (None, known.value):
        raise HostError(
            f"color '{name}' has the value {known.value} in one place and {color.value} in "
            "another: give it one value, or two colors two names"
        )
    return net


def _claims(region: CodeRegion) -> Iterator[tuple[Color, NDArray[np.bool_], bool]]:
    """Yield each use of a color in a region: its PEs, and whether it has switches there."""
    for color, table in region.paints.items():
        has_switches = any(len(positions) > 1 for positions, _ in table.groups())
        yield color, table.is_set, has_switches
    for table in region.params.values():
        for value, pes in table.groups():
            if isinstance(value, Color):
                yield value, pes, False
    for port in region.ports:
        pes = np.zeros((region.extent.height, region.extent.width), np.bool_)
        pes[rows_and_columns(port.strip)] = True
        yield port.color, pes, len(port.positions) > 1


def _join(nets: dict[str, Net], link: Link) -> Net:
    """Join the nets of a link's ports into one and return it."""
    first, *others = (nets[port.color.get_global_name()] for port in link.ports)
    for second in others:
        if second is first:
            continue
        _refuse_meeting(first, second, link)
        first.colors |= second.colors
        first.links += second.links
        first.pes |= second.pes
        first.has_switches |= second.has_switches
        nets.update(dict.fromkeys(second.colors, first))
    return first


def _refuse_meeting(first: Net, second: Net, link: Link) -> None:
    shared = np.argwhere(first.pes & second.pes)
    if len(shared):
        y, x = shared[0]
        of_layout = [port.color.name for port in link.ports if port.color.region is None]
        advice = (
            f"; if each region should have its own, write region.color({of_layout[0]!r}) instead "
            f"of Color({of_layout[0]!r})"
            if of_layout
            else ""
        )
        raise HostError(
            f"{link}: colors {first.name} and {second.name} become one color on the fabric, "
            f"because wavelets keep theirs, but PE ({x}, {y}) uses both: put a region between the "
            f"two ports that receives one color and sends another{advice}"
        )
