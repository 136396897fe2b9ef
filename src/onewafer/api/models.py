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
    if name.endswith(_SCRIPT):
        return _load_script(Path(name), say, arguments)
    if arguments:
        raise ConfigurationError(f"{arguments[0]!r}: only a script takes arguments")
    from onewafer.perf import find_model, kept_model  # noqa: PLC0415  # when it is used

    find_model(name)  # refuses unknown names before torch is loaded
    kept = kept_model(name)
    if kept is not None:
        return kept
    require_torch(f"the capture of {name}", _EXTRA)
    say("loading PyTorch")
    from onewafer.pytorch import describe_model  # noqa: PLC0415  # loads torch

    return describe_model(name, progress=say)


def _load_script(script: Path, say: Progress, arguments: Sequence[str]) -> Model:
    if not script.exists():
        raise ConfigurationError(f"there is no script {script}")
    require_torch(f"the capture of {script}", _EXTRA)
    say("loading PyTorch")
    from onewafer.pytorch import describe_script  # noqa: PLC0415  # loads torch

    say(f"running {script} up to its first model")
    return describe_script(script, arguments)
