"""Tasks of a Ray cluster: one that is there already, or one that lives as long as the sweep.

A batch is one plain task with a core and some memory. Ray runs it again, on another worker, if its
worker dies; the caches of compiled kernels and captured models are those of each node.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.settings import available_cores, forbid_usage_statistics
from onewafer.sweep.executors.batch import Batch, Executor, Survivors, run_batch
from onewafer.sweep.studies.points import version
from onewafer.sweep.studies.requirements import ray as load_ray
from onewafer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from onewafer.sweep.subjects.outcome import Outcome
    from onewafer.sweep.subjects.subject import Share

LOCAL = "local"
_CLIENT = "ray://"
_SECONDS_TO_CONNECT = 3.0
_SECONDS_TO_ANSWER = 20.0
_MOST_CHARACTERS = 300
"""Limit of the characters of Ray's messages that are shown."""
_RETRIES = 3
"""Number of times that Ray runs a task again whose worker died."""
_WAITING_EACH = 2
"""Tasks that wait in the cluster for each of its cores."""
_STORE_BYTES = 100_000_000
"""Object store of a local cluster, for the results of tasks."""


@dataclass(frozen=True, slots=True)
class RayCluster(Executor):
    """Workers of a Ray cluster."""

    address: str
    """`local`, `auto`, `host:port` or `ray://host:port`."""
    workers: int | None
    """Cores of a local cluster; None: all that there are."""
    memory_bytes: int
    """The resources that a task may take."""
    share: Share

    def outcomes(self, batches: Sequence[Batch]) -> Generator[tuple[str, Outcome]]:
        """Yield the outcome of each task with its key, in any order.

        Raises ConfigurationError for a cluster that does not answer, has another onewafer, or no
        node with the memory of a task.
        """
        ray = load_ray()
        with _cluster(ray, self.address, self.workers):
            self._check_nodes(ray)
            options = {"num_cpus": 1, "memory": self.memory_bytes, "max_retries": _RETRIES}
            remote = ray.remote(**options)(run_batch)
            most = _WAITING_EACH * max(1, int(ray.cluster_resources().get("CPU", 1)))
            waiting, survivors = deque(batches), Survivors(_REMEDY)
            running: dict[Any, Batch] = {}
            while waiting or running:
                while waiting and len(running) < most:
                    batch = waiting.popleft()
                    running[remote.remote(batch, self.share)] = batch
                done, _ = ray.wait([*running], num_returns=1)
                for one in done:
                    batch = running.pop(one)
                    try:
                        yield from ray.get(one)
                    except ray.exceptions.RayError:  # its workers died, every time
                        again, outcomes = survivors.after(batch)
                        waiting.extendleft(again)
                        yield from outcomes

    def _check_nodes(self, ray: Any) -> None:  # noqa: ANN401  # Ray has few types
        """Refuse a cluster without memory for a task, or with another version of onewafer."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = max((node.get("memory", 0.0) for node in nodes), default=0.0)
        if most < self.memory_bytes:
            raise ConfigurationError(
                f"--ray {self.address}: a task takes {format_size(self.memory_bytes)}, and the "
                f"largest node has {format_size(most)} for tasks; write a smaller --memory"
            )
        try:
            theirs = ray.get(ray.remote(_version_there).remote(), timeout=10 * _SECONDS_TO_ANSWER)
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            raise ConfigurationError(
                f"--ray {self.address}: its workers cannot load onewafer: {lines[-1]}"
            ) from None
        if theirs != version():
            raise ConfigurationError(
                f"--ray {self.address}: its workers have onewafer {theirs}, here is {version()}; "
                "install the same on all nodes"
            )


def _version_there() -> str:
    return version()


_REMEDY = "there may be too little memory for it: give its task more, as in --memory 8GB"


@contextmanager
def _cluster(ray: Any, address: str, workers: int | None) -> Generator[None]:  # noqa: ANN401  # Ray has few types
    """Let this process be a driver of a cluster."""
    forbid_usage_statistics()
    common = {"log_to_driver": False, "logging_level": "ERROR"}
    if address != LOCAL:
        _check_address(address)
    try:
        if address == LOCAL:
            ray.init(
                address=LOCAL,
                num_cpus=workers or available_cores(),
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                **common,
            )
        else:
            ray.init(address=address, **common)
    except Exception as error:  # noqa: BLE001  # Ray raises bare ones, as if a node starts too slowly
        ray.shutdown()  # ends a cluster that was started in part
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigurationError(f"--ray {address}: Ray cannot start there: {first}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Refuse an address where no Ray answers, within seconds: Ray itself tries for minutes."""
    if address == "auto":
        return  # Ray looks for a cluster of this computer, and finds it or not at once
    host, colon, port = address.removeprefix(_CLIENT).rpartition(":")
    if not (colon and host and port.isdigit()):
        raise ConfigurationError(
            f"--ray {address}: write local, auto, HOST:PORT (as `ray start --head` prints it), or "
            "ray://HOST:PORT"
        )
    tried = f"a connection to port {port} of {host}"
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"--ray {address} does not answer: tried {tried}: {error}"
        ) from None
    if address.startswith(_CLIENT):
        return
    said = _health(address)
    if said is not None:
        raise ConfigurationError(
            f"--ray {address} is no Ray that can be used: tried {tried}, which was accepted, and "
            f"`ray health-check`: {said}"
        )


def _health(address: str) -> str | None:
    """Return the error of Ray's own health check of an address; None: it is healthy."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        done = subprocess.run(  # noqa: S603  # Ray's own command
            command, timeout=_SECONDS_TO_ANSWER, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS_TO_ANSWER:.0f} s"
    if not done.returncode:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:_MOST_CHARACTERS] if lines else f"exit code {done.returncode}"
