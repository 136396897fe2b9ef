"""The models that are tried.

They are chosen for breadth, one or two of a family, and not by what works. All are as small as
their configuration allows without changing what kind of operations they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.model_coverage.language_models import DECODERS, ENCODER_DECODERS, ENCODERS
from tools.model_coverage.perception_models import AUDIO, SEVERAL, VISION
from tools.model_coverage.timm_models import TIMM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.model_coverage.model import Model

MODELS: Sequence[Model] = (
    *DECODERS,
    *ENCODERS,
    *ENCODER_DECODERS,
    *VISION,
    *AUDIO,
    *SEVERAL,
    *TIMM,
)
