"""The subject of a study: the inputs of its points, and the work of one point.

A study has one subject: `[compare]`, `[csl]` or `[script]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.sweep.inputs.plain import Plain
    from onewafer.sweep.subjects.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Figure:
    """A number or a text in every outcome."""

    name: str
    """Its column, with its unit."""
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """The resources of its computer that a worker may use."""

    memory_bytes: int | None = None
    """For a simulation; None: what is available."""
    threads: int | None = None


@runtime_checkable
class Task(Protocol):
    """The work of one point; it can be pickled for another process."""

    @property
    def group(self) -> str:
        """The group of the point; points of one group share programs, and one worker gets them."""
        return ""

    def describe(self) -> Mapping[str, object]:
        """Return all inputs of the outcome, except onewafer's version, as JSON."""
        ...

    def run(self, share: Share) -> Outcome:
        """Return the outcome; an OnewaferError is a failed point."""
        ...


class Subject(Protocol):
    """A kind of study."""

    figures: ClassVar[tuple[Figure, ...]]
    """The figures of an outcome."""
    least_memory: ClassVar[int]
    """Memory of a worker in bytes, unless the user asks for more."""
    most_together: ClassVar[int] = 1
    """Limit of the points in a batch for a worker."""

    def names(self) -> Collection[str]:
        """Return the inputs that a point may set."""
        ...

    def prefixes(self) -> Collection[str]:
        """Return the prefixes of further inputs, as `params.`."""
        ...

    def parse(self, name: str, value: object) -> Plain:
        """Return the parsed value of an input; raise ConfigurationError for an invalid one."""
        ...

    def asks(self, names: Collection[str]) -> Collection[str]:
        """Return the names that a filter may use, besides the named inputs."""
        ...

    def values(self, inputs: Mapping[str, Plain], names: Collection[str]) -> Mapping[str, object]:
        """Return the values of names that a filter uses, for a point."""
        ...

    def task(self, inputs: Mapping[str, Plain]) -> Task:
        """Return the task of a point; raise ConfigurationError for an impossible point."""
        ...
