"""All published cases of `onewafer validate fabric`, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.validation import (
    collectives,
    kernels,
    loops,
    multicast,
    pipeline,
    stencils,
    vectors,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.validation.case import Case

FABRIC_CASES: tuple[Case, ...] = (
    *multicast.CASES,
    *vectors.CASES,
    *loops.CASES,
    *pipeline.CASES,
    *collectives.CASES,
    *stencils.CASES,
    *kernels.CASES,
)


def select_cases(names: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases with these names, all if there are none, in the order of the table.

    Raise `ConfigurationError` for a name that no case has.
    """
    known = {case.name: case for case in FABRIC_CASES}
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"there is no case '{name}'; the cases are:\n  " + "\n  ".join(known)
            )
    return tuple(case for case in FABRIC_CASES if not names or case.name in names)
