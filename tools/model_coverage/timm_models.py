"""Models of timm: names of its registry or classes, with keywords that make them small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.model_coverage.model import USUAL_RECTANGLE, Floats, Group, Model

if TYPE_CHECKING:
    from collections.abc import Mapping

_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
_SWIN = {"img_size": 32, "window_size": 4, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 4)}
_COAT = {"img_size": 64, "embed_dim": (32,) * 4, "depths": (1,) * 4, "stem_width": 8}
_FOUR = {"depths": (1, 1, 1, 1)}
_LARGER = (8, 8)


def _timm(
    name: str,
    size: int,
    config: Mapping[str, object] | None = None,
    rectangle: tuple[int, int] = USUAL_RECTANGLE,
) -> Model:
    keywords = {"num_classes": 5, **(config or {})}
    return Model(name, Group.TIMM, keywords, {"x": Floats((1, 3, size, size))}, rectangle=rectangle)


TIMM = (
    _timm("vit_tiny_patch16_224", 32, _VIT),
    _timm("vit_small_patch14_reg4_dinov2", 32, _VIT),
    _timm("deit_tiny_distilled_patch16_224", 32, _VIT),
    _timm("beit_base_patch16_224", 32, _VIT),
    _timm("eva02_tiny_patch14_224", 32, _VIT | {"num_heads": 2}),
    _timm("cait_xxs24_224", 32, _VIT),
    _timm("xcit_nano_12_p16_224", 32, _VIT | {"patch_size": 16}),
    _timm("MlpMixer", 32, {"img_size": 32, "patch_size": 8, "embed_dim": 32, "num_blocks": 2}),
    _timm("test_vit", 32, _VIT),
    _timm("test_resnet", 32, {"channels": (8, 12, 12, 16), "stem_width": 8}),
    _timm("test_efficientnet", 32),
    _timm("test_convnext", 32, _FOUR | {"dims": (8, 12, 16, 24)}),
    _timm("test_nfnet", 32, rectangle=_LARGER),
    _timm("test_byobnet", 32, rectangle=_LARGER),
    _timm("test_mambaout", 32, _FOUR | {"dims": (8, 12, 16, 24)}),
    _timm("resnet18", 32, {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16)}),
    _timm(
        "resnetv2_50", 32, {"layers": (1, 1, 1, 1), "channels": (16, 16, 32, 32), "stem_chs": 16}
    ),
    _timm("densenet121", 32, {"block_config": (1, 1, 1, 1), "growth_rate": 8}),
    _timm("dla34", 32, {"levels": [1] * 6, "channels": [8, 8, 8, 16, 16, 16]}),
    _timm("pit_ti_224", 64, {"img_size": 64, "base_dims": (8, 8, 8), "depth": (1, 1, 1)}),
    _timm("swin_tiny_patch4_window7_224", 32, _SWIN),
    _timm("swinv2_tiny_window8_256", 32, _SWIN),
    _timm("maxvit_rmlp_pico_rw_256", 64, _COAT, _LARGER),
    _timm("coatnet_pico_rw_224", 64, _COAT),
    _timm(
        "levit_128s",
        64,
        {"img_size": 64, "embed_dim": (16, 24, 32), "key_dim": 8, "depth": (1, 1, 1)}
        | {"num_heads": (2, 3, 4)},
    ),
    _timm("pvt_v2_b0", 64, _FOUR | {"embed_dims": (8, 16, 16, 32), "num_heads": (1, 2, 2, 4)}),
    _timm(
        "twins_svt_small",
        64,
        _FOUR | {"img_size": 64, "embed_dims": (8, 16, 16, 32), "num_heads": (1, 2, 2, 4)},
    ),
    _timm("edgenext_xx_small", 64, _FOUR | {"dims": (8, 16, 16, 24)}),
    _timm("fastvit_t8", 64, {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128)}, _LARGER),
    _timm("hiera_tiny_224", 64, {"img_size": 64, "stages": (1, 1, 1, 1), "embed_dim": 16}, _LARGER),
    _timm(
        "sequencer2d_s",
        32,
        {"img_size": 32, "layers": (1, 1, 1, 1), "embed_dims": (16, 16, 16, 16)}
        | {"hidden_sizes": (4, 8, 8, 8)},
    ),
)
