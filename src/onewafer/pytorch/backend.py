"""`torch.compile(model, backend="onewafer", options={…})`.

PyTorch finds the backend by its entry point (`torch_dynamo_backends`), so a script needs no import.
The graph that Dynamo hands over is captured once for each signature of its arguments: Dynamo may
lift parameters to inputs or leave shapes open, and neither matters then.
"""

from __future__ import annotations

import atexit
import sys
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch._dynamo.exc import TensorifyScalarRestartAnalysis
from torch._dynamo.symbolic_convert import InstructionTranslator

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.execution import WaferOptions, check_csl_folder
from onewafer.options import PYTHON, errors_in, options_of
from onewafer.process.blocks import OpenBlocks
from onewafer.pytorch.attempts import HostFallbackWarning
from onewafer.pytorch.cuda import unmarked, view_plain
from onewafer.pytorch.elements import set_aside
from onewafer.pytorch.flop import counting_flop
from onewafer.pytorch.fused_paths import IS_OFF, has_fused_path, without_fused_paths
from onewafer.pytorch.guarded import CapturedGraph
from onewafer.pytorch.intercept import needs_gradient
from onewafer.pytorch.names import name_graph
from onewafer.pytorch.refusals import NO_PRODUCTS
from onewafer.pytorch.report import render, write_json
from onewafer.pytorch.session import Session
from onewafer.terminal import PlainConsole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager


class _Registry:
    """The sessions of the backend.

    PyTorch knows a backend by name only and has no place to pass an object through, so this is the
    one piece of state that belongs to the process.
    """

    def __init__(self) -> None:
        self.served = OpenBlocks[Session]()
        """Sessions of `onewafer run` and of `with` blocks, which report them themselves."""
        self._own: Session | None = None
        self._counting = ExitStack()
        """From the first compilation to the end of the script: counts FLOP, leaves fused paths."""
        self._json_files: set[Path] = set()
        self._prints = False

    def session(self, options: Mapping[str, object]) -> Session:
        """Return the session for a call of a function that was compiled with these options."""
        served = self.served.current
        if served is not None:
            return _with_options(served, options)
        if self._own is None:
            self._own = Session(WaferOptions())
            host = self._own.ledger.host
            host.counts_flop, host.sees_all_calls = True, False
            self._counting.enter_context(counting_flop(host.add_flop, host.note_not_counted))
            atexit.register(self._report)
        session = _with_options(self._own, options)
        match options.get("report", True):
            case bool(prints):
                self._prints |= prints
            case other:
                raise ConfigurationError(f"option 'report': write True or False, not {other!r}")
        match options.get("json"):
            case None:
                pass
            case str(name) if Path(name).absolute().parent.is_dir():
                self._json_files.add(Path(name).absolute())
            case other:
                msg = f"option 'json': write a file name in an existing folder, not {other!r}"
                raise ConfigurationError(msg)
        return session

    def leave_fused_path(self, graph: torch.fx.Graph) -> None:
        """Make Dynamo read the code again with PyTorch's fused path off, if a graph takes it.

        In blocks it is off already. Elsewhere it is on until the first such graph is compiled.
        """
        if self.served.current is not None or self._own is None or not has_fused_path(graph):
            return
        notes = self._own.ledger.notes
        if IS_OFF not in notes:  # else the script itself calls such an operation
            notes[IS_OFF] = None
            self._counting.enter_context(without_fused_paths())
            tx = InstructionTranslator.current_tx()
            tx.speculation_log.clear()  # the code goes another way now
            raise TensorifyScalarRestartAnalysis

    def _report(self) -> None:
        self._counting.close()
        if self._own is None or not self._own.ledger.num_calls:
            return
        try:
            report = self._own.report(looks_further=True)
            shown = render(report)
        except Exception as error:  # noqa: BLE001  # it raises what is none of ours
            text = self._own.own_errors.explain_failed_report(error)
            print(f"onewafer: {text}", file=sys.stderr)  # noqa: T201  # at the end of the script
            return
        for path in sorted(self._json_files):
            write_json(report, path)
        if self._prints:
            PlainConsole(file=sys.stderr).print(shown)


