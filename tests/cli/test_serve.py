"""`onewafer serve` as a process: its lines, an answer, its end; and replays of traces."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from onewafer.cli.main import execute
from onewafer.server.http.options import HttpOptions
from onewafer.server.running import Address, run
from tests.server.small_models import save, small_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(small_llama(), tmp_path_factory.mktemp("models") / "small")


def _refused(capsys, *arguments):
    code = execute(["serve", *arguments])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    return err


def _ask(where, path, fields=None, key="secret"):
    request = urllib.request.Request(  # noqa: S310  # a server of this test
        where + path,
        data=None if fields is None else json.dumps(fields).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # as above
        return json.load(answer)


def test_a_server_says_where_it_is_answers_and_ends_with_a_signal(folder):
    start = "from onewafer.cli.commands import onewafer; onewafer()"
    command = [sys.executable, "-c", start, "serve", str(folder), "--port", "0"]
    options = ["--values", "none", "--context", "48", "--max-batch", "2", "--drain", "5"]
    with subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ONEWAFER_API_KEY": "secret"},
    ) as process:
        try:
            first = process.stdout.readline()
            where = first.split()[2]
            lines = [process.stdout.readline() for _ in range(6)]
            chat = {"model": "small", "messages": [{"role": "user", "content": "a"}]}
            answer = _ask(where, "/v1/chat/completions", {**chat, "max_tokens": 3})
            with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                _ask(where, "/v1/chat/completions", chat, key="wrong")
            refused.value.close()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert out == ""
    assert "while the model loads" in first
    assert lines[0].startswith("small on CS-3, WSE-3 at 850 MHz: ")
    assert lines[1] == "context 48 tokens, 2 answers at a time\n"
    assert "made up" in lines[3]
    assert "small's" in lines[4]
    assert f"{where}/v1" in lines[5]
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["onewafer"]["system"] == "cs3"
    statuses = [json.loads(line)["status"] for line in err.splitlines()]
    assert statuses == [200, 401]


@pytest.mark.slow
def test_a_trace_is_replayed_into_a_table_and_a_file(folder, tmp_path, capsys):
    trace, report = tmp_path / "trace.jsonl", tmp_path / "report.json"
    lines = [
        {"timestamp": 10 * i, "input_length": 5 + i, "output_length": 40 * i or 1} for i in range(3)
    ]
    trace.write_text("\n".join(map(json.dumps, lines)))
    options = ["--replay", str(trace), "--json", str(report), "--context", "64"]
    assert execute(["serve", str(folder), *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "2 requests in" in out
    assert "time to first token (TTFT)" in out
    assert "1 request refused" in out
    found = json.loads(report.read_text())
    assert [one["line"] for one in found["requests"]] == [1, 2]
    assert found["refused_lines"] == [3]


def test_what_cannot_be_served_is_said_before_anything_listens(folder, tmp_path, capsys):
    trace = tmp_path / "trace.jsonl"
    trace.write_text("{}")
    name = str(folder)
    assert "there is no model" in _refused(capsys, "smollm3")
    assert "no system 'gpu'" in _refused(capsys, name, "--on", "gpu")
    for number in ("0", "inf", "1.5", "many"):
        said = f"--max-batch {number}: write a whole number of at least 1"
        assert said in _refused(capsys, name, "--max-batch", number)
    assert "--drain inf: write a finite number" in _refused(capsys, name, "--drain", "inf")
    for origin in ("nonsense", "https://", "https://example.org/page"):
        assert f"--cors {origin}: write an origin" in _refused(capsys, name, "--cors", origin)
    assert "choose from" in _refused(capsys, name, "--values", "all")
    assert "--json goes with --replay" in _refused(capsys, name, "--json", str(tmp_path / "x"))
    assert "trace.jsonl:1" in _refused(capsys, name, "--replay", str(trace))
    assert "only cerebras" in _refused(capsys, name, "--strict", "openai")
    none = str(tmp_path / "none")
    assert f"{none}: No such file" in _refused(capsys, name, "--api-key-file", none)
    assert "printable ASCII" in _refused(capsys, name, "--api-key", "ä")
    assert "small was made for 512 tokens" in _refused(capsys, name, "--context", "4000")
    catalogue = ("llama-3.1-70b", "--values", "none", "--context", "999999")
    assert "llama-3.1-70b was made for 131,072 tokens" in _refused(capsys, *catalogue)
    assert "give a key" in _refused(capsys, name, "--host", "0.0.0.0")  # noqa: S104  # it is refused


def test_a_package_that_is_missing_is_named_with_what_installs_it(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    missing = "torch, uvicorn, which are not installed: pip install 'onewafer[serve]'"
    assert missing in _refused(capsys, str(folder))
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"timestamp": 0, "input_length": 1, "output_length": 1}')
    assert "the capture of small needs torch" in _refused(
        capsys, str(folder), "--replay", str(trace)
    )


def test_a_port_that_is_taken_is_refused(folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port}" in _refused(capsys, str(folder), "--port", str(port))


def test_a_failure_while_loading_ends_the_server(tmp_path, capsys):
    folder = save(small_llama(), tmp_path / "small")
    (folder / "config.json").write_text('{"model_type": "nothing"}')
    capsys.readouterr()  # what the saving shows
    code = execute(["serve", str(folder), "--port", "0"])
    out, err = capsys.readouterr()
    assert code == 2
    assert err.count("\n") == 1
    assert "transformers cannot load small" in err
    assert "listening" in out


@pytest.mark.parametrize("error", [StopIteration("x"), ValueError("x")])
def test_whatever_breaks_the_loading_ends_the_server(error):
    def load():
        raise error

    with pytest.raises((ValueError, RuntimeError), match="x"):
        run(load, Address(port=0), HttpOptions(), say=len, write_log_line=len)


def test_weights_have_the_memory_that_the_environment_allows(folder, capsys, monkeypatch):
    monkeypatch.setenv("ONEWAFER_MAX_MEMORY", "1K")
    code = execute(["serve", str(folder), "--port", "0", "--context", "48"])
    assert code == 2
    assert "is allowed (ONEWAFER_MAX_MEMORY)" in capsys.readouterr().err
