"""Measurements as values and as JSON; the page follows from nothing else."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path  # noqa: TC003  # doctests of dataclasses resolve it
from typing import TYPE_CHECKING, Any

from onewafer.execution import Fidelity
from onewafer.files.whole_files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT = "onewafer-model-coverage-1"
TOLERANCE = 1e-4
"""Largest difference from PyTorch, as a share of the tensor's largest element: f32 sums in another
order, over all layers of a model."""
_LIBRARIES = ("torch", "transformers", "timm")


class Place(StrEnum):
    """The place where a model ran."""

    WAFER = "wafer"
    """Wholly on the wafer: its outermost call was accepted."""
    BOTH = "both"
    """Parts of it on the wafer, the rest on the host."""
    HOST = "host"
    """Nothing of it on the wafer."""
    FAILED = "failed"
    """Not at all: an error, or out of time or memory."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """Calls of one class of modules that the wafer refused for one reason."""

    module: str
    reason: str
    calls: int

    @property
    def operation(self) -> str:
        """The operation to blame, or the whole reason where none is.

        >>> Fallback("A", "aten.cat.default: it joins (a.py:1: `cat(a)`)", 1).operation
        'aten.cat'
        >>> Fallback("A", "`cat`: concatenating computed tensors is not supported", 1).operation
        'cat'
        >>> Fallback("A", "its code prints", 1).operation
        'its code prints'
        """
        match = re.match(r"(aten\.\w+)|`(\w+)`", self.reason)
        return match[1] or match[2] if match else self.sentence

    @property
    def sentence(self) -> str:
        """The reason without the line of the model's code.

        >>> Fallback("A", "aten.cat.default: it joins (a.py:1: `cat(a)`)", 1).sentence
        'aten.cat.default: it joins'
        """
        return re.sub(r"\s*\([^()]*\.py:\d+: `.*`\)$", "", self.reason, flags=re.DOTALL)


FIDELITIES = (Fidelity.FABRIC, Fidelity.MODEL)
"""The fidelities that are tried: the values of `auto` are the host's, so it has none to check."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one model ran at one fidelity."""

    model: str
    group: str
    fidelity: str
    place: Place
    difference: float | None = None
    """Largest difference from PyTorch, as a share of the tensor's largest element; None if the
    results have other shapes or types, or numbers where there are none."""
    wafer_calls: int = 0
    programs: int = 0
    cycles: int = 0
    """Over all launches."""
    fallbacks: tuple[Fallback, ...] = ()
    failure: str = ""
    cpu_seconds: float = 0.0

    @property
    def is_right(self) -> bool:
        """True if it ran and gave what PyTorch gives, within the tolerance."""
        if self.place is Place.FAILED or self.difference is None:
            return False
        return self.difference <= TOLERANCE


@dataclass(frozen=True, slots=True)
class Record:
    """All outcomes, and the versions that they were measured with."""

    versions: Mapping[str, str]
    outcomes: tuple[Outcome, ...] = field(default=())

    def with_outcome(self, outcome: Outcome) -> Record:
        """Return a record in which this outcome replaces that of the same model and fidelity."""
        others = [o for o in self.outcomes if _key(o) != _key(outcome)]
        return replace(self, outcomes=(*others, outcome))

    def has(self, model: str, fidelity: str) -> bool:
        """Tell whether a model was tried at a fidelity."""
        return any(_key(outcome) == (model, fidelity) for outcome in self.outcomes)

    def only(self, models: Iterable[str]) -> Record:
        """Return the outcomes of these models, in their order."""
        order = {name: index for index, name in enumerate(models)}
        kept = [outcome for outcome in self.outcomes if outcome.model in order]
        kept.sort(key=lambda outcome: (order[outcome.model], outcome.fidelity))
        return replace(self, outcomes=tuple(kept))


def _key(outcome: Outcome) -> tuple[str, str]:
    return outcome.model, outcome.fidelity


def new_record() -> Record:
    """Return a record without outcomes, with the versions of the installed packages."""
    libraries = {name: _version(name) for name in _LIBRARIES}
    return Record({"Python": platform.python_version(), **libraries})


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def save(record: Record, path: Path) -> None:
    """Write a record to a file, completely or not at all: one line an outcome."""
    head = {"format": FORMAT, "versions": record.versions}
    rows = ",\n".join(f"  {json.dumps(asdict(outcome))}" for outcome in record.outcomes)
    fields = json.dumps(head, indent=1).removesuffix("\n}")
    write_text(path, f'{fields},\n "outcomes": [\n{rows}\n ]\n}}\n')


def load(path: Path) -> Record:
    """Return the record of a file; raise ValueError if it holds none."""
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if fields.get("format") != FORMAT:
        raise ValueError(f"{path} is not a record of format {FORMAT}")
    outcomes = tuple(_read_outcome(outcome) for outcome in fields["outcomes"])
    return Record(fields["versions"], outcomes)


def _read_outcome(fields: dict[str, Any]) -> Outcome:
    place = Place(fields.pop("place"))
    fallbacks = tuple(Fallback(**fallback) for fallback in fields.pop("fallbacks"))
    return Outcome(place=place, fallbacks=fallbacks, **fields)
