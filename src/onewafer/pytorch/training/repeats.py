"""Steps like ones before: PyTorch computes them alone, and they are accounted for together.

Where the host has the values, following a step of a small model takes longer than the step. Hence
steps that count the same twice are known: call, loss, backward pass, clipping, step of the
optimizer. The next ones like them are only recognised, stage by stage, and counted. What is seen
of the wafer meanwhile is what it would be if all of them had been followed: whoever asks, or goes
on otherwise in the middle of a step, has them accounted for first (`settle`).

    call → COMPARED (loss taken) → DIFFERENTIATED → (clipped) → stepped, and counted
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch.utils import _pytree as pytree

from onewafer.pytorch import flop
from onewafer.pytorch.call_checks import are_observed
from onewafer.pytorch.host_work import HostWork
from onewafer.pytorch.training.calls import TrainingCall
from onewafer.pytorch.training.known import (
    KnownModule,
    KnownStep,
    leaves_of,
    target_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onewafer.execution import Tally
    from onewafer.pytorch.host_work import HostLedger
    from onewafer.pytorch.training.calls import TakenLoss
    from onewafer.pytorch.training.homes import Homes
    from onewafer.pytorch.training.optimizers import Optimizers

    Compute = Callable[..., object]

    KnownCall = tuple[KnownModule, KnownStep]
    Args = tuple[object, ...]
    Kwargs = dict[str, object]

NOT_REPEATED = object()
"""What there is in place of a result if a step has to be followed."""
_SMALL = 1 << 16
"""Elements of which bytes are compared in less time than NumPy takes to begin."""
_MOST_MISSES = 3
"""Steps that go on otherwise, more than an eighth of all, after which none is repeated."""


class Follower(Protocol):
    """What follows steps one by one, and goes on with one that does not end as it is known to."""

    @property
    def homes(self) -> Homes:
        """Where parameters are on the wafer."""
        ...

    @property
    def optimizers(self) -> Optimizers:
        """The optimizers that there are."""
        ...

    def resume(self, call: TrainingCall, results: Mapping[str, torch.Tensor]) -> None:
        """Go on after a call that nothing has followed; these are its results that there are."""
        ...

    def resume_loss(self, call: TrainingCall, taken: TakenLoss, value: torch.Tensor) -> None:
        """Go on after a loss of such a call."""
        ...


class Stage(IntEnum):
    """How far a step is."""

    CALLED = 0
    COMPARED = 1
    DIFFERENTIATED = 2


def _no_zeros() -> Mapping[torch.Tensor, tuple[torch.Tensor, int]]:
    return {}


@dataclass(slots=True, eq=False)
class _Repeat:
    """A step that is recognised so far."""

    owner: KnownModule
    known: KnownStep
    leaves: Sequence[object]
    """What the call's arguments are made of."""
    state: torch.Tensor | None
    """What PyTorch's generator was before the call, if it draws."""
    results: Mapping[str, weakref.ref[torch.Tensor]]
    """By the outputs that they are."""
    work: HostWork
    """What the host has done in backward passes since the call."""
    stage: Stage = Stage.CALLED
    version: int = 0
    """The version of the result that the loss is taken of."""
    target: torch.Tensor | None = None
    loss: weakref.ref[torch.Tensor] | None = None
    zeros: Mapping[torch.Tensor, tuple[torch.Tensor, int]] = field(default_factory=_no_zeros)
    """Parameters with their gradients before the backward pass that were 0, and the versions."""
    gradients: Sequence[tuple[torch.Tensor, torch.Tensor, int]] = ()
    """Parameters with their clipped gradients, and the versions of these."""
    num_clips: int = 0

    def seeded(self) -> torch.Tensor | None:
        """Return the result that the loss is taken of, if it is still there."""
        name = self.known.names[self.known.seeded]
        return None if name is None else self.results[name]()

    def has_gone_back(self) -> bool:
        """Tell whether the backward pass is over, and has given all gradients anew."""
        is_next = self.stage is (Stage.COMPARED if self.known.look else Stage.CALLED)
        if is_next and self.work.flop == self.known.flop:
            self.stage = Stage.DIFFERENTIATED
        if self.stage is not Stage.DIFFERENTIATED:
            return False
        if not self.num_clips:
            return all([self.is_own(parameter) for parameter in self.known.cuts])  # noqa: C419  # it takes less time
        return all(
            p.grad is gradient and version == _version(gradient)
            for p, gradient, version in self.gradients
        )

    def note_zeros(self) -> None:
        """Note the gradients that are 0, just before the backward pass adds its own to them."""
        found = {p: p.grad for p in self.known.cuts if p.grad is not None}
        if found:
            self.zeros = {p: (g, _version(g)) for p, g in found.items() if _is_zero(g)}

    def is_own(self, parameter: torch.Tensor) -> bool:
        """Tell whether the gradient of a parameter is what the backward pass has given."""
        gradient, zero = parameter.grad, self.zeros.get(parameter)
        if gradient is None or gradient.requires_grad or _has_hooks(parameter):
            return False
        if zero is None:
            return not _version(gradient)
        return gradient is zero[0] and _version(gradient) == zero[1] + 1

    def note_gradients(self) -> None:
        """Note the gradients of now."""
        found = ((p, p.grad) for p in self.known.cuts)
        self.gradients = [(p, g, _version(g)) for p, g in found if g is not None]


