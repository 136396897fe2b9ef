"""What a step that was followed before looks like, so that another one can be told to be the same.

The guards of a capture see the code and the shapes of a call. The rest is here: hooks, modules and
parameters by their identity, elements of parameters, the loss, and the options of an optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import is_
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils import _pytree as pytree

from onewafer.pytorch.call_checks import asks_for_gradient
from onewafer.pytorch.training.steps import has_hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.execution import Tally
    from onewafer.pytorch.captured import Capture
    from onewafer.pytorch.guarded import Guards
    from onewafer.pytorch.training.calls import Programs, TakenLoss
    from onewafer.pytorch.training.pieces import Cut
    from onewafer.pytorch.training.programs import TrainingProgram

_SEEN = ("amsgrad", "differentiable", "nesterov", "decoupled_weight_decay", "momentum")
"""Options of a group that decide which step it takes, or whether the wafer can."""


class _Part:
    """A module inside, or the outermost one, as it was."""

    __slots__ = ("_attributes", "_forward", "_held", "_kind", "_training")

    def __init__(self, module: torch.nn.Module) -> None:
        # Not the module itself: it may go when the script has no use for it.
        self._attributes, self._kind = vars(module), type(module)
        self._forward, self._training = self._kind.forward, module.training
        dictionaries = [self._attributes[name] for name in _HELD]
        self._held = [(each, (*each.values(),)) for each in dictionaries if each]

    def is_same(self) -> bool:
        """Tell whether mode, hooks, modules, parameters and buffers are those that were."""
        attributes = self._attributes
        if attributes["training"] is not self._training or self._kind.forward is not self._forward:
            return False
        for name in _FORBIDDEN:
            hooks = attributes[name]
            if hooks and not all(map(asks_for_gradient, hooks.values())):
                return False
        for found, known in self._held:
            if len(found) != len(known) or not all(map(is_, found.values(), known)):
                return False
        return True


_SMALL = 1 << 16
"""Elements."""
_HELD = ("_modules", "_parameters", "_buffers")
_FORBIDDEN = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Hooks that would see, or change, what the wafer does not compute one by one."""


