"""The optional packages that serving needs."""

from __future__ import annotations

from importlib.util import find_spec

from onewafer.errors import ConfigurationError

FOR_CAPTURE = ("torch", "transformers")
"""Packages that capture a model."""
FOR_HTTP = (*FOR_CAPTURE, "httptools", "jiter", "llguidance", "pydantic", "starlette", "uvicorn")
"""Packages that a server needs."""


def require(packages: tuple[str, ...], what: str) -> None:
    """Check that the packages that `what` needs are installed.

    Raises:
        ConfigurationError: one is not; the message has the command that installs it.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ConfigurationError(
            f"{what} needs {', '.join(missing)}, which {verb} not installed: "
            "pip install 'onewafer[serve]'"
        )
