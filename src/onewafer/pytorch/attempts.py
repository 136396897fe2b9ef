"""When a session stops capturing: refusals that come again and again, code that always changes.

A capture takes tenths of a second, the call of a small module microseconds. What the wafer refuses
is therefore remembered by what the refusal can depend on: the class of the module, the shapes of
its parameters and the signature of the call. Python state that only the module's code reads may
decide, too; so a second capture, which sees that state changed, comes before the session gives up.
Counts decide and no clock, so the same script always has the same calls on the wafer.
"""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.parts import signature_alike
from onewafer.pytorch.places import users_place
from onewafer.pytorch.refusals import NO_PRODUCTS

if TYPE_CHECKING:
    import torch

    from onewafer.pytorch.call_signatures import CallSignature

_MOST_REFUSED_ALIKE = 2
"""The most refused captures in a row of calls that look alike."""
_MOST_REFUSED = 4
"""The most refused captures in a row of calls of one module."""
_MOST_UNUSED_GRAPHS = 16
"""Captures of calls that look alike, after which they must have served a second call on average."""
_MOST_EXPORTS = 32
"""The most captures of one module that hold for one call only, as Dynamo has no guards for it."""
_MOST_ALIKE = 1024
"""The most signatures of refused calls that are remembered, the latest ones."""


class HostFallbackWarning(UserWarning):
    """The host runs what was meant for the wafer."""


@dataclass(slots=True)
class _Refused:
    """Captures of one kind that were refused in a row."""

    error: UnsupportedOperationError | None = None
    """The last refusal; None: the last capture was accepted."""
    count: int = 0


@dataclass(slots=True)
class _OfModule:
    """The attempts with one module."""

    refused: _Refused
    num_exports: int = 0


class Attempts:
    """The captures of a session that led to nothing, or to one call only."""

    def __init__(self) -> None:
        self._alike: dict[CallSignature, _Refused] = {}
        self._modules: weakref.WeakKeyDictionary[torch.nn.Module, _OfModule] = (
            weakref.WeakKeyDictionary()
        )
        self._unsaid: str | None = None
        self._has_warned = False

    def admit(self, module: torch.nn.Module, signature: CallSignature) -> None:
        """Raise the last refusal if calls of this signature or module are not tried any more."""
        alike = self._alike.get(signature_alike(module, signature))
        _refuse_after(_MOST_REFUSED_ALIKE, alike)
        of_module = self._modules.get(module)
        if of_module is None:
            return
        last = of_module.refused.error
        is_loss = last is not None and last.refusal != NO_PRODUCTS
        if is_loss and of_module.refused.count >= _MOST_REFUSED:
            self._note(module, f"{_MOST_REFUSED} captures of it in a row were refused")
        _refuse_after(_MOST_REFUSED, of_module.refused)

    def admit_guarded(self, module: torch.nn.Module, *, num_calls: int, num_graphs: int) -> None:
        """Refuse calls that look alike if most of them so far had to be captured."""
        if num_graphs >= _MOST_UNUSED_GRAPHS and num_calls < 2 * num_graphs:
            reason = (
                f"its code reads what changes from call to call: {num_graphs} of {num_calls} calls "
                "had to be captured"
            )
            self._note(module, reason)
            raise UnsupportedOperationError(reason)

    def admit_export(self, module: torch.nn.Module) -> None:
        """Count a capture that holds for one call; refuse it if there were too many."""
        of_module = self._of(module)
        if of_module.num_exports >= _MOST_EXPORTS:
            reason = f"its code has to be captured at every call, and was {_MOST_EXPORTS} times"
            self._note(module, reason)
            raise UnsupportedOperationError(reason)
        of_module.num_exports += 1

    def note_refusal(
        self, module: torch.nn.Module, signature: CallSignature, error: UnsupportedOperationError
    ) -> None:
        """Note that a capture was refused."""
        key = signature_alike(module, signature)
        if key not in self._alike and len(self._alike) >= _MOST_ALIKE:
            del self._alike[next(iter(self._alike))]
        for refused in (self._alike.setdefault(key, _Refused()), self._of(module).refused):
            refused.count += 1
            refused.error = error.again()  # without the frames of this one

    def note_success(self, module: torch.nn.Module, signature: CallSignature) -> None:
        """Note that a capture was accepted."""
        self._alike.pop(signature_alike(module, signature), None)
        self._of(module).refused = _Refused()

    def _of(self, module: torch.nn.Module) -> _OfModule:
        return self._modules.setdefault(module, _OfModule(_Refused()))

    def warn(self) -> None:
        """Say once that captures stop, where the script's filters of warnings hold."""
        text, self._unsaid = self._unsaid, None
        if text is not None:
            place = users_place()
            file, line = ("script", 0) if place is None else (place.file, place.line)
            warnings.warn_explicit(text, HostFallbackWarning, file, line)

    def _note(self, module: torch.nn.Module, why: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._unsaid = (
                f"onewafer captures {type(module).__name__} no more, since {why}; the host runs "
                "its calls from now on. This is said once, the report has all such calls"
            )


def _refuse_after(most: int, refused: _Refused | None) -> None:
    if refused is not None and refused.error is not None and refused.count >= most:
        raise refused.error.again()
