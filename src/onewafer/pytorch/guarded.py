"""Capture a module once, and know whether the capture still holds at the next call.

Dynamo, the front end of `torch.compile`, reads the Python code of a module without running it. It
returns the tensor operations as a graph, guards that prove at a later call that the code would do
the same again (attributes, globals, closures, containers, modes, shapes), and code that redoes at
each call what else the module does to Python objects. A failed guard leads to a new graph.

Guards are checked in microseconds. The graph has every tensor that it reads as an argument, hence
a capture binds to whatever tensors the module holds by then.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
import weakref
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

import torch
from torch._C._dynamo import eval_frame
from torch._dynamo import config as dynamo_config
from torch._dynamo import utils as dynamo_utils

from onewafer.errors import OnewaferError, UnsupportedOperationError
from onewafer.execution import Draws
from onewafer.pytorch.capture import capture_graph
from onewafer.pytorch.checkpoints import find_reentrant_checkpoint, inline_checkpoints
from onewafer.pytorch.compiled import torch_compile
from onewafer.pytorch.effects import save_generators
from onewafer.pytorch.lowering.lines import line_of
from onewafer.pytorch.refusals import RefusedError
from onewafer.pytorch.tracing import tracing_quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import CodeType

    from torch.fx import GraphModule, Node

    from onewafer.execution import WaferOptions
    from onewafer.pytorch.captured import Capture, CapturedCall

    Run = Callable[[torch.nn.Module, CapturedCall, partial[object]], object]
    """Gets a module, its call, and what computes the same on the host from the call's leaves."""

_GRAPHS_PER_CODE = 6
"""Graphs of one code object; Dynamo refuses more than eight and checks their guards one by one."""
_MASKS_PER_SIGNATURE = 8
"""The most captures of one graph for arguments that differ in their elements only."""
_MOST_GRAPHS = 48
"""Graphs of calls that look alike, after which the guards are taken to fail at every call."""


_patch: Callable[..., AbstractContextManager[object]] = getattr(dynamo_config, "patch")  # noqa: B009  # partly typed
_SAID_ONCE = ("warning_once", "info_once")
"""Methods of loggers, which transformers adds, that say each message once in a process."""
_LOGS = "logging.Logger method not supported"
_GRAPH = "_onewafer_graph"
"""The attribute with the graph, of the function that Dynamo calls for it."""


class NotTraceableError(Exception):
    """Dynamo cannot read the code of a module; nothing was done."""

    @property
    def is_about_logs(self) -> bool:
        """True if it stopped at a method of a logger."""
        return _LOGS in str(self)


class CapturedGraph:
    """A graph of tensor operations, and its captures for each signature of its arguments."""

    def __init__(self, graph_module: torch.fx.GraphModule, options: WaferOptions) -> None:
        inline_checkpoints(graph_module)
        self.graph_module = graph_module
        self._options = options
        self._captures: dict[object, list[Capture | RefusedError]] = {}
        """By signature: captures, or refusals, for different elements of masks."""

    @cached_property
    def _gradient_stop(self) -> UnsupportedOperationError | None:
        """The refusal if a gradient stops inside of the graph; None: none does."""
        return find_gradient_stop(self.graph_module)

    @cached_property
    def _reentrant(self) -> UnsupportedOperationError | None:
        """The refusal if it has a reentrant checkpoint; None: it has none."""
        return find_reentrant_checkpoint(self.graph_module)

    def _capture(self, owner: torch.nn.Module, args: Sequence[object]) -> Capture:
        found = capture_graph(self.graph_module, args, owner, dtype=self._options.dtype)
        return found.drawing_on_wafer() if self._options.dropout is Draws.WAFER else found

    def bind(self, owner: torch.nn.Module, args: Sequence[object]) -> CapturedCall:
        """Return the call with these arguments; raise UnsupportedOperationError, at once if known.

        `owner` is the module that the graph comes from.
        """
        if self._reentrant is not None:
            raise self._reentrant.again()
        signature = tuple(
            (arg.dtype, arg.shape, arg.stride()) if isinstance(arg, torch.Tensor) else arg
            for arg in args
        )
        known = self._captures.setdefault(signature, [])
        found = next((outcome for outcome in known if outcome.holds_for(args)), None)
        if found is None:
            try:
                found = self._capture(owner, args)
            except RefusedError as error:
                found = error
            except UnsupportedOperationError as error:
                found = RefusedError(error.refusal.reason, error.refusal.place)
            if len(known) >= _MASKS_PER_SIGNATURE:
                del known[0]
            known.append(found)
        if isinstance(found, RefusedError):
            raise found.again()
        call = found.bind(args)
        if call.needs_gradient and self._gradient_stop is not None:
            raise self._gradient_stop.again()
        if call.written and not call.needs_gradient:
            name = found.written[0].buffer.name
            raise UnsupportedOperationError(
                f"the module writes its buffer {name!r}, as in training; call model.eval()"
            )
        return call


