"""Integer vectors and rectangles as SDK programs spell them."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.errors import HostError


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


@dataclass(frozen=True, slots=True)
class IntRectangle:
    """The PEs from `upper_left` up to, and not including, `lower_right`."""

    upper_left: IntVector
    lower_right: IntVector

    def __post_init__(self) -> None:
        """Refuse corners in the wrong order."""
        if self.width < 0 or self.height < 0:
            raise HostError(f"{self} has its lower right corner left of or above the upper left")

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
