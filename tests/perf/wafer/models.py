"""Small decoders, and those whose rates are published, by the numbers that tests vary."""

from tests.perf.dense_model import LLAMA_8B, LLAMA_70B, Sizes, dense_model


def llama(
    *,
    layers=4,
    features=64,
    heads=4,
    kv_heads=2,
    inner=128,
    vocabulary=96,
    positions=4096,
    name="llama",
):
    """Return a decoder with RMSNorm, rotary positions, grouped queries and SwiGLU."""
    sizes = Sizes(
        layers=layers,
        hidden=features,
        heads=heads,
        kv_heads=kv_heads,
        features=features // heads,
        inner=inner,
        vocabulary=vocabulary,
    )
    return dense_model(name, sizes, rows=1, positions=positions)


def llama_8b():
    """Return Llama-3.1-8B."""
    return dense_model("llama-3.1-8b", LLAMA_8B, rows=1)


def llama_70b():
    """Return Llama-3.1-70B."""
    return dense_model("llama-3.1-70b", LLAMA_70B, rows=1)
