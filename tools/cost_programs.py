"""The programs whose costs `cost_table.py` writes down: small models of the transformers package.

Weights are random; what is computed with them does not matter, how long it takes does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import transformers

from onewafer.arch import load_architecture
from onewafer.graph import DataType, with_rows
from onewafer.mesh import Launch, shard
from onewafer.pytorch import capture
from onewafer.pytorch.language_model import capture_causal

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.graph import Graph
    from onewafer.mesh import MeshProgram

ARCHITECTURE = load_architecture("wse3")
_ROWS = 16
"""Rows of a full launch of a language model."""
_CONTEXT = 32
_SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": _CONTEXT,
}
_GROUPED: dict[str, Any] = {**_SIZES, "num_key_value_heads": 2}
_EXAMPLE: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
"""The model of examples/generate.py."""
_DEEP: dict[str, Any] = _EXAMPLE | {
    "hidden_size": 80,
    "intermediate_size": 200,
    "num_hidden_layers": 4,
    "num_attention_heads": 5,
    "num_key_value_heads": 1,
    "tie_word_embeddings": True,
}
"""On 14×18 PEs, blocks end in padding along both axes, and some PEs have nothing else."""


@dataclass(frozen=True, slots=True)
class CostProgram:
    """A model on a rectangle, and launches of it."""

    name: str
    build: Callable[[], torch.nn.Module]
    width: int
    height: int
    launches: tuple[Launch, ...]
    """First positions and rows; a launch of one row is a token of decode."""
    context: int | None = _CONTEXT
    """None: an encoder, whose rows come all at once."""
    dtype: DataType = DataType.F32

    def shard(self) -> MeshProgram:
        """Return the mesh program."""
        return shard(
            self._graph(),
            width=self.width,
            height=self.height,
            architecture=ARCHITECTURE,
            context=self.context,
        )

    def _graph(self) -> Graph:
        module = self.build().eval()
        if self.context is not None:
            model = capture_causal(module, self.context, gives_all_rows=False, dtype=self.dtype)
            return with_rows(model.graph, _ROWS)
        with torch.no_grad():
            return capture(module, (), _arguments_of(module), dtype=self.dtype).graph


class _Attention(torch.nn.Module):
    """Attention that returns its shares as well: products and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(24, 4, batch_first=True)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return rows, and the shares of every head."""
        return self.attention(rows, rows, rows, average_attn_weights=False)


def _arguments_of(module: torch.nn.Module) -> dict[str, object]:
    if isinstance(module, transformers.ViTModel):
        return {"pixel_values": torch.randn(1, 3, 24, 24)}
    if isinstance(module, _Attention):
        return {"rows": torch.randn(1, 12, 24)}
    return {"input_ids": torch.zeros(1, 5, dtype=torch.int64)}


def _llama(sizes: dict[str, Any]) -> torch.nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))


def _gpt2() -> torch.nn.Module:
    config = transformers.GPT2Config(
        vocab_size=61, n_embd=24, n_layer=2, n_head=4, n_positions=_CONTEXT
    )
    return transformers.GPT2LMHeadModel(config)


def _mistral() -> torch.nn.Module:
    config = transformers.MistralConfig(**_GROUPED, sliding_window=_CONTEXT)
    return transformers.MistralForCausalLM(config)


def _qwen2() -> torch.nn.Module:
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_GROUPED))


def _qwen3() -> torch.nn.Module:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**_GROUPED, head_dim=8))


def _smollm() -> torch.nn.Module:
    sizes = _SIZES | {"num_attention_heads": 3, "num_key_value_heads": 1}
    return _llama(sizes | {"tie_word_embeddings": True})


def _smollm2() -> torch.nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config)


def _bert() -> torch.nn.Module:
    return transformers.BertModel(transformers.BertConfig(**_SIZES))


def _vit() -> torch.nn.Module:
    sizes = {
        name: size
        for name, size in _SIZES.items()
        if name not in ("vocab_size", "max_position_embeddings")
    }
    return transformers.ViTModel(transformers.ViTConfig(**sizes, image_size=24, patch_size=6))


_SHORT = (Launch.at(0, 16), Launch.at(16, 1), Launch.at(30, 1))
_LONG = (Launch.at(0, 6), Launch.at(6, 1), Launch.at(62, 1))

PROGRAMS = (
    CostProgram("examples/generate.py", lambda: _llama(_EXAMPLE), 8, 8, _LONG, context=64),
    CostProgram(
        "examples/generate.py in f16",
        lambda: _llama(_EXAMPLE),
        8,
        8,
        _LONG,
        context=64,
        dtype=DataType.F16,
    ),
    CostProgram("Llama, 4 layers", lambda: _llama(_DEEP), 14, 18, _LONG, context=64),
    CostProgram("Llama", lambda: _llama(_GROUPED), 4, 4, _SHORT),
    CostProgram("Mistral", _mistral, 4, 4, _SHORT),
    CostProgram("Qwen2", _qwen2, 4, 4, _SHORT),
    CostProgram("Qwen3", _qwen3, 4, 4, _SHORT),
    CostProgram("SmolLM", _smollm, 4, 4, _SHORT),
    CostProgram("GPT-2", _gpt2, 4, 4, _SHORT),
    CostProgram("BERT", _bert, 4, 4, (Launch.at(0, 5),), context=None),
    CostProgram("attention with its shares", _Attention, 4, 4, (Launch.at(0, 12),), context=None),
    CostProgram("ViT", _vit, 4, 4, (Launch.at(0, 17),), context=None),
)

LEVELLED = (
    *PROGRAMS[:2],
    CostProgram(
        "SmolLM2-135M in f16",
        _smollm2,
        96,
        128,
        (Launch.at(6, 1),),
        context=64,
        dtype=DataType.F16,
    ),
)
"""Programs that show what the compiler's optimiser saves; one is a model of full size."""
