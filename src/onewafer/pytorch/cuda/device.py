"""Answers of `torch.cuda` and `torch.accelerator` where the device is the wafer.

Work is done when a call returns: there is nothing to wait for, and every stream is the same. Times
between events are the wafer's: simulated cycles of the launches between them ÷ clock. What the host
computes takes no time there. Memory in use is not counted.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch

from onewafer.errors import ConfigurationError
from onewafer.pytorch.cuda.moves import check_ordinal
from onewafer.pytorch.cuda.tensors import DEVICE
from onewafer.units import to_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

    from onewafer.pytorch.cuda.moves import Replacement
    from onewafer.pytorch.cuda.presence import Presence
    from onewafer.pytorch.session import Session

_CAPABILITY = (7, 0)
"""The capability of GPUs with half precision and without bfloat16, like the wafer."""
_MILLISECONDS = 1e3

_NOTHING_TO_DO = (
    "_lazy_init",
    "empty_cache",
    "init",
    "ipc_collect",
    "manual_seed",
    "manual_seed_all",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_per_process_memory_fraction",
    "set_stream",
)
_MEMORY_IN_USE = (
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
)
_ALSO_OF_ACCELERATOR = ("is_available", "device_count", "synchronize", "current_stream")
_QUESTIONS = ("is_available", "device_count", "current_accelerator")
"""Functions that tell a script without a device that there is none; others fail, or do nothing."""


@dataclass(frozen=True, slots=True)
class DeviceProperties:
    """Properties that scripts print of a device."""

    name: str
    total_memory: int
    """SRAM of all PEs in bytes."""
    multi_processor_count: int
    """PEs."""
    major: int
    minor: int


class Stream:
    """The one stream of the device."""

    cuda_stream = 0

    def __init__(self) -> None:
        self.device = DEVICE

    def synchronize(self, *_: object) -> None:
        """Do nothing: work is done when a call returns."""

    wait_stream = wait_event = synchronize

    def record_event(self, event: Any = None) -> Any:
        """Note the moment in an event; return the event."""
        noted: Any = torch.cuda.Event() if event is None else event
        noted.record(self)
        return noted

    def query(self) -> bool:
        """Return whether all work is done: it is."""
        return True

    def is_capturing(self) -> bool:
        """Return whether a CUDA graph is recorded: none is."""
        return False

    def __enter__(self) -> Self:
        """Use the stream inside."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: it is used everywhere."""


class Event:
    """A moment on the wafer; a subclass has the clock of one."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    @staticmethod
    def clock() -> float:
        """Return the seconds that the wafer has worked."""
        raise NotImplementedError

    def record(self, stream: object = None) -> None:
        """Note the moment."""
        del stream
        self._seconds = self.clock()

    def elapsed_time(self, end_event: Event) -> float:
        """Return the wafer's time from this event to another in milliseconds."""
        start, end = self._seconds, end_event._seconds
        if start is None or end is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return (end - start) * _MILLISECONDS

    def synchronize(self, *_: object) -> None:
        """Do nothing: work is done when a call returns."""

    wait = synchronize

    def query(self) -> bool:
        """Return whether the work before the event is done: it is."""
        return True


class _Functions:
    """Functions of `torch.cuda`, under the names they have there."""

    def __init__(self, session: Session, presence: Presence, stream: type[Stream]) -> None:
        self._session = session
        self._presence = presence
        self._stream = stream

    def is_available(self) -> bool:
        # PyTorch's profiler would ask CUDA itself what it did.
        return not _is_asked_by("torch.autograd.profiler")

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def synchronize(self, device: object = None) -> int:
        return _check_device(device)

    set_device = synchronize

    def get_device_properties(self, device: object = None) -> DeviceProperties:
        _check_device(device)
        self._presence.insist()
        architecture = self._session.architecture
        num_pes = architecture.fabric_width * architecture.fabric_height
        return DeviceProperties(
            name=f"onewafer {architecture.title}",
            total_memory=num_pes * architecture.memory_bytes,
            multi_processor_count=num_pes,
            major=_CAPABILITY[0],
            minor=_CAPABILITY[1],
        )

    def get_device_name(self, device: object = None) -> str:
        return self.get_device_properties(device).name

    def get_device_capability(self, device: object = None) -> tuple[int, int]:
        _check_device(device)
        return _CAPABILITY

    def get_arch_list(self) -> list[str]:
        return []

    def is_bf16_supported(self, including_emulation: bool = True) -> bool:
        return including_emulation

    def is_tf32_supported(self) -> bool:
        return False

    def mem_get_info(self, device: object = None) -> tuple[int, int]:
        total = self.get_device_properties(device).total_memory
        return total, total

    def get_rng_state(self, device: object = None) -> torch.Tensor:
        _check_device(device)
        return torch.get_rng_state()

    def set_rng_state(self, new_state: torch.Tensor, device: object = None) -> None:
        _check_device(device)
        torch.set_rng_state(new_state.cpu())

    def get_rng_state_all(self) -> list[torch.Tensor]:
        return [torch.get_rng_state()]

    def set_rng_state_all(self, new_states: list[torch.Tensor]) -> None:
        self.set_rng_state(new_states[0])

    def current_stream(self, device: object = None) -> Stream:
        _check_device(device)
        return self._stream()

    def default_stream(self, device: object = None) -> Stream:
        return self.current_stream(device)

    def stream(self, stream: object) -> AbstractContextManager[None]:
        del stream
        return nullcontext()


