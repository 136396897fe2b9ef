"""The training loop of a script on the wafer: calls, losses, backward passes and steps.

Where the host has the values (`auto`, `model`), a step is PyTorch's own, beside launches that are
accounted for. In `fabric` the launches compute it. Whatever the wafer does not do is done by the
host, with the reason counted; values are those of the script either way.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

from onewafer.errors import Refusal, UnsupportedOperationError
from onewafer.pytorch.captured import WaferResult
from onewafer.pytorch.host_calls import is_own_error
from onewafer.pytorch.host_work import Cause, HostWork
from onewafer.pytorch.places import users_place
from onewafer.pytorch.tracing import leaving_turn
from onewafer.pytorch.training.accumulation import Accumulation
from onewafer.pytorch.training.autograd import CallOnHost, CallOnWafer, Launcher, LossOnWafer, apply
from onewafer.pytorch.training.calls import LossOfCall, TakenLoss, TrainingCall
from onewafer.pytorch.training.clipping import Clipped
from onewafer.pytorch.training.following import Following
from onewafer.pytorch.training.losses import KINDS, Compared
from onewafer.pytorch.training.optimizers import Optimizers, all_parameters, order_states
from onewafer.pytorch.training.places import ParameterPlaces, version_of
from onewafer.pytorch.training.repeats import Follower, Repeats
from onewafer.pytorch.training.steps import find_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, MutableMapping, Sequence
    from contextlib import AbstractContextManager

    from onewafer.pytorch.captured import CapturedCall
    from onewafer.pytorch.guarded import GuardedCall
    from onewafer.pytorch.host_work import HostLedger
    from onewafer.pytorch.training.autograd import Given
    from onewafer.pytorch.training.modules import TrainedModule
    from onewafer.pytorch.training.steps import Part

    Gradients = Sequence[torch.Tensor | None]
    Tensors = tuple[torch.Tensor, ...]


_Returned = TypeVar("_Returned")


@dataclass(frozen=True, slots=True)
class _Result:
    """A result of a call, as long as nothing has changed it."""

    call: TrainingCall
    name: str
    version: int


class Training(Launcher, Follower):
    """The modules that one session trains."""

    def __init__(
        self,
        host: HostLedger,
        working: Callable[[], AbstractContextManager[None]],
        calls_on_host: Callable[[], AbstractContextManager[None]],
        refuse: Callable[[Exception], UnsupportedOperationError],
        *,
        leaves_values_to_host: bool,
    ) -> None:
        """Take the ledger of the host's work.

        `working` is entered while the wafer works, `calls_on_host` around calls for the host;
        `refuse` makes a refusal of an error of ours.
        """
        self._refuse = refuse
        self._broken: UnsupportedOperationError | None = None
        """The error of ours that has ended training on the wafer; None: there was none."""
        self._host, self._working, self._calls_on_host = host, working, calls_on_host
        self._leaves_values_to_host = leaves_values_to_host
        self.optimizers = Optimizers()
        self.places = ParameterPlaces()
        self.repeats = Repeats(host, self)
        """Steps that are repeated, where the host has the values."""
        self.following = Following(self.repeats, self.optimizers)
        """Steps that are followed there until they are known."""
        self.num_losses = 0
        """Losses that the wafer has taken."""
        self._results = cast("MutableMapping[torch.Tensor, _Result]", WeakIdKeyDictionary())
        self._logarithms = cast(
            "MutableMapping[torch.Tensor, tuple[torch.Tensor, int, int]]", WeakIdKeyDictionary()
        )
        """Result of log-softmax → its source, and the versions of both."""
        self._pending: tuple[TrainingCall, Tensors] | None = None
        """A call that is not accounted for yet: the loss that follows decides its program."""
        self._lock = threading.RLock()

    # --- calls ---------------------------------------------------------------------------------

    def run(
        self, trained: TrainedModule, captured: CapturedCall, on_host: partial[object]
    ) -> object:
        """Return the result of a call, as a part of autograd's graph.

        Raises UnsupportedOperationError, and has changed nothing, if the wafer cannot train it.
        """
        if self._broken is not None:
            raise self._broken.again()
        call = TrainingCall(trained, captured, on_host.func)
        trained.check(call)
        self.flush()
        leaves = on_host.args
        if self._leaves_values_to_host:
            self._note(lambda: self.following.watch(call, leaves))
            with self._host.recording(_AGAIN):
                results = apply(CallOnHost, self, call, *leaves)
            self._pending = call, tuple(result.detach() for result in results)
        else:
            operands = (*call.bound.values(), *leaves)
            results = apply(CallOnWafer, self, call, *operands)
        by_name = dict(zip(call.places, results, strict=True))
        self._note_results(call, by_name)
        found = [
            by_name[place.name] if isinstance(place, WaferResult) else place.value
            for place in captured.results
        ]
        return pytree.tree_unflatten(found, captured.capture.result_spec)

    def _note_results(self, call: TrainingCall, results: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in results.items():
            self._results[tensor] = _Result(call, name, version_of(tensor))

    def outputs_in(self, result: object) -> Iterator[str | None]:
        """Yield the output that each leaf of a module's result is; None: it is no output."""
        for leaf in cast("list[object]", pytree.tree_leaves(result)):
            found = self._results.get(leaf) if isinstance(leaf, torch.Tensor) else None
            yield None if found is None else found.name

    def resume(self, call: TrainingCall, results: Mapping[str, torch.Tensor]) -> None:
        self._note_results(call, results)
        values = [results[name].detach() for name in call.places if name in results]
        self._pending = call, (*values,) if len(values) == len(call.places) else ()

    def resume_loss(self, call: TrainingCall, taken: TakenLoss, value: torch.Tensor) -> None:
        self._account(lambda: self._account_loss(call, taken, value))

    def resume_backward(
        self, call: TrainingCall, gradients: Gradients, *, adds: bool, flop: int
    ) -> None:
        own, adding = self._take_pending(call), Accumulation.decided(self.places, adds=adds)
        self._account(lambda: call.backward(gradients, adding, values=own, flop=flop))

    def flush(self) -> None:
        """Account for steps that were repeated, and for a call that nothing has followed."""
        self.repeats.settle()
        pending, self._pending = self._pending, None
        if pending is not None:
            call, values = pending
            self._account(lambda: call.account(values))

    def launch(self, call: TrainingCall) -> Tensors:
        with self._at_work():
            return call.launch()

    # --- losses --------------------------------------------------------------------------------

    def take_loss(
        self,
        kind: str,
        on_host: Callable[..., torch.Tensor],
        args: tuple[Any, ...],
        options: Mapping[str, Any],
    ) -> torch.Tensor:
        """Return a loss of a script, computed on the wafer if it is one of a result there."""
        if not torch.is_grad_enabled():
            return on_host(*args, **options)  # it is only looked at
        if args and isinstance(args[0], torch.Tensor):
            value = self.repeats.loss(kind, _whole(args[0]), on_host, (args, options))
            if value is not None:
                self.num_losses += self.repeats.has_loss
                return value
        taken = None if self.is_broken else self._find_loss(kind, on_host, args, options)
        if taken is None:
            return on_host(*args, **options)
        source = args[0] if taken.source is None else taken.source
        if self._leaves_values_to_host:
            value = on_host(*args, **options)
            self._account(lambda: self._account_loss(taken.call, taken.taken, value))
            taken.call.watch(taken, source)
            self._note(lambda: self.following.note_loss(kind, taken, args, options))
            return value
        try:
            return apply(LossOnWafer, self, taken, source)
        except UnsupportedOperationError as error:
            self._count(f"{kind} of {taken.call.trained.name}", error)
        return on_host(*args, **options)

    def launch_loss(self, taken: LossOfCall) -> float:
        with self._at_work():
            found = taken.call.take_loss(taken.taken)
        assert found is not None, "the wafer has the values"  # invariant
        self.num_losses += 1
        return found

    def _account_loss(self, call: TrainingCall, taken: TakenLoss, value: torch.Tensor) -> None:
        call.take_loss(taken, value, self._take_pending(call))
        self.num_losses += 1

    def _take_pending(self, call: TrainingCall) -> Tensors:
        """Return the results of a call that is not accounted for yet; none if it is."""
        pending, values = self._pending or (None, ())
        if pending is not call:
            return ()
        self._pending = None
        return values

    def _find_loss(
        self,
        kind: str,
        on_host: Callable[..., torch.Tensor],
        args: tuple[Any, ...],
        options: Mapping[str, Any],
    ) -> LossOfCall | None:
        """Return the loss if it is the first one of an unchanged result that the wafer has."""
        if not args or not isinstance(args[0], torch.Tensor) or not torch.is_grad_enabled():
            return None
        value, rest = args[0], args[1:]
        source = self._source_of(value) if kind == "nll_loss" else None
        if source is not None:  # its likelihood is the cross entropy of the source
            kind, value = "cross_entropy", source
        result = self._results.get(_whole(value))
        is_new = result is not None and result.call.loss is None
        if result is None or not is_new or result.version != version_of(value):
            return None
        if not result.call.trained.takes_losses:
            return None
        output, layout = result.call.output_of(result.name)
        seen = layout.reshape(value.shape)
        if seen is None:
            return None
        loss = KINDS[kind].of(Compared(output, seen, value), rest, options)
        if loss is None:
            return None
        place = users_place()
        loss = loss if place is None else replace(loss, line=f"{place.file}:{place.line}")
        target = options["target"] if not rest else rest[0]
        taken = TakenLoss(loss, seen, target, loss.find_weights(rest, options))

        def compute(found: torch.Tensor) -> torch.Tensor:
            logarithms = found if source is None else torch.log_softmax(found, -1)
            return on_host(logarithms, *rest, **options)

        return LossOfCall(result.call, taken, compute, source)

    def note_logarithms(self, source: torch.Tensor, result: torch.Tensor, dim: int) -> None:
        """Note the result of a log-softmax whose source is the result of a call."""
        if self.repeats.is_of_live(_whole(source)):
            self.repeats.settle()
        if _whole(source) in self._results and dim % source.dim() == source.dim() - 1:
            self._logarithms[result] = source, version_of(source), version_of(result)

    def _source_of(self, logarithms: torch.Tensor) -> torch.Tensor | None:
        """Return the source of a log-softmax, if neither has changed since."""
        source, *versions = self._logarithms.get(logarithms, (None, 0, 0))
        if source is None or versions != [version_of(source), version_of(logarithms)]:
            return None
        return source

    # --- backward passes -----------------------------------------------------------------------

    def account_backward(
        self,
        call: TrainingCall,
        gradients: Gradients,
        leaves: Sequence[torch.Tensor],
        compute: Callable[[], Given],
    ) -> Given:
        if self._broken is not None:
            return compute()
        with self._host.doing(HostWork()) as work:
            found = compute()
        own, adding = self._take_pending(call), Accumulation(self.places)
        self._account(lambda: call.backward(gradients, adding, values=own, flop=work.flop), work)
        self._note(
            lambda: self.following.note_backward(call, gradients, work.flop, adds=adding.adds)
        )
        for leaf, gradient in zip(leaves, found, strict=True):
            place = self.places.find(leaf)
            if place is not None and gradient is not None:
                self.places.note(leaf, place.program, place.cut, gradient)
        adding.note()
        return found

    def launch_backward(
        self, call: TrainingCall, gradients: Gradients
    ) -> Mapping[str, torch.Tensor]:
        adding = Accumulation(self.places)
        with self._at_work():
            arrays = call.backward(gradients, adding)
            found = {
                name: torch.tensor(array).reshape(call.bound[name].shape)
                for name, array in arrays.items()
            }
            return adding.take(found)

    def differentiate(
        self,
        call: TrainingCall,
        compute: Callable[[], Given],
        refusal: UnsupportedOperationError | None = None,
    ) -> Given:
        why = refusal.refusal if refusal else _AGAIN
        work = self._count(
            f"backward pass of {call.trained.name}", UnsupportedOperationError(why.reason)
        )
        with self._calls_on_host(), self._host.doing(work), self._host.recording(why):
            return compute()

    # --- clipping ------------------------------------------------------------------------------

    def clip(
        self,
        name: str,
        parameters: Sequence[torch.Tensor],
        on_wafer: Callable[[Clipped], _Returned],
        on_host: Callable[[], _Returned],
        refusal: UnsupportedOperationError | None = None,
    ) -> _Returned:
        """Return what a function of PyTorch returns that clips gradients, or takes their norm.

        `on_host` calls it on the host, as it must be if there is a refusal.
        """
        if refusal is None and self.repeats.clip(name, parameters):
            result = on_host()
            self.repeats.note_clipped()
            return result
        clipped = self._find_clipped(name, parameters, refusal)
        if self._leaves_values_to_host or not clipped.parts:
            return self._clip_on_host(name, clipped, on_host)
        with self._at_work():
            return on_wafer(clipped)

    def _find_clipped(
        self,
        name: str,
        parameters: Sequence[torch.Tensor],
        refusal: UnsupportedOperationError | None,
    ) -> Clipped:
        if refusal is None:
            return Clipped.find(parameters, self.places, partial(self._count, name))
        if any(self.places.find(parameter) is not None for parameter in parameters):
            self._count(name, refusal)
        return Clipped((), ())

    def _clip_on_host(
        self, name: str, clipped: Clipped, on_host: Callable[[], _Returned]
    ) -> _Returned:
        event = self.following.begin(part.program for part in clipped.parts)
        for part in clipped.parts:
            self._account(partial(part.account, self.places, name))
        found = on_host()
        for part in clipped.parts:
            part.note(self.places)
        if not clipped.others:
            self.following.note_clip(name, event)
        return found

    # --- steps ---------------------------------------------------------------------------------

    def step(
        self, optimizer: torch.optim.Optimizer, on_host: Callable[[], object], *, has_closure: bool
    ) -> object:
        """Take a step that is not known; `on_host` takes it on the host and calls its closure."""
        self.optimizers.note(optimizer)
        if has_closure:
            result = on_host()
            if any(map(self.places.find, all_parameters(optimizer))):
                why = UnsupportedOperationError("the step of a closure is not supported")
                self._count(f"{type(optimizer).__name__}.step", why)
            return result
        parts = self._find_parts(optimizer)
        if self._leaves_values_to_host:
            event = self.following.begin(part.program for part in parts)
            for part in parts:
                self._account(partial(part.account, self.places))
            result = on_host()
            for part in parts:
                part.note_step(self.places)
            stepped = [parameter for part in parts for parameter in part.places]
            self._note(lambda: self.following.note_step(optimizer, event, stepped))
            return result
        num_states = len(optimizer.state)
        for part in parts:
            with self._at_work():
                part.take()
        stepped = [parameter for part in parts for parameter in part.places]
        with _without_gradients(stepped):
            result = on_host()
        order_states(optimizer, num_states)
        return result

    def count_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Count a step of an optimizer that the wafer cannot take, if it has the parameters."""
        self._find_parts(optimizer)

    def _find_parts(self, optimizer: torch.optim.Optimizer) -> list[Part]:
        name = f"{type(optimizer).__name__}.step"
        return find_parts(optimizer, self.places, partial(self._count, name))

    # -------------------------------------------------------------------------------------------

    @contextmanager
    def _at_work(self) -> Generator[None]:
        # The turn comes first: whoever has it may wait for the lock.
        with leaving_turn(), self._lock, self._working(), torch.no_grad():
            yield

    def _account(self, launch: Callable[[], object], work: HostWork | None = None) -> None:
        """Account for launches of what the host computes; errors are counted, not raised."""
        try:
            with leaving_turn(), self._lock, self._host.computing_for_wafer(), torch.no_grad():
                launch()
        except UnsupportedOperationError as error:
            refusal = error
        except Exception as error:
            if not is_own_error(error):
                raise
            refusal = self._broken = self._refuse(error)
        else:
            return
        counted = self._count("training", refusal)
        counted.flop += work.flop if work else 0

    def _note(self, note: Callable[[], object]) -> None:
        """Note something that was done; an error of ours in it ends the training on the wafer."""
        try:
            note()
        except Exception as error:  # noqa: BLE001  # it raises what is none of ours
            self.end(error)

    def end(self, error: Exception) -> None:
        """End the training on the wafer because of an error of ours; raise any other."""
        if not is_own_error(error):
            raise error
        flop = self.repeats.give_up()
        if self._broken is None:
            self._broken = self._refuse(error)
            self._count("training", self._broken).flop += flop

    def note_call(
        self,
        call: tuple[torch.nn.Module, tuple[object, ...], Mapping[str, object]],
        guarded: GuardedCall,
        result: object,
    ) -> None:
        """Note the call of a module that `run` has answered."""
        self._note(lambda: self.following.note_call(call, guarded, self.outputs_in, result))

    @property
    def is_broken(self) -> bool:
        """True if an error of ours has left all training to the host."""
        return self._broken is not None

    def _count(self, name: str, error: UnsupportedOperationError) -> HostWork:
        refusal: Refusal = error.refusal
        self.following.num_refused += 1
        return self._host.count(name, Cause.REFUSAL, refusal=refusal)


_AGAIN = Refusal("gradients of gradients (`create_graph`)")


@contextmanager
def _without_gradients(parameters: Sequence[torch.Tensor]) -> Generator[None]:
    """Let parameters have no gradient inside, so that a step does not change them."""
    gradients = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return the base of a view that has all its elements in their order, else the tensor."""
    base = tensor._base  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name
    if base is None or base.numel() != tensor.numel():
        return tensor
    return base if base.is_contiguous() and tensor.is_contiguous() else tensor
