"""A pass that is repeated: a call like a known one, its loss, its backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import repeat
from operator import is_
from typing import TYPE_CHECKING

from onewafer.pytorch.training.places import (
    changes_gradient,
    gradient_of,
    sees_gradient,
    version_of,
)
from onewafer.pytorch.training.retained import Gradients, gradients_of

if TYPE_CHECKING:
    import weakref
    from collections.abc import Mapping

    import torch
    from torch.autograd.graph import Node

    from onewafer.pytorch.host_work import HostWork
    from onewafer.pytorch.training.known import KnownModule, KnownPass
    from onewafer.pytorch.training.retained import RetainedGradients

_WITHOUT_FLOP = frozenset(
    f"{name}Backward0"
    for name in (
        *("Add", "Div", "LogSoftmax", "Mean", "Mul", "Neg", "NllLoss", "Sub", "Sum"),
        *("Squeeze", "Unsqueeze", "View"),
    )
)
"""Nodes of autograd that scripts make around a loss, and that have no FLOP."""
_MOST_NODES = 16
"""The most nodes of a script that are followed: each takes as long as counting a product."""


class Stage(IntEnum):
    """The progress of a pass."""

    CALLED = 0
    COMPARED = 1
    DIFFERENTIATED = 2


@dataclass(slots=True, eq=False)
class LivePass:
    """A pass that is repeated, as far as it has come."""

    owner: KnownModule
    known: KnownPass
    arguments: tuple[tuple[object, ...], dict[str, object]]
    """The arguments of the call."""
    state: torch.Tensor | None
    """The state of PyTorch's generator before the call, if it draws."""
    results: Mapping[str, weakref.ref[torch.Tensor]]
    """Output of the graph → the result of the call."""
    work: HostWork
    """Work of the host in backward passes since the call."""
    stage: Stage = Stage.CALLED
    version: int = 0
    """The version of the result that the loss is taken of."""
    shape: tuple[int, ...] = ()
    """The shape of that result."""
    target: torch.Tensor | None = None
    origin: Node | None = None
    """The node at which the backward pass begins: of the loss, or of a result that is one."""
    value: torch.Tensor | None = None
    """The loss, if it is one number."""
    before: Gradients | None = None
    """The gradients that the backward pass adds to; None: there are none."""
    adds: bool = False
    """True if `before` are gradients of earlier passes, which the wafer has; else they are 0."""
    first_node: int = 0
    """The number of the first node of the call in autograd's graph."""
    is_hooked: bool = False
    """True if a script has registered a hook of a tensor since the call."""
    has_hooks: bool = False
    """True if hooks may compute something in the backward pass, or change what it gives."""

    def seeded(self) -> torch.Tensor | None:
        """Return the result that the loss is taken of, if it is still there."""
        name = self.known.names[self.known.seeded]
        return None if name is None else self.results[name]()

    def has_result(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor is a result of the call."""
        return any([found() is tensor for found in self.results.values()])  # noqa: C419  # it takes less time

    @property
    def is_next_to_go_back(self) -> bool:
        """True if a backward pass comes next."""
        return self.stage is (Stage.COMPARED if self.known.signature else Stage.CALLED)

    def leads_only_to(self, tensor: torch.Tensor) -> bool:
        """Tell whether a backward pass reaches `origin` alone, through nodes without FLOP."""
        nodes, is_reached = [tensor.grad_fn], False
        for _ in range(_MOST_NODES):
            if not nodes:
                return is_reached
            node = nodes.pop()
            if node is None:
                continue
            if node is self.origin:
                is_reached = True
            elif node.name() in _WITHOUT_FLOP:
                nodes += [following for following, _ in node.next_functions]
            else:
                return False
        return is_reached and not nodes

    def note_before(self, retained: RetainedGradients | None) -> None:
        """Note the gradients that there are, just before the backward pass adds its own to them."""
        known = self.known
        parameters = known.parameters
        self.has_hooks = (
            self.is_hooked
            or any(map(changes_gradient, parameters))
            or any(map(sees_gradient, parameters))
        )
        if retained is not None and retained.has(parameters, known.ids) and not self.has_hooks:
            self.adds, self.before = True, retained.gradients
            return
        found = [*map(gradient_of, parameters)]
        if all(map(is_, found, repeat(None))):  # as it is nearly always
            return
        there = [gradient for gradient in found if gradient is not None]
        zeros = known.zeros.among(there)
        if len(zeros) == len(parameters):
            self.before = Gradients.of(parameters, zeros)
            return
        ids = {*map(id, zeros)}
        pairs = zip(parameters, found, strict=True)
        self.before = Gradients.of([one for one, each in pairs if id(each) in ids], zeros)

    def given(self) -> Gradients | None:
        """Return all gradients, if the backward pass is over and has added to each once."""
        if self.stage is not Stage.DIFFERENTIATED:
            if not self.is_next_to_go_back or self.work.flop != self.known.flop:
                return None
            self.stage = Stage.DIFFERENTIATED
        return self._own() if self.adds in self.known.deeds else None

    def given_now(self) -> Gradients | None:
        """Return all gradients just after a backward pass that is known, without hooks."""
        parameters, before = self.known.parameters, self.before
        tensors = gradients_of(parameters)
        if tensors is None or self.adds not in self.known.deeds:
            return None
        found = Gradients.of(parameters, tensors)
        return found if before is None or self.adds or found.follow(before) else None

    def _own(self) -> Gradients | None:
        parameters, before = self.known.parameters, self.before
        tensors = gradients_of(parameters)
        if tensors is None or any(map(changes_gradient, parameters)):
            return None
        if any([tensor.requires_grad for tensor in tensors]):  # noqa: C419  # as above
            return None
        found = Gradients.of(parameters, tensors)
        if before is None:
            return None if any(found.versions) else found
        if before.parameters is parameters:
            return found if found.follow(before) else None
        return found if all([self.owns(one) for one in parameters]) else None  # noqa: C419  # as above

    def owns(self, parameter: torch.Tensor) -> bool:
        """Tell whether a parameter has the gradient that the backward pass has given."""
        gradient = parameter.grad
        if gradient is None or gradient.requires_grad or changes_gradient(parameter):
            return False
        tensor, version = (self.before and self.before.find(parameter)) or (gradient, -1)
        return gradient is tensor and version_of(gradient) == version + 1
