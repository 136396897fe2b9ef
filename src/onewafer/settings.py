"""Every environment variable that onewafer reads, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_Value = TypeVar("_Value")

ENGINES = ("fast", "reference")
"""The simulator's engines; the first is the default."""
CHECKS = ("bounds", "uninitialised")
"""The checks at each access to memory of a CSL program."""
_SPELLINGS = {"uninitialized": "uninitialised"}
TRACE_ENDINGS = (".perfetto-trace", ".pftrace", ".log", ".txt", ".wafer-trace")
"""How names of trace files end; the ending says the format."""
LOG_PARTS = ("inst_trace", "landing", "router", "stalls")
"""The values of `SIMFABRIC_DEBUG`; the vendor's simulator knows more, which is left out."""
_PREBUILT = "ONEWAFER_PREBUILT"
_OFF = ("off", "no", "0")
_ON = ("on", "yes", "1")


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once at the entry points and passed down."""

    csl_import_path: tuple[Path, ...] = ()
    """`CSL_IMPORT_PATH`: folders searched by `@import_module`, after the importing file's."""
    max_cycles: int | None = None
    """`ONEWAFER_MAX_CYCLES`: how many cycles one launch may take; None is no limit."""
    engine: str = ENGINES[0]
    """`ONEWAFER_ENGINE`: the engine of calls that do not name one."""
    shows_progress: bool = True
    """`ONEWAFER_PROGRESS`: true if long runs show their progress on stderr."""
    checkpoint_folder: Path | None = Path()
    """`ONEWAFER_CHECKPOINT_DIR`: the folder for the checkpoint of an interrupted run, an absolute
    path; empty: the working directory at that moment; None (`off`): no checkpoint is written."""
    threads: int | None = None
    """`ONEWAFER_THREADS`: how many threads may simulate; None: one for each core, within reason."""
    max_memory: int | None = None
    """`ONEWAFER_MAX_MEMORY`: bytes that a simulation or a served model's weights may take, written
    as `8G`, `500M` or plain; None: the memory that the computer has available."""
    trace_files: tuple[Path, ...] = ()
    """`ONEWAFER_TRACE`: files, separated by commas, that a run of a host script is traced into."""
    record_file: Path | None = None
    """`ONEWAFER_RECORD`: the file that a run of a host script is recorded into."""
    sample_every: int | None = None
    """`ONEWAFER_SAMPLE_EVERY`: cycles between two samples of a recorded run; None: chosen by the
    number of PEs."""
    is_live: bool = False
    """`ONEWAFER_LIVE`: true if a recording is also written during its run, again and again."""
    log_parts: tuple[str, ...] = ()
    """`SIMFABRIC_DEBUG`: kinds of lines, separated by commas, that a run of a host script writes to
    `sim.log`: some of `LOG_PARTS`."""
    is_strict: bool = False
    """`ONEWAFER_STRICT`: true if the warnings at the end of a run are errors."""
    raises_own_errors: bool = False
    """`ONEWAFER_RAISE_OWN_ERRORS`: true if an unforeseen error of onewafer in a module's call ends
    the script; false: the call runs on the host instead."""
    checks: tuple[str, ...] = ()
    """`ONEWAFER_CHECK`: some of `CHECKS`, separated by commas, or `all`."""
    api_key: str | None = field(default=None, repr=False)
    """`ONEWAFER_API_KEY`: the key that clients of `onewafer serve` must send; None: none."""

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the environment of this process.

        Raises:
            ConfigurationError: a variable has no usable value.
        """
        # No field: it is read at import time, when it cannot be refused.
        _read(_PREBUILT, _switch, usual=True)
        value = os.environ.get("CSL_IMPORT_PATH", "")
        return cls(
            csl_import_path=tuple(Path(p) for p in value.split(os.pathsep) if p),
            max_cycles=_read("ONEWAFER_MAX_CYCLES", _positive, usual=None),
            engine=_read("ONEWAFER_ENGINE", parse_engine, usual=ENGINES[0]),
            shows_progress=_read("ONEWAFER_PROGRESS", _switch, usual=True),
            checkpoint_folder=_folder("ONEWAFER_CHECKPOINT_DIR"),
            threads=_read("ONEWAFER_THREADS", _positive, usual=None),
            max_memory=_read("ONEWAFER_MAX_MEMORY", _bytes, usual=None),
            trace_files=_trace_files("ONEWAFER_TRACE"),
            record_file=_record_file("ONEWAFER_RECORD"),
            sample_every=_read("ONEWAFER_SAMPLE_EVERY", _positive, usual=None),
            is_live=_read("ONEWAFER_LIVE", _switch, usual=False),
            log_parts=_log_parts("SIMFABRIC_DEBUG"),
            is_strict=_read("ONEWAFER_STRICT", _switch, usual=False),
            raises_own_errors=_read("ONEWAFER_RAISE_OWN_ERRORS", _switch, usual=False),
            checks=_read("ONEWAFER_CHECK", parse_checks, usual=()),
            api_key=os.environ.get("ONEWAFER_API_KEY") or None,
        )


def environment_with(**variables: str | None) -> dict[str, str]:
    """Return this environment with some variables replaced, for a child process; None: as it is."""
    return {**os.environ, **{n: value for n, value in variables.items() if value is not None}}


def forbid_usage_statistics() -> None:
    """Switch off Ray's usage statistics, in this process and in its child processes."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def set_unless_set(**variables: str) -> dict[str, str]:
    """Give a library variables that the user has not set, and return what all of them are now."""
    return {name: os.environ.setdefault(name, value) for name, value in variables.items()}


