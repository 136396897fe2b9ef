"""Entries and gradients: the parts of a training program besides the operations of its graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.graph import Add

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from onewafer.graph import Gradients
    from onewafer.mesh.optimizers import StepOperation

FORWARD, LOSS, BACKWARD = "forward", "loss", "backward"
"""Entries of a program that trains."""
NORM, SCALE, CLAMP = "sum_gradients", "scale_gradients", "clamp_gradients"
"""Entries of a program with an optimizer: sum the squares of all gradients, multiply the gradients,
bound them."""
CLIPPING = (NORM, SCALE, CLAMP)
Update = tuple[type["StepOperation"], "Sequence[Collection[str]]"]
"""The step of an optimizer, and the parameters that it is for, by which numbers they have."""
GIVING_GRADIENTS = (BACKWARD, SCALE, CLAMP)
"""Entries after which the gradients of parameters are others."""


@dataclass(frozen=True, slots=True)
class Training:
    """The parts of a graph that are launched one by one, and its gradients of parameters."""

    entries: Mapping[str, int]
    """Entry → the index behind its last operation of the graph, in their order."""
    seeds: frozenset[str]
    """Inputs that are gradients of outputs."""
    parameters: Mapping[str, str]
    """Result that is a gradient of a parameter, or a part of one → the parameter."""
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Result that is the whole gradient of a parameter → the parameter."""
    updates: Sequence[Update] = ()
    """The steps of optimizers, each of which is an entry."""
    originals: Mapping[str, str] = field(default_factory=dict[str, str])
    """Recomputed result → the name of that result in the forward pass."""

    @classmethod
    def of(cls, gradients: Gradients, num_model: int) -> Training:
        """Return the training of a graph whose first operations are the model, others its loss."""
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
