"""Optimizers of PyTorch that the wafer can step: their options, their state, their parameters."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.mesh import moment_of
from onewafer.mesh.optimizers import MOMENTS, SQUARES, Adam, AdamW, Sgd
from onewafer.pytorch.training.pieces import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from onewafer.execution import Arrays
    from onewafer.mesh.optimizers import Optimizer, StepOperation
    from onewafer.pytorch.training.pieces import Cut

    Options = Mapping[str, Any]
    Step = tuple[type[StepOperation], tuple[tuple[str, ...], ...]]
    """A step, and the parameters that it is for, by groups."""

_STATE_OF_SGD = {MOMENTS: "momentum_buffer"}
_STATE_OF_ADAM = {MOMENTS: "exp_avg", SQUARES: "exp_avg_sq"}


@dataclass(frozen=True, slots=True)
class Stepped:
    """Parameters of one group of an optimizer that are in one program."""

    options: Optimizer
    parameters: Mapping[torch.nn.Parameter, Cut]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all pieces in the program."""
        return names_of(self.parameters.values())


def read_groups(optimizer: torch.optim.Optimizer, cuts: Mapping[int, Cut]) -> tuple[Stepped, ...]:
    """Return the groups of an optimizer that have parameters in a program.

    `cuts` are those of the program's parameters, by their `id`. Raises UnsupportedOperationError
    for an optimizer that the wafer cannot step.
    """
    found: list[Stepped] = []
    groups = cast("Sequence[dict[str, Any]]", optimizer.param_groups)
    for group in groups:
        members = {p: cuts[id(p)] for p in group["params"] if id(p) in cuts}
        if members:
            found.append(Stepped(_read_options(optimizer, group), members))
    if len({group.options.step for group in found}) > 1:
        raise UnsupportedOperationError("only some groups of its parameters have momentum")
    return tuple(found)


def _read_options(optimizer: torch.optim.Optimizer, group: Options) -> Optimizer:
    kind = type(optimizer)
    if kind not in _READERS:
        name = kind.__name__
        raise UnsupportedOperationError(f"the optimizer {name} is not supported on the wafer")
    if group.get("differentiable"):
        raise UnsupportedOperationError("an optimizer that is `differentiable` steps on the host")
    if group.get("amsgrad"):
        raise UnsupportedOperationError("`amsgrad` is not supported on the wafer")
    return _READERS[kind](group)


def _read_sgd(group: Options) -> Optimizer:
    return Sgd(
        lr=float(group["lr"]),
        momentum=float(group["momentum"]),
        dampening=float(group["dampening"]),
        weight_decay=float(group["weight_decay"]),
        nesterov=bool(group["nesterov"]),
        maximize=bool(group["maximize"]),
    )


def _read_adam(group: Options) -> Optimizer:
    first, second = group["betas"]
    kind = AdamW if group.get("decoupled_weight_decay") else Adam
    return kind(
        lr=float(group["lr"]),
        betas=(float(first), float(second)),
        eps=float(group["eps"]),
        weight_decay=float(group["weight_decay"]),
        maximize=bool(group["maximize"]),
    )


_READERS: dict[type[torch.optim.Optimizer], Callable[[Options], Optimizer]] = {
    torch.optim.SGD: _read_sgd,
    torch.optim.Adam: _read_adam,
    torch.optim.AdamW: lambda group: _read_adam({**group, "decoupled_weight_decay": True}),
}
"""Exact class → the reader of the options of a group."""
STEPPED = (*_READERS,)
"""The classes of optimizers whose steps the wafer can take."""


class Optimizers:
    """The optimizers that a script has made, or has stepped."""

    def __init__(self) -> None:
        self._known: list[weakref.ref[torch.optim.Optimizer]] = []
        self.version = 0
        """A number that changes when another optimizer may step the parameters."""

    def note(self, optimizer: torch.optim.Optimizer) -> None:
        """Note an optimizer, as the latest one."""
        before = [known() for known in self._known]
        if before and before[-1] is optimizer:
            return
        own, is_known = _parameters_of(optimizer), optimizer in before
        later = before[before.index(optimizer) + 1 :] if is_known else []
        if not is_known or any(one and own & _parameters_of(one) for one in later):
            self.version += 1  # else optimizers take turns, each with its own parameters
        self._known = [weakref.ref(one) for one in before if one not in (None, optimizer)]
        self._known.append(weakref.ref(optimizer))

    def find(self, cuts: Mapping[int, Cut]) -> tuple[Step, ...]:
        """Return the steps of optimizers that the wafer can take of some parameters.

        That of the optimizer that has most of them is first, then come those of others. `cuts` are
        as in `read_groups`.
        """
        able: list[tuple[Stepped, ...]] = []
        for known in reversed(self._known):
            optimizer = known()
            if optimizer is None:
                continue
            try:
                groups = read_groups(optimizer, cuts)
            except UnsupportedOperationError:
                continue
            able.append(groups)
        found: list[Step] = []
        taken: set[str] = set()
        able.sort(key=lambda groups: sum(len(group.parameters) for group in groups), reverse=True)
        for groups in able:  # of equal ones the latest is first
            names = {name for group in groups for name in group.names}
            if groups and taken.isdisjoint(names):
                taken |= names
                found.append((groups[0].options.step, tuple(group.names for group in groups)))
        return (*found,)


