"""From a name or a module to a `perf.Model`: what a comparison of machines begins with.

In: a name of the catalogue, or a module and how it is called. Out: a model whose graph has one
sequence of a few tokens, cut into segments. No weight has elements, so a model of any size takes
seconds. Unknown here: jobs, machines, number formats, all of which the graph serves alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch.utils import _pytree as pytree

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.graph import (
    Attention,
    DataType,
    Experts,
    Opaque,
    PositionEmbedding,
    fold,
    num_samples,
    with_samples,
)
from onewafer.perf import Model, find_model, keep_model, kept_model
from onewafer.pytorch.capture import capture
from onewafer.pytorch.cuda import unmarked
from onewafer.pytorch.lowering import Origin
from onewafer.pytorch.stand_ins import put_stand_ins
from onewafer.pytorch.weightless import build_weightless, without_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from onewafer.graph import Graph
    from onewafer.perf import KnownModel

    Progress = Callable[[str], None]

TOKENS = 17
"""Tokens of the captured sequence by default: other numbers of tokens follow from it.

It is prime, and so hardly a number of heads or features, from which rows must be told apart."""


def describe_model(name: str, *, progress: Progress | None = None) -> Model:
    """Return a model of the catalogue; `progress` gets a line before work that takes seconds.

    What was captured once is kept in the cache folder, whence `perf.kept_model` reads it, too.

    Raises ConfigurationError if there is no model of that name, or if transformers, which knows
    what its layers compute, is missing or too old.
    """
    entry, kept = find_model(name), kept_model(name)
    if kept is not None:
        return kept
    if progress is not None:
        progress(f"capturing {entry.title}: {entry.published_weights} weights, none in memory")
    module = build_weightless(lambda: _build(entry))
    model = _describe(
        module,
        (),
        _arguments(module, TOKENS),
        name=entry.name,
        title=entry.title,
        max_context=entry.max_context,
        source=entry.source,
        notes=(entry.note,) if entry.note else (),
    )
    keep_model(model)
    return model


def describe_module(
    module: torch.nn.Module,
    arguments: Mapping[str, object] | None = None,
    *,
    tokens: int = TOKENS,
    name: str | None = None,
) -> Model:
    """Return the model of a module, wherever its weights are; it is not called, nor changed.

    `arguments` are those of one call by their names; None makes them for a class of transformers,
    with so many `tokens`. Raises ConfigurationError for other classes without arguments, and
    UnsupportedOperationError if its code cannot be captured.
    """
    if arguments is None:
        arguments = _arguments(module, tokens)
    return describe_call(module, (), arguments, name=name)


def describe_call(
    module: torch.nn.Module,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    name: str | None = None,
) -> Model:
    """Return the model of `module(*args, **kwargs)`, without calling it.

    The model of several sequences or samples is that of one of them, with their number.
    """
    kind = type(module).__name__
    config = getattr(module, "config", None)
    return _describe(
        without_weights(module),
        cast("tuple[object, ...]", _as_floats(args)),
        cast("Mapping[str, object]", _as_floats(dict(kwargs))),
        name=name or kind,
        title=kind,
        max_context=getattr(config, "max_position_embeddings", None),
        source=f"the class {type(module).__module__}.{kind}",
        notes=(),
    )


def _as_floats(arguments: object) -> object:
    """Return arguments as plain tensors of the host, in the format of weights without elements."""

    def plain(tensor: torch.Tensor) -> torch.Tensor:
        tensor = unmarked(tensor).detach().cpu()
        return tensor.float() if tensor.is_floating_point() else tensor

    return pytree.tree_map_only(torch.Tensor, plain, arguments)


def _describe(
    module: torch.nn.Module,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    name: str,
    title: str,
    max_context: int | None,
    source: str,
    notes: tuple[str, ...],
) -> Model:
    put_stand_ins(module)
    try:
        call = capture(module, args, kwargs, dtype=DataType.F16, for_counts=True).capture
    except UnsupportedOperationError as error:
        error.add_note(
            f"What {title} costs is counted in what torch.export captures of it: change what "
            "stops it, or compare a part of the model, as in a script that calls the part only"
        )
        raise
    constants = {
        name for name, tensor in call.parameters.items() if tensor.origin is not Origin.PARAMETER
    }
    captured = _with_all_positions(call.graph, constants, max_context)
    graph = _of_one_sample(captured)
    return Model(
        name=name,
        title=title,
        segments=fold(graph, constants=constants),
        max_context=max_context,
        source=source,
        notes=notes + _notes(graph),
        fixed_tokens=None if _takes_tokens(graph) else graph.inputs[0].shape[0],
        samples=call.sequences if graph is captured else num_samples(captured),
    )


def _of_one_sample(graph: Graph) -> Graph:
    """Return the graph for one map or one row where the rows are no sequence.

    An opaque operation may combine rows, so they stay together.
    """
    is_one = graph.is_sequence or any(isinstance(op, Opaque) for op in graph.operations)
    return graph if is_one or num_samples(graph) == 1 else with_samples(graph, 1)


def _notes(graph: Graph) -> tuple[str, ...]:
    """Say where counts stand for something else than the module's code."""
    notes: list[str] = []
    attentions = (op for op in graph.operations if isinstance(op, Attention))
    if any(attention.cached_features is not None for attention in attentions):
        notes.append(
            "Attention is counted on the latent vectors, as engines decode; for a prompt they "
            "expand keys and values instead, which takes fewer operations for a pair of tokens."
        )
    if any(isinstance(op, Experts) for op in graph.operations):
        notes.append("Experts are counted as if each token chose them evenly and by itself.")
    opaque = {op.function for op in graph.operations if isinstance(op, Opaque) and not op.is_view}
    if opaque:
        names = ", ".join(sorted(name.removesuffix(".default") for name in opaque))
        notes.append(f"Counted by their elements only: {names}.")
    return tuple(notes)


