"""Calls of a causal language model as transformers makes them, one after the other, with a cache.

In: the arguments of a call `model(…)`, from `model.generate(…)` or from a loop of the script. Out:
what the module would have returned, with the script's own cache, which from then on stands for keys
and values on the wafer. Where the host computes the values, the cache is the host's, and the tokens
that it stands for are noted. A call that does more than go on with one sequence of tokens is
refused with the reason; the host then takes over, cache and all.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.execution import Fidelity
from onewafer.pytorch.arrays import to_numpy
from onewafer.pytorch.host_calls import errors_of_script
from onewafer.pytorch.language_model import ResidentModel, capture_causal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from onewafer.execution import ResidentProgram, WaferOptions
    from onewafer.graph import Graph

_CACHE_NAMES = ("cache", "past_key_values")
"""What transformers calls the cache, among arguments and results; the second name is older."""


class _Config(Protocol):
    """The fields of a model's configuration that are read."""

    num_hidden_layers: int
    max_position_embeddings: int
    use_cache: bool
    return_dict: bool
    output_attentions: bool
    output_hidden_states: bool

    def to_dict(self) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One call that goes on with one sequence."""

    tokens: tuple[int, ...]
    """All tokens of the sequence, those of this call at the end."""
    num_given: int
    """Tokens that the call gives, without those in its cache."""
    count: int
    """Rows of logits that the call asks for, at the end."""
    cache: object | None
    """The script's, or None if it keeps none."""
    makes_cache: bool
    """Whether the call asks for a cache without giving one."""
    returns_tuple: bool


@dataclass(slots=True)
class _Known:
    """What is known of a module."""

    look: object
    """Equal as long as the module computes the same."""
    residents: dict[bool, ResidentModel | UnsupportedOperationError] = field(
        default_factory=dict[bool, "ResidentModel | UnsupportedOperationError"]
    )
    """Whether a program gives all rows of logits → the program, or why there is none."""


