"""Try one model: on the host, then on the wafer as `onewafer run` would, and compare.

In: a model of the list, a fidelity. Out: an `Outcome`. The call goes the way of a script's:
`intercept_calls` offers it to a session, what the wafer cannot do runs on the host and is in the
session's ledger with the reason.
"""

from __future__ import annotations

import os
import time
import traceback
from typing import TYPE_CHECKING, cast

import torch
from torch.utils import _pytree as pytree

from onewafer.errors import OnewaferError
from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls
from tools.model_coverage.build import arguments, build
from tools.model_coverage.record import Fallback, Outcome, Place

if TYPE_CHECKING:
    from onewafer.pytorch.ledger import Ledger
    from tools.model_coverage.model import Model

os.environ["ONEWAFER_RAISE_OWN_ERRORS"] = "on"  # the host hides no bug of ours

_MOST_CHARACTERS = 300
"""Most characters of a message; longer ones are cut."""


def try_model(model: Model, fidelity: Fidelity) -> Outcome:
    """Run a model on the host and on the wafer."""
    start = time.process_time()
    session = Session(WaferOptions(fidelity=fidelity, rectangle=model.rectangle))
    try:
        built = build(model)
        with torch.no_grad():
            expected = built(**arguments(model))
            with intercept_calls(session):
                found = built(**arguments(model))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
        return failed(model, fidelity, describe(error))
    ledger = session.ledger
    return Outcome(
        model=model.name,
        group=model.group,
        fidelity=fidelity,
        place=place(ledger),
        difference=difference(expected, found),
        wafer_calls=sum(program.calls for program in ledger.programs),
        programs=len(ledger.programs),
        cycles=sum(program.activity.cycles for program in ledger.programs),
        fallbacks=tuple(_fallbacks(ledger)),
        cpu_seconds=round(time.process_time() - start, 1),
    )


def failed(model: Model, fidelity: str, failure: str) -> Outcome:
    """Return the outcome of a model that did not get to its end."""
    return Outcome(model.name, model.group, fidelity, Place.FAILED, failure=failure)


def _fallbacks(ledger: Ledger) -> list[Fallback]:
    """Return why calls ran on the host, the most frequent reason first."""
    found = [
        Fallback(module, refusal.reason, n) for (module, refusal), n in ledger.fallbacks.items()
    ]
    found += [
        Fallback(module, "its result needs a gradient", calls)
        for module, calls in ledger.gradient_calls.items()
    ]
    return sorted(found, key=lambda fallback: (-fallback.calls, fallback.reason, fallback.module))


def place(ledger: Ledger) -> Place:
    """Return where a model ran."""
    if not any(program.calls for program in ledger.programs):
        return Place.HOST
    return Place.BOTH if ledger.fallbacks or ledger.gradient_calls else Place.WAFER


def difference(expected: object, found: object) -> float | None:
    """Return the largest difference as a share of its tensor's largest element.

    None if the results have another form, other shapes, or numbers where no numbers should be.
    """
    leaves, structure = pytree.tree_flatten(expected)
    others, other_structure = pytree.tree_flatten(found)
    if structure != other_structure:
        return None
    worst = 0.0
    for leaf, other in zip(cast("list[object]", leaves), cast("list[object]", others), strict=True):
        match leaf, other:
            case torch.Tensor(), torch.Tensor():
                if (leaf.shape, leaf.dtype) != (other.shape, other.dtype):
                    return None
                share = _share(_real(leaf), _real(other))
                if share is None:
                    return None
                worst = max(worst, share)
            case ((bool() | int() | float() | str() | None), _) if leaf != other:
                return None
            case _ if type(leaf) is not type(other):
                return None
            case _:  # a cache or the like, whose tensors are no results
                pass
    return worst


def _real(tensor: torch.Tensor) -> torch.Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def _share(expected: torch.Tensor, found: torch.Tensor) -> float | None:
    finite = torch.isfinite(expected)
    if not torch.equal(finite, torch.isfinite(found)):
        return None
    if not torch.allclose(expected[~finite], found[~finite], equal_nan=True):
        return None
    if not finite.any():
        return 0.0
    largest = float(expected[finite].abs().max())
    apart = float((expected[finite] - found[finite]).abs().max())
    return apart / largest if largest else float(apart > 0)


def describe(error: BaseException) -> str:
    """Return an exception as one line, with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    kind = "" if isinstance(error, OnewaferError) else f"{type(error).__name__}: "
    words = " ".join(str(error).split()) or "no message"
    shown = words if len(words) <= _MOST_CHARACTERS else f"{words[:_MOST_CHARACTERS]}…"
    return f"{kind}{shown}{where}"
