"""Measured kernels of the package aiconfigurator-core: products, attention, collectives.

Only the columns and rows that an answer needs are read, and those are cached (`kept_rows`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module, resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from onewafer.errors import ConfigurationError
from onewafer.perf.gpu.collectives import Collective
from onewafer.perf.gpu.kept_rows import KeptRows
from onewafer.perf.gpu.kernels import AttentionShape, NumberFormat
from onewafer.perf.gpu.latency_table import Points
from onewafer.perf.gpu.measurements import (
    AttentionPoints,
    CollectivePoints,
    ExpertPoints,
    Measurements,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable
    from types import ModuleType

    from numpy.typing import NDArray

    from onewafer.perf.gpu.kernels import ExpertShape

    _Columns = dict[str, NDArray[np.float64]]

_PACKAGE = "aiconfigurator_core"
_CHOICE = "power_law_1.01"
_MILLISECONDS = 1e-3
_WINDOW = "window_size"
"""The column of window sizes, which some tables lack."""
_NCCL_NAMES = {
    Collective.ALL_REDUCE: "all_reduce",
    Collective.ALL_GATHER: "all_gather",
    Collective.REDUCE_SCATTER: "reduce_scatter",
    Collective.ALL_TO_ALL: "alltoall",
}
_ELEMENT_BYTES = 2
"""Sizes of messages are elements of bf16: NCCL's tables of one-byte elements go twice as far."""