class Generation:
    """The language models of a session."""

    def __init__(
        self,
        build: Callable[[torch.nn.Module, Graph, int], ResidentProgram],
        on_host: Callable[[], AbstractContextManager[object]],
        options: WaferOptions,
    ) -> None:
        """Take what loads a program, and a context in which module calls run on the host.

        `build` gets the module, the graph, and how many tokens a sequence may have at most.
        """
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
        resident = self._resident(module, request)
        resident.update()
        if self._options.fidelity is Fidelity.AUTO:
            return self._follow(module, args, kwargs, request=request, resident=resident)
        logits = resident.logits(request.tokens, request.count, num_given=request.num_given)
        answer = resident.model.answer(logits)
        cache = self._keep(module, request)
        return _with_cache(answer, cache, returns_tuple=request.returns_tuple)

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
        resident.check(request.tokens, request.count)  # the host must not do it twice
        with self._on_host(), errors_of_script():
            answer = module(*args, **kwargs)
        logits = to_numpy(answer[0].detach())
        resident.logits(
            request.tokens,
            request.count,
            num_given=request.num_given,
            host=logits.reshape(-1, logits.shape[-1]),
        )
        cache = request.cache or _cache_of(answer)
        if cache is not None:
            from onewafer.pytorch.wafer_cache import note_tokens  # noqa: PLC0415  # an extra

            note_tokens(cache, request.tokens)
        return answer

    def _resident(self, module: torch.nn.Module, request: Request) -> ResidentModel:
        """Return a program that can answer, one with the last row of logits if that is enough."""
        known = self._known.get(module)
        look = _look(module)
        if known is None or known.look != look:
            known = _Known(look)
            self._known[module] = known
        wants_all = request.count > 1
        for gives_all in (True, False):
            found = known.residents.get(gives_all)
            if isinstance(found, ResidentModel) and gives_all >= wants_all:
                return found
        if wants_all not in known.residents:
            known.residents[wants_all] = self._load(module, gives_all_rows=wants_all)
        found = known.residents[wants_all]
        if isinstance(found, UnsupportedOperationError):
            raise found.again()
        return found

    def _load(
        self, module: torch.nn.Module, *, gives_all_rows: bool
    ) -> ResidentModel | UnsupportedOperationError:
        options = self._options
        positions = getattr(_config(module), "max_position_embeddings", options.context)
        windows = getattr(_config(module), "sliding_window", None)
        context = min(options.context, positions, windows or positions)
        try:
            model = capture_causal(
                module, context, gives_all_rows=gives_all_rows, dtype=options.dtype
            )
            build = self._build
            return ResidentModel(
                model, lambda graph, most: build(module, graph, most), options.rows_per_launch
            )
        except UnsupportedOperationError as error:
            return error.again()  # without the frames of this one

    def _keep(self, module: torch.nn.Module, request: Request) -> object | None:
        """Return the cache of the answer, which stands for what is on the wafer."""
        if request.cache is None and not request.makes_cache:
            return None
        from transformers.cache_utils import DynamicCache  # noqa: PLC0415  # an extra

        from onewafer.pytorch.wafer_cache import keep_on_wafer  # noqa: PLC0415  # imports it, too

        cache = cast("DynamicCache", request.cache) if request.cache is not None else DynamicCache()
        owner = weakref.ref(module)
        computed: dict[tuple[int, ...], Sequence[Any]] = {}

        def host_layers(tokens: tuple[int, ...]) -> Sequence[Any]:
            if tokens not in computed:
                computed.clear()
                computed[tokens] = self._compute_on_host(owner(), tokens)
            return computed[tokens]

        keep_on_wafer(cache, request.tokens, _config(module).num_hidden_layers, host_layers)
        return cache

    def _compute_on_host(
        self, module: torch.nn.Module | None, tokens: tuple[int, ...]
    ) -> Sequence[Any]:
        """Return the layers of a cache that the host fills with the keys and values of tokens."""
        if module is None:
            raise UnsupportedOperationError("its model is gone, and with it keys and values")
        from transformers.cache_utils import DynamicCache  # noqa: PLC0415  # an extra

        cache = DynamicCache(config=_config(module))  # pyright: ignore[reportArgumentType]  # its own
        name = _cache_name(inspect.signature(module.forward).parameters)
        with self._on_host(), torch.no_grad():
            module(input_ids=torch.tensor([tokens]), **{name: cache}, use_cache=True)
        return cache.layers


