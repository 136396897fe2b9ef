"""Integer vectors and rectangles as SDK programs spell them."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.errors import HostError
from onewafer.host.sdk.keyword_names import also_named


@dataclass(frozen=True, slots=True)
class IntVector:
    """A position or a size in PEs; x grows east, y grows south."""

    x: int
    y: int

    def __add__(self, other: IntVector) -> IntVector:
        """Return the component-wise sum."""
        return IntVector(self.x + other.x, self.y + other.y)

    def __sub__(self, other: IntVector) -> IntVector:
        """Return the component-wise difference."""
        return IntVector(self.x - other.x, self.y - other.y)


@dataclass(frozen=True, slots=True, init=False)
class IntRectangle:
    """The PEs from `upper_left` up to, and not including, `lower_right`.

    `IntRectangle(origin=…, dims=…)` has a width and a height instead of the second corner.

    >>> corners = IntRectangle(IntVector(1, 2), IntVector(4, 4))
    >>> corners == IntRectangle(origin=IntVector(1, 2), dims=IntVector(3, 2))
    True
    """

    upper_left: IntVector
    lower_right: IntVector

    @also_named(origin="upper_left")
    def __init__(
        self,
        upper_left: IntVector,
        lower_right: IntVector | None = None,
        *,
        dims: IntVector | None = None,
    ) -> None:
        if (lower_right is None) is (dims is None):
            raise HostError(
                "IntRectangle: give either lower_right, the corner that lies outside, or dims, the "
                "width and the height"
            )
        vectors: tuple[object, ...] = (upper_left, lower_right if dims is None else dims)
        for given in vectors:
            if not isinstance(given, IntVector):
                raise HostError(f"IntRectangle: {given!r} is not a vector: write IntVector(x, y)")
        corner = lower_right if dims is None else upper_left + dims
        object.__setattr__(self, "upper_left", upper_left)
        object.__setattr__(self, "lower_right", corner)
        if self.width < 0 or self.height < 0:
            if dims is not None:
                raise HostError(f"IntRectangle: dims={dims} is not a size: it is negative")
            raise HostError(
                f"{self} has its lower right corner left of or above the upper left; if the second "
                "vector is a width and a height, write IntRectangle(origin=…, dims=…)"
            )

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.lower_right.x - self.upper_left.x

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.lower_right.y - self.upper_left.y

    def contains(self, position: IntVector) -> bool:
        """Tell whether a PE lies inside."""
        return (
            self.upper_left.x <= position.x < self.lower_right.x
            and self.upper_left.y <= position.y < self.lower_right.y
        )
