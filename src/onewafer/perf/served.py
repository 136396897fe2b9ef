"""Lay a model over a wafer or GPU system for serving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.arch import find_cluster
from onewafer.perf import wafer
from onewafer.perf.compare import CompareOptions, device_of, options_for_gpu
from onewafer.perf.gpu.served import serve_on_gpus
from onewafer.perf.wafer.served import serve_on_wafers

if TYPE_CHECKING:
    from onewafer.perf.launches import ServedSystem
    from onewafer.perf.model import Model


def serve_on(
    model: Model,
    system: str,
    *,
    sequences: int,
    context: int,
    options: CompareOptions | None = None,
) -> ServedSystem:
    """Return a model on a system, named as in `cs3`, `cs3x6`, `h100x8`.

    `sequences` may run at a time, over all replicas; wafers without room for all run fewer.
    `context` is the most tokens of a sequence.

    Raises:
        ConfigurationError: there is no such system, or the model does not fit.
    """
    options = options or CompareOptions()
    device_of(system)
    if (wafers := wafer.parse_system(system)) is not None:
        return serve_on_wafers(model, wafers, options.wafer, sequences=sequences, context=context)
    cluster = find_cluster(system)
    assert cluster is not None, "names are checked before"
    return serve_on_gpus(
        model,
        cluster,
        options_for_gpu(options, cluster),
        sequences=sequences,
        context=context,
    )
