"""Module calls in the worker processes of a script: counted there, read by the script's process.

Each process writes a small file of its own, whose numbers are right at all times: however the
process ends (`os._exit`, SIGKILL), its counts are there. A forked process inherits the counter. A
spawned one is a fresh Python: multiprocessing sends it the folder together with its name.

Nothing here loads PyTorch: a worker may not need it.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from multiprocessing import spawn
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onewafer.process.blocks import OpenBlocks, Replacement

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_DIGITS = 12
"""Digits of a count in a file: always as many, so that it can be overwritten in place."""
_MODULE = "torch.nn.modules.module"


@dataclass(frozen=True, slots=True)
class WorkerCalls:
    """Outermost calls of one module class in one worker process; they ran on the host."""

    process: str
    """The process's name in multiprocessing; `os.fork` if the script forked it itself."""
    process_id: int
    module: str
    calls: int


class WorkerCounts:
    """The calls of all worker processes of a script."""

    def __init__(self) -> None:
        self._folders: list[Path] = []
        self._over: list[WorkerCalls] = []

    @contextmanager
    def in_folder(self) -> Generator[CallFile]:
        """Yield the counter of processes that begin inside; without a folder it counts nothing."""
        process_id = os.getpid()
        try:
            folder = Path(tempfile.mkdtemp(prefix="onewafer-calls-"))
        except OSError:  # a read-only container
            yield CallFile(None)
            return
        self._folders.append(folder)
        try:
            with counting_in_spawned_processes(folder):
                yield CallFile(folder)
        finally:
            if os.getpid() == process_id:  # not in a forked process
                self._folders.remove(folder)
                self._over += _read(folder)
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def calls(self) -> tuple[WorkerCalls, ...]:
        """The calls so far, those of running processes included."""
        return (*self._over, *(calls for folder in self._folders for calls in _read(folder)))


class CallFile:
    """Counts the calls of this process; a process that it forks begins its own file."""

    def __init__(self, folder: Path | None) -> None:
        """Take the folder of the counts' files; None: nothing is counted."""
        self.folder = folder
        self._process_id = -1
        self._file = -1
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        """Module class → the offset of its count in the file."""
        self._counts: Counter[str] = Counter()

    def count(self, called: Any) -> None:  # noqa: ANN401  # an `nn.Module`
        """Count a call of a module with parameters: data loaders call many without."""
        if self.folder is None or not any(True for _ in called.parameters()):
            return
        module = type(called).__name__
        if os.getpid() != self._process_id:
            self._begin(self.folder)
        with self._lock, suppress(OSError):  # a full disk, or a folder that is gone
            self._counts[module] += 1
            digits = f"{self._counts[module]:>{_DIGITS}}".encode()
            if module not in self._places:
                self._places[module] = os.lseek(self._file, 0, os.SEEK_END)
                os.write(self._file, digits + f" {json.dumps(module)}\n".encode())
            os.pwrite(self._file, digits, self._places[module])

    def _begin(self, folder: Path) -> None:
        self._process_id, self._lock = os.getpid(), threading.Lock()
        self._places, self._counts = {}, Counter()
        self._file = -1  # an open file is that of the process that forked this one
        with suppress(OSError):
            path = folder / str(self._process_id)
            self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            is_plain_fork = multiprocessing.parent_process() is None
            name = "os.fork" if is_plain_fork else multiprocessing.current_process().name
            os.write(self._file, f"{json.dumps(name)}\n".encode())


def _read(folder: Path) -> list[WorkerCalls]:
    """Return the calls in the complete lines of all files.

    None if the folder is gone, as after a script that empties `/tmp`.
    """
    found: list[WorkerCalls] = []
    for path in sorted(folder.glob("[0-9]*"), key=lambda path: int(path.name)):
        with suppress(OSError, ValueError):
            name, *lines = path.read_text(encoding="utf-8").splitlines()
            for line in lines:
                module, calls = json.loads(line[_DIGITS:]), int(line[:_DIGITS])
                found.append(WorkerCalls(json.loads(name), int(path.name), module, calls))
    return found


@contextmanager
def counting_in_spawned_processes(folder: Path) -> Generator[None]:
    """Let processes that multiprocessing spawns inside the block count in a folder."""
    with _PREPARATION.in_place(), _FOLDERS.open(folder):
        yield


def _replace_preparation(original: Callable[[str], dict[str, Any]]) -> Callable[..., Any]:
    def prepare(name: str) -> dict[str, Any]:
        folder, prepared = _FOLDERS.current, original(name)
        return prepared if folder is None else {**prepared, "name": _Told(folder, name)}

    return prepare


_FOLDERS = OpenBlocks[Path]()
_PREPARATION = Replacement(spawn, "get_preparation_data", _replace_preparation)


@dataclass(frozen=True, slots=True)
class _Told:
    """The name of a spawned process; unpickling it there begins the counting."""

    folder: Path
    name: str

    def __reduce__(self) -> tuple[Callable[[str, str], str], tuple[str, str]]:
        return begin_in_spawned_process, (str(self.folder), self.name)


def begin_in_spawned_process(folder: str, name: str) -> str:
    """Count the module calls of this process from now on; return its name."""
    sys.meta_path.insert(0, _CountWhenLoaded(CallFile(Path(folder))))
    _TO_THE_END.enter_context(counting_in_spawned_processes(Path(folder)))
    return name


_TO_THE_END = ExitStack()
"""Blocks that a spawned process never closes, so that processes that it spawns count, too."""


class _CountWhenLoaded(MetaPathFinder):
    """Patches `nn.Module` to count its calls when PyTorch is imported, if it ever is."""

    def __init__(self, calls: CallFile) -> None:
        self._calls = calls

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec that patches the module of `nn.Module`, once; None for other modules."""
        del path, target  # the other finders use them
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_count(module: ModuleType) -> None:
            execute(module)
            _count_calls(module, self._calls)

        spec.loader.exec_module = execute_and_count
        return spec


class _Nesting(threading.local):
    is_inside = False
    """True if this thread is inside a call that was counted."""


def _count_calls(module: ModuleType, calls: CallFile) -> None:
    """Patch `nn.Module.__call__` to count outermost calls."""
    original: Callable[..., object] = module.Module.__call__
    nesting = _Nesting()

    def call(self: object, *args: object, **options: object) -> object:
        torch = sys.modules["torch"]
        if torch.compiler.is_compiling() or nesting.is_inside:
            return original(self, *args, **options)
        nesting.is_inside = True
        try:
            calls.count(self)
            return original(self, *args, **options)
        finally:
            nesting.is_inside = False

    module.Module.__call__ = call
