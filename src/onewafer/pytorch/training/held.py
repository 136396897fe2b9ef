"""Gradients of passes that were repeated, not followed, and the rows of these passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.pytorch.training.homes import version_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import torch

    from onewafer.pytorch.training.homes import Homes
    from onewafer.pytorch.training.known import KnownModule
    from onewafer.pytorch.training.pieces import Cut
    from onewafer.pytorch.training.programs import TrainingProgram

    Noted = dict[int, tuple[torch.Tensor, int]]
    """Gradients with their versions, by the identities of their parameters, which are kept."""


@dataclass(slots=True, eq=False)
class Held:
    """The gradients of one program, which it has, too, as long as they are unchanged."""

    owner: KnownModule
    program: TrainingProgram
    cuts: Mapping[torch.Tensor, Cut]
    noted: Noted = field(default_factory=dict["int", "tuple[torch.Tensor, int]"])
    """The gradients as the wafer has them."""
    unfollowed_rows: int = 0
    """Rows of passes since the last step, or since they were accounted for."""
    is_stepped: bool = False
    """Whether a step has come since they were accounted for."""

    @classmethod
    def of_homes(
        cls,
        owner: KnownModule,
        program: TrainingProgram,
        cuts: Mapping[torch.Tensor, Cut],
        homes: Homes,
    ) -> Held | None:
        """Return the gradients that passes have given which were followed; None: it has others."""
        held = cls(owner, program, cuts)
        for parameter in cuts:
            home = homes.find(parameter)
            if home is None or home.program is not program or not home.has_gradient_of(parameter):
                return None
        held.note()
        return held

    @property
    def rows(self) -> int:
        """The rows of all passes since the last step."""
        return self.unfollowed_rows + (0 if self.is_stepped else self.program.rows_since_step)

    @property
    def ids(self) -> Collection[int]:
        """The identities of the parameters with such gradients."""
        return self.noted.keys()

    def note(self) -> None:
        """Note the gradients of now."""
        found = ((parameter, parameter.grad) for parameter in self.cuts)
        self.noted = {id(p): (g, version_of(g)) for p, g in found if g is not None}

    def has(self, parameters: Iterable[torch.Tensor]) -> bool:
        """Tell whether parameters have the gradients that were noted."""
        noted = self.noted
        for parameter in parameters:
            known = noted.get(id(parameter))
            if known is None or parameter.grad is not known[0]:
                return False
            if known[0]._version != known[1]:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
                return False
        return True

    def settle(self, homes: Homes) -> None:
        """Let them be gradients that were followed, and changed since if they were."""
        for parameter, cut in self.cuts.items():
            gradient = parameter.grad if self.has((parameter,)) else None
            homes.note(parameter, self.program, cut, gradient)
        self.program.note_rows(self.unfollowed_rows, is_stepped=self.is_stepped)
