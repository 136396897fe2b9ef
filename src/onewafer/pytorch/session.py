"""Calls on the wafer: programs by module, found again or compiled.

One session is one wafer with the programs of one script. Calls that the wafer cannot do run on the
host and are counted with the reason.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch._dynamo import config as dynamo_config

from onewafer.arch import load_architecture
from onewafer.errors import (
    Refusal,
    StrictError,
    TooLargeError,
    UnsupportedOperationError,
)
from onewafer.execution import (
    Fidelity,
    Loader,
    NonFiniteWarning,
    Simulation,
    Wanted,
    check_room,
    choose_samples,
    place,
    place_sequence,
)
from onewafer.graph import DataType, num_samples, with_rows, with_samples
from onewafer.host import Interruption, RunLimits
from onewafer.pytorch.attempts import Attempts
from onewafer.pytorch.call_signatures import signature_of
from onewafer.pytorch.capture import DRAWS, capture, check_call, check_indices
from onewafer.pytorch.causal_calls import has_cache, is_language_model
from onewafer.pytorch.generation import Generation
from onewafer.pytorch.guarded import GuardedCall, NotTraceableError
from onewafer.pytorch.host_calls import HeldResult, is_own_error, with_own_errors
from onewafer.pytorch.host_work import Cause
from onewafer.pytorch.ledger import Ledger
from onewafer.pytorch.lowering import NOTHING
from onewafer.pytorch.names import name_of_module
from onewafer.pytorch.own_errors import OwnErrors
from onewafer.pytorch.parts import Parts, signature_alike
from onewafer.pytorch.programs import ModuleProgram
from onewafer.pytorch.refusals import NO_PRODUCTS, OutsideTableError, RefusedError
from onewafer.pytorch.report import build_report
from onewafer.pytorch.script_signals import carrying_exceptions_of_handlers
from onewafer.pytorch.tracing import taking_turn
from onewafer.pytorch.training import Admission, TrainedModule, Training
from onewafer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from onewafer.execution import Observer, Placed, Recordings, ResidentProgram, WaferOptions
    from onewafer.graph import Graph
    from onewafer.pytorch.call_signatures import CallSignature
    from onewafer.pytorch.captured import Capture, CapturedCall
    from onewafer.pytorch.guarded import CapturedGraph
    from onewafer.pytorch.host_work import HostWork
    from onewafer.pytorch.report import Report


@dataclass(slots=True)
class _Alike:
    """The state of the calls of one module that have one signature."""

    guarded: GuardedCall | None
    """None: Dynamo cannot read the module's code, which is exported at every call instead."""
    refusal: UnsupportedOperationError | None = None
    """The refusal of its export, which is not tried again."""
    has_worked: bool = False
    """True if the last of these calls was answered by a graph: it is not refused with others."""


_Outcome = ModuleProgram | UnsupportedOperationError
"""The program of a graph, or its refusal, which depends on the graph and the options only."""

_MOST_ALIKE = 256
"""The most signatures of calls of one module that are remembered, the latest ones."""


class _ThisThread(threading.local):
    """The calls of this thread."""

    depth_on_host = 0
    """The number of calls for the host that it is inside of."""
    trains_part = False
    """True if its call is one of a part that is trained."""

    def __init__(self) -> None:
        self.unsaid: list[str] = []
        """Warnings that are due when the call has its result."""