class _Copy:
    """A tensor as it was noted: edits through `.data` or NumPy are seen by its elements only."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self._array: NDArray[Any] | None = None
        """The elements, where bytes are compared in less time than PyTorch takes to begin."""
        self._address = 0
        self._bytes = b""
        self._elements: torch.Tensor | None = None

    def take(self) -> None:
        """Note the elements of now."""
        tensor = self.tensor
        if tensor.data_ptr() != self._address:
            self._address, self._elements = tensor.data_ptr(), None
            is_small = tensor.numel() <= _SMALL and tensor.is_contiguous()
            self._array = tensor.numpy(force=True) if is_small else None
        if self._array is not None:
            self._bytes = self._array.tobytes()
        elif self._elements is None:
            self._elements = tensor.detach().clone()
        else:
            self._elements.copy_(tensor.detach())

    def is_same(self) -> bool:
        """Tell whether the tensor has the elements that were noted."""
        if self.tensor.data_ptr() != self._address:
            return False
        if self._array is not None:
            return self._array.tobytes() == self._bytes
        return self._elements is not None and torch.equal(self.tensor, self._elements)

    def elements(self) -> torch.Tensor:
        """Return the elements that were noted."""
        if self._elements is not None:
            return self._elements
        noted = torch.frombuffer(bytearray(self._bytes), dtype=self.tensor.dtype)
        return noted.reshape(self.tensor.shape)


class KnownModule:
    """A module whose steps have been followed, with copies of what is on the wafer."""

    def __init__(self, module: torch.nn.Module, written: Iterable[torch.Tensor]) -> None:
        """Take the module, and the buffers that its calls write."""
        self._parts = [_Part(inner) for inner in module.modules()]
        changed = {id(tensor) for tensor in written}
        tensors = (*module.parameters(), *module.buffers())
        self._copies = [_Copy(tensor) for tensor in tensors if id(tensor) not in changed]
        self._by_id = {id(copy.tensor): copy for copy in self._copies}
        self._num_sent = -1
        """Tensors that its program had been sent when the copies were made."""
        self.passes: list[KnownPass] = []
        self.clips: dict[tuple[str, Rows], Deed] = {}
        """Clipping by a function, of the gradients of such passes."""
        self.steps: list[KnownStep] = []
        self.hits = self.misses = 0
        """Passes that were repeated to their end, and those that went on otherwise."""
        self.is_over = False
        """Whether its passes go on otherwise too often: all of them are followed."""

    def find(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> KnownPass | None:
        """Return the pass that begins with a call; None: it has to be followed."""
        if not self.passes:
            return None
        arguments = {"module": module, "args": args, "kwargs": kwargs}
        for known in self.passes:
            if known.guards.hold(arguments):
                break
        else:
            return None
        for part in self._parts:
            if not part.is_same():
                return None
        return known if self._is_on_wafer(known.program) else None

    def _is_on_wafer(self, program: TrainingProgram) -> bool:
        """Tell whether the program has the parameters that the module has now."""
        if program.loaded.record.num_sent != self._num_sent:
            return False
        return all([copy.is_same() for copy in self._copies])  # noqa: C419  # it takes less time

    def has(self, program: TrainingProgram | None) -> bool:
        """Tell whether passes of a program are known."""
        return any(known.program is program for known in self.passes)

    def note(self, program: TrainingProgram) -> None:
        """Note that the program has the parameters of now."""
        for copy in self._copies:
            copy.take()
        self._num_sent = program.loaded.record.num_sent

    def note_stepped(self, parameters: Iterable[torch.Tensor]) -> None:
        """Note what a step has made of some parameters, on the wafer, too."""
        for parameter in parameters:
            copy = self._by_id.get(id(parameter))
            if copy is not None:
                copy.take()

    def copy_of(self, parameter: torch.Tensor) -> torch.Tensor:
        """Return a parameter as it was noted last."""
        return self._by_id[id(parameter)].elements()


@dataclass(frozen=True, slots=True)
class LossLook:
    """What decides what a loss is, besides the result that it is taken of."""

    kind: str
    shape: torch.Size
    dtype: torch.dtype
    """The type of the target."""
    target_shape: torch.Size
    args: tuple[object, ...]
    """Those behind the target."""
    options: tuple[tuple[str, object], ...]
    """Without the target."""
    copies: tuple[_Copy, ...] = field(default=(), compare=False)
    """Tensors among both, as weights of classes, which the wafer has."""

    @classmethod
    def of(cls, kind: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> LossLook | None:
        """Return the look of a call of a loss; None: it has none."""
        target = target_of(args, options)
        others = (*((name, option) for name, option in options.items() if name != "target"),)
        seen = (*args[2:], *(option for _, option in others))
        tensors = [option for option in seen if isinstance(option, torch.Tensor)]
        if not all(type(tensor) is torch.Tensor for tensor in (target, *tensors)):
            return None
        if any(tensor.requires_grad for tensor in (target, *tensors)):
            return None
        copies = (*map(_Copy, tensors),)
        for copy in copies:
            copy.take()
        named = (*((name, _identify(option)) for name, option in others),)
        behind = (*map(_identify, args[2:]),)
        return cls(kind, args[0].shape, target.dtype, target.shape, behind, named, copies)

    def is_same(self, kind: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        """Tell whether a call of a loss has this look."""
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
        if not options and not self.options:  # as it is nearly always
            return all(copy.is_same() for copy in self.copies)
        seen = [(name, _identify(one)) for name, one in options.items() if name != "target"]
        return (*seen,) == self.options and all(copy.is_same() for copy in self.copies)


@dataclass(frozen=True, slots=True)
class _Identity:
    """A tensor that is an argument."""

    number: int


def _identify(option: object) -> object:
    return _Identity(id(option)) if isinstance(option, torch.Tensor) else option


def target_of(args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:  # noqa: ANN401  # of a script
    """Return what a loss compares its first argument with."""
    return args[1] if len(args) > 1 else options.get("target")


@dataclass(frozen=True, slots=True)
class _Group:
    """Parameters of an optimizer that have the same options."""

    options: list[object]
    parameters: tuple[torch.Tensor, ...]
    are_stepped: list[bool]
    """Whether they had a gradient."""

    @classmethod
    def of(cls, group: Mapping[str, Any]) -> _Group:
        parameters = (*group["params"],)
        return cls(_options(group), parameters, [p.grad is not None for p in parameters])


@dataclass(frozen=True, slots=True)
class OptimizerLook:
    """An optimizer as it was when it took a step."""

    state: object
    groups: tuple[_Group, ...]

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer) -> OptimizerLook:
        """Return its look of now."""
        found = optimizer.param_groups
        return cls(optimizer.state, tuple(map(_Group.of, found)))

    def is_same(self, optimizer: torch.optim.Optimizer) -> bool:
        """Tell whether it would take a step of the same kind for the same parameters."""
        found = optimizer.param_groups
        if optimizer.state is not self.state or len(found) != len(self.groups):
            return False
        if has_hooks(optimizer):
            return False
        for group, known in zip(found, self.groups, strict=True):
            of_group = group["params"]
            if len(of_group) != len(known.parameters) or _options(group) != known.options:
                return False
            if not all(map(is_, of_group, known.parameters)):
                return False
            if [parameter.grad is not None for parameter in of_group] != known.are_stepped:
                return False
        return True


def _options(group: Mapping[str, Any]) -> list[object]:
    return [bool(group.get(name)) for name in _SEEN]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an argument of a graph comes from."""

    index: int | None
    """Among the leaves of the call's arguments; None: it is always the same."""
    value: object = None


