"""Known steps: what was recorded of a step, so that a later one like it is recognised.

The guards of a capture see the code and the shapes of a call. The rest is here: hooks, modules and
parameters by their identity, elements of parameters, the loss, and the options of an optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import repeat
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils import _pytree as pytree

from onewafer.pytorch.call_checks import asks_for_gradient
from onewafer.pytorch.training.copies import Copies, Copy, Zeros
from onewafer.pytorch.training.steps import has_hooks

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from onewafer.execution import Tally
    from onewafer.pytorch.captured import Capture
    from onewafer.pytorch.guarded import Guards
    from onewafer.pytorch.training.calls import Programs, TakenLoss
    from onewafer.pytorch.training.pieces import Cut
    from onewafer.pytorch.training.programs import TrainingProgram

_SEEN = ("amsgrad", "differentiable", "nesterov", "decoupled_weight_decay", "momentum")
"""Options of a parameter group that decide its kind of step, or that the wafer takes none."""


_HELD = ("_modules", "_parameters", "_buffers")
_FORBIDDEN = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Hooks that would see or change values that the wafer does not compute separately."""
_MISSING = object()
_FORWARD: Callable[[type[torch.nn.Module]], object] = attrgetter("forward")


class _Structure:
    """A snapshot of a module and those inside it, compared without a loop in Python.

    It holds no reference to the outermost module, which the script may drop.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        modules = [*module.modules()]
        self._kinds = (*{*map(type, modules)},)
        self._forwards = (*map(_FORWARD, self._kinds),)
        every = [vars(inner) for inner in modules]
        self._sized: list[Any] = [each[name] for each in every for name in (*_HELD, *_FORBIDDEN)]
        self._sizes = [*map(len, self._sized)]
        places = [(each, name) for each in every for name in ("training", *_HELD, *_FORBIDDEN)]
        places += [(each, name) for each in self._sized for name in each]
        self._dictionaries = [each for each, _ in places]
        self._names = [name for _, name in places]
        # Not all have a mode of their own: what `torch.compile` makes of a module has its module's.
        self._values = [each.get(name, _MISSING) for each, name in places]
        hooks = [hook for each in every for name in _FORBIDDEN for hook in each[name].values()]
        self._is_seen = not all(map(asks_for_gradient, hooks))

    def is_same(self) -> bool:
        """Tell whether modes, hooks, modules, parameters and buffers are unchanged."""
        if self._is_seen or [*map(len, self._sized)] != self._sizes:
            return False
        found = map(dict[Any, Any].get, self._dictionaries, self._names, repeat(_MISSING))
        if not all(map(is_, found, self._values)):
            return False
        return all(map(is_, map(_FORWARD, self._kinds), self._forwards))


class KnownModule:
    """A module whose steps have been followed, with copies of its parameters and buffers."""

    def __init__(self, module: torch.nn.Module, written: Iterable[torch.Tensor]) -> None:
        """Take the module, and the buffers that its calls write."""
        self._structure = _Structure(module)
        changed = {id(tensor) for tensor in written}
        tensors = (*module.parameters(), *module.buffers())
        self.copies = Copies(tensor for tensor in tensors if id(tensor) not in changed)
        """Copies of the parameters and buffers that the wafer has."""
        self._num_sent = -1
        """The number of tensors that its program had been sent when the copies were made."""
        self.passes: list[KnownPass] = []
        self.clips: dict[tuple[str, Rows], Deed] = {}
        """Clipping by a function, of the gradients of such passes."""
        self.steps: list[KnownStep] = []
        self.hits = self.misses = 0
        """Passes that were repeated to their end, and those that went on otherwise."""
        self.is_over = False
        """True if its passes went on otherwise too often: all later ones are followed."""

    def find(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> KnownPass | None:
        """Return the known pass that begins with a call; None: the call has to be followed."""
        if not self.passes:
            return None
        arguments = {"module": module, "args": args, "kwargs": kwargs}
        for known in self.passes:
            if known.guards.hold(arguments):
                break
        else:
            return None
        if not self.is_as_it_was() or not self.copies.are_same():
            return None
        is_on_wafer = known.program.loaded.record.num_sent == self._num_sent
        return known if is_on_wafer else None

    def is_as_it_was(self) -> bool:
        """Tell whether modes, hooks, modules, parameters and buffers are unchanged."""
        return self._structure.is_same()

    def has(self, program: TrainingProgram | None) -> bool:
        """Tell whether passes of a program are known."""
        return any(known.program is program for known in self.passes)

    def note(self, program: TrainingProgram) -> None:
        """Copy the parameters, which the program has now."""
        self.copies.take()
        self._num_sent = program.loaded.record.num_sent


@dataclass(frozen=True, slots=True)
class LossSignature:
    """The key of a loss, besides the result that it is taken of."""

    kind: str
    shape: torch.Size
    dtype: torch.dtype
    """The type of the target."""
    target_shape: torch.Size
    args: tuple[object, ...]
    """Positional arguments behind the target."""
    options: Mapping[str, object]
    """Without the target."""
    copies: tuple[Copy, ...] = field(default=(), compare=False)
    """Tensors among both, as weights of classes, which the wafer has."""

    @classmethod
    def of(
        cls, kind: str, args: tuple[Any, ...], options: Mapping[str, Any]
    ) -> LossSignature | None:
        """Return the signature of a call of a loss; None: its tensors are not plain ones."""
        target = target_of(args, options)
        others = {name: option for name, option in options.items() if name != "target"}
        seen = (*args[2:], *others.values())
        tensors = [option for option in seen if isinstance(option, torch.Tensor)]
        if not all(type(tensor) is torch.Tensor for tensor in (target, *tensors)):
            return None
        if any(tensor.requires_grad for tensor in (target, *tensors)):
            return None
        copies = (*map(Copy, tensors),)
        for copy in copies:
            copy.take()
        named = {name: _identify(option) for name, option in others.items()}
        behind = (*map(_identify, args[2:]),)
        return cls(kind, args[0].shape, target.dtype, target.shape, behind, named, copies)

    def is_same(self, kind: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        """Tell whether a call of a loss has this signature."""
        target = target_of(args, options)
        if kind != self.kind or type(target) is not torch.Tensor or target.requires_grad:
            return False
        if target.dtype is not self.dtype or target.shape != self.target_shape:
            return False
        if args[0].shape != self.shape:
            return False
        behind = args[2:]
        if (behind or self.args) and (*map(_identify, behind),) != self.args:
            return False
        known = self.options
        if len(options) - ("target" in options) != len(known):
            return False
        for name, option in options.items():
            if name == "target":
                continue
            seen = known.get(name, _MISSING)
            if seen is not option and seen != _identify(option):
                return False
        return all([copy.is_same() for copy in self.copies])  # noqa: C419  # it takes less time


@dataclass(frozen=True, slots=True)
class _Identity:
    """The identity of a tensor that is an argument."""

    number: int


def _identify(option: object) -> object:
    return _Identity(id(option)) if isinstance(option, torch.Tensor) else option


def target_of(args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:  # noqa: ANN401  # of a script
    """Return the target among the arguments of a loss."""
    return args[1] if len(args) > 1 else options.get("target")


@dataclass(frozen=True, slots=True)
class _Group:
    """Parameters of an optimizer that have the same options."""

    options: tuple[tuple[str, bool], ...]
    parameters: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, group: Mapping[str, Any]) -> _Group:
        options = (*((name, bool(group[name])) for name in _SEEN if name in group),)
        return cls(options, (*group["params"],))

    def is_same(self, group: Mapping[str, Any]) -> bool:
        of_group = group["params"]
        if len(of_group) != len(self.parameters) or not all(map(is_, of_group, self.parameters)):
            return False
        return all([bool(group[name]) is option for name, option in self.options])  # noqa: C419  # as above


@dataclass(frozen=True, slots=True)
class OptimizerSignature:
    """An optimizer as it was when it took a step."""

    state: object
    groups: tuple[_Group, ...]
    others: tuple[tuple[torch.Tensor, bool], ...]
    """The parameters that are not on the wafer, and whether they had a gradient."""

    @classmethod
    def of(
        cls, optimizer: torch.optim.Optimizer, on_wafer: Iterable[torch.Tensor]
    ) -> OptimizerSignature:
        """Return its signature of now; some parameters, which have gradients, are `on_wafer`."""
        groups, known = (*map(_Group.of, optimizer.param_groups),), {*map(id, on_wafer)}
        every = (parameter for group in groups for parameter in group.parameters)
        others = (*((p, p.grad is not None) for p in every if id(p) not in known),)
        return cls(optimizer.state, groups, others)

    def is_same(self, optimizer: torch.optim.Optimizer) -> bool:
        """Tell whether it would take a step of the same kind for the same parameters.

        Those that are on the wafer have gradients.
        """
        found = optimizer.param_groups
        if optimizer.state is not self.state or len(found) != len(self.groups):
            return False
        if has_hooks(optimizer):
            return False
        for group, known in zip(found, self.groups, strict=True):
            if not known.is_same(group):
                return False
        for parameter, has_gradient in self.others:
            if (parameter.grad is not None) is not has_gradient:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Source:
    """Where an argument of a graph comes from."""

    index: int | None
    """Among the leaves of the call's arguments; None: it is always the same."""
    value: object = None


