"""Sizes of groups of GPUs as users write them: `tp8pp2`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.perf import gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import GpuCluster

_WORDS = {
    "tp": "tensor parallelism",
    "pp": "pipeline stages",
    "dp": "replicas (inference only: in training they follow from the others)",
    "cp": "context parallelism (training only)",
    "vp": "pieces of a stage, interleaved (training only)",
    "mb": "sequences of a micro-batch (training only)",
    "ep": "groups among which experts are dealt out (training only)",
    "et": "GPUs that share each expert (training only)",
}
_PART = re.compile(r"([a-z]+)(\d{1,30})")


@dataclass(frozen=True, slots=True)
class Groups:
    """The sizes that the user chose; others are searched for in training and 1 in inference."""

    text: str
    sizes: Mapping[str, int]
    """Key of `_WORDS` → size."""

    def inference_plan(self, cluster: GpuCluster) -> gpu.Plan:
        """Return the plan of an inference engine on a cluster: by default as many replicas as fit.

        Raises ConfigurationError for groups that only training has, or for too many GPUs.
        """
        self._refuse("cp", "vp", "mb", "ep", "et", job="inference")
        tensor, pipeline = self.sizes.get("tp", 1), self.sizes.get("pp", 1)
        most = cluster.count // (tensor * pipeline)
        replicas = self.sizes.get("dp", most)
        if not 1 <= replicas <= most:
            needed = tensor * pipeline * max(1, replicas)
            raise ConfigurationError(
                f"--plan {self.text} takes {needed} GPUs, and {cluster.name} has {cluster.count}"
            )
        return gpu.Plan(tensor=tensor, pipeline=pipeline, replicas=replicas)

    def training_plan(self) -> gpu.PinnedPlan:
        """Return the pinned sizes of a training plan; raise ConfigurationError for replicas."""
        self._refuse("dp", job="training")
        return gpu.PinnedPlan(
            tensor=self.sizes.get("tp"),
            context=self.sizes.get("cp"),
            pipeline=self.sizes.get("pp"),
            interleave=self.sizes.get("vp"),
            micro_batch=self.sizes.get("mb"),
            expert=self.sizes.get("ep"),
            expert_tensor=self.sizes.get("et"),
        )

    def _refuse(self, *keys: str, job: str) -> None:
        for key in keys:
            if key in self.sizes:
                raise ConfigurationError(f"--plan {self.text}: {job} takes no {key}, {_WORDS[key]}")


def parse_groups(text: str) -> Groups:
    """Return the sizes in a text like `tp8pp2`.

    >>> dict(parse_groups("tp8pp2").sizes)
    {'tp': 8, 'pp': 2}
    """
    parts = _PART.findall(text.lower())
    sizes = {key: int(size) for key, size in parts}
    is_whole = "".join(key + size for key, size in parts) == text.lower()
    if not parts or not is_whole or len(sizes) < len(parts) or not {*sizes} <= {*_WORDS}:
        known = "; ".join(f"{key}: {word}" for key, word in _WORDS.items())
        raise ConfigurationError(f"--plan {text!r}: write sizes as in tp8pp2. {known}")
    if 0 in sizes.values():
        raise ConfigurationError(f"--plan {text}: a group has at least one GPU")
    return Groups(text, sizes)
