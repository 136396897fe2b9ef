"""Steps like ones before: PyTorch computes them alone, and they are accounted for together.

Where the host has the values, following a step of a small model takes longer than the step. Hence
what counts the same twice is known: a pass (call, loss, backward pass), clipping, a step of an
optimizer. The next ones like them are only recognised and counted. Counts look as if all of
them had been followed: a report, or a script that leaves the known way in the middle of a pass, has
them accounted for first (`settle`).

    call → COMPARED (loss taken) → DIFFERENTIATED, and counted, with gradients that are retained
    → other passes, which add to these or not → clipped, and counted → stepped, and counted
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

import torch
from torch.utils import _pytree as pytree

from onewafer.errors import Refusal
from onewafer.pytorch import flop
from onewafer.pytorch.call_checks import are_observed
from onewafer.pytorch.host_work import HostWork, next_node
from onewafer.pytorch.training import engine
from onewafer.pytorch.training.calls import TrainingCall
from onewafer.pytorch.training.known import (
    KnownModule,
    KnownPass,
    KnownStep,
    leaves_of,
    target_of,
)
from onewafer.pytorch.training.live import LivePass, Stage
from onewafer.pytorch.training.places import version_of
from onewafer.pytorch.training.retained import RetainedGradients

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onewafer.pytorch.host_work import HostLedger
    from onewafer.pytorch.training.calls import Gradients as GivenGradients
    from onewafer.pytorch.training.calls import TakenLoss
    from onewafer.pytorch.training.known import Deed, Rows
    from onewafer.pytorch.training.optimizers import Optimizers
    from onewafer.pytorch.training.places import ParameterPlaces
    from onewafer.pytorch.training.programs import TrainingProgram
    from onewafer.pytorch.training.retained import Gradients

    Compute = Callable[..., object]

    KnownCall = tuple[KnownModule, KnownPass]
    Args = tuple[object, ...]
    Kwargs = dict[str, object]

NOT_REPEATED = object()
"""The stand-in for a result if a step has to be followed."""
_MOST_MISSES = 3
"""The most failed repeats, beside one for eight that succeeded, before all steps are followed."""


_OTHERWISE = Refusal(
    "the step began like those before it, which PyTorch takes by itself, and went on in another way"
)
_IN_HOOK = Refusal("a hook of the script trained the module during its own backward pass")

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


class Follower(Protocol):
    """Follows steps one by one, or a repeated one from where it leaves the known way."""

    places: ParameterPlaces
    optimizers: Optimizers

    def resume(self, call: TrainingCall, results: Mapping[str, torch.Tensor]) -> None:
        """Go on after a call that was not followed, given its results that still exist."""

    def resume_loss(self, call: TrainingCall, taken: TakenLoss, value: torch.Tensor) -> None:
        """Go on after a loss of a call that was not followed."""

    def resume_backward(
        self, call: TrainingCall, gradients: GivenGradients, *, adds: bool, flop: int
    ) -> None:
        """Go on after a backward pass that was not followed; `flop` is the host's work in it."""

    def end(self, error: Exception) -> None:
        """End the training on the wafer because of an error of ours; raise any other."""
        ...


