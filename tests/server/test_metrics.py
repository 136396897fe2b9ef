"""Metrics as Prometheus reads them, and the lines of the access log."""

import json

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from onewafer.server.http.access_log import AccessLog
from onewafer.server.http.exchange import Exchange
from tests.server.running import serving, wait_until
from tests.server.scripted import MODEL, ScriptedService

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "A secret."}]}


@pytest.fixture(scope="module")
def server():
    with serving(ScriptedService()) as running:
        for changes in ({}, {"stream": True, "max_tokens": 2}, {"model": "busy"}):
            httpx.post(f"{running.url}/v1/chat/completions", json=ASK | changes)
        wait_until(lambda: len(running.log) == 3)
        yield running


@pytest.fixture(scope="module")
def samples(server):
    answer = httpx.get(f"{server.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("vllm:num_requests_running", (), 0),
        ("vllm:num_requests_waiting", (), 3),
        ("vllm:kv_cache_usage_perc", (), 0.25),
        ("vllm:prompt_tokens_total", (), 24),
        ("vllm:generation_tokens_total", (), 8),
        ("vllm:prefix_cache_hits_total", (), 8),
        ("vllm:request_success_total", ("stop",), 1),
        ("vllm:request_success_total", ("length",), 1),
        ("vllm:request_success_total", ("tool_calls",), 0),
        ("vllm:time_to_first_token_seconds_count", ("wafer",), 2),
        ("vllm:time_to_first_token_seconds_sum", ("wafer",), 1.5),
        ("vllm:time_to_first_token_seconds_bucket", ("0.5", "wafer"), 0),
        ("vllm:time_to_first_token_seconds_bucket", ("0.75", "wafer"), 2),
        ("vllm:inter_token_latency_seconds_count", ("wafer",), 6),
        ("vllm:inter_token_latency_seconds_sum", ("wafer",), 2.0),
        ("vllm:inter_token_latency_seconds_count", ("host",), 6),
        ("vllm:e2e_request_latency_seconds_sum", ("wafer",), 3.5),
        ("vllm:request_queue_time_seconds_sum", ("wafer",), 0.5),
        ("onewafer:energy_joules_total", (), 7.0),
    ],
)
def test_a_metric(samples, name, labels, value):
    assert samples[(name, *sorted((MODEL, *labels)))] == pytest.approx(value)


def test_times_of_this_computer_are_what_clients_waited(samples, server):
    lines = [line for line in map(json.loads, server.log[:3]) if line["status"] == 200]
    first = samples["vllm:time_to_first_token_seconds_sum", "host", MODEL]
    whole = samples["vllm:e2e_request_latency_seconds_sum", "host", MODEL]

    assert first == pytest.approx(sum(line["ttft_seconds"] for line in lines), abs=1e-5)
    assert first <= whole <= sum(line["seconds"] for line in lines) + 1e-5


def test_the_log_has_a_line_a_request(server):
    whole, streamed, busy = map(json.loads, server.log[:3])

    assert (whole["method"], whole["path"]) == ("POST", "/v1/chat/completions")
    assert (whole["status"], whole["outcome"], whole["model"]) == (200, "ok", MODEL)
    assert (whole["prompt_tokens"], whole["completion_tokens"]) == (12, 6)
    assert whole["system_seconds"] == 1.75
    assert streamed["is_streamed"]
    assert streamed["ttft_seconds"] <= streamed["seconds"]
    assert (busy["status"], busy["outcome"]) == (429, "queue_full")
    assert not any("secret" in line or "wafer says" in line for line in server.log)


def test_a_path_is_one_line_of_the_log_and_short(server):
    before = len(server.log)
    httpx.get(f"{server.url}/a%0Ab%22" + "c" * 1000)
    wait_until(lambda: len(server.log) > before)

    [line] = server.log[before:]
    assert "\n" not in line
    assert json.loads(line)["path"].startswith('/a\nb"ccc')
    assert len(line) < 500


def test_a_log_that_cannot_be_written_breaks_no_answer():
    def write(line):
        raise BrokenPipeError(line)

    AccessLog(write).write(Exchange(id="r", method="GET", path="/", headers={}, send=None))
