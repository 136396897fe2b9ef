"""`torch.compile(model, backend="onewafer", options={…})`.

PyTorch finds the backend by its entry point (`torch_dynamo_backends`), so a script needs no import.
The graph that Dynamo hands over is captured like any module, at each call and with the shapes of
that call: Dynamo may lift parameters to inputs or leave shapes open, and neither matters then.
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
from onewafer.pytorch.intercept import needs_gradient
from onewafer.pytorch.options import WaferOptions, options_from_mapping
from onewafer.pytorch.report import build_report, render, write_json
from onewafer.pytorch.session import Ledger, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from onewafer.pytorch.session import Observer


class HostFallbackWarning(UserWarning):
    """A compiled graph runs on the host because the wafer has no form of it."""


class _Sessions:
    """The sessions of this process, one for each set of options, with one ledger."""

    def __init__(
        self, base: WaferOptions, ledger: Ledger, observer: Observer | None = None
    ) -> None:
        self.base = base
        self.ledger = ledger
        self._observer = observer
        self._by_options: dict[WaferOptions, Session] = {}

    def get(self, options: Mapping[str, object]) -> Session:
        """Return the session for the base options with some of them replaced."""
        wanted = options_from_mapping(options, base=self.base)
        if wanted not in self._by_options:
            session = Session(wanted, ledger=self.ledger, observer=self._observer)
            self._by_options[wanted] = session
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
            self._own = _Sessions(WaferOptions(), Ledger())
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
            case str(name):
                self._json_files.add(Path(name).absolute())
            case other:
                raise ConfigurationError(f"option 'json': write a file name, not {other!r}")
        return session

    def _report(self) -> None:
        if self._own is None or not self._own.ledger.num_calls:
            return
        report = build_report(self._own.ledger)
        for path in sorted(self._json_files):
            write_json(report, path)
        if self._prints:
            Console(file=sys.stderr).print(render(report))


_REGISTRY = _Registry()


@contextmanager
def serve_backend(session: Session) -> Generator[None]:
    """Let `torch.compile(…, backend="onewafer")` work and report in a session."""
    _REGISTRY.running = _Sessions(session.options, session.ledger, session.observer)
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

    def run(*args: object) -> object:
        if needs_gradient(graph_module, args, {}):
            session.count_gradient_call(graph_module)
            return graph_module.forward(*args)
        try:
            return session.call(graph_module, args, {})
        except UnsupportedOperationError as error:
            session.count_fallback(graph_module, str(error))
            message = f"backend 'onewafer' runs a graph on the host: {error}"
            warnings.warn(message, HostFallbackWarning, stacklevel=2)
        return graph_module.forward(*args)

    return torch.compiler.disable(run)  # pyright: ignore[reportUnknownMemberType]  # partly typed