def _or(
    otherwise: object,
) -> Callable[[Callable[_Given, _Found]], Callable[_Given, _Found]]:
    """Let a method of `Repeats`, which runs no code of the script, survive an error of ours.

    The training on the wafer then ends, and the method returns `otherwise`.
    """

    def decorate(method: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
        @wraps(method)
        def call(*args: _Given.args, **options: _Given.kwargs) -> _Found:
            try:
                return method(*args, **options)
            except Exception as error:  # noqa: BLE001  # `end` raises what is none of ours
                cast("Repeats", args[0]).follower.end(error)
                return cast("Any", otherwise)

        return call

    return decorate


class Repeats:
    """The passes and steps of a session that are known."""

    def __init__(self, host: HostLedger, follower: Follower) -> None:
        """Take the ledger of the host's work, and the follower of steps."""
        self._host, self.follower = host, follower
        self.known: weakref.WeakKeyDictionary[torch.nn.Module, KnownModule] = (
            weakref.WeakKeyDictionary()
        )
        self.version = 0
        """A number that changes when anything disturbs a pass that is followed."""
        self.num_repeated = 0
        """Steps that were not followed."""
        self._live: LivePass | None = None
        self._retained: dict[TrainingProgram, RetainedGradients] = {}
        """Gradients of passes that were not followed."""
        self._uncounted: list[Deed] = []
        self._work = HostWork()
        """Work of the host in backward passes of the pass that is recognised."""
        self.loss_work = HostWork()
        """Work of the host in the call of a module that takes its loss."""
        self._clipped: tuple[Deed, Sequence[RetainedGradients]] | None = None
        self._stepped: KnownStep | None = None
        """The known step that is being taken."""
        self._loss: torch.Tensor | None = None
        """The last loss that was not followed, if it is known."""
        self._cycles = 0
        """The cycles of what was repeated since the last step."""
        self._thread = threading.get_ident()

    # --- passes ----------------------------------------------------------------------------------

    @_or(None)
    def find(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> KnownCall | None:
        """Return the known pass that begins with a call; None: it has to be followed."""
        owner = self.known.get(module)
        if owner is None or threading.get_ident() != self._thread:
            return None
        known = owner.find(module, args, kwargs)
        if known is None or known.version != self.follower.optimizers.version or are_observed():
            return None
        self._end_pass()
        retained = self._retained.get(known.program)
        if retained is not None and True in known.deeds and False in known.deeds:
            return owner, known  # whether it will add to gradients makes no difference
        return (owner, known) if self._expects_sum(owner, known, retained) in known.deeds else None

    def _expects_sum(
        self, owner: KnownModule, known: KnownPass, retained: RetainedGradients | None
    ) -> bool:
        """Tell whether the backward pass of a call will add to gradients on the wafer.

        Those of passes that were followed are retained from now on.
        """
        program, places = known.program, self.follower.places
        if retained is None and program.rows_since_step:
            retained = RetainedGradients.of_places(owner, program, known.cuts, places)
            if retained is not None:
                self._retained[program] = retained
        return (
            retained is not None and retained.rows > 0 and retained.has(known.parameters, known.ids)
        )

    def call(
        self, found: KnownCall, compute: Compute, call: tuple[torch.nn.Module, Args, Kwargs]
    ) -> object:
        """Return the result of a call; `compute` is `nn.Module.__call__`."""
        (_, known), (module, args, kwargs) = found, call
        state = torch.default_generator.get_state() if known.capture.drawn else None
        # The graph is known, and the wafer takes no other tensors; a module's code may make some.
        before, first_node = flop.pause(is_dense=known.computation is not None), next_node()
        try:
            if known.computation is None:
                result = compute(module, *args, **kwargs)
            else:
                result = known.computation(module, args, kwargs)
        finally:
            flop.go_on(before)
        if not self._begin(found, (args, kwargs), result, state, first_node):
            self._host.add_flop(known.capture.flop)
        return result

    @_or(False)  # noqa: FBT003  # what the method returns
    def _begin(
        self,
        found: KnownCall,
        arguments: tuple[Args, Kwargs],
        result: object,
        state: torch.Tensor | None,
        first_node: int,
    ) -> bool:
        """Recognise a pass that a call with this result begins."""
        owner, known = found
        leaves = [result] if isinstance(result, torch.Tensor) else pytree.tree_leaves(result)
        results: dict[str, weakref.ref[torch.Tensor]] = {}
        for name, leaf in zip(known.names, cast("list[torch.Tensor]", leaves), strict=True):
            if name is not None:
                results[name] = weakref.ref(leaf)
        self._work.flop = 0
        live = LivePass(owner, known, arguments, state, results, self._work)
        live.first_node = first_node
        seeded = live.seeded()
        assert seeded is not None, "guards have seen what the result is"  # invariant
        live.version, live.shape = version_of(seeded), seeded.shape
        if known.signature is None:
            live.origin = seeded.grad_fn
            live.value = seeded.detach() if seeded.numel() == 1 else None
        self._live = live
        self.version += 1
        self._host.expect_backward(live.work)
        return True

    def note_hook(self) -> None:
        """Note that a script has registered a hook of a tensor."""
        if self._live is not None:
            self._live.is_hooked = True

    def is_of_live(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor is a result of a pass that is being repeated."""
        return self._live is not None and self._live.has_result(tensor)

    @_or(False)  # noqa: FBT003  # as above
    def takes_loss(self, module: torch.nn.Module, args: Args) -> bool:
        """Tell whether a call of a module without parameters takes the loss of a known pass."""
        live = self._live
        if live is None or live.known.criterion is None or live.known.criterion() is not module:
            return False
        is_next = live.stage is Stage.CALLED and threading.get_ident() == self._thread
        is_first = args and isinstance(args[0], torch.Tensor) and live.has_result(args[0])
        return is_next and bool(is_first) and torch.is_grad_enabled()

    def loss(
        self,
        kind: str,
        whole: torch.Tensor,
        on_host: Callable[..., torch.Tensor],
        call: tuple[tuple[Any, ...], Mapping[str, Any]],
    ) -> torch.Tensor | None:
        """Return a loss that follows in a known pass; None: it has to be followed.

        A loss for each row, and each of several losses, is a part of a loss of the host. `whole` is
        the first argument of the `call`, or the tensor that it is a view of.
        """
        live, (args, options) = self._live, call
        is_taken = self._takes(kind, whole, call)
        if is_taken is None:
            return None
        value = on_host(*args, **options)
        if live is not None and is_taken:
            self._note_loss(live, call, value)
        return value

    @_or(None)
    def _takes(
        self, kind: str, whole: torch.Tensor, call: tuple[tuple[Any, ...], Mapping[str, Any]]
    ) -> bool | None:
        """Tell whether a loss is that of a known pass; None: it has to be followed."""
        live, (args, options) = self._live, call
        if live is None or not live.has_result(whole):
            return None
        signature = live.known.signature
        is_next = live.stage is Stage.CALLED and torch.is_grad_enabled() and not live.work.flop
        is_part = options.get("reduction") == "none" or not live.known.trained.takes_losses
        if is_next and signature is None and is_part:
            return False  # the gradient of the result will be given
        is_known = is_next and signature is not None and signature.is_same(kind, args, options)
        if not is_known or live.seeded() is not whole or version_of(whole) != live.version:
            self._settle()
            return None
        return True

    @_or(None)
    def _note_loss(
        self, live: LivePass, call: tuple[tuple[Any, ...], Mapping[str, Any]], value: torch.Tensor
    ) -> None:
        live.target, live.origin = target_of(*call), value.grad_fn
        live.value = value.detach()
        live.stage = Stage.COMPARED

    @property
    def has_loss(self) -> bool:
        """True if the loss of the pass that is recognised was taken."""
        return self._live is not None and self._live.stage is Stage.COMPARED

    def go_back(self, tensor: torch.Tensor, original: Callable[..., None]) -> bool:
        """Run a backward pass from a tensor, if it is that of a known pass; tell whether it is.

        `original` is `Tensor.backward`.
        """
        live = self._live
        if live is None or not self._is_next_to_go_back(live, tensor):
            return False
        # It is known: nothing else leads to the tensor. Hooks of scripts, of which those of nodes
        # cannot be seen, may compute anything.
        if not live.has_hooks and engine.can_begin_at(tensor, original):
            engine.go_back(tensor)
        else:
            before = flop.pause(is_dense=False)
            try:
                original(tensor)
            finally:
                flop.go_on(before)
        if self._live is not live:  # code of a hook had it followed, with a backward pass to come
            self._host.add_backward(live.known.flop, _IN_HOOK)
            return True
        self._note_gone_back(live)
        return True

    @_or(False)  # noqa: FBT003  # as above
    def _is_next_to_go_back(self, live: LivePass, tensor: torch.Tensor) -> bool:
        """Tell whether a backward pass from a tensor is that of a known pass."""
        if live.stage is not Stage.DIFFERENTIATED and not live.work.flop:
            live.note_before(self._retained.get(live.known.program))
        return live.is_next_to_go_back and not live.work.flop and live.leads_only_to(tensor)

    @_or(None)
    def _note_gone_back(self, live: LivePass) -> None:
        live.work.flop = live.known.flop
        if not live.has_hooks:
            given = live.given_now()
            if given is not None:
                self._count_pass(live, given)

    def _end_pass(self) -> None:
        """Count the pass that is recognised, if it is over; else let it be followed from here."""
        live = self._live
        if live is None:
            return
        given = live.given()
        if given is None:
            self._settle()
        else:
            self._count_pass(live, given)

    def _count_pass(self, live: LivePass, given: Gradients) -> None:
        """Count a pass that is over, and has given these gradients."""
        self._live = None
        self._host.expect_backward(None)
        live.owner.hits += 1
        known, program = live.known, live.known.program
        retained = self._retained.get(program)
        if retained is None:
            retained = self._retained[program] = RetainedGradients(live.owner, program, known.cuts)
        retained.cuts = known.cuts
        retained.take(given, known.ids)
        retained.unfollowed_rows += known.rows
        self._loss = live.value
        self._note(known.deeds[live.adds])

    def _note(self, deed: Deed) -> None:
        """Note that something known has been done."""
        if not deed.count:
            self._uncounted.append(deed)
        deed.count += 1
        self._cycles += deed.cycles

    # --- clipping, and steps ---------------------------------------------------------------------

    def owner_of(self, rows: Rows) -> KnownModule | None:
        """Return a module with known passes of the first of some programs."""
        program = rows[0][0] if rows else None
        return next((owner for owner in self.known.values() if owner.has(program)), None)

    def note(self, program: TrainingProgram) -> None:
        """Note that a program has the present parameters."""
        for owner in self.known.values():
            if owner.has(program):
                owner.note(program)

    @_or(False)  # noqa: FBT003  # as above
    def clip(self, name: str, parameters: Sequence[torch.Tensor]) -> bool:
        """Tell whether gradients are clipped as before; else it has to be followed."""
        self._end_pass()
        if not self._retained:
            return False
        ids = {id(parameter) for parameter in parameters if parameter.grad is not None}
        found = [retained for retained in self._retained.values() if ids.issuperset(retained.ids)]
        if found and sum(len(retained.ids) for retained in found) == len(ids):
            rows = (*((retained.program, retained.rows) for retained in found),)
            deed = found[0].owner.clips.get((name, rows))
            if deed is not None and all(retained.is_whole() for retained in found):
                self._clipped = deed, found
                return True
        self._settle()
        return False

    @_or(None)
    def note_clipped(self) -> None:
        """Note that gradients have been clipped."""
        clipped, self._clipped = self._clipped, None
        assert clipped is not None, "`clip` has told so"  # invariant
        deed, found = clipped
        for retained in found:
            retained.note()
        self._note(deed)

    @_or(False)  # noqa: FBT003  # as above
    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Tell whether an optimizer takes a known step; else it has to be followed."""
        self._end_pass()
        if not self._retained:
            return False
        for retained in self._retained.values():
            for known in retained.owner.steps:
                if self._is_next(known) and known.optimizer.is_same(optimizer):
                    self._stepped = known
                    return True
        self._settle()
        return False

    def _is_next(self, known: KnownStep) -> bool:
        """Tell whether the gradients of a known step are there, after passes of as many rows."""
        found: list[RetainedGradients] = []
        for program, rows in known.rows:
            retained = self._retained.get(program)
            if retained is None or retained.rows != rows:
                return False
            found.append(retained)
        if len(found) == 1:  # as it is nearly always
            return found[0].has(known.parameters, known.ids)
        return all(any(retained.gradients.has(p) for retained in found) for p in known.parameters)

    @_or(None)
    def note_step(self) -> None:
        """Note that the step has been taken."""
        known, self._stepped = self._stepped, None
        assert known is not None, "`step` has told so"  # invariant
        most = 1
        for program, rows in known.rows:
            most = max(most, rows)
            retained = self._retained[program]
            retained.unfollowed_rows, retained.is_stepped = 0, True
            retained.owner.copies.take_some(known.parameters)
        self._note(known.deed)
        if not known.deed.is_step:  # that of another optimizer, after the same passes
            return
        self.num_repeated += 1
        program, cycles = known.rows[0][0], self._cycles
        self._cycles = 0
        program.loaded.show_stage(lambda: self._describe(program, most, cycles))

    def _describe(self, program: TrainingProgram, rows: int, cycles: int) -> str:
        """Return the progress of the loop, for a progress line."""
        loss = None if self._loss is None else float(self._loss)
        steps = sum(
            deed.count for deed in self._uncounted if deed.is_step and deed.tallies[0][0] is program
        )
        return program.describe_repeated(steps, rows, cycles, loss)

    # --- accounting ------------------------------------------------------------------------------

    def give_up(self) -> int:
        """Forget passes; return the FLOP of one that is not over, which the host has computed."""
        live, self._live = self._live, None
        self._host.expect_backward(None)
        self._retained.clear()
        self.known.clear()
        return live.known.capture.flop + live.work.flop if live is not None else 0

    @_or(None)
    def settle(self) -> None:
        """Account for all that was repeated, and let a pass that is not over be followed."""
        self._settle()

    def _settle(self) -> None:
        self.version += 1
        live = self._live
        if live is not None and live.given() is not None:
            self._end_pass()
        for deed in self._uncounted:
            for program, tally in deed.tallies:
                program.loaded.repeat_all(tally, deed.count)
                if deed.is_step:
                    program.note_steps(deed.count)
            deed.count = 0
        self._uncounted.clear()
        self._cycles = 0
        for program, retained in self._retained.items():
            if retained.is_stepped:
                program.loaded.adopt(
                    {
                        name: array
                        for parameter, cut in retained.cuts.items()
                        for name, array in cut.arrays(retained.owner.copies.of(parameter)).items()
                    }
                )
            retained.settle(self.follower.places)
        self._retained.clear()
        live, self._live = self._live, None
        if live is not None:
            self._break_off(live)

    def _break_off(self, live: LivePass) -> None:
        """Go on with a pass as if it had been followed."""
        self._host.expect_backward(None)
        known, owner, done = live.known, live.owner, live.work.flop
        owner.misses += 1
        excess, deed = done - known.flop, known.deeds.get(live.adds)
        is_over = live.stage is Stage.DIFFERENTIATED or (live.is_next_to_go_back and excess >= 0)
        if is_over:
            if deed is None:
                self._resume_backward(live)
            else:
                for program, tally in deed.tallies:
                    program.loaded.repeat_all(tally, 1)
                known.program.note_rows(known.rows)
            for parameter, cut in known.cuts.items():
                gradient = parameter.grad if live.owns(parameter) else None
                self.follower.places.note(parameter, known.program, cut, gradient)
        else:
            excess = done
            owner.is_over = True  # a backward pass of this call will be the host's
            self._host.note_nodes(live.first_node, _OTHERWISE)
            self._resume(live)
        if excess:
            self._host.add_backward(excess, _OTHERWISE)
        if owner.is_over or owner.misses > _MOST_MISSES + owner.hits // 8:
            owner.is_over = True
            owner.passes.clear()
            owner.steps.clear()
            owner.clips.clear()

    def _resume_backward(self, live: LivePass) -> None:
        """Follow a pass that is over, and has added to gradients as no known one did."""
        call, known = self._resume(live), live.known
        of_result = torch.zeros(live.shape)  # for its cycles any will do
        seeded = known.names[known.seeded]
        gradients = [of_result if name == seeded else None for name in call.places]
        self.follower.resume_backward(call, gradients, adds=live.adds, flop=known.flop)

    def _resume(self, live: LivePass) -> TrainingCall:
        """Let the call of a pass be followed, and its loss, if it has come so far."""
        call, taken = self._bind(live), live.known.taken
        found = {name: tensor() for name, tensor in live.results.items()}
        there = {name: tensor for name, tensor in found.items() if tensor is not None}
        self.follower.resume(call, there)
        if taken is not None and live.target is not None:
            shown = torch.tensor(torch.nan) if live.value is None else live.value
            self.follower.resume_loss(call, replace(taken, target=live.target), shown)
        return call

    def _bind(self, live: LivePass) -> TrainingCall:
        """Return the call of a pass, as following it would have made it."""
        known, given = live.known, leaves_of(*live.arguments)
        leaves = [
            source.value if source.index is None else given[source.index]
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
