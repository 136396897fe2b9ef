"""Symbolic colors: names that `compile` gives physical values."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from onewafer.errors import HostError
from onewafer.image import NUM_COLORS


@dataclass(frozen=True, slots=True)
class Color:
    """A color with a name, of one code region or of the whole layout.

    Colors of the same global name are the same color.
    """

    name: str
    value: int | None = None
    """The physical value, 0 to 23; None: chosen by `SdkLayout.compile`."""
    region: str | None = None

    def __post_init__(self) -> None:
        """Refuse a value that no router has."""
        if not str(self.name).isidentifier():
            raise HostError(
                f"Color({self.name!r}): the name of a color is that of a CSL param, an identifier "
                'such as "x_in"'
            )
        if self.value is None:
            return
        if not isinstance(self.value, Integral) or not 0 <= self.value < NUM_COLORS:
            raise HostError(
                f"color {self.name!r} has the value {self.value!r}; values go from 0 to "
                f"{NUM_COLORS - 1}, and without one `compile` chooses"
            )

    def get_global_name(self) -> str:
        """Return the name in the layout: `region_name`, or the name alone."""
        return self.name if self.region is None else f"{self.region}_{self.name}"

    def get_local_param_name(self) -> str:
        """Return the name of the CSL param that `set_param_all(color)` sets."""
        return self.name

    def get_value(self) -> int | None:
        """Return the value that the program gave the color, if it did."""
        return self.value


def to_color(given: object, where: str) -> Color:
    """Return a color that a script passed.

    Raises:
        HostError: it is no color.
    """
    if isinstance(given, Color):
        return given
    raise HostError(f"{where}: {given!r} is not a color: write Color('name')")
