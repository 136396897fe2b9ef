"""`torch.compile(model, backend="onewafer", options={…})`.

PyTorch finds the backend by its entry point (`torch_dynamo_backends`), so a script needs no import.
The graph that Dynamo hands over is captured once for each signature of its arguments: Dynamo may
lift parameters to inputs or leave shapes open, and neither matters then.
"""

from __future__ import annotations

import atexit
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.pytorch.cuda import unmarked
from onewafer.pytorch.guarded import CapturedGraph
from onewafer.pytorch.intercept import needs_gradient
from onewafer.pytorch.options import WaferOptions, options_from_mapping
from onewafer.pytorch.report import build_report, render, write_json
from onewafer.pytorch.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence


class HostFallbackWarning(UserWarning):
    """A compiled graph runs on the host because the wafer has no form of it."""


class _Sessions:
    """A session and its siblings with other options; all write to one ledger."""

    def __init__(self, first: Session) -> None:
        self.first = first
        self._by_options = {first.options: first}

    def get(self, options: Mapping[str, object]) -> Session:
        """Return the session for the first one's options with some of them replaced."""
        wanted = options_from_mapping(options, base=self.first.options)
        if wanted not in self._by_options:
            first = self.first
            sibling = Session(
                wanted, ledger=first.ledger, observer=first.observer, limits=first.limits
            )
            self._by_options[wanted] = sibling
        return self._by_options[wanted]


class _Registry:
    """Where the backend finds its sessions.

    PyTorch knows a backend by name only and has no place to pass an object through, so this is the
    one piece of state that belongs to the process.
    """

    def __init__(self) -> None:
        self.running: _Sessions | None = None
        """Those of `onewafer run`, which reports them itself."""
        self._own: _Sessions | None = None
        self._json_files: set[Path] = set()
        self._prints = False

    def session(self, options: Mapping[str, object]) -> Session:
        """Return the session for the options of one `torch.compile`."""
        wafer = {name: value for name, value in options.items() if name not in ("report", "json")}
        if self.running is not None:
            return self.running.get(wafer)
        if self._own is None:
            self._own = _Sessions(Session(WaferOptions()))
            atexit.register(self._report)
        session = self._own.get(wafer)
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

    def _report(self) -> None:
        if self._own is None or not self._own.first.ledger.num_calls:
            return
        report = build_report(self._own.first.ledger)
        for path in sorted(self._json_files):
            write_json(report, path)
        if self._prints:
            Console(file=sys.stderr).print(render(report))


_REGISTRY = _Registry()


@contextmanager
def serve_backend(session: Session) -> Generator[None]:
    """Let `torch.compile(…, backend="onewafer")` work and report in a session."""
    _REGISTRY.running = _Sessions(session)
    try:
        yield
    finally:
        _REGISTRY.running = None


def onewafer(
    graph_module: torch.fx.GraphModule,
    example_inputs: Sequence[object],
    *,
    options: Mapping[str, object] | None = None,
    mode: str | None = None,
) -> Callable[..., object]:
    """Return what Dynamo calls in place of a graph.

    Options: those of `WaferOptions` (`clock` as text or hertz), `report` (False: print none at
    exit) and `json` (a file for the report). Raises ConfigurationError for others.
    """
    del example_inputs  # the shapes of the call decide
    if mode is not None:
        raise ConfigurationError(f"backend 'onewafer' has no mode {mode!r}; use options={{…}}")
    session = _REGISTRY.session(options or {})

    graph = CapturedGraph(graph_module, session.options.dtype)

    def run(*args: object) -> object:
        if needs_gradient(graph_module, args, {}):
            session.count_gradient_call(graph_module)
            return graph_module.forward(*args)
        try:
            plain = (unmarked(arg) if isinstance(arg, torch.Tensor) else arg for arg in args)
            return session.call_graph(graph, tuple(plain))
        except UnsupportedOperationError as error:
            session.count_fallback(graph_module, error.refusal)
            message = f"backend 'onewafer' runs a graph on the host: {error}"
            warnings.warn(message, HostFallbackWarning, stacklevel=2)
        return graph_module.forward(*args)

    return torch.compiler.disable(run)  # pyright: ignore[reportUnknownMemberType]  # partly typed
