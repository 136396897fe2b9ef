"""Executors, which compute points: this process, several of this computer, or a Ray cluster.

An executor gets batches of tasks and yields their outcomes in any order. Outcomes depend neither on
the executor nor on its number of workers.
"""

from onewafer.sweep.executors.batch import Batch, Executor, InProcess, run_batch
from onewafer.sweep.executors.processes import Processes, choose_workers
from onewafer.sweep.executors.ray_cluster import RayCluster

__all__ = [
    "Batch",
    "Executor",
    "InProcess",
    "Processes",
    "RayCluster",
    "choose_workers",
    "run_batch",
]