@dataclass(slots=True, eq=False)
class Deed:
    """A pass, clipping or a step that was followed and is repeated, with its counts."""

    tallies: tuple[tuple[TrainingProgram, Tally], ...]
    """The counts of the step, by program."""
    is_step: bool = False
    count: int = field(default=0)
    """How often it was done without being accounted for yet."""

    cycles: int = field(init=False)
    """The cycles that it takes on all programs."""

    def __post_init__(self) -> None:
        """Sum the cycles up."""
        self.cycles = sum(tally.numbers["elapsed_cycles"] for _, tally in self.tallies)


@dataclass(slots=True, eq=False)
class KnownPass:
    """A call, its loss and its backward pass, and what must be the same for others like it."""

    guards: Guards
    computation: Callable[..., object] | None
    """Does what the call does, without the module's own code; None: that has to be run."""
    trained: Programs
    program: TrainingProgram
    capture: Capture
    compute: Callable[..., object]
    """Computes the graph on the host."""
    sources: tuple[Source, ...]
    """Where the arguments of the graph come from."""
    seeded: int
    """The index of the leaf of the module's result at which the backward pass begins."""
    names: tuple[str | None, ...]
    """The outputs of the graph that the leaves of the result are."""
    signature: LossSignature | None
    """None: the loss is inside the module, or the host's."""
    taken: TakenLoss | None
    criterion: weakref.ref[torch.nn.Module] | None
    """The module without parameters that takes the loss, if one does."""
    cuts: Mapping[torch.Tensor, Cut]
    """The pieces of the parameters that get gradients."""
    flop: int
    """Work of the host in the backward pass."""
    version: int
    """The version of the optimizers that there were."""
    rows: int
    deeds: dict[bool, Deed]
    """By whether gradients are added to those that are on the wafer."""
    parameters: tuple[torch.Tensor, ...] = field(init=False)
    """The parameters that get gradients."""
    ids: frozenset[int] = field(init=False)
    """Their identities."""
    zeros: Zeros = field(default_factory=Zeros)
    """The gradients that were 0 before the last pass of the kind."""

    def __post_init__(self) -> None:
        """Find the parameters that get gradients."""
        self.parameters = (*self.cuts,)
        self.ids = frozenset(map(id, self.parameters))

    def goes_as(self, other: KnownPass) -> bool:
        """Tell whether another pass differs at most in adding to gradients."""
        if self.capture is not other.capture or self.program is not other.program:
            return False
        mine, others = (
            (one.seeded, one.signature, one.flop, one.version, one.rows) for one in (self, other)
        )
        return mine == others


Rows = tuple[tuple["TrainingProgram", int], ...]
"""Programs, and the rows of the passes of each since its last step."""


@dataclass(slots=True, eq=False)
class KnownStep:
    """A step of an optimizer."""

    optimizer: OptimizerSignature
    rows: Rows
    parameters: tuple[torch.Tensor, ...]
    """The parameters that it changes on the wafer."""
    deed: Deed
    ids: frozenset[int] = field(init=False)
    """The identities of the parameters."""

    def __post_init__(self) -> None:
        """Find the identities."""
        self.ids = frozenset(map(id, self.parameters))

    def takes_place_of(self, other: KnownStep) -> bool:
        """Tell whether another step is one of the same optimizer after as many rows."""
        return self.optimizer.state is other.optimizer.state and self.rows == other.rows


def leaves_of(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Sequence[object]:
    """Return the leaves of the arguments of a call."""
    if not kwargs and all(isinstance(arg, torch.Tensor) for arg in args):
        return args  # as it is nearly always
    return cast("list[object]", pytree.tree_leaves((args, dict(kwargs))))
