"""From a model's name to the parts that serve it: the equations' system, and what answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import __version__
from onewafer.perf.served import serve_on
from onewafer.server.clock import seconds_running, seconds_since_1970
from onewafer.server.engine.engine import Engine, EngineOptions
from onewafer.server.engine.service import Loaded
from onewafer.server.models import find_source, fingerprint, load_words
from onewafer.server.models.describing import (
    describe_files,
    describe_known,
    is_known,
)
from onewafer.server.options import ValuesKind
from onewafer.server.service import ServedModel
from onewafer.server.text import Language
from onewafer.server.values.synthetic import SyntheticValues

if TYPE_CHECKING:
    from onewafer.perf import Model
    from onewafer.perf.launches import ServedSystem
    from onewafer.server.models import TextModel
    from onewafer.server.options import ServerOptions
    from onewafer.terminal import ProgressBar

_MADE_UP_AT_A_TIME = 4_096
"""Answers that are made up at a time: they cost nothing but their texts."""


def check_model(name: str) -> None:
    """Refuse a model that cannot be served, before anything is loaded.

    Raises:
        ConfigurationError: there is no such model.
    """
    if not is_known(name):
        find_source(name)


def assemble(name: str, options: ServerOptions, bar: ProgressBar) -> Loaded:
    """Load a model, and lay it over the system that is served.

    Raises:
        ConfigurationError: it cannot be read, or has no room here or there.
    """
    text, model = load_words(name, bar=bar), describe(name, bar)
    system = lay_over(model, options.system, options, bar)
    against = None if options.against is None else lay_over(model, options.against, options, bar)
    language = Language(text)
    engine = Engine(
        language,
        _made_up(text, system),
        system,
        EngineOptions(
            pace=options.pace,
            is_synthetic=options.values is ValuesKind.NONE,
            most_waiting=options.max_waiting,
            context_length=system.context,
        ),
        against=against,
        clock=seconds_running,
    )
    notes = (f"prompts are counted in tokens of {text.tokenizer_name}",)
    return Loaded(_served(text, system, options), language, engine, system, notes)


def describe(name: str, bar: ProgressBar) -> Model:
    """Return what a model computes, of the catalogue or of files, without reading its weights.

    Raises:
        ConfigurationError: there is no such model, or it cannot be read.
    """
    if is_known(name):
        return describe_known(name, bar.say)
    return describe_files(find_source(name), bar.say)


def lay_over(model: Model, system: str, options: ServerOptions, bar: ProgressBar) -> ServedSystem:
    """Return a model on a system.

    Raises:
        ConfigurationError: it has no room there, or it does not answer prompts.
    """
    bar.say(f"{model.name} on {system}: looking for the fastest layout")
    return serve_on(
        model,
        system,
        sequences=options.max_batch,
        context=options.context_of(model.name, model.max_context),
        options=options.equations,
    )


def _made_up(text: TextModel, system: ServedSystem) -> SyntheticValues:
    return SyntheticValues(
        model_id=text.id,
        encode=lambda words: text.tokenizer.encode(words, add_special_tokens=False),
        end_ids=text.end_ids,
        context_length=system.context,
        num_slots=_MADE_UP_AT_A_TIME,
    )


def _served(text: TextModel, system: ServedSystem, options: ServerOptions) -> ServedModel:
    return ServedModel(
        id=text.id,
        created=int(seconds_since_1970()),
        owned_by="onewafer",
        context_length=system.context,
        system=system.name,
        is_synthetic=options.values is ValuesKind.NONE,
        fingerprint=fingerprint(text.fingerprint, __version__, str(options)),
    )
