"""The words of a model whose values are made up: its own if its files are here, else a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.perf import known_models
from onewafer.server.models.loading import load_text
from onewafer.server.models.sources import SMOLLM2, find_source
from onewafer.server.models.stand_ins import stand_in_text

if TYPE_CHECKING:
    from onewafer.server.models.text_model import TextModel
    from onewafer.terminal import ProgressBar


def load_words(name: str, *, bar: ProgressBar) -> TextModel:
    """Return how a model reads and writes, without its weights.

    Raises:
        ConfigurationError: no such model is known, its files cannot be read, or it writes no text.
    """
    if name.lower() in known_models() and not Path(name).exists():
        return stand_in_text(name, _usual_words(bar))
    return load_text(find_source(name), bar=bar)


def _usual_words(bar: ProgressBar) -> TextModel | None:
    try:
        source = find_source(SMOLLM2)
    except ConfigurationError:
        return None
    return load_text(source, bar=bar)
