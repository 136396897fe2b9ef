"""Code of models that cannot be captured as it is, replaced by an operation with the same cost.

* Experts: their own code goes through the experts that rows have chosen, which depends on elements.
  In its place stands one operation on the rows, the choice and all weights.
* Attention with a window or with sinks: the one shows in no mask of a short sequence, the other is
  written out by hand. transformers lets its classes be told which attention to use.
* Attention whose keys and values are made of one latent vector a token (multi-head latent
  attention): the code expands them, engines that decode attend to the latent vectors themselves and
  keep nothing else (DeepSeek-V2, arXiv:2405.04434, section 2.1).

All hold in a copy of the modules, which are counted and not computed.
"""

from __future__ import annotations

import copy
from types import MethodType
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_STACK = 3
"""Dimensions of the matrices of all experts."""
_NAME = "onewafer"


torch.library.define(
    f"{_NAME}::experts",
    "(Tensor rows, Tensor choice, Tensor[] weights, int num_experts, int per_row, int hidden)"
    " -> Tensor",
)
torch.library.define(
    f"{_NAME}::latent_attention",
    "(Tensor query, Tensor latent, Tensor rotated, Tensor weight, int heads, int plain, int values,"
    " float scale) -> Tensor",
)
torch.library.define(
    f"{_NAME}::attention",
    "(Tensor query, Tensor key, Tensor value, Tensor? sinks, float scale, bool is_causal,"
    " int? window, int? cached_features) -> Tensor",
)


def _shape_of_experts(rows: torch.Tensor, *_: object) -> torch.Tensor:
    return torch.empty_like(rows)


def _shape_of_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: object
) -> torch.Tensor:
    del key
    batch, heads, rows = query.shape[:-1]
    return query.new_empty(batch, rows, heads, value.shape[-1])


def _shape_of_latent_attention(
    query: torch.Tensor,
    latent: torch.Tensor,
    rotated: torch.Tensor,
    weight: torch.Tensor,
    *sizes: int,
) -> torch.Tensor:
    del latent, rotated, weight
    heads, _, values = sizes[:3]
    return query.new_empty(*query.shape[:-1], heads * values)


torch.library.register_fake(f"{_NAME}::latent_attention", _shape_of_latent_attention)  # pyright: ignore[reportUnknownMemberType]  # partly typed
torch.library.register_fake(f"{_NAME}::experts", _shape_of_experts)  # pyright: ignore[reportUnknownMemberType]  # partly typed
torch.library.register_fake(f"{_NAME}::attention", _shape_of_attention)  # pyright: ignore[reportUnknownMemberType]  # partly typed


def put_stand_ins(module: torch.nn.Module) -> None:
    """Replace code that cannot be captured, in a module that is used for nothing else."""
    configs: dict[int, object] = {}
    for inner in module.modules():
        if _is_experts(inner):
            vars(inner)["forward"] = MethodType(_forward_experts, inner)
        if _is_latent_attention(inner):
            vars(inner)["forward"] = MethodType(_forward_latent, inner)
        if "config" in vars(inner):
            config = vars(inner)["config"]
            configs.setdefault(id(config), copy.deepcopy(config))
            vars(inner)["config"] = configs[id(config)]
    if _has_special_attention(module):
        _use_own_attention(configs.values())


# --- experts -----------------------------------------------------------------------------------


def _is_experts(module: torch.nn.Module) -> bool:
    stacks = {name for name, parameter in _own(module).items() if parameter.dim() == _STACK}
    return "down_proj" in stacks and bool(stacks & {"gate_up_proj", "up_proj"})


def _own(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return dict(module.named_parameters(recurse=False))


def _forward_experts(
    module: torch.nn.Module, rows: torch.Tensor, *chosen: torch.Tensor, **more: torch.Tensor
) -> torch.Tensor:
    """Stand for `forward(rows, indices, weights)`, whose last two come in either order."""
    routing = [*chosen, *more.values()]
    integers = [tensor for tensor in routing if not tensor.is_floating_point()]
    floats = [tensor for tensor in routing if tensor.is_floating_point()]
    if not integers or not floats:  # every expert gets its rows, as in Llama 4: no loop, no choice
        return type(module).forward(module, rows, *chosen, **more)
    indices, shares = integers[0], floats[0]
    weights = [*_own(module).values()]
    down = _own(module)["down_proj"]
    hidden = next(
        size for size in down.shape[1:] if size != rows.shape[-1] or size == down.shape[2]
    )
    flat = rows.reshape(-1, rows.shape[-1])
    result = torch.ops.onewafer.experts(
        flat, shares, weights, down.shape[0], indices.shape[-1], hidden
    )
    return result.reshape(rows.shape)


# --- latent attention --------------------------------------------------------------------------

_LATENT = ("kv_a_proj_with_mqa", "kv_a_layernorm", "kv_b_proj", "o_proj", "kv_lora_rank")


def _is_latent_attention(module: torch.nn.Module) -> bool:
    return all(hasattr(module, name) for name in _LATENT)


def _forward_latent(
    module: Any,  # noqa: ANN401  # a class of transformers
    hidden_states: torch.Tensor,
    *_: object,
    **__: object,
) -> tuple[torch.Tensor, None]:
    """Stand for the forward of DeepSeek's attention, less its rotation, which costs little."""
    if module.q_lora_rank is None:
        query = module.q_proj(hidden_states)
    else:
        query = module.q_b_proj(module.q_a_layernorm(module.q_a_proj(hidden_states)))
    both = module.kv_a_proj_with_mqa(hidden_states)
    latent, rotated = torch.split(both, [module.kv_lora_rank, module.qk_rope_head_dim], dim=-1)
    found = torch.ops.onewafer.latent_attention(
        query,
        module.kv_a_layernorm(latent),
        rotated,
        module.kv_b_proj.weight,
        module.num_heads,
        module.qk_nope_head_dim,
        module.v_head_dim,
        module.scaling,
    )
    return module.o_proj(found), None


# --- attention ---------------------------------------------------------------------------------


class _Config(Protocol):
    """A configuration of transformers."""

    _attn_implementation: str


def _has_special_attention(module: torch.nn.Module) -> bool:
    config = getattr(module, "config", None)
    window = getattr(config, "sliding_window", None)
    is_on = getattr(config, "use_sliding_window", True)
    return bool(window and is_on) or any("sinks" in _own(inner) for inner in module.modules())


def _use_own_attention(configs: object) -> None:
    """Let classes of transformers call the operation above, whatever they use otherwise."""
    from transformers.masking_utils import (  # noqa: PLC0415  # an extra, and slow to import
        ALL_MASK_ATTENTION_FUNCTIONS,
    )
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS  # noqa: PLC0415

    ALL_ATTENTION_FUNCTIONS.register(_NAME, _attend)  # pyright: ignore[reportUnknownMemberType]  # partly typed
    ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, _no_mask)  # pyright: ignore[reportUnknownMemberType]  # partly typed
    for config in cast("Sequence[_Config]", configs):
        if hasattr(config, "_attn_implementation"):
            config._attn_implementation = _NAME  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # no public name


def _no_mask(*_: object, **__: object) -> None:
    """Return no mask: the attention is told what it sees."""


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    s_aux: torch.Tensor | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    del attention_mask
    attention = cast("Callable[..., torch.Tensor]", torch.ops.onewafer.attention)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    found: Any = attention(query, key, value, s_aux, scale, causal, sliding_window, None)
    return found, None
