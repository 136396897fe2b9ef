"""Models that a command line names."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf import Model

    Progress = Callable[[str], None]


def load_model(name: str, say: Progress) -> Model:
    """Return a model of the catalogue, captured now or kept from an earlier time.

    Raises ConfigurationError for unknown names, and where PyTorch is needed and missing.
    """
    from onewafer.perf import find_model, kept_model  # noqa: PLC0415  # when it is used

    find_model(name)  # refuses unknown names before torch is loaded
    kept = kept_model(name)
    if kept is not None:
        return kept
    _require_torch()
    say("loading PyTorch")
    from onewafer.pytorch import describe_model  # noqa: PLC0415  # loads torch

    return describe_model(name, progress=say)


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise ConfigurationError(
            "PyTorch says what a model computes, and it is not installed: "
            "pip install 'onewafer[models]'"
        )
