"""Models that a command line names: of the catalogue, or of a script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onewafer.api.torch_presence import require_torch
from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.perf import Model

    Progress = Callable[[str], None]

_SCRIPT = ".py"
_EXTRA = "models"


def load_model(name: str, say: Progress, arguments: Sequence[str] = ()) -> Model:
    """Return the model of a PyTorch script, or of the catalogue: captured now or kept.

    Raises ConfigurationError for unknown names, and where PyTorch is needed and missing.
    """
    check_model(name)
    if name.endswith(_SCRIPT):
        return _load_script(Path(name), say, arguments)
    if arguments:
        raise ConfigurationError(f"{arguments[0]!r}: only a script takes arguments")
    from onewafer.perf import kept_model  # noqa: PLC0415  # when it is used

    kept = kept_model(name)
    if kept is not None:
        return kept
    require_torch(f"the capture of {name}", _EXTRA)
    say("loading PyTorch")
    from onewafer.pytorch import describe_model  # noqa: PLC0415  # loads torch

    return describe_model(name, progress=say)


def check_model(name: str) -> None:
    """Raise ConfigurationError for an unknown name or script; PyTorch is not loaded."""
    from onewafer.perf import find_model  # noqa: PLC0415  # when it is used

    if not name.endswith(_SCRIPT):
        find_model(name)
    elif not Path(name).exists():
        raise ConfigurationError(f"there is no script {name}")


def _load_script(script: Path, say: Progress, arguments: Sequence[str]) -> Model:
    require_torch(f"the capture of {script}", _EXTRA)
    say("loading PyTorch")
    from onewafer.pytorch import describe_script  # noqa: PLC0415  # loads torch

    say(f"running {script} up to its first model")
    return describe_script(script, arguments)
