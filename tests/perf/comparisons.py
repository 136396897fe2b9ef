"""Comparisons made by hand, for the tests of reports."""

from onewafer.perf import Answer, Comparison, Decode, Precision, Refusal
from onewafer.perf.answer import Choice, Memory
from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.published import PublishedFigure, Role

JOB = Decode(batch=1, context=4096)

FIGURE = PublishedFigure(
    name="vendor-rate",
    model="llama-3.1-8b",
    system="cs3",
    quantity="tokens_per_second_per_user",
    value=1800.0,
    unit="tokens/s",
    source="a press release",
    date="2024-08-27",
    confidence="A",
    role=Role.VALIDATION,
    conditions={},
)

WAFER = Answer(
    system="cs3",
    title="CS-3 at 850 MHz",
    job=JOB,
    precision=Precision.FP16,
    choice=Choice(
        text="pipeline over 34 regions", reason="it gave the fastest token", num_considered=1200
    ),
    breakdown=Breakdown(
        (
            Item(name="attention", seconds=2e-4, limit=Limit.FABRIC_LATENCY),
            Item(name="MLP", seconds=1e-4, limit=Limit.SRAM_BANDWIDTH),
            Item(name="MLP", seconds=1e-4, limit=Limit.FABRIC_LATENCY),
            Item(name="experts", seconds=1e-4, limit=Limit.COMPUTE, is_cross_checked=False),
        )
    ),
    memory=Memory(
        weight_bytes=16_000_000_000,
        cache_bytes=500_000_000,
        other_bytes=1_000_000_000,
        available_bytes=44_000_000_000,
        longest_context=131_072,
    ),
    num_devices=1,
    watts=23_000.0,
    energy_basis="23 kW for the system (vendor)",
    ttft_seconds=0.03,
    tpot_seconds=5e-4,
    tokens_per_second=2000.0,
    joules_per_token=11.5,
    published=(FIGURE,),
    notes=("16-bit floats are IEEE half",),
)

GPU = Answer(
    system="h100x8",
    title="8 × H100 SXM",
    job=JOB,
    precision=Precision.BF16,
    choice=Choice(text="tensor parallelism 8", reason="you asked for it", is_pinned=True),
    breakdown=Breakdown(
        (
            Item(name="MLP", seconds=1e-3, limit=Limit.HBM),
            Item(name="all-reduce", seconds=1e-3, limit=Limit.NVLINK),
        )
    ),
    memory=Memory(
        weight_bytes=16_000_000_000,
        cache_bytes=500_000_000,
        other_bytes=0,
        available_bytes=640_000_000_000,
    ),
    num_devices=8,
    watts=5_600.0,
    energy_basis="700 W a GPU",
    tpot_seconds=2e-3,
    tokens_per_second=500.0,
    joules_per_token=11.2,
    price_per_hour=20.0,
)

TOO_SMALL = Refusal(
    system="a100",
    title="A100 SXM",
    reason="160 GB of weights do not fit into 80 GB; a100x4 would do",
)

COMPARISON = Comparison(model="llama-3.1-8b", job=JOB, results=(WAFER, GPU, TOO_SMALL))
