"""Constructs of older SDKs, from the public release notes, and the newest SDK that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NEWEST_SDK: Final = "2.10"


@dataclass(frozen=True, slots=True)
class Retired:
    """A construct that is no longer part of the language."""

    last_sdk: str
    instead: str
    """The form to write now."""

    def message(self, construct: str) -> str:
        """Return the sentence of the error."""
        return f"{construct} belongs to SDK {self.last_sdk} and older"


BUILTINS: Final[Mapping[str, Retired]] = {
    "bind_task": Retired(
        "0.9",
        "bind a task by its kind: `@bind_local_task(t, @get_local_task_id(n))`, `@bind_data_task` "
        "for wavelets, `@bind_control_task` for control wavelets",
    ),
    "get_color_id": Retired("1.1", "write `@get_int(…)`"),
}
LIBRARIES: Final[Mapping[str, Retired]] = {
    "memcpy_multi": Retired(
        "0.9",
        "import `<memcpy/get_params>` in the layout, and `<memcpy/memcpy>` in the code of each PE",
    ),
}
"""By the first part of the name."""