def _parameters_of(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(parameter) for parameter in all_parameters(optimizer)}


def all_parameters(optimizer: torch.optim.Optimizer) -> Iterator[torch.nn.Parameter]:
    """Return the parameters of an optimizer, one group's after the other's."""
    for group in cast("Sequence[dict[str, Any]]", optimizer.param_groups):
        yield from group["params"]


def order_states(optimizer: torch.optim.Optimizer, first: int) -> None:
    """Put the states after the `first` ones in the order of parameters, as PyTorch makes them.

    A step that the wafer and the host share makes those of one program after the other.
    """
    states = cast("dict[torch.Tensor, dict[str, Any]]", optimizer.state)
    later = [*states][first:]
    places: dict[torch.Tensor, int] = {
        parameter: place for place, parameter in enumerate(all_parameters(optimizer))
    }
    for parameter in sorted(later, key=lambda key: places.get(key, len(places))):
        states[parameter] = states.pop(parameter)


class States:
    """The state of an optimizer for the parameters of a step, on the host as PyTorch has it."""

    def __init__(self, optimizer: torch.optim.Optimizer, step: type[StepOperation]) -> None:
        self._states = cast("dict[torch.Tensor, dict[str, Any]]", optimizer.state)
        is_adam = isinstance(optimizer, torch.optim.Adam)
        names = _STATE_OF_ADAM if is_adam else _STATE_OF_SGD
        self._names = {arena: names[arena] for arena in step.arenas}
        self._counts = is_adam

    def index(self, parameters: Iterable[torch.nn.Parameter]) -> int:
        """Return the index of the step that is to be taken, from 1 on.

        Raises UnsupportedOperationError unless it is the same for all parameters.
        """
        found = {self._index(self._states.get(parameter, {})) for parameter in parameters}
        if len(found) != 1:
            raise UnsupportedOperationError("its parameters have taken different numbers of steps")
        return found.pop()

    def _index(self, state: Mapping[str, Any]) -> int:
        if self._counts:
            return 1 + int(state.get("step", 0))
        # A step without a buffer is like the first one, which takes the gradient as it is.
        return 1 if any(state.get(name) is None for name in self._names.values()) else 2

    def arrays(self, parameters: Mapping[torch.nn.Parameter, Cut]) -> Arrays:
        """Return the state by names in a program, zeros where there is none yet."""
        return {
            moment_of(name, arena): array
            for parameter, cut in parameters.items()
            for arena, key in self._names.items()
            for name, array in cut.arrays(self._tensor(parameter, key)).items()
        }

    def _tensor(self, parameter: torch.nn.Parameter, key: str) -> torch.Tensor:
        found = self._states.get(parameter, {}).get(key)
        return torch.zeros_like(parameter) if found is None else found

    def write(self, parameters: Mapping[torch.nn.Parameter, Cut], arrays: Arrays) -> None:
        """Write the parameters and the state after a step on the wafer."""
        with torch.no_grad():
            for parameter, cut in parameters.items():
                cut.write(parameter, arrays)
                if not self._names:
                    continue
                state = self._states.setdefault(parameter, {})
                if self._counts:
                    self._count(state)
                for arena, key in self._names.items():
                    if state.get(key) is None:
                        as_it_lies = torch.preserve_format
                        state[key] = torch.zeros_like(parameter, memory_format=as_it_lies)
                    kept = {name: arrays[moment_of(name, arena)] for name in cut.names}
                    cut.write(state[key], kept)

    def _count(self, state: dict[str, Any]) -> None:
        if "step" not in state:
            state["step"] = torch.tensor(0.0, dtype=torch.get_default_dtype())
        state["step"] += 1