@dataclass(slots=True, eq=False)
class Deed:
    """Something that was followed, and that is done again: a pass, clipping, a step."""

    tallies: tuple[tuple[TrainingProgram, Tally], ...]
    """What it counts on each program."""
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
    """Which leaf of the module's result the backward pass begins at."""
    names: tuple[str | None, ...]
    """The outputs of the graph that the leaves of the result are."""
    look: LossLook | None
    """None: the loss is inside the module, or the host's."""
    taken: TakenLoss | None
    cuts: Mapping[torch.Tensor, Cut]
    """The pieces of the parameters that get gradients."""
    flop: int
    """What the host computes in the backward pass."""
    version: int
    """The version of the optimizers that there were."""
    rows: int
    deeds: dict[bool, Deed]
    """By whether gradients are added to those that are on the wafer."""

    def goes_as(self, other: KnownPass) -> bool:
        """Tell whether another pass is the same, but perhaps for what it adds to."""
        if self.capture is not other.capture or self.program is not other.program:
            return False
        mine, others = (
            (one.seeded, one.look, one.flop, one.version, one.rows) for one in (self, other)
        )
        return mine == others


Rows = tuple[tuple["TrainingProgram", int], ...]
"""Programs, and the rows of the passes of each since its last step."""


@dataclass(slots=True, eq=False)
class KnownStep:
    """A step of an optimizer."""

    optimizer: OptimizerLook
    rows: Rows
    parameters: tuple[torch.Tensor, ...]
    """The parameters that it changes on the wafer."""
    deed: Deed

    def takes_place_of(self, other: KnownStep) -> bool:
        """Tell whether another step is one of the same optimizer after as many rows."""
        return self.optimizer.state is other.optimizer.state and self.rows == other.rows


def leaves_of(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Sequence[object]:
    """Return what the arguments of a call are made of."""
    if not kwargs and all(isinstance(arg, torch.Tensor) for arg in args):
        return args  # as it is nearly always
    return cast("list[object]", pytree.tree_leaves((args, dict(kwargs))))
