"""Kernels that an inference engine launches on one GPU, with what they compute and move.

    kernel := Gemm(rows, outputs, inputs, number_format)
            | DecodeAttention(shape, sequences, context, cache_format)     one new token each
            | PrefillAttention(shape, sequences, new_tokens, cached_tokens, cache_format, is_causal)
            | Experts(shape, rows, number_format)     the chosen networks of each row
            | Convolution(rows, outputs, depth, elements, number_format)
            | Elementwise(num_bytes, flop)            norms, rotations, activations: fused, in HBM
            | Vector(num_bytes, flop)                 the same without tensor cores
            | Communication(collective, num_bytes, group)

Sizes are those of one GPU, after tensors were sharded. The arithmetic is in functions of numbers or
arrays, so that tables of measured kernels use the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar, cast

from onewafer.errors import ConfigurationError
from onewafer.perf.jobs import Precision

if TYPE_CHECKING:
    import numpy as np

    from onewafer.arch import Gpu
    from onewafer.perf.gpu.collectives import Collective, Group

    _Number = TypeVar("_Number", float, np.ndarray[tuple[int, ...], np.dtype[np.float64]])

_HALF_BYTES = 2.0
"""Bytes of an activation: bf16, whatever the format of the products."""


class NumberFormat(StrEnum):
    """How operands of matrix products, or keys and values of the cache, are stored."""

    FP32 = "float32"
    BF16 = "bfloat16"
    """fp16, too."""
    FP8 = "fp8"
    """One scale a tensor, known beforehand."""
    FP8_DYNAMIC = "fp8_dynamic"
    """One scale a tensor; that of the rows is computed for every product."""
    FP8_BLOCK = "fp8_block"
    """One scale for 128 × 128 weights, one for 128 features of a row."""
    FP4 = "nvfp4"
    """One fp8 scale for 16 elements."""
    MXFP4 = "mxfp4"
    """One scale of 8 bits, a power of two, for 32 weights; products with rows in mxfp8 where there
    is arithmetic for both, else with weights that are unpacked to bf16 as they are read."""

    @property
    def num_bytes(self) -> float:
        """Bytes of an element, with its share of scales of blocks."""
        return _BYTES[self]

    def lack(self, gpu: Gpu) -> str | None:
        """Return why a GPU cannot compute in the format; None if it can."""
        if self._peak(gpu):
            return None
        return f"{gpu.title} has no {self.value} arithmetic; choose --precision bf16 or another GPU"

    def peak_flop_per_second(self, gpu: Gpu) -> float:
        """Return the dense peak of a GPU; raise ConfigurationError if it lacks the format."""
        if (lack := self.lack(gpu)) is not None:
            raise ConfigurationError(lack)
        return self._peak(gpu)

    def _peak(self, gpu: Gpu) -> float:
        return {
            NumberFormat.FP32: gpu.fp32_flop_per_second,
            NumberFormat.BF16: gpu.bf16_flop_per_second,
            NumberFormat.FP8: gpu.fp8_flop_per_second,
            NumberFormat.FP8_DYNAMIC: gpu.fp8_flop_per_second,
            NumberFormat.FP8_BLOCK: gpu.fp8_flop_per_second,
            NumberFormat.FP4: gpu.fp4_flop_per_second,
            NumberFormat.MXFP4: gpu.fp8_flop_per_second
            if gpu.fp4_flop_per_second
            else gpu.bf16_flop_per_second,
        }[self]


_BYTES = {
    NumberFormat.FP32: 4.0,
    NumberFormat.BF16: 2.0,
    NumberFormat.FP8: 1.0,
    NumberFormat.FP8_DYNAMIC: 1.0,
    NumberFormat.FP8_BLOCK: 1.0 + 4 / 128**2,
    NumberFormat.FP4: 0.5 + 1 / 16,
    NumberFormat.MXFP4: 0.5 + 1 / 32,
}


def product_format(precision: Precision, *, has_block_scales: bool = False) -> NumberFormat:
    """Return the format of matrix products at a precision, those of experts left aside."""
    formats = {
        Precision.FP32: NumberFormat.FP32,
        Precision.BF16: NumberFormat.BF16,
        Precision.FP16: NumberFormat.BF16,
        Precision.FP8: NumberFormat.FP8_BLOCK if has_block_scales else NumberFormat.FP8,
        Precision.FP4: NumberFormat.FP4,
        Precision.MXFP4: NumberFormat.BF16,
    }
    return formats[precision]


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """Heads of one GPU."""

    heads: int
    kv_heads: int
    features: int
    """Features of a head, the same for keys and values."""
    window: int | None = None
    """Most tokens that a token attends to; None: all before it."""
    cached_features: int | None = None
    """Elements of the cache per token where keys and values share some; None: they share none."""

    @property
    def token_elements(self) -> int:
        """Elements of the cache for each token."""
        if self.cached_features is not None:
            return self.cached_features
        return 2 * self.kv_heads * self.features

    def seen(self, context: int) -> int:
        """Return how many tokens of a context its last token attends to."""
        return context if self.window is None else min(context, self.window)


@dataclass(frozen=True, slots=True)
class Gemm:
    """Multiply rows by a weight: `rows × inputs` by `inputs × outputs`."""

    rows: int
    outputs: int
    inputs: int
    number_format: NumberFormat


@dataclass(frozen=True, slots=True)
class Convolution:
    """Convolve as an implicit GEMM: `rows × depth` by `depth × outputs`.

    The first matrix is never stored: feature maps are read once, and written in the same format.
    """

    rows: int
    outputs: int
    depth: float
    """Mean number of products summed per result: features at the taps of a pixel, or, in the
    gradient of a weight, pixels."""
    elements: int
    """Elements of feature maps and of weights that are read and written."""
    number_format: NumberFormat
    is_dense: bool = False
    """True if there is one tap, so that it is an ordinary GEMM."""


@dataclass(frozen=True, slots=True)
class DecodeAttention:
    """Attention of one new token of each sequence over its keys and values."""

    shape: AttentionShape
    sequences: int
    context: int
    """Tokens of a sequence, the new one included."""
    cache_format: NumberFormat


@dataclass(frozen=True, slots=True)
class PrefillAttention:
    """Attention of many new tokens of each sequence."""

    shape: AttentionShape
    sequences: int
    new_tokens: int
    cached_tokens: int
    cache_format: NumberFormat
    is_causal: bool = True


@dataclass(frozen=True, slots=True)
class ExpertShape:
    """Sizes of the experts of a layer, and how GPUs share them."""

    features: int
    hidden: int
    """Features between the matrices of one expert."""
    elements: int
    """Weights of one expert."""
    num_experts: int
    experts_per_row: int
    tensor: int = 1
    """GPUs that share each expert."""
    expert: int = 1
    """Groups of GPUs that the experts are distributed over (expert parallelism)."""

    @property
    def matrices(self) -> int:
        """Products of one expert: 2, or 3 with a gate; biases are not counted."""
        return self.elements // (self.features * self.hidden)

    @property
    def elements_of_gpu(self) -> int:
        """Weights on one GPU."""
        return -(-self.num_experts // self.expert) * self.elements // self.tensor


@dataclass(frozen=True, slots=True)
class Experts:
    """The experts that rows are routed to, on a GPU with its share of them."""

    shape: ExpertShape
    rows: int
    """Rows of the whole group: every GPU sees all of them."""
    number_format: NumberFormat


@dataclass(frozen=True, slots=True)
class Elementwise:
    """A fused kernel that moves `num_bytes` and computes little."""

    num_bytes: float
    flop: float = 0.0


@dataclass(frozen=True, slots=True)
class Vector:
    """A kernel that moves `num_bytes` and computes in fp32, without tensor cores."""

    num_bytes: float
    flop: float = 0.0


@dataclass(frozen=True, slots=True)
class Communication:
    """A collective of activations, whose size is that of the whole tensor."""

    collective: Collective
    num_bytes: float
    group: Group


Kernel = (
    Gemm
    | Convolution
    | DecodeAttention
    | PrefillAttention
    | Experts
    | Elementwise
    | Vector
    | Communication
)


def gemm_flop(rows: _Number, outputs: _Number, inputs: _Number) -> _Number:
    """Return the FLOP of a product, a multiply-add counted as two."""
    return 2.0 * rows * outputs * inputs


def gemm_bytes(
    rows: _Number, outputs: _Number, inputs: _Number, number_format: NumberFormat
) -> _Number:
    """Return the bytes of both operands in their format and of the result in bf16."""
    operands = (rows * inputs + outputs * inputs) * number_format.num_bytes
    return operands + rows * outputs * _HALF_BYTES


def convolution_bytes(kernel: Convolution) -> float:
    """Return the bytes of feature maps and of the weight, all in one format."""
    return kernel.elements * kernel.number_format.num_bytes


def decode_bytes(
    sequences: _Number, context: _Number, shape: AttentionShape, cache_format: NumberFormat
) -> _Number:
    """Return the bytes of keys and values, which are read once, and of queries and results."""
    cache = context * (shape.token_elements * cache_format.num_bytes)
    return sequences * (cache + 2 * shape.heads * shape.features * _HALF_BYTES)


def prefill_pairs(
    new_tokens: _Number, cached_tokens: _Number, *, is_causal: bool = True
) -> _Number:
    """Return the number of pairs of a query and a key in a sequence."""
    if is_causal:
        return new_tokens * cached_tokens + new_tokens * (new_tokens + 1.0) / 2.0
    return new_tokens * (new_tokens + cached_tokens)


def attention_flop(sequences: _Number, pairs: _Number, shape: AttentionShape) -> _Number:
    """Return the FLOP of the products with keys and values; `pairs` are those of a sequence."""
    return 4.0 * sequences * pairs * (shape.heads * shape.features)


def prefill_bytes(
    sequences: _Number,
    new_tokens: _Number,
    cached_tokens: _Number,
    shape: AttentionShape,
    cache_format: NumberFormat,
) -> _Number:
    """Return the bytes of queries, results and new keys and values, and of the cache."""
    new = new_tokens * ((2 * shape.heads + 2 * shape.kv_heads) * shape.features * _HALF_BYTES)
    cache = (new_tokens + cached_tokens) * (shape.token_elements * cache_format.num_bytes)
    return sequences * (new + cache)


def experts_flop(rows: _Number, shape: ExpertShape) -> _Number:
    """Return the FLOP of one GPU if all experts are chosen equally often."""
    return 2.0 * rows * (shape.experts_per_row * shape.elements / shape.tensor / shape.expert)


def experts_bytes(rows: _Number, shape: ExpertShape, number_format: NumberFormat) -> _Number:
    """Return the bytes of the experts that the rows use, and of rows and results.

    A row misses an expert with probability 1 − k / E, all rows miss it with (1 − k / E)^rows.
    """
    missed = cast("_Number", (1.0 - shape.experts_per_row / shape.num_experts) ** rows)
    weights = (1.0 - missed) * (shape.elements_of_gpu * number_format.num_bytes)
    pairs = rows * (shape.experts_per_row / shape.expert)
    between = pairs * (2 * shape.hidden / shape.tensor * _HALF_BYTES)
    return weights + between + rows * (2 * shape.features * _HALF_BYTES)
