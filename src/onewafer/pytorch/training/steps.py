"""Steps of optimizers, on the wafer for the parameters that are there, on the host for others."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.optim import Optimizer

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.training.optimizers import STEPPED, States, all_parameters, read_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from numpy.typing import NDArray

    from onewafer.execution import Arrays
    from onewafer.pytorch.training.pieces import Cut
    from onewafer.pytorch.training.places import ParameterPlace, ParameterPlaces
    from onewafer.pytorch.training.programs import TrainingProgram

    _Places = Mapping[torch.nn.Parameter, ParameterPlace] | Mapping[torch.Tensor, ParameterPlace]
    """By parameters."""

_GLOBAL_HOOKS: tuple[dict[int, object], ...] = tuple(
    vars(sys.modules[Optimizer.__module__])[name]  # no public accessor
    for name in ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
)
_OURS = f"{__name__.partition('.')[0]}."
_VERSIONS = itertools.count()
_OF_OTHERS = "the program on the wafer was made for another optimizer, or for other groups"


@dataclass(frozen=True, slots=True)
class Part:
    """The step of the parameters that are in one program."""

    program: TrainingProgram
    index: int
    """The index among the program's steps."""
    places: Mapping[torch.nn.Parameter, ParameterPlace]
    states: States
    numbers: NDArray[Any]
    """The values that the host writes for the step."""

    def take(self) -> None:
        """Take the step on the wafer, and write what it gives into the tensors of the host."""
        loaded, parameters = self.program.loaded, self._parameters
        with loaded.alone():
            gradients = gradients_of(self.program, self.places)
            loaded.keep({**self._arrays(), **self.states.arrays(parameters), **gradients})
            made = self.program.update(self.index, self.numbers)
            self.states.write(parameters, made)
            loaded.adopt(made)

    def account(self, places: ParameterPlaces) -> None:
        """Account for the step, which the host takes; note in `places` what is sent for it."""
        with self.program.loaded.alone():
            account_gradients(self.program, self.places, places)
            moved = {
                p: cut for p, cut in self._parameters.items() if places.has_moved(p, self.program)
            }
            _send(self.program, self.states.arrays(moved))
            self.program.update(self.index, self.numbers)

    def note_step(self, places: ParameterPlaces) -> None:
        """Note that the host has taken the step: the wafer has the same parameters."""
        self.program.loaded.adopt(self._arrays())
        for parameter in self.places:
            places.note_step(parameter, self.program)

    @property
    def _parameters(self) -> dict[torch.nn.Parameter, Cut]:
        return {parameter: place.cut for parameter, place in self.places.items()}

    def _arrays(self) -> Arrays:
        return {
            name: array
            for parameter, cut in self._parameters.items()
            for name, array in cut.arrays(parameter).items()
        }


def gradients_of(program: TrainingProgram, places: _Places) -> Arrays:
    """Return the gradients that parameters have on the host, by their names in a program."""
    return {
        program.by_name[name]: array
        for parameter, place in places.items()
        if parameter.grad is not None
        for name, array in place.cut.arrays(parameter.grad).items()
    }


def account_gradients(
    program: TrainingProgram, parameters: _Places, places: ParameterPlaces
) -> None:
    """Account for sending the gradients that the host has changed since the wafer had them.

    They are on the wafer then: a pass before they are zeroed adds to them.
    """
    stale: dict[torch.Tensor, ParameterPlace] = {
        parameter: place
        for parameter, place in parameters.items()
        if not place.has_gradient_of(parameter)
    }
    _send(program, gradients_of(program, stale))
    for parameter, place in stale.items():
        places.note(parameter, program, place.cut, parameter.grad)


def _send(program: TrainingProgram, arrays: Arrays) -> None:
    """Account for sending tensors, even if the wafer has them."""
    program.loaded.keep(arrays, {name: next(_VERSIONS) for name in arrays})


def find_parts(
    optimizer: torch.optim.Optimizer,
    places: ParameterPlaces,
    refuse: Callable[[UnsupportedOperationError], object],
) -> list[Part]:
    """Return the steps of an optimizer that the wafer can take.

    `refuse` gets the reason for those that it cannot take, of parameters that are there.
    """
    if type(optimizer) in STEPPED and has_hooks(optimizer):
        if any(places.find(parameter) is not None for parameter in _stepped(optimizer)):
            refuse(UnsupportedOperationError("the optimizer has hooks, which see its step"))
        return []
    parts: list[Part] = []
    for program, found in places.by_program(_stepped(optimizer)).items():
        try:
            parts.append(_part(optimizer, program, found))
        except UnsupportedOperationError as error:
            refuse(error)
    return parts


def _part(
    optimizer: torch.optim.Optimizer,
    program: TrainingProgram,
    places: Mapping[torch.nn.Parameter, ParameterPlace],
) -> Part:
    cuts = {id(parameter): place.cut for parameter, place in places.items()}
    groups, planned = read_groups(optimizer, cuts), program.plan.steps
    step = groups[0].options.step, tuple(group.names for group in groups)
    if step not in planned:
        raise UnsupportedOperationError(_OF_OTHERS)
    states = States(optimizer, step[0])
    numbers = [group.options.numbers(states.index(group.parameters)) for group in groups]
    return Part(program, planned.index(step), places, states, np.concatenate(numbers, axis=1))


def has_hooks(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether hooks, other than ours, see the step of an optimizer."""
    own = vars(optimizer)
    if own.get("_optimizer_step_pre_hooks") or own.get("_optimizer_step_post_hooks"):
        return True
    for hooks in _GLOBAL_HOOKS:
        for hook in hooks.values():
            if not getattr(hook, "__module__", "").startswith(_OURS):
                return True
    return False


def _stepped(optimizer: torch.optim.Optimizer) -> Iterator[torch.nn.Parameter]:
    """Return the parameters that a step changes: those with a gradient."""
    return (one for one in all_parameters(optimizer) if one.grad is not None)