def cache_folder() -> Path:
    """Return the folder of cached machine code, captured models and the like: `ONEWAFER_CACHE_DIR`.

    Not a field of `Settings`: it is read at an import, which must not fail for other variables.

    Raises:
        OSError: this user has no home folder, so nothing can be cached.
    """
    folder = os.environ.get("ONEWAFER_CACHE_DIR", "")
    if folder:
        return Path(folder).absolute()
    caches = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(caches) if caches else _home() / ".cache") / "onewafer"


def catalog_folder() -> Path | None:
    """Return the user's own folder of machines, systems and GPUs: `ONEWAFER_CATALOG`.

    Not a field of `Settings`: machines are loaded wherever one is named.

    Raises:
        ConfigurationError: there is no such folder.
    """
    text = os.environ.get("ONEWAFER_CATALOG", "")
    if text and not Path(text).is_dir():
        raise ConfigurationError(f"ONEWAFER_CATALOG={text!r}: there is no such folder")
    return Path(text) if text else None


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # HOME is not set, and the system does not know the user
        raise FileNotFoundError("there is no home folder") from error


def wants_python_kernels() -> bool:
    """Tell whether to run the fast engine's kernels as Python functions (NUMBA_DISABLE_JIT).

    Read at an import, as `cache_folder` and `wants_compiled_kernels` are.
    """
    return _is_set("NUMBA_DISABLE_JIT")


def wants_compiled_kernels() -> bool:
    """Tell whether to compile the kernels here instead of loading those of the package.

    With `ONEWAFER_PREBUILT=off`, or NUMBA_BOUNDSCHECK, which needs other machine code.
    """
    return os.environ.get(_PREBUILT, "").lower() in _OFF or _is_set("NUMBA_BOUNDSCHECK")


def _is_set(name: str) -> bool:
    """Tell whether a variable of Numba, which is a number, is set and not 0."""
    return os.environ.get(name, "").strip() not in ("", "0")


def wants_short_tracebacks() -> bool:
    """Tell whether to hide our frames under a script's error; `cs_python` sets the variable.

    Not a field of `Settings` either.
    """
    return bool(os.environ.get("ONEWAFER_SHORT_TRACEBACKS"))


def _read(name: str, parse: Callable[[str], _Value], *, usual: _Value) -> _Value:
    """Return the value of a variable, or the usual one; its parser raises ValueError."""
    text = os.environ.get(name, "").strip()
    try:
        return parse(text) if text else usual
    except ValueError as error:
        raise ConfigurationError(f"{name}={text!r}: {error}") from None


def _positive(text: str) -> int:
    number = _whole_number(text)
    if number < 1:
        raise ValueError("give a whole number of at least 1")
    return number


def _whole_number(text: str) -> int:
    """Return the number of a text of decimal digits, `_` allowed between them; 0: it is none."""
    try:
        return int(text) if text.isascii() and text[:1].isdigit() else 0
    except ValueError:
        return 0


