"""Inference engines: their own time between kernels, and how they share steps among requests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from onewafer.arch import load_facts

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


@lru_cache
def load_engine(name: str) -> Engine:
    """Return an engine; raise ConfigurationError with the names of all if there is none.

    >>> load_engine("vllm").title
    'vLLM'
    """
    return load_facts(Engine, _FOLDER, name, "engine")
