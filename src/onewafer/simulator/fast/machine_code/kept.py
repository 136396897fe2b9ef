# pyright: basic
# Numba's type hints are partial; this file, `jit` and `lowering` are the only ones that touch it.
"""The cache on disk of machine code compiled here.

The cache can never be stale: its folder is named by a digest of every source that can end up in the
machine code, see `sources`, so a changed constant is another folder. (Numba itself looks at one
file only.) For the same reason, every installation of the same sources shares it, wherever it lies.

The files are code that will be executed, so they lie where no other user can write. A damaged
file is compiled again, and without write access nothing is cached.
"""

from __future__ import annotations

import hashlib
import pickle
import stat
from enum import Enum
from pathlib import Path
from typing import Any

import numba
from numba.core import config as numba_config
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    UserProvidedCacheLocator,
)
from numba.core.serialize import dumps

from onewafer.settings import cache_folder
from onewafer.simulator.fast.machine_code.private_folder import (
    NotPrivateError,
    check_private_file,
    make_private,
)
from onewafer.simulator.fast.machine_code.sources import sources_digest

_config: Any = numba_config


class _Folder(UserProvidedCacheLocator):
    """The cache folder of exactly these sources, independent of their paths and dates."""

    def __init__(self, py_func: Any, py_file: str) -> None:  # noqa: ANN401  # of Numba
        super().__init__(py_func, py_file)
        self._cache_path = _config.CACHE_DIR

    def get_source_stamp(self) -> str:
        """Return nothing: no other part of the path must be equal."""
        return ""

    def get_disambiguator(self) -> str:
        """Return nothing: no two functions have one name."""
        return ""


class _Contents(CompileResultCacheImpl):
    """The contents of a file: a kernel, and the digest of its bytes."""

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
        """Return the cached entry; None if it is absent, damaged, or writable by others."""
        try:
            for path in self._paths():
                check_private_file(path)
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  # damaged bytes can raise anything
            try:
                self.flush()
            except OSError:
                self.disable()
            return None

    def is_filled(self) -> bool:
        """Tell whether an undamaged entry of this user is cached."""
        files = self._cache_file
        try:
            for path in self._paths():
                check_private_file(path)
            names = files._load_index().values()  # noqa: SLF001  # of Numba
            return bool([_checked(files._load_data(name)) for name in names])  # noqa: SLF001
        except Exception:  # noqa: BLE001  # as above
            return False

    def save_overload(self, sig: Any, data: Any) -> None:  # noqa: ANN401  # of Numba
        """Cache a kernel, if there is room."""
        try:
            super().save_overload(sig, data)
            for path in self._paths():
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        except OSError:
            self.disable()

    def _paths(self) -> list[Path]:
        return sorted(Path(self.cache_path).glob(f"{self._impl.filename_base}*"))


def keep_on_disk(dispatcher: Any, folder: Path) -> None:  # noqa: ANN401  # of Numba
    """Enable the cache of one dispatcher, in a folder of its own.

    Raises:
        OSError: the folder cannot be written, or others can write there.
    """
    make_private(folder)
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(folder)
    try:
        dispatcher._cache = _KernelCache(dispatcher.py_func)  # noqa: SLF001  # `enable_caching` does
    except RuntimeError as error:
        raise PermissionError(f"{folder} cannot be written") from error
    finally:
        _config.CACHE_DIR = before


class Keeping(Enum):
    """State of an entry's machine code on disk."""

    KEPT = "kept"
    NOT_YET = "not yet"
    IMPOSSIBLE = "impossible"
    """The folder cannot be written."""


def keeping(dispatcher: Any) -> Keeping:  # noqa: ANN401  # of Numba
    """Return the state of an entry's machine code on disk."""
    match dispatcher._cache:  # noqa: SLF001  # of Numba
        case _KernelCache() as cache:
            return Keeping.KEPT if cache.is_filled() else Keeping.NOT_YET
        case _:
            return Keeping.IMPOSSIBLE


def kernel_folder() -> Path:
    """Return the folder for machine code of exactly these sources and settings.

    Raises:
        OSError: there is no home folder.
    """
    digest = hashlib.sha256(sources_digest().encode())
    for part in (numba.__version__, str(_config.BOUNDSCHECK)):
        digest.update(part.encode() + b"\0")
    return cache_folder() / "kernels" / digest.hexdigest()[:20]


def why_not_kept() -> str:
    """Return why compiled kernels cannot be cached, as a sentence; empty if they can."""
    try:
        folder = kernel_folder()
    except OSError as error:
        return str(error)
    try:
        make_private(folder)
    except NotPrivateError as error:
        return str(error)
    except OSError:
        return f"{folder.parent} cannot be written"
    return ""
