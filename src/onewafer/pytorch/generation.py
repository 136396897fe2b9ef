"""Calls of a causal language model as transformers makes them, one after the other, with a cache.

In: the arguments of a call `model(…)`, from `model.generate(…)` or from a loop of the script. Out:
what the module would have returned, with the script's own cache, which from then on stands for keys
and values on the wafer. Where the host computes the values, the cache is the host's, and the tokens
that it stands for are noted. A call that does more than go on with sequences of tokens is refused
with the reason; the host then takes over, cache and all.

Padding is not on the wafer. A script that asks for logits behind it gets those of the host.
"""

from __future__ import annotations

import inspect
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.execution import Fidelity
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.causal_calls import cache_name, cache_of, config_of, read_request, with_cache
from onewafer.pytorch.host_calls import errors_of_script, is_own_error
from onewafer.pytorch.language_model import capture_causal
from onewafer.pytorch.resident_model import ResidentModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from onewafer.execution import ResidentProgram, WaferOptions
    from onewafer.graph import Graph
    from onewafer.pytorch.causal_calls import Request
    from onewafer.pytorch.token_batch import TokenBatch


@dataclass(frozen=True, slots=True)
class _Size:
    """The sequences that a program has room for, and the rows that it gives logits for."""

    sequences: int
    gives_all_rows: bool
    """True if it gives logits for every token of a launch, not only for the last of each sequence.
    """

    def can_do(self, other: _Size) -> bool:
        """Tell whether a program of this size serves for another; one sequence has its own."""
        is_alone = self.sequences == 1
        is_alike = is_alone == (other.sequences == 1)
        has_room = self.sequences >= other.sequences
        return is_alike and has_room and self.gives_all_rows >= other.gives_all_rows


@dataclass(slots=True)
class _Known:
    """The programs of a module."""

    signature: object
    """Equal as long as the module computes the same."""
    residents: dict[_Size, ResidentModel] = field(default_factory=dict["_Size", ResidentModel])
    refused: dict[_Size, UnsupportedOperationError] = field(
        default_factory=dict["_Size", UnsupportedOperationError]
    )
    """Why there is no program of a size."""

    def find(self, wanted: _Size) -> ResidentModel | None:
        """Return a program that will do: for few sequences, and for all rows if there is one."""
        able = [size for size in self.residents if size.can_do(wanted)]
        best = min(able, key=lambda size: (size.sequences, not size.gives_all_rows), default=None)
        return None if best is None else self.residents[best]


