"""Gradients of passes that were repeated, not followed, and the rows of these passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import is_
from typing import TYPE_CHECKING

from onewafer.pytorch.training.places import gradient_of, version_of, versions_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch

    from onewafer.pytorch.training.known import KnownModule
    from onewafer.pytorch.training.pieces import Cut
    from onewafer.pytorch.training.places import ParameterPlaces
    from onewafer.pytorch.training.programs import TrainingProgram


def gradients_of(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor] | None:
    """Return the gradients of parameters; None: not all of them have one."""
    found = [one for one in map(gradient_of, parameters) if one is not None]
    return found if len(found) == len(parameters) else None


@dataclass(frozen=True, slots=True)
class Gradients:
    """The gradients of some parameters with their versions, which show changes."""

    parameters: Sequence[torch.Tensor]
    tensors: Sequence[torch.Tensor]
    versions: Sequence[int]

    @classmethod
    def of(cls, parameters: Sequence[torch.Tensor], tensors: Sequence[torch.Tensor]) -> Gradients:
        """Note these tensors as the gradients of parameters, with their present versions."""
        return cls(parameters, tensors, versions_of(tensors))

    def are_same(self) -> bool:
        """Tell whether the parameters still have these gradients, unchanged."""
        if not all(map(is_, map(gradient_of, self.parameters), self.tensors)):
            return False
        return versions_of(self.tensors) == self.versions

    def follow(self, before: Gradients) -> bool:
        """Tell whether these are the gradients `before` after one addition to each of them."""
        if self.parameters is not before.parameters:
            return False
        are_same = all(map(is_, self.tensors, before.tensors))
        return are_same and self.versions == [version + 1 for version in before.versions]

    def find(self, parameter: torch.Tensor) -> tuple[torch.Tensor, int] | None:
        """Return the gradient of a parameter, and its version; None: it is none of these."""
        found = zip(self.parameters, self.tensors, self.versions, strict=True)
        return next(((one, version) for known, one, version in found if known is parameter), None)

    def has(self, parameter: torch.Tensor) -> bool:
        """Tell whether a parameter still has its one of these gradients, unchanged."""
        tensor, version = self.find(parameter) or (None, 0)
        return tensor is not None and parameter.grad is tensor and version_of(tensor) == version


_NONE = Gradients((), (), [])


@dataclass(slots=True, eq=False)
class RetainedGradients:
    """Gradients of one program's parameters; while they are unchanged, the wafer has them, too."""

    owner: KnownModule
    program: TrainingProgram
    cuts: Mapping[torch.Tensor, Cut]
    gradients: Gradients = _NONE
    """The gradients that the wafer has."""
    ids: frozenset[int] = field(default=frozenset())
    """The identities of their parameters."""
    unfollowed_rows: int = 0
    """Rows of passes since the last step, or since they were accounted for."""
    is_stepped: bool = False
    """True if a step has come since they were accounted for."""

    @classmethod
    def of_places(
        cls,
        owner: KnownModule,
        program: TrainingProgram,
        cuts: Mapping[torch.Tensor, Cut],
        places: ParameterPlaces,
    ) -> RetainedGradients | None:
        """Return the gradients of passes that were followed; None: the wafer has others."""
        retained = cls(owner, program, cuts)
        for parameter in cuts:
            place = places.find(parameter)
            if (
                place is None
                or place.program is not program
                or not place.has_gradient_of(parameter)
            ):
                return None
        retained.note()
        return retained

    @property
    def rows(self) -> int:
        """The rows of all passes since the last step."""
        return self.unfollowed_rows + (0 if self.is_stepped else self.program.rows_since_step)

    def note(self) -> None:
        """Note the present gradients."""
        found = (*(parameter for parameter in self.cuts if parameter.grad is not None),)
        self.take(Gradients.of(found, gradients_of(found) or ()), frozenset(map(id, found)))

    def take(self, gradients: Gradients, ids: frozenset[int]) -> None:
        """Note gradients, and the identities of their parameters."""
        self.gradients, self.ids = gradients, ids

    def has(self, parameters: Iterable[torch.Tensor], ids: frozenset[int]) -> bool:
        """Tell whether parameters, with these identities, have the gradients that were noted."""
        if ids <= self.ids and self.gradients.are_same():  # as it is nearly always
            return True
        if ids == self.ids:
            return False  # one of them is another one
        return all(map(self.gradients.has, parameters))

    def is_whole(self) -> bool:
        """Tell whether all gradients of the program are there, as they were noted."""
        return len(self.ids) == len(self.cuts) and self.gradients.are_same()

    def settle(self, places: ParameterPlaces) -> None:
        """Note in `places` that the wafer has the gradients that are unchanged, as if followed."""
        for parameter, cut in self.cuts.items():
            gradient = parameter.grad if self.gradients.has(parameter) else None
            places.note(parameter, self.program, cut, gradient)
        self.program.note_rows(self.unfollowed_rows, is_stepped=self.is_stepped)
