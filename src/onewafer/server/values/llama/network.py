# pyright: basic
# The type hints of torch and transformers are partial.
"""A Llama-like network of transformers on this computer, many rows at a time.

The weights stay in PyTorch's tensors. A network qualifies if its class is one of those below, its
weights are float32 and its widths are multiples of 16; `ModuleComputation` computes all others.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from onewafer.server.values.llama.kernel import BLOCK, Network, Step, advance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.server.contract.values import Chunk

_CLASSES: Final = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_ROTATIONS: Final = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embeddings whose angles depend only on the position."""
_MATRICES: Final = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)
_VECTORS: Final = (
    *("input_layernorm.weight", "post_attention_layernorm.weight"),
    *("self_attn.q_norm.weight", "self_attn.k_norm.weight"),
    *(f"self_attn.{name}_proj.bias" for name in "qkv"),
)
_MOST_ROWS: Final = 256
_FLOAT_BYTES: Final = 4


def qualifies(module: Any) -> bool:  # noqa: ANN401  # of transformers
    """Tell whether a model of transformers can be computed here."""
    config = module.config
    if type(module).__name__ not in _CLASSES or config.hidden_act != "silu":
        return False
    rotation = (config.rope_parameters or {}).get("rope_type", "default")
    known = {f"{name}.weight" for name in _MATRICES}.union(_VECTORS)
    layers = [dict(layer.named_parameters()) for layer in module.model.layers]
    plain = layers[0].keys() <= known and all(layer.keys() == layers[0].keys() for layer in layers)
    head_width = module.model.layers[0].self_attn.head_dim
    widths = (config.hidden_size, config.intermediate_size, head_width)
    return (
        plain
        and rotation in _ROTATIONS
        and all(width % 16 == 0 for width in widths)
        and all(
            weight.dtype == torch.float32 and weight.is_contiguous()
            for weight in module.parameters()
        )
        and module.lm_head.bias is None
    )