def is_language_model(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> bool:
    """Tell whether a call is one of a causal language model of transformers with token ids."""
    transformers = sys.modules.get("transformers")
    if transformers is None or not isinstance(module, transformers.GenerationMixin):
        return False
    ids = kwargs.get("input_ids", args[0] if args else None)
    names = inspect.signature(module.forward).parameters
    is_causal = any(name in names for name in _CACHE_NAMES) and "logits_to_keep" in names
    return is_causal and isinstance(ids, torch.Tensor)


def has_cache(kwargs: Mapping[str, object]) -> bool:
    """Tell whether a call gives a cache."""
    return any(kwargs.get(name) is not None for name in _CACHE_NAMES)


def read_request(
    module: torch.nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> Request:
    """Return the request of a call; raise UnsupportedOperationError for anything uncommon."""
    names = [*inspect.signature(module.forward).parameters]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    given = {name: value for name, value in given.items() if value is not None}
    config = _config(module)
    ids = _take_ids(given)
    cache = next((given.pop(name) for name in _CACHE_NAMES if name in given), None)
    uses_cache = bool(given.pop("use_cache", config.use_cache))
    before: tuple[int, ...] = ()
    if cache is not None:
        from onewafer.pytorch.wafer_cache import tokens_of  # noqa: PLC0415  # imports an extra

        before = tokens_of(cache)
    _check_mask(given.pop("attention_mask", None), len(before) + len(ids))
    for name in ("position_ids", "cache_position"):
        _check_positions(name, given.pop(name, None), len(before), len(ids))
    keeps = given.pop("logits_to_keep", 0)
    if not isinstance(keeps, int) or keeps < 0:
        raise UnsupportedOperationError("logits_to_keep is not a number of rows at the end")
    returns_tuple = not given.pop("return_dict", config.return_dict)
    for name in ("output_attentions", "output_hidden_states"):
        if given.pop(name, getattr(config, name, False)):
            raise UnsupportedOperationError(f"{name} is not supported: they stay on the wafer")
    if given:
        raise UnsupportedOperationError(f"its argument {next(iter(given))!r} is not supported")
    makes_cache = uses_cache and cache is None
    count = min(keeps or len(ids), len(ids))
    return Request(before + ids, len(ids), count, cache, makes_cache, returns_tuple)


def _take_ids(given: dict[str, object]) -> tuple[int, ...]:
    ids = given.pop("input_ids", None)
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2 or not ids.numel():  # noqa: PLR2004
        raise UnsupportedOperationError("its token ids are not of shape (sequences, tokens)")
    if ids.shape[0] != 1:
        msg = f"it has {ids.shape[0]} sequences; a language model takes one at a time"
        raise UnsupportedOperationError(msg)
    return tuple(int(token) for token in ids[0])


def _check_mask(mask: object, length: int) -> None:
    if mask is None:
        return
    if not isinstance(mask, torch.Tensor) or tuple(mask.shape) != (1, length) or not mask.all():
        raise UnsupportedOperationError("its attention mask hides tokens (padding)")


def _check_positions(name: str, positions: object, start: int, count: int) -> None:
    if positions is None:
        return
    expected = torch.arange(start, start + count)
    is_plain = isinstance(positions, torch.Tensor) and positions.numel() == count
    if not is_plain or not torch.equal(cast("torch.Tensor", positions).flatten().cpu(), expected):
        raise UnsupportedOperationError(f"its {name} do not count the tokens from {start}")


def _with_cache(answer: object, cache: object | None, *, returns_tuple: bool) -> object:
    """Return a module's output with a cache in it."""
    if cache is not None:
        fields = cast("Mapping[str, object]", getattr(type(answer), "__dataclass_fields__", {}))
        setattr(answer, _cache_name(fields), cache)
    if returns_tuple:
        return cast("Any", answer).to_tuple()
    return answer


def _cache_of(answer: object) -> object | None:
    """Return the cache in a module's output, if its state can be noted."""
    fields = {name: getattr(answer, name, None) for name in _CACHE_NAMES}
    of_tuple = cast("tuple[object, ...]", answer)[1:] if isinstance(answer, tuple) else ()
    found = (*fields.values(), *of_tuple)
    return next((value for value in found if hasattr(value, "get_seq_length")), None)


def _cache_name(names: Mapping[str, object]) -> str:
    return next(name for name in _CACHE_NAMES if name in names)


def _config(module: torch.nn.Module) -> _Config:
    return cast("_Config", module.config)


_REGISTRIES = frozenset(vars(torch.nn.Module()))
"""Attributes that every module has."""


def _look(module: torch.nn.Module) -> object:
    """Return a value that differs after each change of a module but to elements of tensors."""
    tensors = (*module.parameters(), *module.buffers())
    modules = tuple(
        (inner.training, type(inner).forward, *_describe_attributes(inner))
        for inner in module.modules()
    )
    return tuple(id(tensor) for tensor in tensors), modules, repr(_config(module).to_dict())


def _describe_attributes(module: torch.nn.Module) -> tuple[tuple[str, object], ...]:
    return tuple(
        (name, _describe(value)) for name, value in vars(module).items() if name not in _REGISTRIES
    )


def _describe(value: object) -> object:
    """Return a small value itself, of others and of what they hold the identities."""
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
