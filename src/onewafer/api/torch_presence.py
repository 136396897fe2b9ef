"""True if PyTorch is installed, asked before it is imported."""

from __future__ import annotations

from importlib.util import find_spec

from onewafer.errors import ConfigurationError


def require_torch(what: str, extra: str = "torch") -> None:
    """Fail unless PyTorch is installed; `what` needs it, and `extra` brings it.

    Raises:
        ConfigurationError: it is not.
    """
    if find_spec("torch") is None:
        raise ConfigurationError(
            f"{what} needs PyTorch, which is not installed: pip install 'onewafer[{extra}]'"
        )