class Session:
    """One simulated wafer and the programs on it."""

    def __init__(
        self,
        options: WaferOptions,
        *,
        ledger: Ledger | None = None,
        observer: Observer | None = None,
        limits: RunLimits | None = None,
        recordings: Recordings | None = None,
    ) -> None:
        """Make a session; without `limits` those of the environment hold."""
        settings = Settings.from_environment()
        self.limits = RunLimits.from_settings(settings) if limits is None else limits
        self.options = options
        self.architecture = load_architecture(options.arch, profile=options.profile)
        self.ledger = Ledger() if ledger is None else ledger
        self.observer = observer
        self.recordings = recordings
        self.interruptions: list[Interruption] = []
        """The places of launches that a Ctrl-C has stopped."""
        self._programs: weakref.WeakKeyDictionary[torch.nn.Module, dict[Graph, _Outcome]] = (
            weakref.WeakKeyDictionary()
        )
        """The programs of a module's graphs."""
        self._program_of: weakref.WeakKeyDictionary[
            torch.nn.Module, weakref.WeakKeyDictionary[Capture, ModuleProgram]
        ] = weakref.WeakKeyDictionary()
        """The same programs by capture, found without comparing graphs."""
        self._calls: weakref.WeakKeyDictionary[torch.nn.Module, dict[CallSignature, _Alike]] = (
            weakref.WeakKeyDictionary()
        )
        self._guarded: weakref.WeakValueDictionary[CallSignature, GuardedCall] = (
            weakref.WeakValueDictionary()
        )
        """The common state of modules that look alike, as long as one of them is alive."""
        self._parts, self._trained_parts = Parts(), Parts()
        self._attempts = Attempts()
        self._this_thread = _ThisThread()
        self.own_errors = OwnErrors(options)
        self._left: weakref.WeakKeyDictionary[
            torch.nn.Module, dict[CallSignature | None, UnsupportedOperationError]
        ] = weakref.WeakKeyDictionary()
        """Calls that are left to the host since there was an error of ours in one like them."""
        self._generation = Generation(
            self._load_sequences, self._calls_on_host, self._leave_answered, options
        )
        self._siblings: dict[WaferOptions, Session] = {}
        self._loader = Loader(
            options,
            Simulation(options.engine or settings.engine, self.limits, recordings),
            self.ledger,
            observer,
            self._note_unsaid,
        )
        self._trained: weakref.WeakKeyDictionary[torch.nn.Module, TrainedModule] = (
            weakref.WeakKeyDictionary()
        )
        self.training = Training(
            self.ledger.host,
            self._working,
            self._calls_on_host,
            self.own_errors.refuse,
            leaves_values_to_host=options.fidelity is not Fidelity.FABRIC,
        )
        """The losses, backward passes and steps of training loops."""
        self._admission = Admission(self._run_training, options, self.training)

    def with_options(self, options: WaferOptions) -> Session:
        """Return the session for calls with other options; what it does is in the same ledger."""
        if options == self.options:
            return self
        with taking_turn():
            if options not in self._siblings:
                sibling = Session(
                    options,
                    ledger=self.ledger,
                    observer=self.observer,
                    limits=self.limits,
                    recordings=self.recordings,
                )
                self._siblings[options] = sibling
            return self._siblings[options]

    def count_calls(self) -> int:
        """Return how many calls there were so far, wherever they ran."""
        self.training.flush()
        return self.ledger.num_calls

    def report(
        self,
        *,
        ended: str | None = None,
        is_over: bool = False,
        looks_further: bool = False,
        against: Sequence[str] = (),
    ) -> Report:
        """Return `build_report` of all calls so far, whatever their options.

        If it `looks_further`, it waits up to a second for the fastest rectangle and for one H100.
        """
        with taking_turn():
            for session in (self, *self._siblings.values()):
                session.training.flush()
            return build_report(
                self.ledger,
                ended=ended,
                is_over=is_over,
                refuse=self.own_errors.refuse if looks_further else None,
                against=against,
            )

    def count_gradient_call(
        self,
        module: torch.nn.Module,
        whole: torch.nn.Module | None = None,
        error: UnsupportedOperationError | None = None,
    ) -> HostWork:
        """Note a call that the host makes because its result needs a gradient.

        `whole` is the outermost module, if `module` is called as a part of it; `error` is why the
        wafer cannot train it, if it was asked. Return the record that the call's work belongs to.
        """
        self._admission.attempts.warn()
        return self.ledger.host.count_call(
            module,
            Cause.GRADIENT,
            refusal=None if error is None else error.refusal,
            whole=whole,
            is_refused_anyway=isinstance(error, RefusedError),
        )

    def count_fallback(
        self,
        module: torch.nn.Module,
        refusal: Refusal,
        whole: torch.nn.Module | None = None,
        *,
        is_trained: bool = False,
    ) -> HostWork:
        """Note a call that the host makes because the wafer cannot; else as the above.

        Raises StrictError instead if the options are strict and the module has parameters, unless
        the outermost call `is_trained`, or there is nothing to multiply.
        """
        is_loss = refusal != NO_PRODUCTS and any(True for _ in module.parameters())
        if self.options.strict and not is_trained and is_loss:
            name = name_of_module(module)
            msg = f"the wafer cannot run {name}, and strict makes that an error: {refusal}"
            raise StrictError(msg) from None
        work = self.ledger.host.count_call(module, Cause.REFUSAL, refusal=refusal, whole=whole)
        self._attempts.warn()
        return work

    def call(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Return `module(*args, **kwargs)`, computed on the wafer.

        Raises UnsupportedOperationError, and has changed nothing, if the wafer cannot.
        """

        def compute() -> object:
            check_call(module, args, kwargs)
            check_room(_parameter_bytes(module, self.options.dtype), self.architecture)
            if is_language_model(module, args, kwargs):
                return self._continue(module, args, kwargs)
            return self._call(module, args, kwargs)

        with taking_turn(), self._working():
            self._check_left(module, args, kwargs)
            result = with_own_errors(compute, partial(self._leave, module, args, kwargs))
            self._warn()
            return result

    def train(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Return what `call` would, for a call whose result needs a gradient.

        Raises UnsupportedOperationError, and has changed nothing, if the wafer cannot train it.
        """
        with taking_turn(), self._working():
            self._check_left(module, args, kwargs)
            try:
                result = with_own_errors(
                    partial(self._admission.call, module, args, kwargs),
                    partial(self._leave, module, args, kwargs),
                )
            except RefusedError as error:
                self._trained_parts.keep_unknown(module, error.parts)
                raise
            self._warn()
            return result

    def call_part(
        self,
        whole: torch.nn.Module,
        part: torch.nn.Module,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:
        """Return what `call` would for a part of a call of `whole` that the wafer refused.

        Raises UnsupportedOperationError also where parts that look alike or their number say so.
        """
        return self._offer_part(self._parts, self.call, whole, part, (args, kwargs))

    def train_part(
        self,
        whole: torch.nn.Module,
        part: torch.nn.Module,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:
        """Return what `train` would for a part of a call of `whole`; else as the above."""
        this_thread = self._this_thread
        before, this_thread.trains_part = this_thread.trains_part, True
        try:
            return self._offer_part(self._trained_parts, self.train, whole, part, (args, kwargs))
        finally:
            this_thread.trains_part = before

    def _offer_part(
        self,
        parts: Parts,
        run: Callable[..., object],
        whole: torch.nn.Module,
        part: torch.nn.Module,
        arguments: tuple[tuple[object, ...], Mapping[str, object]],
    ) -> object:
        def find() -> object:
            return signature_of(part, *arguments)

        with taking_turn():
            signature = cast(
                "CallSignature", with_own_errors(find, partial(self._leave, part, *arguments))
            )
            parts.admit(whole, part, signature)
            try:
                result = run(part, *arguments)
            except OutsideTableError:
                raise
            except UnsupportedOperationError as error:
                parts.keep_refusal(part, signature, error)
                raise
            self.ledger.part_calls[type(part).__name__, type(whole).__name__] += 1
            return result

    def call_graph(self, graph: CapturedGraph, args: tuple[object, ...]) -> object:
        """Return what `call` would for a graph that Dynamo made, whose guards hold."""
        module = graph.graph_module

        def compute() -> object:
            check_call(module, args, {})
            call = graph.bind(module, args)
            return self._run_training(module, call, partial(module.forward, *args))

        with taking_turn(), self._working():
            self._check_left(module, args, {})
            result = with_own_errors(compute, partial(self._leave, module, args, {}))
            self._warn()
            return result

    def _check_left(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None:
        """Refuse a call like one in which there was an error of ours."""
        left = self._left.get(module)
        if left is None:
            return
        refusal = left.get(None) or left.get(signature_of(module, args, kwargs))
        if refusal is not None:
            raise refusal.again()

    def _leave(
        self,
        module: torch.nn.Module,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        error: Exception,
    ) -> UnsupportedOperationError:
        """Return the refusal of a call with an error of ours; others like it are refused at once.

        Programs of the module are forgotten, since their state is unknown.
        """
        refusal = self.own_errors.refuse(error)
        for known in (self._programs, self._program_of, self._trained, self._calls):
            known.pop(module, None)
        self._generation.forget(module)
        try:
            signature = signature_of(module, args, kwargs)
        except Exception:  # noqa: BLE001  # it may be where the error was
            signature = None
        self._left.setdefault(module, {})[signature] = refusal
        return refusal

    def _leave_answered(self, module: torch.nn.Module, error: Exception, flop: int) -> None:
        """Count a call that the host had answered when there was an error of ours as the host's."""
        refusal = self.own_errors.refuse(error)
        self._left.setdefault(module, {})[None] = refusal
        work = self.ledger.host.count_call(module, Cause.REFUSAL, refusal=refusal.refusal)
        work.flop += flop

    def _note_unsaid(self, text: str) -> None:
        self._this_thread.unsaid.append(text)

    def _warn(self) -> None:
        """Say what was found to be not finite, now that the caller's filters hold."""
        found = [*self._this_thread.unsaid]
        self._this_thread.unsaid.clear()
        for text in found:
            warnings.warn(text, NonFiniteWarning, stacklevel=3)

    @property
    def is_on_host(self) -> bool:
        """True if this thread makes calls now that are to run on the host."""
        return self._this_thread.depth_on_host > 0

    @contextmanager
    def _working(self) -> Generator[None]:
        """Let FLOP count as those of the wafer, and signals reach the script."""
        try:
            with carrying_exceptions_of_handlers(), self.ledger.host.computing_for_wafer():
                yield
        except KeyboardInterrupt as error:
            place = Interruption.of(error)
            if place is not None and place not in self.interruptions:
                self.interruptions.append(place)
            raise

    @contextmanager
    def _calls_on_host(self) -> Generator[None]:
        self._this_thread.depth_on_host += 1
        try:
            with self.ledger.host.computing_for_wafer():
                yield
        finally:
            self._this_thread.depth_on_host -= 1

    def _continue(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Run a call of a language model; one that does more than go on with tokens as others."""
        try:
            return self._generation.call(module, args, kwargs)
        except TooLargeError:
            raise
        except UnsupportedOperationError:
            if has_cache(kwargs):
                raise  # the host goes on with it
        return self._call(module, args, kwargs)

    def _load_sequences(
        self, module: torch.nn.Module, graph: Graph, context: int, sequences: int
    ) -> ResidentProgram:
        """Return the program of a language model."""
        placed = place_sequence(
            graph, self.architecture, self.options, context=context, sequences=sequences
        )
        together = f"{sequences} sequences of a language model" if sequences > 1 else None
        reason = together or "a language model"
        reason += f" with a context of {placed.program.context} tokens"
        return self._load(module, placed, reason)

    def _load(
        self,
        module: torch.nn.Module,
        placed: Placed,
        reason: str,
        *,
        is_first: bool = True,
        on_host: tuple[str, ...] = (),
    ) -> ResidentProgram:
        stores = _host_stores(module) if self.options.dtype else placed.program.dtype
        name = name_of_module(module)
        return self._load_as(name, stores, placed, reason, is_first=is_first, on_host=on_host)

    def _load_as(
        self,
        name: str,
        stores: DataType,
        placed: Placed,
        reason: str,
        *,
        is_first: bool,
        on_host: tuple[str, ...] = (),
    ) -> ResidentProgram:
        return self._loader.load(Wanted(placed, name, reason, is_first, stores, on_host))

    def _call(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Run a call by its guards, or, where Dynamo cannot, by an export of its own."""
        signature = signature_of(module, args, kwargs)
        alike = self._calls.get(module, {}).get(signature)
        if alike is None or not alike.has_worked:
            self._attempts.admit(module, signature)
        alike = self._alike(module, signature)
        guarded = alike.guarded
        if guarded is not None and not dynamo_config.disable:
            num_graphs, alike.has_worked = guarded.num_graphs, False
            try:
                result = self._call_guarded(module, alike, args, kwargs)
            except NotTraceableError:
                alike.guarded = None
            except OutsideTableError:
                raise
            except UnsupportedOperationError as error:
                if guarded.num_graphs > num_graphs:
                    self._attempts.note_refusal(module, signature, error)
                self._note_parts(module, error)
                raise
            else:
                alike.has_worked = guarded.has_reached_graph
                if guarded.num_graphs > num_graphs:
                    self._attempts.note_success(module, signature)
                return result
        if alike.refusal is not None:
            raise alike.refusal.again()
        self._attempts.admit_export(module)
        try:
            call = capture(module, args, kwargs, dtype=self.options.dtype)
        except UnsupportedOperationError as error:
            alike.refusal = error.again()
            self._attempts.note_refusal(module, signature, error)
            self._note_parts(module, error)
            raise
        return self._run(module, call, partial(module, *args, **kwargs))

    def _note_parts(self, module: torch.nn.Module, error: UnsupportedOperationError) -> None:
        """Keep what the refusal of a call says of the modules inside it."""
        if isinstance(error, RefusedError):
            self._parts.keep_unknown(module, error.parts)

    def _call_guarded(
        self,
        module: torch.nn.Module,
        alike: _Alike,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:
        guarded = alike.guarded
        assert guarded is not None, "the caller has seen to it"  # invariant
        num_calls, num_graphs = guarded.num_calls, guarded.num_graphs
        self._attempts.admit_guarded(module, num_calls=num_calls, num_graphs=num_graphs)
        result = guarded(module, args, kwargs)
        if not guarded.has_reached_graph:
            refusal = Refusal(NOTHING)
            self.ledger.host.count_call(module, Cause.REFUSAL, refusal=refusal)
            if not guarded.num_graphs:
                alike.guarded, alike.refusal = None, UnsupportedOperationError(NOTHING)
        return result

    def _alike(self, module: torch.nn.Module, signature: CallSignature) -> _Alike:
        known = self._calls.setdefault(module, {})
        if signature not in known:
            if len(known) >= _MOST_ALIKE:
                del known[next(iter(known))]
            known[signature] = _Alike(self._guarded_call(module, signature))
        alike = known[signature]
        if alike.guarded is not None and not alike.guarded.has_room_for(module):
            alike.guarded = GuardedCall(self._run, self.options)
        return alike

    def _guarded_call(self, module: torch.nn.Module, signature: CallSignature) -> GuardedCall:
        """Return the guarded call of a module and signature: one for all equal layers."""
        key = signature_alike(module, signature)
        shared = self._guarded.get(key)
        if shared is None or not shared.can_be_shared:
            shared = self._guarded[key] = GuardedCall(self._run, self.options)
        return shared

    def _run_training(
        self, module: torch.nn.Module, call: CapturedCall, on_host: partial[object]
    ) -> object:
        """Run a call of a graph, whose leaves are the arguments of `on_host`, as one that trains.

        Raises UnsupportedOperationError, and has changed nothing, if the wafer cannot.
        """
        if not call.needs_gradient:
            return self._run(module, call, on_host)
        self._check_products(call)
        check_indices(call.graph, call.inputs)
        if module not in self._trained:
            self._trained[module] = TrainedModule(
                name_of_module(module),
                self.architecture,
                self.options,
                partial(self._load_as, name_of_module(module), _host_stores(module)),
                optimizers=self.training.optimizers,
                places=self.training.places,
                guesses_loss=not self._this_thread.trains_part,
            )
        with self._calls_on_host():
            return self.training.run(self._trained[module], call, on_host)

    def _run(
        self, module: torch.nn.Module, call: CapturedCall, on_host: Callable[[], object]
    ) -> object:
        if call.needs_gradient:  # of a tensor that is neither an argument nor a parameter
            raise UnsupportedOperationError("a tensor that it holds requires a gradient")
        if call.drawn is not None:
            raise UnsupportedOperationError(DRAWS)
        self._check_products(call)
        self.training.flush()
        check_indices(call.graph, call.inputs)
        programs = self._program_of.setdefault(module, weakref.WeakKeyDictionary())
        trained = self._trained.get(module)
        program = trained.inference_program(call.capture) if trained else None
        program = program or programs.get(call.capture)
        if program is None:
            program = programs[call.capture] = self._program_for(module, call.capture)
        held = HeldResult(on_host)
        try:
            with self._calls_on_host():
                return program.run(call, held)
        except Exception as error:
            if not held.is_there or not is_own_error(error):
                raise
            self._leave_answered(module, error, call.capture.flop)
        return held.value

    def _check_products(self, call: CapturedCall) -> None:
        """Refuse a call without products, unless the wafer's values are what is asked for."""
        if not call.capture.flop and self.options.fidelity is not Fidelity.FABRIC:
            raise UnsupportedOperationError(NO_PRODUCTS.reason)

    def _program_for(self, module: torch.nn.Module, captured: Capture) -> ModuleProgram:
        """Return the program of a graph: placed once, compiled unless another led to it too.

        Raises UnsupportedOperationError, at once if the graph was refused before.
        """
        outcomes = self._programs.setdefault(module, {})
        wanted = graph = captured.graph
        if not graph.is_sequence:
            wanted = with_samples(graph, choose_samples(graph, self.options.max_batch))
        if wanted not in outcomes:
            try:
                outcomes[wanted] = self._place(module, wanted, captured.on_host)
            except UnsupportedOperationError as error:
                place = captured.place_of(error)
                outcomes[wanted] = type(error)(error.refusal.reason, place)
        outcome = outcomes[wanted]
        if isinstance(outcome, UnsupportedOperationError):
            raise outcome.again()
        return outcome

    def _place(
        self, module: torch.nn.Module, wanted: Graph, on_host: tuple[str, ...]
    ) -> ModuleProgram:
        """Return the program of a graph that is new; another graph may have led to it already."""
        outcomes = self._programs[module]
        place_graph = place_sequence if wanted.is_sequence else place
        placed = place_graph(wanted, self.architecture, self.options)
        graph = placed.program.graph
        found = outcomes.get(graph)
        if found is not None and not isinstance(found, UnsupportedOperationError):
            return found
        others = [
            other for other in outcomes.values() if not isinstance(other, UnsupportedOperationError)
        ]
        reason = _explain(others, graph)
        loaded = self._load(module, placed, reason, is_first=not others, on_host=on_host)
        outcomes[graph] = program = ModuleProgram(loaded)
        return program


def _parameter_bytes(module: torch.nn.Module, dtype: DataType | None) -> int:
    """Return the bytes of a module's parameters in a number format; None: their own."""
    return sum(
        parameter.numel() * (parameter.element_size() if dtype is None else dtype.num_bytes)
        for parameter in module.parameters()
        if parameter.is_floating_point()
    )


def _host_stores(module: torch.nn.Module) -> DataType:
    """Return the type of a module's results on the host."""
    is_half = any(parameter.dtype == torch.float16 for parameter in module.parameters())
    return DataType.F16 if is_half else DataType.F32


def _explain(programs: list[ModuleProgram], graph: Graph) -> str:
    """Return why a program is compiled, given those that the module has."""
    if not programs:
        return "first call"
    rows = graph.inputs[0].shape[0]
    resize, size = (
        (with_samples, num_samples(graph)) if graph.has_feature_maps else (with_rows, rows)
    )
    if any(resize(resident.graph, size) == graph for resident in programs):
        return f"new shape: bucket of {rows} rows" if rows > 1 else "new shape: bucket of 1 row"
    return "the module computes something else"
