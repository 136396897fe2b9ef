"""Calls of worker processes are counted however these begin and end."""

import os
import shutil
import signal
import subprocess
import sys
from multiprocessing import spawn

from onewafer.process.worker_calls import CallFile, WorkerCounts


class Net:
    def parameters(self):
        return [1.0]


class Normalize:
    def parameters(self):
        return []


def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    os.waitpid(child, 0)


def test_what_a_killed_process_has_counted_is_there():
    counts = WorkerCounts()

    def work(calls):
        for _ in range(1234):
            calls.count(Net())
        calls.count(Normalize())
        fork(lambda: calls.count(Net()))  # begins a file of its own
        os.kill(os.getpid(), signal.SIGKILL)

    with counts.in_folder() as calls:
        fork(lambda: work(calls))
        assert sorted(entry.calls for entry in counts.calls) == [1, 1234]
    assert {(entry.process, entry.module) for entry in counts.calls} == {("os.fork", "Net")}


def test_a_folder_that_is_gone_stops_nobody(tmp_path):
    calls = CallFile(tmp_path / "gone")
    calls.count(Net())
    calls.count(Net())


def test_nothing_is_counted_where_nothing_can_be_written(monkeypatch):
    def refuse(**_):
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("onewafer.process.worker_calls.tempfile.mkdtemp", refuse)
    counts, original = WorkerCounts(), spawn.get_preparation_data
    with counts.in_folder() as calls:
        calls.count(Net())
        assert spawn.get_preparation_data is original
    assert counts.calls == ()


def test_a_folder_that_the_script_removes_takes_the_counts_along():
    counts = WorkerCounts()
    with counts.in_folder() as calls:
        calls.count(Net())
        shutil.rmtree(calls.folder)
        assert counts.calls == ()
    assert counts.calls == ()


def test_nothing_is_left_of_blocks_that_end_in_the_order_in_which_they_began():
    original = spawn.get_preparation_data
    first, second = WorkerCounts().in_folder(), WorkerCounts().in_folder()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert spawn.get_preparation_data is original


def test_an_unfinished_line_is_not_read():
    counts = WorkerCounts()
    with counts.in_folder() as calls:
        calls.count(Net())
        (path,) = calls.folder.iterdir()
        path.write_text(path.read_text() + '           7 "Ne')
        (entry,) = counts.calls
    assert (entry.module, entry.calls, entry.process_id) == ("Net", 1, os.getpid())


TORCH = {
    "torch/__init__.py": "from torch import compiler, nn",
    "torch/compiler.py": "def is_compiling(): return False",
    "torch/nn/__init__.py": "from torch.nn.modules.module import Module",
    "torch/nn/modules/__init__.py": "",
    "torch/nn/modules/module.py": """
class Module:
    def __call__(self): return self.forward()
    def parameters(self): return [1]
""",
}
SCRIPT = """
import multiprocessing

def work(number, method):
    from torch import nn

    class Inner(nn.Module):
        def forward(self): return 1

    class Outer(nn.Module):
        def forward(self): return Inner()()

    for _ in range(number):
        Outer()()
    if method:
        start(number + 1, method, "")

def start(number, method, then):
    context = multiprocessing.get_context(method)
    process = context.Process(target=work, args=(number, then), name=f"{method}-{number}")
    process.start()
    process.join()

if __name__ == "__main__":
    from onewafer.process.worker_calls import WorkerCounts

    counts = WorkerCounts()
    with counts.in_folder():
        start(2, "spawn", "spawn")
        start(5, "forkserver", "fork")
    start(9, "spawn", "")
    print(sorted((entry.process, entry.module, entry.calls) for entry in counts.calls))
"""


def test_spawned_processes_and_theirs_count_once_pytorch_is_loaded(tmp_path):
    for name, text in TORCH.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "script.py").write_text(SCRIPT)
    result = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    expected = [
        ("fork-6", "Outer", 6),
        ("forkserver-5", "Outer", 5),
        ("spawn-2", "Outer", 2),
        ("spawn-3", "Outer", 3),
    ]
    assert (result.stdout, result.stderr) == (f"{expected}\n", "")