class Generation:
    """The language models of a session."""

    def __init__(
        self,
        build: Callable[[torch.nn.Module, Graph, int, int], ResidentProgram],
        on_host: Callable[[], AbstractContextManager[object]],
        leave: Callable[[torch.nn.Module, Exception, int], object],
        options: WaferOptions,
    ) -> None:
        """Take the loader of programs, and a context in which module calls run on the host.

        `build` gets the module, the graph, how many tokens a sequence may have at most, and how
        many sequences there are. `leave` gets the module, an error of ours and the FLOP
        of a call that the host has answered, and refuses later ones.
        """
        self._leave = leave
        self._build = build
        self._on_host = on_host
        self._options = options
        self._known: weakref.WeakKeyDictionary[torch.nn.Module, _Known] = (
            weakref.WeakKeyDictionary()
        )

    def call(
        self, module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Return `module(*args, **kwargs)`, a call for which `is_language_model` holds.

        Raises UnsupportedOperationError, and has changed nothing, if the wafer cannot.
        """
        request = read_request(module, args, kwargs)
        if request.hides_logits and request.num_given < request.batch.num_columns:
            raise UnsupportedOperationError("it asks for logits behind padding, with a cache")
        resident = self._resident(module, request)
        resident.update()
        if self._options.fidelity is Fidelity.AUTO:
            return self._follow(module, args, kwargs, request=request, resident=resident)
        logits = resident.logits(request.batch, request.count, num_given=request.num_given)
        if request.hides_logits:
            self._compute_hidden(module, request, logits)
            resident.note_padding()
        answer = resident.model.answer(logits)
        cache = self._keep(module, request)
        return with_cache(answer, cache, returns_tuple=request.returns_tuple)

    def _follow(
        self,
        module: torch.nn.Module,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        *,
        request: Request,
        resident: ResidentModel,
    ) -> object:
        """Return the host's result, and account for the launches that would give it."""
        resident.check(request.batch, request.count)  # the host must not do it twice
        with self._on_host(), errors_of_script():
            answer = module(*args, **kwargs)
        logits = to_numpy(answer[0].detach())
        try:
            resident.logits(request.batch, request.count, num_given=request.num_given, host=logits)
        except Exception as error:
            if not is_own_error(error):
                raise
            self.forget(module)
            self._leave(module, error, resident.count_flop(request.batch, request.num_given))
        cache = request.cache or cache_of(answer)
        if cache is not None:
            from onewafer.pytorch.wafer_cache import note_batch  # noqa: PLC0415  # an extra

            note_batch(cache, request.batch)
        return answer

    def forget(self, module: torch.nn.Module) -> None:
        """Forget the programs of a module."""
        self._known.pop(module, None)

    def _resident(self, module: torch.nn.Module, request: Request) -> ResidentModel:
        """Return a program that can answer; it gives the last rows only if that is enough."""
        known = self._known.get(module)
        signature = _signature(module)
        if known is None or known.signature != signature:
            known = _Known(signature)
            self._known[module] = known
        least = 1 if request.batch.is_plain else 2  # one alone has no positions of its own
        kept = request.batch.num_sequences if request.keeps_sequences else 1
        wanted = _Size(max(least, kept), gives_all_rows=request.count > 1)
        found = known.find(wanted)
        if found is not None:
            return found
        if wanted in known.refused:
            raise known.refused[wanted].again()
        try:
            known.residents[wanted] = self._load(module, wanted)
        except UnsupportedOperationError as error:
            known.refused[wanted] = error.again()  # without the frames of this one
            raise
        return known.residents[wanted]

    def _load(self, module: torch.nn.Module, size: _Size) -> ResidentModel:
        options = self._options
        positions = getattr(config_of(module), "max_position_embeddings", options.context)
        windows = getattr(config_of(module), "sliding_window", None)
        context = min(options.context, positions, windows or positions)
        model = capture_causal(
            module, context, gives_all_rows=size.gives_all_rows, dtype=options.dtype
        )
        return ResidentModel(
            model,
            partial(self._build, module),
            rows=options.rows_per_launch,
            sequences=size.sequences,
        )

    def _keep(self, module: torch.nn.Module, request: Request) -> object | None:
        """Return the cache of the answer, which stands for what is on the wafer."""
        if request.cache is None and not request.makes_cache:
            return None
        from transformers.cache_utils import DynamicCache  # noqa: PLC0415  # an extra

        from onewafer.pytorch.wafer_cache import keep_on_wafer  # noqa: PLC0415  # imports it, too

        cache = cast("DynamicCache", request.cache) if request.cache is not None else DynamicCache()
        owner = weakref.ref(module)
        computed: dict[TokenBatch, Sequence[Any]] = {}

        def host_layers(batch: TokenBatch) -> Sequence[Any]:
            if batch not in computed:
                computed.clear()
                computed[batch] = self._compute_on_host(owner(), batch)
            return computed[batch]

        keep_on_wafer(cache, request.batch, config_of(module).num_hidden_layers, host_layers)
        return cache

    def _compute_on_host(self, module: torch.nn.Module | None, batch: TokenBatch) -> Sequence[Any]:
        """Return the layers of a cache that the host fills with the keys and values of tokens."""
        if module is None:
            raise UnsupportedOperationError("its model is gone, and with it keys and values")
        from transformers.cache_utils import DynamicCache  # noqa: PLC0415  # an extra

        cache = DynamicCache(config=config_of(module))  # pyright: ignore[reportArgumentType]  # its own
        arguments: dict[str, object] = {"input_ids": torch.tensor(batch.ids), "use_cache": True}
        names = inspect.signature(module.forward).parameters
        arguments[cache_name(names)] = cache
        if batch.has_padding:
            arguments["attention_mask"] = torch.tensor(batch.shown, dtype=torch.int64)
        if "position_ids" in names and (batch.has_padding or not batch.is_plain):
            arguments["position_ids"] = torch.tensor(batch.positions)
        with self._on_host(), torch.no_grad():
            module(**arguments)
        return cache.layers

    def _compute_hidden(
        self, module: torch.nn.Module, request: Request, logits: NDArray[Any]
    ) -> None:
        """Put the host's logits behind padding among those of the wafer."""
        arguments = {**request.arguments, "use_cache": False, "logits_to_keep": request.count}
        with self._on_host(), errors_of_script():
            answer = module(**arguments, return_dict=True)
        is_hidden = ~np.array(request.batch.shown)[:, -request.count :]
        logits[is_hidden] = to_numpy(answer.logits.detach())[is_hidden]


_REGISTRIES = frozenset(vars(torch.nn.Module()))
"""Attributes that every module has."""


def _signature(module: torch.nn.Module) -> object:
    """Return a value that differs after each change of a module but to elements of tensors."""
    tensors = (*module.parameters(), *module.buffers())
    modules = tuple(
        (inner.training, type(inner).forward, *_describe_attributes(inner))
        for inner in module.modules()
    )
    return tuple(id(tensor) for tensor in tensors), modules, repr(config_of(module).to_dict())


def _describe_attributes(module: torch.nn.Module) -> tuple[tuple[str, object], ...]:
    return tuple(
        (name, _describe(value)) for name, value in vars(module).items() if name not in _REGISTRIES
    )


def _describe(value: object) -> object:
    """Return plain values and containers of them as they are, of other objects the identity."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return tuple(_describe(element) for element in cast("Sequence[object]", value))
        case dict():
            items = cast("dict[object, object]", value).items()
            return tuple((_describe(key), _describe(element)) for key, element in items)
        case _:
            return id(value)
