"""Measured serving runs, split into calibration and validation before any fit.

In: `silicon_sample.csv` of the package aiconfigurator-core, where each row is one run of an engine
under a closed-loop load. Out: the rows as values. A row is *calibration* if a hash of its id says
so, whatever the row holds; errors are reported over the others only.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PACKAGE = "aiconfigurator_core"
_FOLDS = 5
"""One fold of five is calibration: 20 % of the rows."""
_CONCURRENCY = re.compile(r"silicon_concurrency=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPoint:
    """One run of an engine that answered a constant number of requests at a time."""

    id: str
    engine: str
    """`trtllm`, `vllm`, `sglang`."""
    model: str
    """Name on the Hugging Face hub, as the row has it."""
    gpu: str
    """The name in the package: `h100_sxm`."""
    quantization: str
    """Format of the products with weights: `fp8`, `fp8_block`, `nvfp4`; empty: bf16."""
    prompt: int
    """Nominal tokens of a prompt."""
    answer: int
    """Nominal tokens of an answer."""
    batch: int
    """Requests that one replica answers at a time."""
    concurrency: int | None
    """Requests that the client keeps open, over all replicas, where the row says it."""
    tensor_parallel: int
    pipeline_parallel: int
    attention_data_parallel: int
    expert_parallel: int
    origin: str
    """The origin that the package names for the row."""
    ttft_seconds: float
    tpot_seconds: float

    @property
    def is_calibration(self) -> bool:
        """True if constants may be fitted on this run; its error is then reported nowhere."""
        return is_calibration(self.id)


def is_calibration(point_id: str) -> bool:
    """Tell by a hash of its id alone whether a run belongs to the calibration fifth.

    >>> [is_calibration(name) for name in "abcdefgh"]
    [False, True, False, True, True, False, False, False]
    """
    return int(sha256(point_id.encode()).hexdigest(), 16) % _FOLDS == 0


@lru_cache
def aggregated_points() -> tuple[ServingPoint, ...]:
    """Return the runs in which the same GPUs do prefill and decode, in the order of the file.

    Raise ConfigurationError if the package is not installed.
    """
    return tuple(_point(row) for row in _rows() if row["mode"] == "agg")


def count_disaggregated_points() -> int:
    """Return the number of disaggregated runs (GPUs for prefill alone), which are left out."""
    return sum(row["mode"] == "disagg" for row in _rows())


def _rows() -> Iterable[Mapping[str, str]]:
    try:
        file = resources.files(_PACKAGE).joinpath("systems", "silicon_sample.csv")
    except ModuleNotFoundError:
        raise ConfigurationError(
            "measured serving runs come with the package aiconfigurator-core, which is not "
            'installed; install it with `pip install "onewafer[gpu]"`'
        ) from None
    return csv.DictReader(file.read_text(encoding="utf-8").splitlines())


def _point(row: Mapping[str, str]) -> ServingPoint:
    stated = _CONCURRENCY.search(row["silicon_data_source"])
    return ServingPoint(
        id=row["id"],
        engine=row["backend"],
        model=row["model_path"],
        gpu=row["system"],
        quantization=row["gemm_quant_mode"],
        prompt=int(row["isl"]),
        answer=int(row["osl"]),
        batch=_whole(row["batch_size"]),
        concurrency=int(stated.group(1)) if stated else None,
        tensor_parallel=_whole(row["tp_size"]),
        pipeline_parallel=_whole(row["pp_size"]),
        attention_data_parallel=_whole(row["attention_dp_size"]),
        expert_parallel=_whole(row["moe_ep_size"]),
        origin=row["silicon_data_source"],
        ttft_seconds=float(row["silicon_ttft_ms"]) / 1e3,
        tpot_seconds=float(row["silicon_tpot_ms"]) / 1e3,
    )


def _whole(text: str) -> int:
    """Read a size; 1 where a row leaves it out."""
    return max(1, int(float(text))) if text else 1
