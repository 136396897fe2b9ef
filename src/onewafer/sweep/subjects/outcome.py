"""The outcome of a point: figures and a breakdown, or the reason why there are none."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(StrEnum):
    """The result of computing a point."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """The machine cannot do it, which is an answer."""
    FAILED = "failed"
    """An error; the next run tries the point again."""


@dataclass(frozen=True, slots=True)
class Item:
    """A part of the time of a point."""

    name: str
    seconds: float
    limit: str = ""
    """The cause of this part's time, where it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a point; the same for the same inputs on every computer."""

    status: Status
    reason: str = ""
    """The reason why there is no answer; empty if there is one."""
    figures: Mapping[str, float | str | None] = field(
        default_factory=dict[str, "float | str | None"]
    )
    breakdown: tuple[Item, ...] = ()
    notes: tuple[str, ...] = ()

    def to_mapping(self) -> dict[str, object]:
        """Return the outcome as a JSON object."""
        return {
            "status": self.status.value,
            "reason": self.reason,
            "figures": {**self.figures},
            "breakdown": [asdict(item) for item in self.breakdown],
            "notes": [*self.notes],
        }

    @classmethod
    def from_mapping(cls, written: Mapping[str, object]) -> Outcome:
        """Return the outcome that `to_mapping` wrote."""
        items = cast("list[dict[str, object]]", written["breakdown"])
        return cls(
            status=Status(str(written["status"])),
            reason=str(written["reason"]),
            figures=cast("dict[str, float | str | None]", written["figures"]),
            breakdown=tuple(
                Item(str(item["name"]), float(cast("float", item["seconds"])), str(item["limit"]))
                for item in items
            ),
            notes=tuple(cast("list[str]", written["notes"])),
        )


def failed(reason: str) -> Outcome:
    """Return the outcome of a point that has no answer."""
    return Outcome(status=Status.FAILED, reason=reason)