class LlamaNetwork:
    """Computes rows of tokens, with a KV cache of blocks."""

    most_rows = _MOST_ROWS
    """The most rows of one step."""

    def __init__(
        self,
        module: Any,  # noqa: ANN401  # of transformers
        *,
        num_slots: int,
        num_blocks: int,
        context_length: int,
        num_threads: int,
    ) -> None:
        self._module = module  # the addresses below point into its weights
        config = module.config
        self._embeddings: NDArray[np.float32] = module.model.embed_tokens.weight.numpy()
        self._network = _network(module, context_length)
        head_width = self._network.cosines.shape[1]
        self._num_threads = num_threads
        self._others = ThreadPoolExecutor(max(1, num_threads - 1), "onewafer-rows")
        key_heads = config.num_key_value_heads
        # Unused pages of the cache take no memory.
        shape = (num_blocks, config.num_hidden_layers, 2, key_heads, BLOCK, head_width)
        self._pool = np.empty(shape, np.float32)
        most_blocks = -(-context_length // BLOCK)
        self.blocks = np.zeros((num_slots, most_blocks), np.int64)
        """The block table: the blocks of each slot."""
        queries, keys = config.num_attention_heads * head_width, key_heads * head_width
        group = config.num_attention_heads // key_heads
        self._room = {
            "hidden": _room(config.hidden_size),
            "queries": _room(queries),
            "keys": _room(keys),
            "values": _room(keys),
            "attended": _room(queries),
            "gates": _room(config.intermediate_size),
            "ups": _room(config.intermediate_size),
        }
        self._normal = np.empty(num_threads * _MOST_ROWS * config.hidden_size, np.float32)
        self._scores = np.empty((num_threads, group, most_blocks * BLOCK), np.float32)
        # Compile the kernel here, by one thread.
        nothing, signal = np.empty(0, np.int64), np.zeros(1, np.int64)
        self._advance(
            self._step(nothing, slots=nothing, positions=nothing, wanted=nothing), 0, 1, signal
        )

    @staticmethod
    def block_bytes(module: Any) -> int:  # noqa: ANN401  # of transformers
        """Return the bytes of a block of the KV cache."""
        config = module.config
        keys = config.num_key_value_heads * module.model.layers[0].self_attn.head_dim
        return 2 * config.num_hidden_layers * keys * BLOCK * _FLOAT_BYTES

    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Return the next-token logits of each chunk that asks for logits."""
        tokens = np.concatenate([chunk.tokens for chunk in chunks])
        ends = np.cumsum([len(chunk.tokens) for chunk in chunks]) - 1
        wanted = np.array(
            [end for chunk, end in zip(chunks, ends, strict=True) if chunk.wants_logits], np.int64
        )
        step = self._step(
            tokens,
            slots=np.repeat([chunk.slot for chunk in chunks], [len(c.tokens) for c in chunks]),
            positions=np.concatenate([np.arange(c.start, c.start + len(c.tokens)) for c in chunks]),
            wanted=wanted,
        )
        signal = np.zeros(1, np.int64)
        tasks = [
            self._others.submit(self._advance, step, thread, self._num_threads, signal)
            for thread in range(1, self._num_threads)
        ]
        self._advance(step, 0, self._num_threads, signal)
        for task in tasks:
            task.result()
        return step.logits

    def _advance(
        self, step: Step, thread: int, num_threads: int, signal: NDArray[np.int64]
    ) -> None:
        """Do one thread's share of a step."""
        advance(self._network, step, self._pool, self.blocks, thread, num_threads, signal)

    def _step(
        self,
        tokens: NDArray[np.int64],
        *,
        slots: NDArray[np.int64],
        positions: NDArray[np.int64],
        wanted: NDArray[np.int64],
    ) -> Step:
        num_rows = len(tokens)
        room = {name: array[:num_rows] for name, array in self._room.items()}
        np.take(self._embeddings, tokens, axis=0, out=room["hidden"])
        width = self._embeddings.shape[1]
        normal = self._normal[: self._num_threads * num_rows * width]
        return Step(
            slots=slots.astype(np.int64),
            positions=positions,
            wanted=wanted,
            normal=normal.reshape(self._num_threads, num_rows, width),
            scores=self._scores,
            logits=np.empty((len(wanted), self._network.vocabulary), np.float32),
            **room,
        )


def _room(width: int) -> NDArray[np.float32]:
    return np.empty((_MOST_ROWS, width), np.float32)


def _network(module: Any, context_length: int) -> Network:  # noqa: ANN401  # of transformers
    """Return the weights in the form of the kernel."""
    config, layers = module.config, module.model.layers
    width = config.hidden_size
    addresses = [
        [layer.get_submodule(name).weight.data_ptr() for name in _MATRICES] for layer in layers
    ]
    norms = np.ones((len(layers) + 1, 2, width), np.float32)
    for index, layer in enumerate(layers):
        norms[index, 0] = layer.input_layernorm.weight.numpy()
        norms[index, 1] = layer.post_attention_layernorm.weight.numpy()
    norms[-1, 0] = module.model.norm.weight.numpy()
    positions = torch.arange(context_length)[None]
    cosines, sines = module.model.rotary_emb(torch.zeros(1), positions)
    head = module.lm_head.weight
    return Network(
        matrices=np.array(addresses, np.int64),
        head=head.data_ptr(),
        norms=norms,
        head_norms=_head_norms(layers, cosines.shape[-1]),
        biases=_biases(layers),
        windows=np.array([_window(config, index) for index in range(len(layers))], np.int64),
        cosines=np.ascontiguousarray(cosines[0].numpy()),
        sines=np.ascontiguousarray(sines[0].numpy()),
        num_heads=config.num_attention_heads,
        num_key_heads=config.num_key_value_heads,
        inner=config.intermediate_size,
        vocabulary=head.shape[0],
        epsilon=float(config.rms_norm_eps),
    )


def _head_norms(layers: Any, width: int) -> NDArray[np.float32]:  # noqa: ANN401  # of torch
    if not hasattr(layers[0].self_attn, "q_norm"):
        return np.empty((0, 2, width), np.float32)
    attentions = [layer.self_attn for layer in layers]
    return np.stack(
        [np.stack([a.q_norm.weight.numpy(), a.k_norm.weight.numpy()]) for a in attentions]
    )


def _biases(layers: Any) -> NDArray[np.float32]:  # noqa: ANN401  # of torch
    if layers[0].self_attn.q_proj.bias is None:
        return np.empty((0, 0), np.float32)
    attentions = [layer.self_attn for layer in layers]
    return np.stack(
        [
            np.concatenate([p.bias.numpy() for p in (a.q_proj, a.k_proj, a.v_proj)])
            for a in attentions
        ]
    )


def _window(config: Any, layer: int) -> int:  # noqa: ANN401  # of transformers
    """Return the attention window of a layer; 0: unlimited."""
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if kinds is not None and kinds[layer] != "sliding_attention":
        return 0
    return window or 0