@dataclass(frozen=True, slots=True)
class AiconfiguratorTables(Measurements):
    """The tables of one GPU and one engine, newest versions first."""

    gpu: str
    """The folder name in the package: `h100_sxm`."""
    engine: str
    fuses_conversion: bool = False
    """True if the engine's norms and activations write fp8 or fp4 themselves."""

    @property
    def source(self) -> str:
        """The origin of the tables, for people."""
        if not _data(self.gpu).is_dir():
            return f"aiconfigurator-core measured no kernels on {self.gpu}: rooflines"
        return f"kernels measured by aiconfigurator-core ({self.gpu}, {self.engine})"

    def gemm(self, number_format: NumberFormat) -> Points | None:
        """Return products by rows, outputs and inputs.

        Measured products in fp8 include the search for the scale of the rows, which static scales
        do not need. Products in fp8 and fp4 include the conversion of the rows, which some engines
        fuse into the norm before. Both are subtracted where they do not apply.
        """
        name = _GEMM_NAMES.get(number_format, number_format.value)
        filters = [("gemm_dtype", name)]
        found = self._read("gemm/{engine}", "gemm_perf", ("m", "n", "k"), filters)
        if found is None:
            return None
        if number_format is NumberFormat.FP8:
            found = self._without(found, "computescale_perf")
            if self.fuses_conversion:
                found = self._without(found, "scale_matrix_perf")
        if number_format is NumberFormat.FP4 and self.fuses_conversion:
            found = self._without_conversion(found)
        return _points(found, ("m", "n", "k"))

    def _without(self, products: _Columns, table: str) -> _Columns:
        """Subtract the times of a table over rows (m) and features (k)."""
        other = self._read("quantize/{engine}", table, ("m", "k"), [])
        if other is None:
            return products
        sizes = zip(other["m"].tolist(), other["k"].tolist(), strict=True)
        known = dict(zip(sizes, other["latency"].tolist(), strict=True))
        pairs = zip(products["m"].tolist(), products["k"].tolist(), strict=True)
        return _reduced(products, np.array([known.get(pair, 0.0) for pair in pairs]))

    def _without_conversion(self, products: _Columns) -> _Columns:
        """Subtract the extra time of the smallest product over bf16; fp4 has no such table."""
        plain = self._read("gemm/{engine}", "gemm_perf", ("m",), [("gemm_dtype", "bfloat16")])
        if plain is None:
            return products
        least = products["latency"].min() - plain["latency"].min()
        return _reduced(products, np.full_like(products["latency"], max(0.0, least)))

    def decode_attention(
        self, shape: AttentionShape, cache_format: NumberFormat
    ) -> AttentionPoints | None:
        """Return attention of one new token by sequences and context, of the nearest shape."""
        table = "generation_attention_perf"
        columns = ("batch_size", "step")
        found = self._attention(table, columns, shape, cache_format)
        if found is None:
            return None
        nearest, rows = found
        rows["step"] = rows["step"] + 1  # tokens before the new one
        return AttentionPoints(nearest, _points(rows, columns))

    def prefill_attention(
        self, shape: AttentionShape, cache_format: NumberFormat
    ) -> AttentionPoints | None:
        """Return causal attention by sequences and tokens of each, of the nearest shape."""
        columns = ("batch_size", "isl")
        found = self._attention("context_attention_perf", columns, shape, cache_format)
        return None if found is None else AttentionPoints(found[0], _points(found[1], columns))

    def experts(self, shape: ExpertShape, number_format: NumberFormat) -> ExpertPoints | None:
        """Return experts by rows where a model of the same sizes was measured, else None.

        The measured rows chose experts by a power law with exponent 1.01.
        """
        names = _EXPERT_NAMES.get(number_format, (_GEMM_NAMES.get(number_format, number_format),))
        found = (self._experts_in(shape, str(name)) for name in names)
        return next((points for points in found if points is not None), None)

    def _experts_in(self, shape: ExpertShape, name: str) -> ExpertPoints | None:
        sizes = ("hidden_size", "inter_size", "topk", "num_experts")
        wanted = (shape.features, shape.hidden, shape.experts_per_row, shape.num_experts)
        filters: list[tuple[str, object]] = list(zip(sizes, wanted, strict=True))
        filters += [("moe_dtype", name), ("distribution", _CHOICE)]
        groups = ("moe_tp_size", "moe_ep_size")
        found = self._read("moe/{engine}", "moe_perf", ("num_tokens", *groups), filters)
        if found is None:
            return None
        distance = np.abs(np.log(found[groups[0]] / shape.tensor))
        distance += np.abs(np.log(found[groups[1]] / shape.expert))
        first = int(np.argmin(distance))
        tensor, expert = (int(found[name][first]) for name in groups)
        chosen = (found[groups[0]] == tensor) & (found[groups[1]] == expert)
        rows = {name: values[chosen] for name, values in found.items()}
        nearest = replace(shape, tensor=tensor, expert=expert)
        return ExpertPoints(nearest, _points(rows, ("num_tokens",)))

    def collective(self, collective: Collective, num_gpus: int) -> CollectivePoints | None:
        """Return a collective within a domain by bytes: the engine's own all-reduce, else NCCL."""
        own = self._own_all_reduce(num_gpus) if collective is Collective.ALL_REDUCE else None
        return self._nccl(collective, num_gpus) if own is None else own

    def _own_all_reduce(self, num_gpus: int) -> CollectivePoints | None:
        columns = ("num_gpus", "message_size", "kernel_source")
        folder = f"comm/{_ALL_REDUCE_OF.get(self.engine, self.engine)}"
        found = self._read(folder, "custom_allreduce_perf", columns, [])
        if found is None:
            return None
        graphs = np.array(["eager" not in str(name) for name in found["kernel_source"]])
        return _collective_points(found, graphs, num_gpus)

    def _nccl(self, collective: Collective, num_gpus: int) -> CollectivePoints | None:
        if collective not in _NCCL_NAMES:
            return None
        filters = [("op_name", _NCCL_NAMES[collective]), ("nccl_dtype", "half")]
        found = self._read("comm/nccl", "nccl_perf", ("num_gpus", "message_size"), filters)
        if found is None:
            return None
        whole = np.ones(len(found["latency"]), bool)
        return _collective_points(found, whole, num_gpus)

    def _attention(
        self,
        table: str,
        sizes: tuple[str, str],
        shape: AttentionShape,
        cache_format: NumberFormat,
    ) -> tuple[AttentionShape, _Columns] | None:
        heads = ("num_heads", "num_key_value_heads")
        cache = "fp8" if cache_format in _FP8 else "bfloat16"
        filters = [("head_dim", shape.features), ("kv_cache_dtype", cache)]
        place, columns = "attention/{engine}", (*sizes, *heads)
        found = self._read(place, table, (*columns, _WINDOW), filters)
        found = found or self._read(place, table, columns, filters)
        if found is None:
            return None
        windows = found.get(_WINDOW, np.zeros(len(found["latency"])))
        whole = windows == _nearest_window(windows, shape.window)
        distance = np.abs(np.log(found[heads[0]] / shape.heads))
        distance += np.abs(np.log(found[heads[1]] / shape.kv_heads))
        chosen = whole & (distance <= np.min(distance[whole]) + 1e-9)
        rows = {name: values[chosen] for name, values in found.items()}
        num_heads, num_kv_heads = (int(rows[name][0]) for name in heads)
        chosen = (rows[heads[0]] == num_heads) & (rows[heads[1]] == num_kv_heads)
        nearest = AttentionShape(num_heads, num_kv_heads, shape.features, shape.window)
        return nearest, {name: values[chosen] for name, values in rows.items()}

    def _read(
        self,
        folder: str,
        table: str,
        columns: Sequence[str],
        filters: Sequence[tuple[str, object]],
    ) -> _Columns | None:
        """Return columns and latency of the matching rows, from the newest version with any."""
        place = (self.gpu, *folder.format(engine=self.engine).split("/"))
        return _newest_rows(place, table, (*columns, "latency"), tuple(filters))


@lru_cache(maxsize=64)
def _newest_rows(
    place: tuple[str, ...],
    table: str,
    columns: tuple[str, ...],
    filters: tuple[tuple[str, object], ...],
) -> _Columns | None:
    root = _data(*place)
    if not root.is_dir():
        return None
    for version in sorted(root.iterdir(), key=_version, reverse=True):
        file = version.joinpath(f"{table}.parquet")
        if file.is_file() and (rows := _read_rows(file, columns, filters)):
            return rows
    return None


def _data(*place: str) -> Traversable:
    return resources.files(_PACKAGE).joinpath("systems", "data", *place)


