"""The layout of a model over GPUs: sizes of parallel groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.perf.gpu.sharding import most_shards, num_experts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.arch import GpuCluster
    from onewafer.perf.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes of the groups of GPUs; their product is the number of GPUs in use."""

    tensor: int = 1
    """GPUs that share each layer, neighbours in a domain where they fit."""
    expert: int = 1
    """Groups of tensor-parallel GPUs that experts are distributed over."""
    pipeline: int = 1
    """Stages, each with a part of the layers."""
    replicas: int = 1
    """Copies of the whole model, each with its own requests (data parallelism)."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        for name, size in (
            ("tensor", self.tensor),
            ("expert", self.expert),
            ("pipeline", self.pipeline),
            ("replicas", self.replicas),
        ):
            if size < 1:
                raise ConfigurationError(f"a plan with {name} = {size}; it must be at least 1")
        if self.tensor % self.expert:
            raise ConfigurationError(
                f"a plan with expert = {self.expert} groups of tensor = {self.tensor} GPUs; the "
                "first must divide the second"
            )

    @property
    def num_gpus(self) -> int:
        """GPUs in use."""
        return self.gpus_per_replica * self.replicas

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of one copy of the model."""
        return self.tensor * self.pipeline

    def __str__(self) -> str:
        """Return the plan in words: `tensor parallelism 8, 2 pipeline stages`."""
        parts = [f"tensor parallelism {self.tensor}"] if self.tensor > 1 else []
        parts += [f"{self.expert} groups of experts"] if self.expert > 1 else []
        parts += [f"{self.pipeline} pipeline stages"] if self.pipeline > 1 else []
        parts += [f"{self.replicas} replicas"] if self.replicas > 1 else []
        return ", ".join(parts) or "one GPU"


def num_layers(model: Model) -> int:
    """Return the number of layers: pieces of the longest run of equal pieces."""
    return max(segment.repeats for segment in model.segments)


def tensor_sizes(model: Model, most: int) -> tuple[int, ...]:
    """Return the sizes of tensor-parallel groups up to `most`: divisors of the number of heads."""
    heads = [most_shards(segment) for segment in model.segments]
    fewest = min((count for count in heads if count > 1), default=1)
    return tuple(size for size in range(1, min(fewest, most) + 1) if fewest % size == 0)


def plans(model: Model, cluster: GpuCluster, *, most_replicas: int) -> Iterator[Plan]:
    """Yield every plan that a cluster has enough GPUs for, small groups first.

    A plan has as many replicas as fit, at most `most_replicas`. A model on feature maps is only
    replicated, never sharded.
    """
    if model.has_feature_maps:
        yield Plan(replicas=min(most_replicas, cluster.count))
        return
    for tensor in tensor_sizes(model, cluster.count):
        for pipeline in range(1, min(num_layers(model), cluster.count // tensor) + 1):
            replicas = min(most_replicas, cluster.count // (tensor * pipeline))
            for expert in expert_groups(model, tensor):
                yield Plan(tensor=tensor, expert=expert, pipeline=pipeline, replicas=replicas)


def expert_groups(model: Model, tensor: int) -> tuple[int, ...]:
    """Return the possible numbers of expert groups, which divide the GPUs and the experts."""
    experts = max(num_experts(segment) for segment in model.segments)
    return tuple(n for n in range(1, tensor + 1) if tensor % n == 0 and experts % n == 0)