_REGISTRY = _Registry()
_OF_THE_REPORT = ("report", "json")


def _with_options(session: Session, options: Mapping[str, object]) -> Session:
    """Return the session for the options of one `torch.compile`."""
    wafer = {name: value for name, value in options.items() if name not in _OF_THE_REPORT}
    names = sorted(option.name for option in options_of(WaferOptions))
    if unknown := sorted(wafer.keys() - names):
        known = ", ".join([*names, *_OF_THE_REPORT])
        raise ConfigurationError(f"backend 'onewafer' has no option {unknown[0]!r}; it has {known}")
    with errors_in(PYTHON):
        return session.with_options(replace(session.options, **wafer))  # pyright: ignore[reportArgumentType]  # it checks them


def _with_fixed_folder(options: Mapping[str, object]) -> Mapping[str, object]:
    """Return options that name the same folder when the script has gone to another."""
    match options.get("csl"):
        case (str() | Path()) as folder:
            return {**options, "csl": Path(folder).absolute()}
        case _:
            return options


def serve_backend(session: Session) -> AbstractContextManager[None]:
    """Let calls of what `torch.compile(…, backend="onewafer")` made run and report in a session."""
    return _REGISTRY.served.open(session)


def _run_on_host(
    session: Session,
    graph_module: torch.fx.GraphModule,
    args: tuple[object, ...],
    error: UnsupportedOperationError,
) -> object:
    """Return the result of a call that needs a gradient, for which the wafer refuses it."""
    work, host = session.count_gradient_call(graph_module, error=error), session.ledger.host
    with host.doing(work), host.counting_elements(work, graph_module, args, {}):
        result = graph_module.forward(*args)
    work.watch(result)
    return result


def onewafer(
    graph_module: torch.fx.GraphModule,
    example_inputs: Sequence[object],
    *,
    options: Mapping[str, object] | None = None,
    mode: str | None = None,
) -> Callable[..., object]:
    """Return the function that Dynamo calls in place of a graph.

    Options: those of `WaferOptions` (`clock` as text or hertz), `report` (False: print none at
    exit) and `json` (a file for the report). Raises ConfigurationError for others.
    """
    del example_inputs  # the shapes of the call decide
    if mode is not None:
        raise ConfigurationError(f"backend 'onewafer' has no mode {mode!r}; use options={{…}}")
    chosen = _with_fixed_folder(options or {})
    session = _REGISTRY.session(chosen)  # refuses wrong ones now
    if session.options.csl is not None:
        check_csl_folder(session.options.csl)
    _REGISTRY.leave_fused_path(graph_module.graph)
    name_graph(graph_module)
    graphs: WeakKeyDictionary[Session, CapturedGraph] = WeakKeyDictionary()

    def run(*args: object) -> object:
        # Dynamo keeps what it compiled, and may call it when another wafer has its turn.
        session = _REGISTRY.session(chosen)
        if session not in graphs:
            graphs[session] = CapturedGraph(graph_module, session.options)
        trains = needs_gradient(graph_module, args, {})
        try:
            # A leaf stays a leaf, unless gradients are to flow to the tensor that it aliases.
            take = view_plain if trains else unmarked
            plain = (take(arg) if isinstance(arg, torch.Tensor) else arg for arg in args)
            return session.call_graph(graphs[session], tuple(plain))
        except UnsupportedOperationError as error:
            if trains:
                return _run_on_host(session, graph_module, args, error)
            work = session.count_fallback(graph_module, error.refusal)
            if error.refusal != NO_PRODUCTS:
                message = f"backend 'onewafer' runs a graph on the host: {error}"
                warnings.warn(message, HostFallbackWarning, stacklevel=2)
        host = session.ledger.host
        with host.doing(work), host.counting_elements(work, graph_module, args, {}):
            return graph_module.forward(*args)

    def call(*args: object) -> object:
        with set_aside():
            return run(*args)

    return torch.compiler.disable(call)  # pyright: ignore[reportUnknownMemberType]  # partly typed
