# pyright: basic
# Numba's type hints are partial; this file and `native` are the only ones that touch it.
"""How kernels are compiled, and where the machine code is kept.

A kernel takes `Arrays`. Two options matter. Without `_nrt=False` Numba counts references to every
array at every call, which costs eight times the work itself; the arrays outlive the kernel, so
nothing is lost. `forceinline` lets LLVM see the whole engine as one function.

The cache can never be stale: its folder is named by a digest of every source that can end up in the
machine code, see `sources`, so a changed constant is another folder. (Numba itself looks at one
file only.) For the same reason, every installation of the same sources shares it, wherever it lies.
What is damaged there is compiled again, and where nothing can be written nothing is kept.
"""

from __future__ import annotations

import hashlib
import pickle
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

import numba
from llvmlite import ir
from numba.core import config as numba_config
from numba.core import types
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    UserProvidedCacheLocator,
)
from numba.core.serialize import dumps
from numba.extending import intrinsic, overload

from onewafer.settings import cache_folder
from onewafer.simulator.fast.sources import digest_sources, source_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Function = TypeVar("Function", bound=Callable[..., object])

_njit: Any = numba.njit
_config: Any = numba_config
_intrinsic: Any = intrinsic
_OPTIONS = {"_nrt": False, "error_model": "numpy"}


def kernel(function: Function) -> Function:
    """Compile a part of the engine into the entry that calls it."""
    return _njit(forceinline=True, **_OPTIONS)(function)


def merged(function: Function) -> Function:
    """Make a part of the engine one function with the only one that calls it.

    What a compiled function calls is optimised again with each of its callers: the levels near the
    entry, which hold the whole engine, take most of the time. Without them it compiles twice as
    fast.
    """
    return _njit(inline="always", **_OPTIONS)(function)


def shared(function: Function) -> Function:
    """Compile a part of the engine as a function of its own: it is large, or takes no arrays."""
    return _njit(**_OPTIONS)(function)


def entry(function: Function) -> Function:
    """Compile what Python calls, with everything in it; keep the machine code on disk."""
    dispatcher = _njit(nogil=True, **_OPTIONS)(function)
    if dispatcher is not function:
        _keep_on_disk(dispatcher, kernel_folder())
    return dispatcher


def trailing_zeros(mask: int) -> int:
    """Return the number of the lowest bit that is set; `mask` is not zero."""
    return (int(mask) & -int(mask)).bit_length() - 1


@_intrinsic
def _count_trailing_zeros(_context, mask):  # noqa: ANN001, ANN202  # of Numba
    def generate(_context, builder, _signature, arguments):  # noqa: ANN001, ANN202
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(mask), generate


@overload(trailing_zeros)
def _trailing_zeros(mask):  # noqa: ANN001, ANN202, ARG001  # of Numba
    return lambda mask: _count_trailing_zeros(numba.int64(mask))


# --- machine code on disk ------------------------------------------------------------------------


class _Folder(UserProvidedCacheLocator):
    """The folder of exactly these sources: neither their place nor their dates matter any more."""

    def __init__(self, py_func: Any, py_file: str) -> None:  # noqa: ANN401  # of Numba
        super().__init__(py_func, py_file)
        self._cache_path = _config.CACHE_DIR

    def get_source_stamp(self) -> str:
        """Return what must be equal beside the folder: nothing."""
        return ""

    def get_disambiguator(self) -> str:
        """Return what tells functions of one name apart: nothing, there are no such functions."""
        return ""


class _Contents(CompileResultCacheImpl):
    """What a file holds: a kernel, and the digest of its bytes."""

    # Numba's own places depend on the place and the date of a single file.
    _locator_classes = (_Folder,)

    def reduce(self, data: Any) -> tuple[bytes, bytes]:  # noqa: ANN401  # of Numba
        payload = dumps(super().reduce(data))
        return hashlib.sha256(payload).digest(), payload

    def rebuild(self, target_context: Any, payload: tuple[bytes, bytes]) -> Any:  # noqa: ANN401  # of Numba
        return super().rebuild(target_context, pickle.loads(_checked(payload)))  # noqa: S301  # ours


def _checked(payload: tuple[bytes, bytes]) -> bytes:
    digest, content = payload
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("other bytes than were written")
    return content


class _KernelCache(FunctionCache):
    """The files of one kernel."""

    _impl_class = _Contents

    def load_overload(self, sig: Any, target_context: Any) -> Any:  # noqa: ANN401  # of Numba
        """Return what is kept; None if that is nothing, or is damaged."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  # of bytes that nobody wrote, anything can come
            try:
                self.flush()
            except OSError:
                self.disable()
            return None

    def is_filled(self) -> bool:
        """Tell whether there is something to load, and undamaged."""
        files = self._cache_file
        try:
            names = files._load_index().values()  # noqa: SLF001  # of Numba
            return bool([_checked(files._load_data(name)) for name in names])  # noqa: SLF001
        except Exception:  # noqa: BLE001  # as above
            return False

    def save_overload(self, sig: Any, data: Any) -> None:  # noqa: ANN401  # of Numba
        """Keep a kernel, if there is room."""
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()


def _keep_on_disk(dispatcher: Any, folder: Path) -> None:  # noqa: ANN401  # of Numba
    """Switch the cache on for one dispatcher, in a folder of its own."""
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(folder)
    try:
        dispatcher._cache = _KernelCache(dispatcher.py_func)  # noqa: SLF001  # `enable_caching` does
    except RuntimeError:  # nothing can be written there: compile in every process
        return
    finally:
        _config.CACHE_DIR = before


class Keeping(Enum):
    """What is on disk of an entry."""

    KEPT = "kept"
    NOT_YET = "not yet"
    IMPOSSIBLE = "impossible"
    """The folder cannot be written."""


def keeping(dispatcher: Any) -> Keeping:  # noqa: ANN401  # of Numba
    """Return what is on disk of an entry."""
    match dispatcher._cache:  # noqa: SLF001  # of Numba
        case _KernelCache() as cache:
            return Keeping.KEPT if cache.is_filled() else Keeping.NOT_YET
        case _:
            return Keeping.IMPOSSIBLE


def kernel_folder() -> Path:
    """Return the folder for machine code of exactly these sources and settings."""
    digest = hashlib.sha256(digest_sources(source_files()).encode())
    for part in (numba.__version__, str(_config.BOUNDSCHECK), repr(_OPTIONS)):
        digest.update(part.encode() + b"\0")
    return cache_folder() / "kernels" / digest.hexdigest()[:20]
