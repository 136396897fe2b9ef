import math

import pytest

from onewafer.errors import ConfigurationError
from onewafer.perf import Decode, Precision, Prefill, Serve, Train
from onewafer.perf.jobs import Pass


@pytest.mark.parametrize(
    ("job", "fields", "named"),
    [
        (Decode, {"batch": 0, "context": 4}, "batch is 0"),
        (Decode, {"context": -3}, "context is -3"),
        (Prefill, {"tokens": 0}, "tokens is 0"),
        (Serve, {"concurrency": 0, "prompt": 1, "answer": 1}, "concurrency is 0"),
        (Train, {"tokens": math.nan, "sequence": 1, "batch": 1}, "tokens is nan"),
        (Train, {"tokens": math.inf, "sequence": 1, "batch": 1}, "tokens is inf"),
        (Decode, {"batch": 10**7, "context": 4}, "batch is 10,000,000; it can be 1,000,000"),
        (Prefill, {"batch": 10**12, "tokens": 4}, "batch is 1,000,000,000,000; it can be"),
        (Serve, {"concurrency": 10**8, "prompt": 1, "answer": 1}, "concurrency is 100,000,000"),
        (Train, {"tokens": 1e300, "sequence": 1, "batch": 1}, r"1e\+300; it can be 1e\+18 at most"),
    ],
)
def test_no_work_is_no_job(job, fields, named):
    with pytest.raises(ConfigurationError, match=named):
        job(**fields)


def test_a_pass_counts_the_rows_of_all_sequences_and_the_context_of_one():
    one = Pass(sequences=4, new_tokens=3, cached_tokens=10)

    assert one.rows == 12
    assert one.context == 13


def test_a_step_of_training_takes_whole_sequences():
    assert Train(tokens=15e12, sequence=8192, batch=2048).tokens_per_step == 16_777_216


@pytest.mark.parametrize(
    ("precision", "size"), [("fp32", 4), ("fp16", 2), ("fp8", 1), ("fp4", 0.5)]
)
def test_bytes_of_a_weight(precision, size):
    assert Precision(precision).num_bytes == size
