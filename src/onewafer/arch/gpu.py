"""GPUs and clusters as values: peaks, memory, links, power.

The numbers live in `gpus/<name>.toml`, each with its unit and source. A cluster is a number of GPUs
of one kind, joined by NVLink within a domain and by a network between domains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from onewafer.arch.sourced import load_facts, names_in
from onewafer.errors import ConfigurationError

_FOLDER = "onewafer.arch.gpus"
_CLUSTER = re.compile(r"(?P<gpu>[a-z]+\d+)(?:x(?P<count>\d{1,30}))?")
MOST_GPUS = 1 << 18
"""The largest cluster. The largest announced ones have some 200,000 GPUs in one place (xAI,
Colossus, 2025); networks of more would need another model."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU with its links. Peaks are dense; a bandwidth is of one GPU, in one direction."""

    name: str
    """`h100`, `gb200`."""
    title: str
    memory_bytes: int
    memory_bytes_per_second: float
    fp32_flop_per_second: float
    bf16_flop_per_second: float
    """The peak for fp16, too."""
    fp8_flop_per_second: float
    """0: the GPU cannot."""
    fp4_flop_per_second: float
    """0: the GPU cannot."""
    gpus_per_domain: int
    """GPUs that NVLink joins."""
    link_bytes_per_second: float
    link_seconds: float
    """Latency between two GPUs of a domain."""
    link_efficiency: float
    """The share of the bandwidth of NVLink that collectives reach, 0 to 1."""
    network_bytes_per_second: float
    network_seconds: float
    """Latency between GPUs of two domains."""
    busy_watts: float
    """Power of the GPU with its memory: the thermal design power."""
    idle_watts: float
    host_watts: float
    """A GPU's share of the rest of its node or rack: processors, switches, fans."""
    reserve_bytes: int
    """Memory that is neither weights nor cache: the engine, its buffers, those of collectives."""
    measurements: str
    """Folder of measured kernels in the package aiconfigurator-core."""


@dataclass(frozen=True, slots=True)
class GpuCluster:
    """A number of GPUs of one kind."""

    gpu: Gpu
    count: int

    @property
    def name(self) -> str:
        """The name that users write: `h100x8`."""
        return f"{self.gpu.name}x{self.count}"

    @property
    def title(self) -> str:
        """For people: `8 × H100 SXM`."""
        return f"{self.count:,} × {self.gpu.title}"


def gpu_names() -> tuple[str, ...]:
    """Return the names of all GPUs, sorted."""
    return names_in(_FOLDER)


def load_gpu(name: str) -> Gpu:
    """Return a GPU; raise ConfigurationError if there is none of that name.

    >>> load_gpu("h100").gpus_per_domain
    8
    """
    return load_facts(Gpu, _FOLDER, name, "GPU")


def find_cluster(name: str) -> GpuCluster | None:
    """Return the cluster of a name like `h100x8` or `b200` (one GPU); None if it names no GPU.

    Raise ConfigurationError for more GPUs than any cluster has.

    >>> find_cluster("gb200x72").title
    '72 × GB200 NVL72'
    >>> find_cluster("cs3") is None
    True
    """
    match = _CLUSTER.fullmatch(name.strip().lower())
    if match is None or match["gpu"] not in gpu_names():
        return None
    count = int(match["count"] or 1)
    if count > MOST_GPUS:
        raise ConfigurationError(
            f"{name!r}: a cluster has at most {MOST_GPUS:,} GPUs; "
            f"write {match['gpu']} for one, {match['gpu']}x8 for eight"
        )
    return GpuCluster(load_gpu(match["gpu"]), count) if count else None


def load_cluster(name: str) -> GpuCluster:
    """Return the cluster of a name like `h100x8`.

    Raise ConfigurationError that shows the form and the nearest names otherwise.
    """
    if (found := find_cluster(name)) is not None:
        return found
    kind, _, count = name.strip().lower().partition("x")
    nearest = get_close_matches(kind, gpu_names(), n=2, cutoff=0.5)
    hint = f"; nearest: {', '.join(f'{gpu}x{count or 8}' for gpu in nearest)}" if nearest else ""
    if kind in gpu_names():
        hint = f"; write how many after the x, at least 1: {kind}x8"
    raise ConfigurationError(
        f"there is no GPU system '{name}'{hint}. GPUs are {', '.join(gpu_names())}, followed by x "
        "and their number"
    )
