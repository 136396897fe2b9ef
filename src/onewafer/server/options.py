"""Options of a server, apart from HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from onewafer.errors import ConfigurationError
from onewafer.perf import CompareOptions
from onewafer.server.engine.requests import Pace

_Choice = TypeVar("_Choice", bound=StrEnum)
USUAL_CONTEXT = 4_096
"""The default context in tokens, if the model's is not shorter."""


class ValuesKind(StrEnum):
    """The source of tokens."""

    HOST = "host"
    """PyTorch on this computer."""
    FABRIC = "fabric"
    """A simulated wafer, wavelet by wavelet."""
    NONE = "none"
    """Synthetic tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of a served model."""

    system: str = "cs3"
    against: str | None = None
    """Another system to compare each answer with."""
    values: ValuesKind = ValuesKind.HOST
    pace: Pace = Pace.HOST
    max_batch: int = 8
    """The most answers at a time, on the served system and on this computer."""
    context: int | None = None
    """Tokens of prompt and answer; None: `USUAL_CONTEXT`, or the model's context if shorter."""
    max_waiting: int = 256
    """The most answers in the queue."""
    equations: CompareOptions = field(default_factory=CompareOptions)
    """Options of the performance equations: precision, clock and others."""
    max_memory: int | None = None
    """The most bytes of the weights; None: the free memory."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        for option, number, least, most in (
            ("--max-batch", self.max_batch, 1, 4_096),
            ("--max-waiting", self.max_waiting, 0, 1_000_000),
            ("--context", self.context, 2, 10_000_000),
        ):
            if number is not None and not least <= number <= most:
                raise ConfigurationError(f"{option} {number}: it can be {least:,} to {most:,}")

    def context_of(self, model_id: str, longest: int | None) -> int:
        """Return the context of a model whose own is `longest` tokens (None: unlimited).

        Raises:
            ConfigurationError: the option is longer.
        """
        if self.context is None:
            return USUAL_CONTEXT if longest is None else min(USUAL_CONTEXT, longest)
        if longest is not None and self.context > longest:
            raise ConfigurationError(
                f"--context {self.context:,}: {model_id} was made for {longest:,} tokens"
            )
        return self.context


def choose(option: str, text: str, choices: type[_Choice]) -> _Choice:
    """Return the enum member of a text, or refuse it with the choices."""
    try:
        return choices(text)
    except ValueError:
        names = ", ".join(choices)
        raise ConfigurationError(f"{option} {text!r}: choose from {names}") from None
