"""The placement of regions: checks that they lie on the fabric and do not overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.arch import Architecture
    from onewafer.geometry import Rectangle
    from onewafer.sdk_layout.code_region import CodeRegion


def check_placement(regions: Sequence[CodeRegion], architecture: Architecture) -> None:
    """Check the places of regions.

    Raises:
        HostError: one leaves the fabric, or two overlap.
    """
    for region in regions:
        right, bottom = corner(region.rectangle)
        if right > architecture.fabric_width or bottom > architecture.fabric_height:
            raise HostError(
                f"{region}, {region.rectangle}, leaves the fabric of {architecture.name}, which "
                f"has {architecture.fabric_width}×{architecture.fabric_height} PEs"
            )
    for number, region in enumerate(regions):
        for other in regions[:number]:
            _refuse_overlap(other, region)


def corner(rectangle: Rectangle) -> tuple[int, int]:
    """Return the first column east and the first row south of a rectangle."""
    return rectangle.x + rectangle.width, rectangle.y + rectangle.height


def _refuse_overlap(first: CodeRegion, second: CodeRegion) -> None:
    a, b = first.rectangle, second.rectangle
    x, y = max(a.x, b.x), max(a.y, b.y)
    if not (a.contains(x, y) and b.contains(x, y)):
        return
    unplaced = next((r for r in (second, first) if r.place_of is None), None)
    advice = (
        f"'{unplaced.name}' was never placed, so it lies at (0, 0): call its place(x, y)"
        if unplaced is not None
        else "place one of them elsewhere"
    )
    raise HostError(f"{first}, {a}, and {second}, {b}, both cover PE ({x}, {y}); {advice}")
