"""Options of a wafer: what they accept, and what they say of everything else."""

from dataclasses import replace

import pytest

from onewafer.errors import ConfigurationError
from onewafer.geometry import parse_size
from onewafer.graph import DataType
from onewafer.options import COMMAND_LINE, Fidelity, WaferOptions, errors_in
from onewafer.units import parse_hertz


def test_values_are_converted():
    options = WaferOptions(
        fidelity="model", rectangle="3x2", dtype="f16", clock="1.1GHz", simulate_budget="3G"
    )
    assert options == WaferOptions(
        fidelity=Fidelity.MODEL,
        rectangle=(3, 2),
        dtype=DataType.F16,
        clock=1.1e9,
        simulate_budget=3_000_000_000,
    )
    assert replace(options, max_batch=7) == replace(options, max_batch=7, rectangle=(3, 2))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"arch": "wse9"}, "no machine 'wse9'; the catalog has: toy, wse2, wse3"),
        ({"arch": 3}, "arch=3: write a text"),
        ({"profile": "fast"}, "no timing profile 'fast'; it has: sdk, silicon"),
        ({"fidelity": "exact"}, "fidelity='exact': choose from auto, fabric, model"),
        ({"dtype": "bf16"}, "dtype='bf16': choose from f16, f32"),
        ({"rectangle": "4*4"}, "rectangle='4\\*4': write WIDTHxHEIGHT in PEs, e.g. 8x4"),
        ({"rectangle": (0, 4)}, r"rectangle=\(0, 4\): write width and height in PEs"),
        ({"clock": "fast"}, "clock 'fast': write a frequency"),
        ({"clock": -1}, "clock=-1: write a finite number of at least 0"),
        ({"clock": "850"}, "a wafer has no clock of 850 Hz; write one between 1 MHz and 100 GHz"),
        ({"max_batch": 0}, "max_batch=0: write a whole number of at least 1"),
        ({"max_batch": float("inf")}, "max_batch=inf: write a whole number of at least 1"),
        ({"max_batch": float("nan")}, "max_batch=nan: write a whole number of at least 1"),
        ({"context": 15}, "context=15: write a whole number of at least 16"),
        ({"context": 65536}, "context=65536: write 16 to 65535 tokens"),
        ({"context": "1k"}, "context='1k': write a whole number of at least 16"),
        ({"rows_per_launch": 0}, "rows_per_launch=0: write a whole number of at least 1"),
        (
            {"context": 32, "rows_per_launch": 64},
            r"rows_per_launch=64: write 1 to 32 tokens, .* \(context=32\)",
        ),
        (
            {"simulate_budget": "3 G"},
            "simulate_budget='3 G': write a number of PE-cycles, as in 3G",
        ),
        ({"simulate_budget": "9" * 5000}, "write a number of PE-cycles"),
        ({"csl": 3}, "csl=3: write a path"),
        ({"csl": "a\0b"}, r"csl='a\\x00b': write a path"),
        ({"max_batch": 10**18}, "max_batch=10*: write a whole number of 18 digits at most"),
        ({"simulate_budget": -1}, "simulate_budget=-1: write a whole number of at least 0"),
        ({"dropout": "tpu"}, "dropout='tpu': choose from host, wafer"),
        ({"dropout": "wafer"}, "dropout='wafer': in fidelity auto, values are the host's"),
    ],
)
def test_wrong_options_say_what_to_write(said, message):
    with pytest.raises(ConfigurationError, match=message):
        WaferOptions(**said)


@pytest.mark.parametrize(
    "name", ["max_batch", "context", "rows_per_launch", "simulate_budget", "clock"]
)
def test_a_bool_is_no_number(name):
    with pytest.raises(ConfigurationError, match=f"^{name}=True: write a"):
        WaferOptions(**{name: True})


def test_a_bool_is_no_side_of_a_rectangle():
    with pytest.raises(ConfigurationError, match=r"'8x4' or \(8, 4\)"):
        WaferOptions(rectangle=(True, 4))


def test_messages_write_options_as_their_user_does():
    with pytest.raises(ConfigurationError) as caught, errors_in(COMMAND_LINE):
        WaferOptions(context=32, rows_per_launch=64)
    message = "--rows-per-launch 64: write 1 to 32 tokens, those of a sequence (--context 32)"
    assert str(caught.value) == message


def test_texts():
    assert parse_size("8×4") == (8, 4)
    assert [parse_hertz(t) for t in ("850 MHz", "1GHz", "5e8", "12 khz")] == [85e7, 1e9, 5e8, 12e3]