class Repeats:
    """The steps of a session that are known."""

    def __init__(self, host: HostLedger, follower: Follower) -> None:
        """Take where work of the host is counted, and what follows steps."""
        self._host, self._follower = host, follower
        self.known: weakref.WeakKeyDictionary[torch.nn.Module, KnownModule] = (
            weakref.WeakKeyDictionary()
        )
        self.version = 0
        """Another one after anything that would disturb a step that is followed."""
        self.num_repeated = 0
        """Steps that were not followed."""
        self._live: _Repeat | None = None
        self._uncounted: list[tuple[KnownModule, KnownStep]] = []
        self._work = HostWork()
        """What the host has done in backward passes of the step that is recognised."""
        self._thread = threading.get_ident()

    # --- recognising -----------------------------------------------------------------------------

    def find(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> KnownCall | None:
        """Return what is known of a call that begins a known step; None: it has to be followed."""
        owner = self.known.get(module)
        if owner is None or threading.get_ident() != self._thread:
            return None
        known = owner.find(module, args, kwargs)
        if known is None or known.version != self._follower.optimizers.version or are_observed():
            return None
        if self._live is not None:
            self.settle()  # it ends without having ended
        return owner, known

    def call(
        self, found: KnownCall, compute: Compute, call: tuple[torch.nn.Module, Args, Kwargs]
    ) -> object:
        """Return the result of a call; `compute` is `nn.Module.__call__`."""
        (owner, known), (module, args, kwargs) = found, call
        draws = bool(known.capture.drawn)
        state = torch.default_generator.get_state() if draws else None
        before = flop.pause()  # it is known
        try:
            result = compute(module, *args, **kwargs)
        finally:
            flop.go_on(before)
        leaves = [result] if isinstance(result, torch.Tensor) else pytree.tree_leaves(result)
        named = zip(known.names, cast("list[torch.Tensor]", leaves), strict=True)
        results = {name: weakref.ref(leaf) for name, leaf in named if name is not None}
        self._work.flop = 0
        live = _Repeat(owner, known, leaves_of(args, kwargs), state, results, self._work)
        seeded = live.seeded()
        assert seeded is not None, "guards have seen what the result is"  # invariant
        live.version = _version(seeded)
        self._live = live
        self.version += 1
        self._host.expect_backward(live.work)
        return result

    def is_of_live(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor is a result of a step that is being repeated."""
        live = self._live
        return live is not None and any(found() is tensor for found in live.results.values())

    def loss(
        self,
        kind: str,
        whole: torch.Tensor,
        on_host: Callable[..., torch.Tensor],
        call: tuple[tuple[Any, ...], Mapping[str, Any]],
    ) -> torch.Tensor | None:
        """Return a loss that follows in a known step; None: it has to be followed.

        `whole` is the tensor that the first argument of the `call` is, or is a view of.
        """
        live, (args, options) = self._live, call
        if live is None or not self.is_of_live(whole):
            return None
        look = live.known.look
        is_next = live.stage is Stage.CALLED and torch.is_grad_enabled() and not live.work.flop
        is_known = is_next and look is not None and look.is_same(kind, args, options)
        if not is_known or live.seeded() is not whole or _version(whole) != live.version:
            self.settle()
            return None
        value = on_host(*args, **options)
        live.target, live.loss = target_of(args, options), weakref.ref(value)
        live.stage = Stage.COMPARED
        return value

    def go_back(self, tensor: torch.Tensor, on_host: Callable[[], None]) -> bool:
        """Go back from a tensor, if that is all that is done next in a known step."""
        live = self._live
        if live is None:
            return False
        stage = live.stage
        if stage is not Stage.DIFFERENTIATED and not live.work.flop:
            live.note_zeros()
        first = live.loss if stage is Stage.COMPARED else None
        if stage is Stage.CALLED and live.known.look is None:
            first = live.results.get(live.known.names[live.known.seeded] or "")
        if first is None or first() is not tensor or live.work.flop:
            return False
        before = flop.pause()  # it is known: nothing else leads to the tensor
        try:
            on_host()
        finally:
            flop.go_on(before)
        live.work.flop = live.known.flop
        return True

    def clip(self, name: str, parameters: Sequence[torch.Tensor]) -> bool:
        """Tell whether gradients are clipped next in a known step; else it has to be followed."""
        live = self._live
        if live is None:
            return False
        clips, index = live.known.clips, live.num_clips
        own = {id(parameter) for parameter in live.known.cuts}
        is_next = clips[index : index + 1] == (name,) and own == {*map(id, parameters)}
        if is_next and live.has_gone_back():
            return True
        self.settle()
        return False

    def note_clipped(self) -> None:
        """Note that gradients have been clipped."""
        live = self._live
        assert live is not None, "`clip` has told so"  # invariant
        live.num_clips += 1
        live.note_gradients()

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Tell whether an optimizer takes the step that ends a known one; else it is followed."""
        live = self._live
        if live is None:
            return False
        known = live.known
        is_next = live.num_clips == len(known.clips) and live.has_gone_back()
        if is_next and known.optimizer.is_same(optimizer):
            return True
        self.settle()
        return False

    def note_step(self) -> None:
        """Note that the step has been taken."""
        live, self._live = self._live, None
        assert live is not None, "`step` has told so"  # invariant
        self._host.expect_backward(None)
        live.owner.note(live.known.program)
        live.owner.hits += 1
        self.num_repeated += 1
        if not live.known.count:
            self._uncounted.append((live.owner, live.known))
        live.known.count += 1
        live.known.program.loaded.show_stage(lambda: self._describe(live))

    def _describe(self, live: _Repeat) -> str:
        """Return how far the loop is, for a progress line."""
        known, value = live.known, live.seeded() if live.loss is None else live.loss()
        alike = (one for _, one in self._uncounted if one.program is known.program)
        cycles = sum(tally.numbers["elapsed_cycles"] for _, tally in known.tallies)
        loss = None if value is None or value.numel() != 1 else float(value.detach())
        steps = sum(one.count for one in alike)
        return known.program.describe_repeated(steps, known.rows, cycles, loss)

    # --- accounting ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Account for all steps, and let one that is not over be followed from here on."""
        self.version += 1
        if not self._uncounted and self._live is None:
            return
        for owner, known in self._uncounted:
            self._count(known, known.tallies, known.count)
            known.program.note_steps(known.count)
            known.count = 0
            known.program.loaded.adopt(
                {
                    name: array
                    for parameter, cut in known.cuts.items()
                    for name, array in cut.arrays(owner.copy_of(parameter)).items()
                }
            )
        self._uncounted.clear()
        live, self._live = self._live, None
        if live is not None:
            self._break_off(live)

    @staticmethod
    def _count(known: KnownStep, tallies: Sequence[tuple[str, Tally]], times: int) -> None:
        for _, tally in tallies:
            known.program.loaded.repeat_all(tally, times)

    def _break_off(self, live: _Repeat) -> None:
        """Go on with a step as if it had been followed."""
        self._host.expect_backward(None)
        known, owner, done = live.known, live.owner, live.work.flop
        owner.misses += 1
        excess = done - known.flop
        is_next = live.stage is (Stage.COMPARED if known.look else Stage.CALLED)
        if live.stage is Stage.DIFFERENTIATED or (is_next and excess >= 0):
            self._count(known, known.tallies[: 1 + live.num_clips], 1)
            known.program.note_rows(known.rows)
            for parameter, cut in known.cuts.items():
                gradient = parameter.grad if live.gradients or live.is_own(parameter) else None
                self._follower.homes.note(parameter, known.program, cut, gradient)
        else:
            excess = done
            owner.is_over = True  # a backward pass of this call will be the host's
            self._resume(live)
        if excess:
            self._host.add_backward(excess)
        if owner.is_over or owner.misses > _MOST_MISSES + owner.hits // 8:
            owner.is_over = True
            owner.steps.clear()

    def _resume(self, live: _Repeat) -> None:
        """Let the call of a step be followed, and its loss, if it has come so far."""
        call, taken = self._bind(live), live.known.taken
        found = {name: tensor() for name, tensor in live.results.items()}
        there = {name: tensor for name, tensor in found.items() if tensor is not None}
        self._follower.resume(call, there)
        if taken is not None and live.target is not None:
            value = None if live.loss is None else live.loss()
            shown = torch.tensor(torch.nan) if value is None else value
            self._follower.resume_loss(call, taken.of(live.target), shown)

    def _bind(self, live: _Repeat) -> TrainingCall:
        """Return the call of a step, as it would be if it had been followed."""
        known = live.known
        leaves = [
            source.value if source.index is None else live.leaves[source.index]
            for source in known.sources
        ]
        now = torch.default_generator.get_state()
        if live.state is not None:
            torch.default_generator.set_state(live.state)
        try:
            with torch.enable_grad():
                return TrainingCall(known.trained, known.capture.bind(leaves), known.compute)
        finally:
            torch.default_generator.set_state(now)


def _is_zero(gradient: torch.Tensor) -> bool:
    """Tell whether all elements are 0; `torch.any` takes 20 ns for each."""
    array = gradient.numpy(force=True)
    if array.size > _SMALL:
        return not np.count_nonzero(array)
    return array.tobytes() == bytes(array.nbytes)


def _has_hooks(parameter: torch.Tensor) -> bool:
    """Tell whether something else sees, or changes, the gradient of a parameter."""
    return bool(parameter._backward_hooks or parameter._post_accumulate_grad_hooks)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public names


def _version(tensor: torch.Tensor) -> int:
    return tensor._version  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