_ALL_REDUCE_OF = {"vllm": "trtllm"}
"""Engines that use the all-reduce of another one: vLLM takes that of TensorRT-LLM from FlashInfer
(`enable_fi_allreduce_fusion`), and falls back to its own where that is not there."""
_LEAST_SHARE = 0.2
"""Smallest share of a measured time that a subtraction leaves, since both tables have noise."""
_FP8 = (
    NumberFormat.FP8,
    NumberFormat.FP8_DYNAMIC,
    NumberFormat.FP8_BLOCK,
    NumberFormat.FP4,
)
_GEMM_NAMES = {NumberFormat.FP8_DYNAMIC: "fp8"}
_EXPERT_NAMES = {NumberFormat.MXFP4: ("w4a8_mxfp4_mxfp8", "w4a16_mxfp4")}
"""Names in the order of preference; the first exists where GPUs have mxfp8 arithmetic."""


def is_installed() -> bool:
    """Tell whether aiconfigurator-core and PyArrow are installed."""
    return all(find_spec(package) is not None for package in (_PACKAGE, "pyarrow"))


def _read_rows(
    file: Traversable, columns: Sequence[str], filters: Sequence[tuple[str, object]]
) -> _Columns | None:
    """Return the columns of the matching rows; None if there are none."""
    kept = KeptRows(file.read_bytes(), columns, filters)
    rows = kept.read()
    if rows is None:
        rows = _read_parquet(file, columns, filters)
        kept.write(rows)
    return rows if len(rows["latency"]) else None


def _read_parquet(
    file: Traversable, columns: Sequence[str], filters: Sequence[tuple[str, object]]
) -> _Columns:
    """Return the columns of the matching rows; no rows if the table lacks a column.

    `read_table` with filters and `to_numpy` would do the same, but import pandas: half a second.
    """
    parquet = cast("Any", _import_parquet())  # has no types
    names = [name for name, value in filters if isinstance(value, str)]
    with (
        resources.as_file(file) as path,
        parquet.ParquetFile(path, read_dictionary=names) as opened,
    ):
        asked = [*columns, *(name for name, _ in filters)]
        if not set(asked) <= set(opened.schema_arrow.names):
            return {name: np.empty(0) for name in columns}
        table = opened.read(columns=asked)
    chosen = np.ones(table.num_rows, np.bool_)
    for name, value in filters:
        chosen &= _equals(table.column(name).combine_chunks(), value)
    return {name: _array(table.column(name).combine_chunks())[chosen] for name in columns}


def _import_parquet() -> ModuleType:
    try:
        return import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(
            f"PyArrow, which reads the measured kernels of GPUs, cannot be loaded: {error}; "
            "install it again: pip install --force-reinstall pyarrow"
        ) from error


def _equals(values: Any, wanted: object) -> NDArray[np.bool_]:  # noqa: ANN401  # of pyarrow
    if not isinstance(wanted, str):
        return _array(values) == wanted
    among = np.array([text == wanted for text in values.dictionary.to_pylist()], np.bool_)
    return among[_array(values.indices)]


def _array(values: Any) -> NDArray[Any]:  # noqa: ANN401  # of pyarrow
    if values.null_count:
        return values.to_numpy(zero_copy_only=False)  # missing values become NaN
    if values.type in ("string", "large_string"):
        return np.array(values.to_pylist())  # some tables have numbers as texts
    return np.from_dlpack(values)


def _points(rows: _Columns, sizes: Sequence[str]) -> Points:
    return Points(
        tuple(rows[name].astype(np.float64) for name in sizes), rows["latency"] * _MILLISECONDS
    )


def _reduced(products: _Columns, seconds: NDArray[np.float64]) -> _Columns:
    least = products["latency"] * _LEAST_SHARE
    return {**products, "latency": np.maximum(products["latency"] - seconds, least)}


def _collective_points(
    rows: _Columns, chosen: NDArray[np.bool_], num_gpus: int
) -> CollectivePoints:
    """Return the points of the measured number of GPUs nearest to `num_gpus`."""
    sizes = rows["num_gpus"].astype(np.float64)
    nearest = int(min(np.unique(sizes[chosen]), key=lambda size: abs(np.log(size / num_gpus))))
    chosen = chosen & (sizes == nearest)
    message = rows["message_size"][chosen].astype(np.float64) * _ELEMENT_BYTES
    return CollectivePoints(nearest, Points((message,), rows["latency"][chosen] * _MILLISECONDS))


def _nearest_window(windows: NDArray[np.float64], wanted: int | None) -> float:
    """Return the measured window for a model's window; 0 means no window."""
    if wanted is None or not np.any(windows > 0):
        return 0.0
    return float(min(np.unique(windows[windows > 0]), key=lambda size: abs(np.log(size / wanted))))


def _version(folder: Traversable) -> tuple[tuple[int, ...], bool, int]:
    """Order `1.3.0rc20` before `1.3.0`, and both after `1.2`."""
    text = folder.name
    release = tuple(
        int(number) for number in re.findall(r"\d+", text.split("rc")[0].split("post")[0])
    )
    candidate = re.search(r"rc(\d+)", text)
    return release, candidate is None, int(candidate.group(1)) if candidate else 0
