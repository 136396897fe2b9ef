"""Tasks of a Ray cluster: the rows of processes, byte for byte, whatever dies on the way."""

import os
import shutil
import signal
import socket
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from onewafer.sweep.executors import ray_cluster
from onewafer.sweep.studies import requirements
from tests.sweep.studies import sweep, write_study
from tests.sweep.subjects.test_fabric import EXAMPLE

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
STUDY = """
title = "two sizes and two hops"
[csl]
file = "axpy-sum/layout.csl"
host = "axpy-sum/slow_run.py"
[axes]
params.block_size = [8, 32]
hop_latency = [1, 9]
"""


def study_in(folder):
    folder.mkdir()
    shutil.copytree(EXAMPLE, folder / "axpy-sum", ignore=shutil.ignore_patterns("out"))
    host = (EXAMPLE / "run.py").read_text(encoding="utf-8")
    slow = f"import time\ntime.sleep(2)\n{host}"
    (folder / "axpy-sum" / "slow_run.py").write_text(slow, encoding="utf-8")
    return write_study(folder, STUDY)


def workers_at_work():
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_one = entry.read_bytes().startswith(b"ray::run_batch")
        except OSError:  # it has ended
            continue
        if is_one:
            yield int(entry.parent.name)


def kill_the_first_worker(killed):
    while not killed:
        for process in workers_at_work():
            time.sleep(1)  # it is within a point by then
            os.kill(process, signal.SIGKILL)
            killed.append(process)
            return
        time.sleep(0.05)


@pytest.mark.slow
@needs_ray
def test_a_cluster_writes_the_same_file_and_loses_nothing_with_a_worker(tmp_path, capsys):
    on_processes, on_ray = study_in(tmp_path / "processes"), study_in(tmp_path / "ray")
    assert sweep(capsys, on_processes, "--workers", "2")[0] == 0
    killed = []
    killer = threading.Thread(target=kill_the_first_worker, args=(killed,), daemon=True)
    killer.start()
    code, out, err = sweep(capsys, on_ray, "--ray", "local", "--workers", "2", "--memory", "300MB")
    killer.join(timeout=10)

    assert len(killed) == 1
    assert code == 0
    lines = err.splitlines()
    assert all(line.startswith("onewafer: study.toml: ") for line in lines), "progress only"
    assert "4 points: 4 answered" in out
    one, other = (path.with_suffix(".sweep") / "points.parquet" for path in (on_processes, on_ray))
    assert one.read_bytes() == other.read_bytes()


@needs_ray
def test_an_address_where_nothing_answers_is_said_with_what_was_tried(tmp_path, capsys):
    study = study_in(tmp_path / "study")
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = sweep(capsys, study, "--ray", address)
    assert code == 2
    assert f"onewafer: --ray {address} does not answer: tried a connection to port" in err


@needs_ray
@pytest.mark.parametrize("address", ["cluster", "cluster:", ":6379", "http://cluster"])
def test_an_address_that_is_none_is_refused(tmp_path, capsys, address):
    code, _, err = sweep(capsys, study_in(tmp_path / "study"), "--ray", address)
    assert code == 2
    assert "write local, auto, HOST:PORT" in err


class SlowRay:
    """A Ray whose node does not start in time."""

    is_shut_down = False

    def init(self, **_):
        raise Exception("The current node timed out during startup.\nMore of it.")  # noqa: TRY002  # as Ray does

    def shutdown(self):
        self.is_shut_down = True


def test_a_node_that_does_not_start_is_said(tmp_path, capsys, monkeypatch):
    slow = SlowRay()
    monkeypatch.setattr(ray_cluster, "load_ray", lambda: slow)
    text = STUDY.replace("slow_run.py", "run.py").replace("axpy-sum", str(EXAMPLE))
    study = write_study(tmp_path, text)
    code, _, err = sweep(capsys, study, "--ray", "local")
    assert code == 2
    assert "--ray local: Ray cannot start there: The current node timed out" in err
    assert "More of it" not in err
    assert slow.is_shut_down


def test_ray_is_asked_for_by_its_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(requirements, "find_spec", lambda name: None if name == "ray" else name)
    code, _, err = sweep(capsys, study_in(tmp_path / "study"), "--ray", "local")
    assert code == 2
    assert "--ray needs Ray; it is not installed: pip install 'onewafer[sweep]'" in err
