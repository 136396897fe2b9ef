"""Assembly of a server's parts from a model's name and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.perf import serve_on
from onewafer.server.contract.clock import seconds_running, seconds_since_1970
from onewafer.server.contract.service import ServedModel
from onewafer.server.engine.engine import Engine, EngineOptions
from onewafer.server.engine.service import Loaded
from onewafer.server.models import fingerprint, load_model, load_words
from onewafer.server.models.describing import describe
from onewafer.server.options import ValuesKind
from onewafer.server.text import Language
from onewafer.server.values.synthetic import SyntheticValues
from onewafer.settings import set_unless_set

if TYPE_CHECKING:
    from onewafer.perf import Model, ServedSystem
    from onewafer.server.contract.values import Values
    from onewafer.server.models import LoadedModel, TextModel
    from onewafer.server.options import ServerOptions
    from onewafer.server.values.building import BuiltValues
    from onewafer.terminal import ProgressBar

_MADE_UP_AT_A_TIME = 4_096
"""Slots of synthetic values: an answer takes almost no memory."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """A model on a system, with the source of its tokens."""

    text: TextModel
    model: Model
    system: ServedSystem
    values: Values
    remarks: tuple[str, ...]
    """Remarks for the user, a sentence each."""


def assemble(name: str, options: ServerOptions, bar: ProgressBar) -> Loaded:
    """Load a model, and map it to the served system.

    Raises:
        ConfigurationError: it cannot be read, or does not fit this computer or the system.
    """
    set_unless_set(TOKENIZERS_PARALLELISM="false")  # for one text, threads are slower
    is_synthetic = options.values is ValuesKind.NONE
    parts = (_made_up if is_synthetic else _computed)(name, options, bar)
    text, system, other = parts.text, parts.system, options.against
    language = Language(text)
    engine = Engine(
        language,
        parts.values,
        system,
        EngineOptions(
            pace=options.pace,
            is_synthetic=is_synthetic,
            most_waiting=options.max_waiting,
            context_length=min(system.context, system.room_tokens, parts.values.context_length),
        ),
        clock=seconds_running,
    )
    return Loaded(
        _served(text, engine, system, options),
        language,
        engine,
        system,
        notes=parts.remarks,
        against=None if other is None else lay_over(parts.model, other, options, bar),
    )


def _made_up(name: str, options: ServerOptions, bar: ProgressBar) -> _Parts:
    """Return the parts of a model with synthetic values."""
    text, model = load_words(name, bar=bar), describe(name, bar.say)
    system = lay_over(model, options.on, options, bar)
    values = SyntheticValues(
        model_id=text.id,
        encode=lambda words: text.tokenizer.encode(words, add_special_tokens=False),
        end_ids=text.end_ids,
        context_length=system.context,
        num_slots=_MADE_UP_AT_A_TIME,
    )
    remarks = (
        "every answer is made up, and says so: only its times are real",
        f"prompts are counted in tokens of {text.tokenizer_name}",
    )
    return _Parts(text, model, system, values, remarks)


def _computed(name: str, options: ServerOptions, bar: ProgressBar) -> _Parts:
    """Return the parts of a model computed on this computer or on a simulated wafer."""
    from onewafer.pytorch import describe_module  # noqa: PLC0415  # loads torch

    loaded = load_model(name, bar=bar, max_memory=options.max_memory)
    text = loaded.text
    bar.say(f"{text.id}: capturing what it computes")
    model = describe_module(loaded.module, name=text.id)
    system = lay_over(model, options.on, options, bar)
    bar.say(f"{text.id}: getting ready to compute")
    built = _build(loaded, options, context_length=system.context)
    return _Parts(text, model, system, built.values, (f"values: {built.remark}",))


def _build(loaded: LoadedModel, options: ServerOptions, *, context_length: int) -> BuiltValues:
    """Return the values of a loaded model."""
    from onewafer.server.values.building import (  # noqa: PLC0415  # loads torch
        HostOptions,
        build_host_values,
    )
    from onewafer.server.values.fabric import build_fabric_values  # noqa: PLC0415  # likewise

    num_slots = options.max_batch
    if options.values is ValuesKind.FABRIC:
        return build_fabric_values(loaded, num_slots=num_slots, context_length=context_length)
    return build_host_values(
        loaded, HostOptions(num_slots=num_slots, context_length=context_length)
    )


def lay_over(model: Model, system: str, options: ServerOptions, bar: ProgressBar) -> ServedSystem:
    """Map a model to a system.

    Raises:
        ConfigurationError: it does not fit, or does not generate text.
    """
    bar.say(f"{model.name} on {system}: looking for the fastest layout")
    return serve_on(
        model,
        system,
        sequences=options.max_batch,
        context=options.context_of(model.name, model.max_context),
        options=options.equations,
    )


def _served(
    text: TextModel, engine: Engine, system: ServedSystem, options: ServerOptions
) -> ServedModel:
    return ServedModel(
        id=text.id,
        created=int(seconds_since_1970()),
        owned_by="onewafer",
        context_length=engine.options.context_length,
        system=system.name,
        is_synthetic=engine.options.is_synthetic,
        values=str(options.values),
        fingerprint=fingerprint(text.fingerprint, str(options)),
    )
