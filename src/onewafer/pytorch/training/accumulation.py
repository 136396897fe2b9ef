"""Gradient accumulation: a backward pass on the wafer adds to the gradients of earlier passes.

A backward pass on the wafer adds to the gradients there, or clears them first. Sums are rounded in
the memory of a PE: PyTorch gets the difference and adds it to `.grad`, and when its pass is over,
`.grad` is set to the elements of the wafer. Where hooks see a gradient, or something else has
changed it, the host adds and the wafer clears.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch._C import (
    _will_engine_execute_node as will_engine_execute_node,  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]  # no public name
)
from torch.autograd.graph import get_gradient_edge

from onewafer.execution import is_same
from onewafer.pytorch.arrays import to_numpy, to_tensor
from onewafer.pytorch.training.pieces import find_cuts, names_of
from onewafer.pytorch.training.places import has_hooks, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.pytorch.training.pieces import Cut
    from onewafer.pytorch.training.places import ParameterPlaces
    from onewafer.pytorch.training.programs import TrainingProgram

_ENGINE: Any = torch.autograd.Variable._execution_engine  # noqa: SLF001  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportAttributeAccessIssue]  # no public name


class Accumulation:
    """The gradients on the wafer that one backward pass adds to, if it adds to any."""

    def __init__(self, places: ParameterPlaces) -> None:
        self._places = places
        self._program: TrainingProgram | None = None
        self._cuts: Mapping[torch.Tensor, Cut] = {}
        self._decided: bool | None = None

    @classmethod
    def decided(cls, places: ParameterPlaces, *, adds: bool) -> Accumulation:
        """Return the accumulation of a pass that is over, which added to gradients or did not."""
        found = cls(places)
        found._decided = adds
        return found

    @property
    def adds(self) -> bool:
        """True if the pass adds to gradients on the wafer."""
        return self._program is not None

    def begin(self, bound: Mapping[str, torch.Tensor], program: TrainingProgram) -> bool:
        """Tell whether a backward pass adds to gradients that a program has.

        `bound` are the parameters of its call by name, all of which need a gradient.
        """
        if self._decided is not None:
            return self._decided
        if any(tensor.is_leaf and tensor.grad is None for tensor in bound.values()):
            return False  # as it is nearly always
        own = {n: tensor for n, tensor in bound.items() if n in program.by_name}
        cuts = find_cuts(own)
        if not cuts or own.keys() != {*names_of(cuts.values())}:
            return False
        if not all(map(_is_added_by_pytorch, cuts)) or not self._are_there(program, cuts):
            return False
        self._program, self._cuts = program, cuts
        return True

    def _are_there(self, program: TrainingProgram, cuts: Mapping[torch.Tensor, Cut]) -> bool:
        """Tell whether the gradients on the wafer are those that the parameters have."""
        if program.loaded.leaves_values_to_host:
            places = {parameter: self._places.find(parameter) for parameter in cuts}
            return all(
                place is not None and place.program is program and place.has_gradient_of(parameter)
                for parameter, place in places.items()
            )
        arrays = {
            program.by_name[name]: array
            for parameter, cut in cuts.items()
            for name, array in cut.arrays(_gradient(parameter)).items()
        }
        return program.loaded.has(arrays)

    def take(self, found: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Return the gradients that PyTorch is to add, given those of the wafer, by name."""
        if self._program is None:
            return found
        added = dict(found)
        for parameter, cut in self._cuts.items():
            before = _gradient(parameter)
            total = torch.empty_like(before)
            cut.write(total, {name: found[name].numpy() for name in cut.names})
            difference = total - before
            pieces = cut.arrays(difference)
            added |= {name: to_tensor(pieces[name]).clone() for name in cut.names}
            _at_end(partial(_replace, parameter, before + difference, total))
        return added

    def note(self) -> None:
        """Note the sums of the host as those on the wafer when the pass is over."""
        if self._program is not None:
            for parameter, cut in self._cuts.items():
                gradient = _gradient(parameter)
                _at_end(partial(self._note, parameter, cut, gradient, version_of(gradient)))

    def _note(
        self, parameter: torch.Tensor, cut: Cut, gradient: torch.Tensor, version: int
    ) -> None:
        """Note the sum of a parameter, unless more than this pass has changed it."""
        program = self._program
        if program and parameter.grad is gradient and version_of(gradient) == version + 1:
            self._places.note(parameter, program, cut, gradient)


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    gradient = parameter.grad
    assert gradient is not None, "`begin` has seen to it"  # invariant
    return gradient


def _is_added_by_pytorch(parameter: torch.Tensor) -> bool:
    """Tell whether PyTorch adds to the gradient of a parameter, and no hook sees it."""
    gradient = parameter.grad
    if gradient is None or gradient.requires_grad or has_hooks(parameter):
        return False
    if gradient.layout is not torch.strided or gradient.dtype is not torch.float32:
        return False
    try:
        with torch.inference_mode(mode=False):  # as the pass may be in inference mode
            edge = get_gradient_edge(parameter)
        return bool(will_engine_execute_node(edge.node))
    except RuntimeError:  # of `torch.autograd.grad`, which gives the gradient to its caller
        return False


def _at_end(then: Callable[[], None]) -> None:
    """Call a function when the backward pass that runs is over."""
    _ENGINE.queue_callback(then)


def _replace(parameter: torch.Tensor, sum_: torch.Tensor, total: torch.Tensor) -> None:
    """Set a gradient to the elements of the wafer, if it is the sum that was expected."""
    gradient = parameter.grad
    if gradient is not None and is_same(to_numpy(gradient), to_numpy(sum_)):
        gradient.data.copy_(total)
