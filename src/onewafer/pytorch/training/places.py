"""Where parameters are on the wafer: the program that has given their gradients last."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence

    from onewafer.pytorch.training.pieces import Cut
    from onewafer.pytorch.training.programs import TrainingProgram

_Parameter = TypeVar("_Parameter", bound=torch.Tensor)
_counted: Callable[[torch.Tensor], int] = attrgetter("_version")
"""Returns the changes that PyTorch has counted, which it does not in inference mode."""
_uncounted = count(-1, -1)
gradient_of: Callable[[torch.Tensor], torch.Tensor | None] = attrgetter("grad")
"""Returns the gradient that a parameter has."""
changes_gradient: Callable[[torch.Tensor], object] = attrgetter("_backward_hooks")
"""Returns the hooks that may replace the gradient of a parameter, if there are any."""
sees_gradient: Callable[[torch.Tensor], object] = attrgetter("_post_accumulate_grad_hooks")
"""Returns the hooks that see the gradient of a parameter afterwards, if there are any."""


def version_of(tensor: torch.Tensor) -> int:
    """Return how often the elements of a tensor have been changed.

    PyTorch counts none of a tensor of inference mode, which may always have changed: the result is
    another number each time, below all others.
    """
    try:
        return _counted(tensor)
    except RuntimeError:
        return next(_uncounted)


def versions_of(tensors: Sequence[torch.Tensor]) -> list[int]:
    """Return how often the elements of each tensor have been changed."""
    try:
        return [*map(_counted, tensors)]  # as it is nearly always
    except RuntimeError:
        return [*map(version_of, tensors)]


@dataclass(frozen=True, slots=True)
class ParameterPlace:
    """The place of a parameter and its gradient on the wafer."""

    program: TrainingProgram
    cut: Cut
    """The parameter's pieces in the program."""
    gradient: torch.Tensor | None = None
    """The gradient of the host that stands for the wafer's; None: the wafer computed it."""
    version: int = 0
    """The version of the gradient, as it was."""

    def has_gradient_of(self, parameter: torch.Tensor) -> bool:
        """Tell whether a parameter still has the host's gradient that stands for the wafer's."""
        known, found = self.gradient, parameter.grad
        if known is None or found is None:
            return False
        if version_of(known) != self.version:
            return False
        if known.layout is found.layout is torch.strided:
            return torch.equal(known, found)
        return known is found  # PyTorch compares no sparse tensors


class ParameterPlaces:
    """The places of all parameters of a session."""

    def __init__(self) -> None:
        self._places = cast("MutableMapping[torch.Tensor, ParameterPlace]", WeakIdKeyDictionary())
        self._stepped = cast("MutableMapping[torch.Tensor, TrainingProgram]", WeakIdKeyDictionary())
        """Parameter → the program that took its last step."""

    def note(
        self,
        parameter: torch.Tensor,
        program: TrainingProgram,
        cut: Cut,
        gradient: torch.Tensor | None = None,
    ) -> None:
        """Note that a program has given the gradient of a parameter."""
        version = 0 if gradient is None else version_of(gradient)
        self._places[parameter] = ParameterPlace(program, cut, gradient, version)

    def note_step(self, parameter: torch.Tensor, program: TrainingProgram) -> None:
        """Note that a program has taken a step of a parameter, and has its optimizer's state."""
        self._stepped[parameter] = program

    def has_moved(self, parameter: torch.Tensor, program: TrainingProgram) -> bool:
        """Tell whether another program than this one has taken the last step of a parameter."""
        return self._stepped.get(parameter, program) is not program

    def find(self, parameter: torch.Tensor) -> ParameterPlace | None:
        """Return where a parameter is; None: it is on the host only."""
        return self._places.get(parameter)

    def by_program(
        self, parameters: Iterable[_Parameter]
    ) -> Mapping[TrainingProgram, Mapping[_Parameter, ParameterPlace]]:
        """Return the places of the parameters that are on the wafer, by their programs."""
        found: defaultdict[TrainingProgram, dict[_Parameter, ParameterPlace]] = defaultdict(dict)
        for parameter in parameters:
            place = self.find(parameter)
            if place is not None:
                found[place.program][parameter] = place
        return found

    def parameters_of(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the parameters with these gradients; empty: some are of no parameter here."""
        by_gradient = {id(parameter.grad): parameter for parameter in self._places}
        found = [by_gradient.get(id(gradient)) for gradient in gradients]
        known = [parameter for parameter in found if parameter is not None]
        return known if len(known) == len(found) else []

    def names_of(self, program: TrainingProgram) -> frozenset[str]:
        """Return the names in a program of the parameters that are there."""
        places = [place for place in self._places.values() if place.program is program]
        return frozenset(name for place in places for name in place.cut.names)


def has_hooks(parameter: torch.Tensor) -> bool:
    """Tell whether hooks see or change the gradient of a parameter."""
    return bool(changes_gradient(parameter) or sees_gradient(parameter))
