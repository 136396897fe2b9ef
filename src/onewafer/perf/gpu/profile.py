"""Kernels that were measured on the user's own GPU, in a file that replaces published tables.

In: what `onewafer calibrate gpu` measured, or its file. Out: a `Profile`, which stands in for the
tables of aiconfigurator-core. The file is JSON: sizes beside seconds, nothing derived.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from onewafer import __version__
from onewafer.errors import ConfigurationError
from onewafer.files.whole_files import check_file
from onewafer.perf.gpu.kernels import AttentionShape, NumberFormat
from onewafer.perf.gpu.latency_table import Points
from onewafer.perf.gpu.measurements import AttentionPoints, Measurements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onewafer.arch import Gpu

    Fields = Mapping[str, Any]

FORMAT = "onewafer-gpu-profile-1"
_MOST_BYTES = 64_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Profile(Measurements):
    """Measurements of one GPU, without experts and collectives, which one GPU cannot do."""

    device: str
    """The name that its driver reports: `NVIDIA H100 80GB HBM3`."""
    software: str
    """The software that measured: `PyTorch 2.13.0, CUDA 13.0`."""
    copy_bytes_per_second: float
    """Bytes read plus bytes written, while copying a large tensor."""
    launch_seconds: float
    """Time from one empty kernel to the next."""
    products: Mapping[NumberFormat, Points]
    """Matrix products by rows, outputs and inputs."""
    decode: tuple[AttentionPoints, ...]
    """Attention of one new token, by sequences and context, keys and values in bf16."""
    prefill: tuple[AttentionPoints, ...]
    """Causal attention of whole prompts, by sequences and tokens, keys and values in bf16."""

    @property
    def source(self) -> str:
        """The origin of the points, for people."""
        return f"kernels measured on {self.device} by `onewafer calibrate gpu` ({self.software})"

    def is_of(self, gpu: Gpu) -> bool:
        """Tell whether it was measured on this GPU, by the name that the driver reports."""
        return gpu.name.upper() in self.device.upper().split()

    def gemm(self, number_format: NumberFormat) -> Points | None:
        """Return products by rows, outputs and inputs."""
        return self.products.get(number_format)

    def decode_attention(
        self, shape: AttentionShape, cache_format: NumberFormat
    ) -> AttentionPoints | None:
        """Return attention of one new token by sequences and context, of the nearest shape."""
        return _nearest(self.decode, shape, cache_format)

    def prefill_attention(
        self, shape: AttentionShape, cache_format: NumberFormat
    ) -> AttentionPoints | None:
        """Return causal attention of whole prompts by sequences and tokens, of the nearest one."""
        return _nearest(self.prefill, shape, cache_format)


def _nearest(
    measured: tuple[AttentionPoints, ...], shape: AttentionShape, cache_format: NumberFormat
) -> AttentionPoints | None:
    """Return the points of the nearest number of heads with the same features."""
    fitting = [points for points in measured if points.shape.features == shape.features]
    if cache_format is not NumberFormat.BF16 or not fitting:
        return None
    return min(
        fitting,
        key=lambda points: (
            abs(math.log(points.shape.heads / shape.heads))
            + abs(math.log(points.shape.kv_heads / shape.kv_heads))
        ),
    )


def profile_to_json(profile: Profile) -> str:
    """Return the text of a profile's file."""
    document = {
        "format": FORMAT,
        "version": __version__,
        "device": profile.device,
        "software": profile.software,
        "copy_bytes_per_second": profile.copy_bytes_per_second,
        "launch_seconds": profile.launch_seconds,
        "products": {
            name.value: _points_fields(points, ("rows", "outputs", "inputs"))
            for name, points in profile.products.items()
        },
        "decode": [_attention_fields(points, "context") for points in profile.decode],
        "prefill": [_attention_fields(points, "tokens") for points in profile.prefill],
    }
    return json.dumps(document, indent=1) + "\n"


def read_profile(path: Path) -> Profile:
    """Return the profile in a file.

    Raises ConfigurationError if it cannot be read, or is none.
    """
    try:
        check_file(path, most_bytes=_MOST_BYTES)
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict) or cast("Fields", document).get("format") != FORMAT:
        raise ConfigurationError(
            f"{path} is not a profile of a GPU (format {FORMAT}); write one with "
            "`onewafer calibrate gpu --output FILE`"
        )
    try:
        return _profile(cast("Fields", document))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigurationError(
            f"{path} is damaged: {type(error).__name__}: {error}; measure again"
        ) from None


def _profile(document: Fields) -> Profile:
    return Profile(
        device=str(document["device"]),
        software=str(document["software"]),
        copy_bytes_per_second=_positive(document["copy_bytes_per_second"]),
        launch_seconds=_positive(document["launch_seconds"]),
        products={
            NumberFormat(name): _points(fields, ("rows", "outputs", "inputs"))
            for name, fields in document["products"].items()
        },
        decode=tuple(_attention(fields, "context") for fields in document["decode"]),
        prefill=tuple(_attention(fields, "tokens") for fields in document["prefill"]),
    )


def _points_fields(points: Points, names: tuple[str, ...]) -> dict[str, object]:
    sizes: dict[str, object] = {
        name: [int(size) for size in axis] for name, axis in zip(names, points.sizes, strict=True)
    }
    return {**sizes, "seconds": points.seconds.tolist()}


def _attention_fields(measured: AttentionPoints, length: str) -> dict[str, object]:
    shape = measured.shape
    return {
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "features": shape.features,
        **_points_fields(measured.points, ("sequences", length)),
    }


def _points(fields: Fields, names: tuple[str, ...]) -> Points:
    columns = [np.array(fields[name], dtype=np.float64) for name in (*names, "seconds")]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        raise ValueError("sizes and seconds are not of one length")
    if not columns[0].size or any(not np.all((c > 0) & np.isfinite(c)) for c in columns):
        raise ValueError("sizes and seconds must be positive, and at least one of each")
    return Points(tuple(columns[:-1]), columns[-1])


def _attention(fields: Fields, length: str) -> AttentionPoints:
    shape = AttentionShape(
        int(_positive(fields["heads"])),
        int(_positive(fields["kv_heads"])),
        int(_positive(fields["features"])),
    )
    return AttentionPoints(shape, _points(fields, ("sequences", length)))


def _positive(value: object) -> float:
    number = float(cast("float", value))
    if not 0 < number < math.inf:
        raise ValueError(f"{value} is not positive")
    return number
