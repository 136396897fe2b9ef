"""Inference engines: their own time between kernels, and how they share steps among requests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from onewafer.arch import CatalogEntry, entries_of, fitted, names_in, read_document

_FOLDER = "onewafer.perf.gpu.engines"


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine with its usual settings."""

    name: str
    """`trtllm`, `vllm`, `sglang`."""
    title: str
    step_seconds: float
    """The engine's own time in every step for which the GPU waits."""
    sequence_seconds: float
    """The engine's own time for each sequence of a step."""
    prompt_seconds: float
    """Time that each prompt adds to a step beside its kernels."""
    request_seconds: float
    """Time from the client to the first step of a request that does not wait."""
    token_budget: int
    """Most rows of a step; longer prompts are done in parts."""
    memory_fraction: float
    """Share of a GPU's memory that it uses."""
    fuses_conversion: bool
    """True if norms and gates write the narrow formats of the products after them."""
    reserves_answers: bool
    """True if a request begins only when the cache has room for its whole answer."""

    def overhead_seconds(self, sequences: float) -> float:
        """Return the engine's own time in a step."""
        return self.step_seconds + self.sequence_seconds * sequences


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines, sorted."""
    return names_in(_FOLDER)


@lru_cache
def load_engine(name: str) -> Engine:
    """Return an engine; raise ConfigurationError with the names of all if there is none.

    >>> load_engine("vllm").title
    'vLLM'
    """
    document = read_document(_FOLDER, name, "engine")
    facts = {entry.path.split(".", 1)[1]: entry.value for entry in engine_entries(name)}
    known: dict[str, object] = {**facts, "name": name, "title": document["title"]}
    return Engine(**fitted(known, Engine, name))  # pyright: ignore[reportArgumentType]  # from TOML


def engine_entries(name: str) -> tuple[CatalogEntry, ...]:
    """Return every sourced number behind `load_engine(name)`."""
    return tuple(entries_of(read_document(_FOLDER, name, "engine"), "facts", name))
