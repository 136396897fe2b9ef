"""Options of a server, apart from HTTP."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from onewafer.options import Options, one_of, option, whole

if TYPE_CHECKING:
    from onewafer.perf import CompareOptions
    from onewafer.server.engine.requests import Pace

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


def _to_pace(value: str) -> Pace:
    from onewafer.server.engine.requests import Pace  # noqa: PLC0415  # commands load this file

    return one_of(Pace)(value)


class ServerOptions(Options):
    """How a model is served."""

    on: str = option(default="cs3", help="E.g. cs3, cs3x6, h100x8", metavar="SYSTEM")
    against: str | None = option(
        default=None, help="Compare each answer with this system", metavar="SYSTEM"
    )
    values: ValuesKind = option(
        default="host",
        converter=one_of(ValuesKind),
        help="host: this computer; fabric: a simulated wafer; none: made up",
    )
    pace: Pace = option(
        default="host", converter=_to_pace, help="Pace of tokens: host, wafer or virtual"
    )
    max_batch: int = option(default=8, help="Answers at a time")
    context: int | None = option(
        default=None, help="Tokens of prompt and answer", unset=str(USUAL_CONTEXT)
    )
    max_waiting: int = option(default=256, converter=whole(0), help="Answers that may wait")
    equations: CompareOptions | None = None
    """Precision, clock and the like; None: usual."""
    max_memory: int | None = None
    """Bytes that weights may need; None: what is free."""

    def check_together(self) -> None:
        """Refuse numbers outside their ranges."""
        for name, least, most in (
            ("max_batch", 1, 4_096),
            ("max_waiting", 0, 1_000_000),
            ("context", 2, 10_000_000),
        ):
            if not least <= (getattr(self, name) or least) <= most:
                self.refuse(name, f"it can be {least:,} to {most:,}")

    def context_of(self, model_id: str, longest: int | None) -> int:
        """Return the context of a model whose own is `longest` tokens (None: unlimited).

        Raises:
            ConfigurationError: the option is longer.
        """
        if self.context is None:
            return USUAL_CONTEXT if longest is None else min(USUAL_CONTEXT, longest)
        if longest is not None and self.context > longest:
            self.refuse("context", f"{model_id} was made for {longest:,} tokens")
        return self.context
