"""Gradient clipping on the wafer: `clip_grad_norm_` and `clip_grad_value_`.

For a norm, the wafer gives the sum of squares, and the host computes the norm and sends the factor.
Gradients that are not on the wafer are added to the sum and clipped by the host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.training.pieces import names_of
from onewafer.pytorch.training.steps import account_gradients, gradients_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onewafer.execution import Arrays
    from onewafer.pytorch.training.places import ParameterPlace, ParameterPlaces
    from onewafer.pytorch.training.programs import TrainingProgram

CLIPPING: Mapping[str, Sequence[Callable[[TrainingProgram], object]]] = {
    "clip_grad_norm_": (lambda program: program.squares(), lambda program: program.scale(1.0)),
    "clip_grad_value_": (lambda program: program.clamp(1.0),),
    "clip_grads_with_norm_": (lambda program: program.scale(1.0),),
    "get_total_norm": (lambda program: program.squares(),),
}
"""The functions of `torch.nn.utils` that the wafer knows → their launches on a program."""
_SOME_ONLY = "only some of the gradients of a program are clipped"
_COMPUTED = "weights on the wafer are computed from several parameters that are clipped"
_NO_ENTRIES = "the program on the wafer takes no step, or has copies of a parameter"


@dataclass(frozen=True, slots=True)
class ClippedPart:
    """The gradients of one program, all of which are clipped."""

    program: TrainingProgram
    places: Mapping[torch.Tensor, ParameterPlace]
    """By their parameters."""

    def squares(self) -> float:
        """Return the sum of the squares of the gradients, computed on the wafer."""
        loaded = self.program.loaded
        with loaded.alone():
            loaded.keep(gradients_of(self.program, self.places))
            found = self.program.squares()
        assert found is not None, "the wafer has the values"  # invariant
        return found

    def scale(self, factor: float) -> None:
        """Multiply the gradients, on the wafer and on the host."""
        with self.program.loaded.alone():
            self._write(self.program.scale(factor))

    def clamp(self, bound: float) -> None:
        """Bound the gradients by ±`bound`, on the wafer and on the host."""
        loaded = self.program.loaded
        with loaded.alone():
            loaded.keep(gradients_of(self.program, self.places))
            self._write(self.program.clamp(bound))

    def _write(self, made: Arrays) -> None:
        for parameter, place in self.places.items():
            assert parameter.grad is not None, "only such parameters are clipped"  # invariant
            pieces = {name: made[self.program.by_name[name]] for name in place.cut.names}
            place.cut.write(parameter.grad, pieces)

    def account(self, places: ParameterPlaces, name: str) -> None:
        """Account for the launches of a function of `CLIPPING` that the host makes in their place.

        What is sent for it is noted in `places`.
        """
        program = self.program
        with program.loaded.alone():
            account_gradients(program, self.places, places)
            for launch in CLIPPING[name]:
                launch(program)

    def note(self, places: ParameterPlaces) -> None:
        """Note that the host has clipped the gradients: the wafer has the same."""
        for parameter, place in self.places.items():
            places.note(parameter, self.program, place.cut, parameter.grad)


@dataclass(frozen=True, slots=True)
class Clipped:
    """The gradients that a call clips: those on the wafer by program, and the host's others."""

    parts: Sequence[ClippedPart]
    others: Sequence[torch.Tensor]

    @classmethod
    def find(
        cls,
        parameters: Sequence[torch.Tensor],
        places: ParameterPlaces,
        refuse: Callable[[UnsupportedOperationError], object],
    ) -> Clipped:
        """Sort the gradients of parameters by where they are.

        `refuse` gets the reason for those that are on the wafer, but are not clipped there.
        """
        given = [parameter for parameter in parameters if parameter.grad is not None]
        others = [parameter.grad for parameter in given if places.find(parameter) is None]
        parts: list[ClippedPart] = []
        for program, found in places.by_program(given).items():
            names = names_of(place.cut for place in found.values())
            is_all = program.parameters == frozenset(names)
            if is_all and program.can_clip:
                parts.append(ClippedPart(program, found))
            else:
                is_some = not places.names_of(program) <= {*names}
                reason = _NO_ENTRIES if is_all else _SOME_ONLY if is_some else _COMPUTED
                refuse(UnsupportedOperationError(reason))
                others += [parameter.grad for parameter in found]
        return cls(parts, [gradient for gradient in others if gradient is not None])

    def norm(self) -> torch.Tensor:
        """Return the norm of all gradients."""
        squares = sum(part.squares() for part in self.parts)
        squares += sum(float(other.double().square().sum()) for other in self.others)
        return torch.tensor(math.sqrt(squares) if squares >= 0 else math.nan)

    def scale(self, norm: torch.Tensor, most: float) -> None:
        """Multiply all gradients so that their norm is about `most`, if it is more."""
        factor = torch.clamp(most / (norm + 1e-6), max=1.0)  # as PyTorch has it
        for part in self.parts:
            part.scale(float(factor))
        for other in self.others:
            other.mul_(factor)

    def clip_norm(self, most: float, *, must_be_finite: bool) -> torch.Tensor | None:
        """Clip gradients to a norm; return that before; None: it must be finite, and is not."""
        norm = self.norm()
        if must_be_finite and not torch.isfinite(norm):
            return None
        self.scale(norm, most)
        return norm

    def clamp(self, bound: float) -> None:
        """Bound all gradients by ±`bound`."""
        for part in self.parts:
            part.clamp(bound)
        for other in self.others:
            other.clamp_(-bound, bound)