def _count_seconds(session: Session) -> float:
    """Return the time that the wafer has worked so far."""
    return sum(
        to_seconds(
            record.elapsed_cycles,
            clock_hertz=record.options.clock or record.architecture.clock_hertz,
        )
        for record in session.ledger.programs
    )


def device_replacements(session: Session, presence: Presence) -> Iterator[Replacement]:
    """Yield the replacements for a session's wafer; `presence` says from when on it is there."""
    stream, event = _types_in_use(session, presence)
    yield torch.cuda, "Stream", stream
    yield torch.cuda, "Event", event
    for owner, name, ours in _functions(_Functions(session, presence, stream)):
        original = getattr(owner, name, ours)
        decide = presence.asks if name in _QUESTIONS else presence.unless_absent
        yield owner, name, decide(original, ours)
    yield torch, "Generator", _generator_type(presence)
    for name in ("CUDAGraph", "graph"):
        yield torch.cuda, name, _Graph
    yield torch.cuda, "make_graphed_callables", _refuse_graphs
    yield torch.cuda, "is_current_stream_capturing", _is_never
    yield torch.backends.cudnn, "is_acceptable", _is_never
    yield torch.nn.DataParallel, "forward", _forward_one
    if torch.distributed.is_available():
        yield torch.distributed, "init_process_group", _refuse_groups(torch.distributed)


def _functions(functions: _Functions) -> Iterator[tuple[object, str, Callable[..., Any]]]:
    """Yield the functions that answer for a CUDA device: owner, name, answer of the wafer."""
    for name in vars(_Functions):
        if not name.startswith("_"):
            yield torch.cuda, name, getattr(functions, name)
    for name in _NOTHING_TO_DO:
        yield torch.cuda, name, _do_nothing
    for name in _MEMORY_IN_USE:
        yield torch.cuda, name, _use_nothing
    yield torch.cuda, "_exchange_device", _check_device
    yield torch.cuda, "_maybe_exchange_device", _check_device
    for name in _ALSO_OF_ACCELERATOR:
        yield torch.accelerator, name, getattr(functions, name)
    for names, ours in ((_NOTHING_TO_DO, _do_nothing), (_MEMORY_IN_USE, _use_nothing)):
        for name in names:
            if hasattr(torch.accelerator, name):
                yield torch.accelerator, name, ours
    for name in ("current_device_index", "current_device_idx"):
        yield torch.accelerator, name, functions.current_device
    for name in ("set_device_index", "set_device_idx"):
        yield torch.accelerator, name, _check_device
    yield torch.accelerator, "current_accelerator", _name_accelerator
    for name in ("range_push", "range_pop", "mark"):
        yield torch.cuda.nvtx, name, _do_nothing
    yield torch.backends.cuda, "is_built", functions.is_initialized


def _types_in_use(session: Session, presence: Presence) -> tuple[type[Stream], type[Event]]:
    """Return the types of streams and events: a script that makes one uses the device."""

    class InUse:
        def __init__(self, *_: object, **__: object) -> None:
            presence.insist()
            super().__init__()

    clock = staticmethod(partial(_count_seconds, session))
    return (
        type("Stream", (InUse, Stream), {}),
        type("Event", (InUse, Event), {"clock": clock}),
    )


def _do_nothing(*_: object, **__: object) -> None:
    pass


def _use_nothing(*_: object, **__: object) -> int:
    return 0


def _is_asked_by(module: str) -> bool:
    """Tell whether a module's code is what called a function of `_Functions`."""
    if torch.compiler.is_dynamo_compiling():
        return False
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("onewafer."):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == module


def _is_never(*_: object) -> bool:
    return False


def _name_accelerator(check_available: bool = False) -> torch.device:
    del check_available
    return torch.device("cuda")


def _check_device(device: object = None) -> int:
    """Return the ordinal of a device, which is 0."""
    match device:
        case None:
            pass
        case int():
            check_ordinal(device)
        case _:
            check_ordinal(torch.device(str(device)).index or 0)
    return 0


def _refuse_graphs(*_: object, **__: object) -> None:
    raise ConfigurationError(
        "the script records CUDA graphs, which the wafer does not have nor need: programs stay on "
        "it from call to call; call the model itself, or run with --no-cuda-alias"
    )


class _Graph:
    """Stands for the classes of CUDA graphs: libraries name them in annotations."""

    def __init__(self, *_: object, **__: object) -> None:
        _refuse_graphs()


class _GeneratorType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch._C.Generator)


def _generator_type(presence: Presence) -> type:
    class Generator(metaclass=_GeneratorType):
        """Makes random number generators; those for the device are the host's."""

        def __new__(cls, device: object = "cpu") -> Any:
            wanted = torch.device(str(device))
            if wanted.type != "cuda":
                return torch._C.Generator(wanted)
            presence.insist()
            return torch._C.Generator("cpu")

    return Generator


def _forward_one(parallel: torch.nn.DataParallel[Any], *inputs: object, **kwargs: object) -> object:
    """Run a `DataParallel` over one device, which is its module."""
    return parallel.module(*inputs, **kwargs)


def _refuse_groups(distributed: Any) -> Callable[..., object]:
    original = distributed.init_process_group

    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> object:
        if backend is None or "nccl" in str(backend):
            raise ConfigurationError(
                f"the script joins a process group of GPUs (backend {backend or 'nccl'!r}); one "
                "wafer is one device: start it as for a single GPU, without torchrun"
            )
        return original(backend, *args, **kwargs)

    return init_process_group