def _call_forward(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> object:
    return module.forward(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Guards:
    """The conditions under which a call has a graph."""

    entry: Any
    """Dynamo's cache entry, which changes its guards if they can hold no more."""

    def hold(self, arguments: Mapping[str, object]) -> bool:
        """Tell whether a call of `_call_forward` with these arguments has the graph."""
        return bool(self.entry.guard_manager.check(arguments))

    def computation(self) -> Callable[..., object] | None:
        """Return a function that does what `_call_forward` does for calls that have the graph.

        It is the code that Dynamo has made: the operations of the graph, computed by the host, and
        what else the module's code does to Python objects. None: this PyTorch does not show it.
        """
        code = self.entry.code
        own: dict[str, object] = {}
        for name in code.co_names:
            found = globals().get(name)
            if found is dynamo_utils:
                own[name] = _Quiet()
            elif _GRAPH in getattr(found, "__dict__", {}):
                own[name] = getattr(found, _GRAPH).forward  # not before: it is compiled when called
        is_whole = sum(not isinstance(each, _Quiet) for each in own.values()) == 1
        return (
            FunctionType(code, {**globals(), **own}) if is_whole and not code.co_freevars else None
        )


class _Quiet:
    """Stands for `dynamo_utils` in Dynamo's code, without its label for profilers."""

    def record_pregraph_bytecode_enter(self) -> None:
        """Do nothing."""

    def record_pregraph_bytecode_exit(self, entered: None) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> object:
        """Return the attribute of Dynamo's own module."""
        return getattr(dynamo_utils, name)


def _cache_entries(code: CodeType) -> Iterable[Any]:
    """Return Dynamo's cache entries of a code object; none if this PyTorch does not show them."""
    find = getattr(eval_frame, "_debug_get_cache_entry_list", None)  # no public name
    return () if find is None else find(code)


class _Current(threading.local):
    """The call that this thread makes."""

    module: torch.nn.Module | None = None
    """The module that is called."""
    has_reached_graph = False

    def __init__(self) -> None:
        self.filters = ExitStack()
        """Warnings that are not shown until the graph is reached."""


class GuardedCall:
    """Calls that look alike; `run` gets each with its module and its tensors.

    They are calls of one module, or of several that look alike, as repeated layers do: their graph
    is the same unless guards find attributes that differ.
    """

    def __init__(self, run: Run, options: WaferOptions) -> None:
        self._run = run
        self._options = options
        self.num_graphs = 0
        """Graphs that Dynamo has made of the module's code so far."""
        self.num_calls = 0
        """Calls so far."""
        self._num_graphs_of_code = 0
        self._compiled: Callable[..., object] = self._compile()
        self._current = _Current()
        self._first: weakref.ref[torch.nn.Module] | None = None
        """The module that was called first."""
        self.passes_over_logs = False
        """True if messages that are logged once in a process are left out: they have been said."""
        self.can_be_shared = True
        """True if no call of another module has needed a graph of its own."""

    def has_room_for(self, module: torch.nn.Module) -> bool:
        """Tell whether a module may share this object; else other modules' graphs push out its own.

        Such a module gets a `GuardedCall` of its own; the one that was called first stays.
        """
        return self.can_be_shared or self.num_graphs < _GRAPHS_PER_CODE or self._is_first(module)

    def _is_first(self, module: torch.nn.Module | None) -> bool:
        return self._first is not None and self._first() is module

    @property
    def has_reached_graph(self) -> bool:
        """True if this thread's last call had tensor operations, which were handed to `run`."""
        return self._current.has_reached_graph

    def __call__(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Return the module's result, with all that its code does to Python objects done.

        Raises NotTraceableError or UnsupportedOperationError with nothing done.
        """
        if self.num_graphs >= _MOST_GRAPHS:
            raise NotTraceableError("what it reads changes at every call")
        self.num_calls += 1
        if self._num_graphs_of_code >= _GRAPHS_PER_CODE:
            self._num_graphs_of_code, self._compiled = 0, self._compile()
        current = self._current
        current.module, current.has_reached_graph = module, False
        self._first = self._first or weakref.ref(module)
        restore_generators = save_generators()
        try:
            with tracing_quietly(), self._passing_over(), ExitStack() as current.filters:
                if not self.num_graphs:  # advice on how to write code for Dynamo
                    current.filters.enter_context(warnings.catch_warnings())
                    warnings.simplefilter("ignore")
                return self._compiled(module, args, kwargs)
        except OnewaferError:
            restore_generators()
            raise
        except Exception as error:
            if current.has_reached_graph:
                raise
            self.can_be_shared = False
            restore_generators()
            raise NotTraceableError(f"{type(error).__name__}: {error}") from None
        finally:
            current.module = None

    def guards_of(self, arguments: Mapping[str, object]) -> Guards | None:
        """Return the guards that hold for these arguments of `_call_forward`; None: none do.

        Dynamo asks the same, in a call that takes longer than a step of a small model.
        """
        for entry in _cache_entries(self._code):
            guards = Guards(entry)
            if guards.hold(arguments):
                return guards
        return None

    def _passing_over(self) -> AbstractContextManager[object]:
        if not self.passes_over_logs:
            return nullcontext()
        said = {function for name, function in vars(logging.Logger).items() if name in _SAID_ONCE}
        return _patch(ignore_logging_functions=said)

    def _compile(self) -> Callable[..., object]:
        """Return a function with code of its own, since guards are kept, and limited, by code."""
        function = FunctionType(_call_forward.__code__.replace(), globals())
        self._code = function.__code__
        return torch_compile(function, backend=self._accept, fullgraph=True, dynamic=False)

    def _accept(
        self, graph_module: torch.fx.GraphModule, example_inputs: Sequence[object]
    ) -> Callable[..., object]:
        """Take a graph from Dynamo; return what is called in its place."""
        del example_inputs  # those of the call are at hand when it is called
        self.num_graphs += 1
        self._num_graphs_of_code += 1
        if not self._is_first(self._current.module):
            self.can_be_shared = False
        graph = CapturedGraph(graph_module, self._options)

        def run(*args: object) -> object:
            current = self._current
            module = current.module
            assert module is not None, "only __call__ leads here"  # invariant
            current.has_reached_graph = True
            call = graph.bind(module, args)
            current.filters.close()  # those of the process, which other threads may change now
            return self._run(module, call, partial(graph_module.forward, *args))

        setattr(run, _GRAPH, graph_module)
        return run


_SET_GRAD = vars(sys.modules["torch._C"])["_set_grad_enabled"]  # no public name
_DETACHES = {"detach", "detach_", torch.detach, torch.detach_, torch.Tensor.detach}


def find_gradient_stop(graph_module: GraphModule) -> UnsupportedOperationError | None:
    """Return why a graph of Dynamo keeps a gradient from flowing back; None if it does not.

    A gradient stops at `detach`, and in what is computed under `no_grad` from what has one.
    """
    is_enabled, has_gradient = True, set["Node"]()
    for node in graph_module.graph.nodes:
        if node.op == "placeholder":
            value = node.meta.get("example_value")
            if isinstance(value, torch.Tensor) and value.requires_grad:
                has_gradient.add(node)
        elif node.target is _SET_GRAD:
            is_enabled = bool(cast("bool", node.args[0]))
        elif not has_gradient.isdisjoint(node.all_input_nodes) and node.op != "output":
            if node.target in _DETACHES:
                return _stopped_by("detach", node)
            if not is_enabled:
                return _stopped_by("no_grad", node)
            has_gradient.add(node)
    return None


def _stopped_by(name: str, node: Node) -> UnsupportedOperationError:
    return UnsupportedOperationError(f"`{name}` stops a gradient inside the module", line_of(node))
