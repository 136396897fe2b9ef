"""Models, GPUs and steps that tests of training on GPUs share."""

from dataclasses import replace

from onewafer.arch import Gpu, GpuCluster, load_gpu
from onewafer.perf import Model, Train
from onewafer.perf.gpt import GptShape, gpt_model
from onewafer.perf.gpu.clock import KernelClock
from onewafer.perf.gpu.kernels import NumberFormat
from onewafer.perf.gpu.training_constants import load_training_constants
from onewafer.perf.gpu.training_step import TrainingSteps

SMALL = GptShape(layers=24, hidden=2048, heads=16, vocabulary=4096, positions=8192)
MODEL = gpt_model("gpt", SMALL)
H100 = load_gpu("h100")
SPEEDS = (
    "memory_bytes_per_second",
    "bf16_flop_per_second",
    "link_bytes_per_second",
    "network_bytes_per_second",
)
"""Speed of a GPU: the faster, the shorter a step."""


def job(*, batch: int = 64, sequence: int = 2048) -> Train:
    """Return a step of so many sequences."""
    return Train(tokens=1e12, sequence=sequence, batch=batch)


def steps(
    *,
    model: Model = MODEL,
    gpu: Gpu = H100,
    batch: int = 64,
    sequence: int = 2048,
    products: NumberFormat = NumberFormat.BF16,
) -> TrainingSteps:
    """Return steps of a model, by rooflines alone."""
    return TrainingSteps(
        model,
        job(batch=batch, sequence=sequence),
        KernelClock(gpu),
        products=products,
        constants=load_training_constants(),
    )


def cluster(count: int, **changes: float) -> GpuCluster:
    """Return so many GPUs like H100."""
    return GpuCluster(replace(H100, **changes), count)