def _with_all_positions(graph: Graph, constants: Collection[str], count: int | None) -> Graph:
    """Return the graph with learned tables of positions as long as the model's context.

    The capture has only the rows of the captured tokens.
    """
    learned = {
        operation.table
        for operation in graph.operations
        if isinstance(operation, PositionEmbedding) and operation.table not in constants
    }
    parameters = tuple(
        replace(tensor, shape=(count, *tensor.shape[1:]))
        if count is not None and tensor.name in learned
        else tensor
        for tensor in graph.parameters
    )
    return replace(graph, parameters=parameters)


def _takes_tokens(graph: Graph) -> bool:
    """Tell whether sequences may be of any length: rows of token ids, or independent rows."""
    return not graph.has_feature_maps and all(
        tensor.dtype is DataType.I32 for tensor in graph.inputs
    )


def _build(entry: KnownModel) -> torch.nn.Module:
    """Make the module of an entry with the classes of transformers."""
    try:
        import transformers  # noqa: PLC0415  # an extra, and slow to import
    except ImportError:
        raise ConfigurationError(
            f"transformers says what the layers of {entry.name} compute, and it is not installed: "
            "pip install 'onewafer[models]'"
        ) from None
    kind = cast("_Architecture | None", getattr(transformers, entry.architecture, None))
    if kind is None:
        raise ConfigurationError(
            f"transformers {transformers.__version__} has no {entry.architecture}, which "
            f"{entry.name} is: pip install -U transformers"
        )
    return kind(kind.config_class(**entry.config, **dict.fromkeys(entry.without)))


class _Architecture(Protocol):
    """A class of transformers."""

    config_class: Callable[..., object]

    def __call__(self, config: object) -> torch.nn.Module: ...


def _arguments(module: torch.nn.Module, tokens: int) -> dict[str, object]:
    """Return arguments of a call of a class of transformers: one sequence, or one picture."""
    config = getattr(module, "config", None)
    match getattr(module, "main_input_name", None):
        case "input_ids" if hasattr(module, "prepare_inputs_for_generation"):
            ids = torch.zeros(1, tokens, dtype=torch.int64)
            return {"input_ids": ids, "use_cache": False, "logits_to_keep": 1}
        case "input_ids":
            return {"input_ids": torch.zeros(1, tokens, dtype=torch.int64)}
        case "pixel_values":
            size = getattr(config, "image_size", 224)
            return {"pixel_values": torch.zeros(1, getattr(config, "num_channels", 3), size, size)}
        case _:
            raise ConfigurationError(
                f"{type(module).__name__} is not a class of transformers with token ids or "
                "pictures: say how it is called, as in {'x': torch.zeros(1, 64)} after the module"
            )
