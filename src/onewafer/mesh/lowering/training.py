"""The entries and gradients of a training program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.graph import Add

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from onewafer.graph import Gradients
    from onewafer.mesh.optimizers import StepOperation

FORWARD, LOSS, BACKWARD = "forward", "loss", "backward"
"""Entries of a training program."""
NORM, SCALE, CLAMP = "sum_gradients", "scale_gradients", "clamp_gradients"
"""Entries that clip gradients: sum their squares, scale them, bound them."""
CLIPPING = (NORM, SCALE, CLAMP)
Update = tuple[type["StepOperation"], "Sequence[Collection[str]]"]
"""The step of an optimizer, and its parameters in groups that share their numbers."""
GIVING_GRADIENTS = (BACKWARD, SCALE, CLAMP)
"""Entries that change the gradients of parameters."""


@dataclass(frozen=True, slots=True)
class Training:
    """The entries of a training graph, and its gradients of parameters."""

    entries: Mapping[str, int]
    """Entry → the index behind its last graph operation, in order."""
    seeds: frozenset[str]
    """Inputs that are gradients of outputs."""
    parameters: Mapping[str, str]
    """Result that is the gradient of a parameter, or a term of it → the parameter."""
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Result that is the whole gradient of a parameter → the parameter."""
    updates: Sequence[Update] = ()
    """The steps of optimizers, one entry each."""
    originals: Mapping[str, str] = field(default_factory=dict[str, str])
    """Recomputed result → the name of that result in the forward pass."""

    @classmethod
    def of(cls, gradients: Gradients, num_model: int) -> Training:
        """Return the training of a graph: `num_model` operations of the model, then its loss."""
        entries = {
            FORWARD: num_model,
            LOSS: gradients.num_forward,
            BACKWARD: len(gradients.graph.operations),
        }
        if num_model == gradients.num_forward:
            del entries[LOSS]
        stored = {tensor.name for tensor in gradients.graph.parameters}
        whole = {result: name for name, result in gradients.by_name.items() if name in stored}
        parts = dict(whole)
        for operation in reversed(gradients.graph.operations[gradients.num_forward :]):
            name = parts.get(operation.result.name)
            if name is not None and isinstance(operation, Add):
                parts |= dict.fromkeys(operation.activation_operands, name)
        seeds = frozenset(gradients.seeds.values())
        return cls(entries, seeds, parts, whole, originals=gradients.originals)

    @property
    def backward(self) -> tuple[int, int]:
        """The indices of the first and of the last operation of the backward pass."""
        entries = [*self.entries.items()]
        index = [name for name, _ in entries].index(BACKWARD)
        return entries[index - 1][1], entries[index][1] - 1

    def entry_of(self, index: int) -> str:
        """Return the entry of an operation of the graph."""
        return next(name for name, end in self.entries.items() if index < end)