def parse_engine(name: str) -> str:
    """Return the name of an engine; raise ValueError if there is none such."""
    if name not in ENGINES:
        raise ValueError(f"there is no such engine; choose from {', '.join(ENGINES)}")
    return name


def parse_checks(text: str) -> tuple[str, ...]:
    """Return the checks that a list with commas names.

    >>> parse_checks("uninitialised,bounds")
    ('bounds', 'uninitialised')

    Raises:
        ValueError: there is no such check.
    """
    names = filter(None, map(str.strip, text.lower().split(",")))
    wanted = {_SPELLINGS.get(name, name) for name in names}
    if "all" in wanted:
        return CHECKS
    unknown = sorted(wanted.difference(CHECKS))
    if unknown:
        choices = ", ".join(CHECKS)
        raise ValueError(f"there is no check {unknown[0]!r}; choose from {choices}, or all")
    return tuple(name for name in CHECKS if name in wanted)


def _switch(text: str) -> bool:
    if text.lower() not in _ON + _OFF:
        raise ValueError("write on or off")
    return text.lower() in _ON


def _folder(name: str) -> Path | None:
    text = os.environ.get(name, "")
    if text.lower() in _OFF:
        return None
    folder = Path(text)
    if not folder.is_dir():
        raise ConfigurationError(f"{name}={text!r}: there is no such folder; make it, or write off")
    return folder.absolute() if text else folder


def _trace_files(name: str) -> tuple[Path, ...]:
    texts = [text for text in os.environ.get(name, "").split(",") if text]
    return tuple(check_trace_file(text, name) for text in texts)


def _record_file(name: str) -> Path | None:
    text = os.environ.get(name, "")
    return check_record_file(text, name) if text else None


def check_record_file(text: str, origin: str) -> Path:
    """Return the absolute path of a recording to be written; `origin` says who named it.

    Raises:
        ConfigurationError: it is a folder, or there is no such folder.
    """
    path = Path(text)
    if path.is_dir():
        raise ConfigurationError(f"{origin} {text}: that is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"{origin} {text}: there is no folder {path.absolute().parent}")
    return path.absolute()


def require_recording(record_file: Path | None, *, wanted: object, origin: str) -> None:
    """Refuse an option that is about a recording if the run is not recorded.

    `origin` is the name of the option or the variable.

    Raises:
        ConfigurationError: the option is set, and there is no recording.
    """
    if wanted and record_file is None:
        raise ConfigurationError(
            f"{origin} is for a run that is recorded, and this one is not: name the file of its "
            "recording"
        )


def _log_parts(name: str) -> tuple[str, ...]:
    asked = [part.strip() for part in os.environ.get(name, "").split(",")]
    return tuple(part for part in LOG_PARTS if part in asked)


def check_trace_file(text: str, origin: str) -> Path:
    """Return the absolute path of a trace to be written; `origin` says who named it.

    Raises:
        ConfigurationError: its ending is that of no format, or there is no such folder.
    """
    if Path(text).suffix not in TRACE_ENDINGS:
        raise ConfigurationError(
            f"{origin} {text}: the ending of the name says the format: .perfetto-trace (or "
            ".pftrace) for ui.perfetto.dev, .log for wse-viz, .txt for cycles by source line, "
            ".wafer-trace for all of it"
        )
    return check_record_file(text, origin)


_SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _bytes(text: str) -> int:
    scale = _SUFFIXES.get(text[-1].upper(), 1)
    number = _whole_number(text[:-1] if scale > 1 else text)
    if number < 1:
        raise ValueError("give bytes, as in 500M, 8G or 8000000000")
    return number * scale


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes that this process may still take without swapping; None: not known.

    The smaller of the memory that the system has available and the rest of a container's limit.
    """
    found = [_system_memory(), _group_memory(Path("/sys/fs/cgroup"))]
    return min((number for number in found if number is not None), default=None)


def _system_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _group_memory(folder: Path) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        # The group's cache of files is reclaimable.
        statistics = (folder / "memory.stat").read_text(encoding="ascii").split()
        cached = int(statistics[statistics.index("inactive_file") + 1])
    except (OSError, ValueError, IndexError):  # no groups, no limit ("max"), another version
        return None
    return max(0, limit - used + cached)
