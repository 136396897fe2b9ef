import pytest

from onewafer.errors import ConfigurationError
from onewafer.execution import Fidelity, WaferOptions
from onewafer.execution.options import options_from_mapping
from onewafer.geometry import parse_size
from onewafer.graph import DataType
from onewafer.units import parse_hertz


def test_mapping_sets_what_it_names_and_keeps_the_rest():
    base = WaferOptions(arch="wse2", max_batch=7)
    options = options_from_mapping(
        {"fidelity": "model", "rectangle": "3x2", "dtype": "f16", "clock": "1.1GHz"}, base=base
    )
    assert options == WaferOptions(
        arch="wse2",
        max_batch=7,
        fidelity=Fidelity.MODEL,
        rectangle=(3, 2),
        dtype=DataType.F16,
        clock_hertz=1.1e9,
    )
    assert options_from_mapping({"rectangle": (4, 5), "clock": 5_000_000}, base=base).rectangle == (
        4,
        5,
    )


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"archh": "wse3"},
            "no option 'archh'; it has arch, clock, context, csl, dropout, dtype, engine, ",
        ),
        ({"arch": "wse9"}, "no machine 'wse9'; the catalog has: toy, wse2, wse3"),
        ({"arch": 3}, "option 'arch' of backend 'onewafer': 3 is of type int; write 'wse3'"),
        ({"profile": "fast"}, "no timing profile 'fast'; it has: sdk, silicon"),
        ({"fidelity": "exact"}, "unknown fidelity 'exact'; choose from auto, fabric, model"),
        ({"dtype": "bf16"}, "unknown dtype 'bf16'; choose from f16, f32"),
        ({"rectangle": "4*4"}, "rectangle '4\\*4': write WIDTHxHEIGHT in PEs, e.g. 8x4"),
        ({"rectangle": (0, 4)}, "rectangle 0x4 has no PE"),
        ({"clock": "fast"}, "clock 'fast': write a frequency"),
        ({"clock": -1}, "a wafer has no clock of -1 Hz"),
        ({"clock": "850"}, "a wafer has no clock of 850 Hz; write one between 1 MHz and 100 GHz"),
        ({"max_batch": 0}, "max_batch=0: write at least 1 row"),
        ({"context": 15}, "context=15: write 16 to 65535 tokens"),
        ({"context": 65536}, "context=65536: write 16 to 65535 tokens"),
        ({"context": "1k"}, "option 'context' of backend 'onewafer': '1k' .*; write 1024"),
        ({"rows_per_launch": 0}, r"rows_per_launch=0: write 1 to 1024 tokens, .* \(context=1024\)"),
        ({"context": 32, "rows_per_launch": 64}, "rows_per_launch=64: write 1 to 32 tokens"),
        ({"simulate_budget": "3 G"}, "'3 G' is not a number of PE-cycles; write e.g. 3G"),
        ({"simulate_budget": "9" * 5000}, "is not a number of PE-cycles"),
        ({"csl": 3}, "option 'csl' of backend 'onewafer': 3 is of type int; write 'folder'"),
        ({"simulate_budget": -1}, "simulate_budget=-1: write 0"),
        ({"dropout": "tpu"}, "unknown dropout 'tpu'; choose from host, wafer"),
        ({"dropout": "wafer"}, "wafer.*: in fidelity auto, values are the host's"),
    ],
)
def test_wrong_options_say_what_to_write(mapping, message):
    with pytest.raises(ConfigurationError, match=message):
        options_from_mapping(mapping, base=WaferOptions())


@pytest.mark.parametrize(
    "name", ["max_batch", "context", "rows_per_launch", "simulate_budget", "clock"]
)
def test_a_bool_is_no_number(name):
    with pytest.raises(ConfigurationError, match=f"option '{name}' .*: True is of type bool"):
        options_from_mapping({name: True}, base=WaferOptions())


def test_a_bool_is_no_side_of_a_rectangle():
    with pytest.raises(ConfigurationError, match=r"write '8x4' or \(8, 4\)"):
        options_from_mapping({"rectangle": (True, 4)}, base=WaferOptions())


def test_messages_write_options_as_their_user_does():
    with pytest.raises(ConfigurationError) as caught:
        options_from_mapping(
            {"context": 32, "rows_per_launch": 64},
            base=WaferOptions(),
            spelling=lambda name, value: f"-{name} {value}",
        )
    message = "-rows_per_launch 64: write 1 to 32 tokens, those of a sequence (-context 32)"
    assert str(caught.value) == message


def test_texts():
    assert parse_size("8×4") == (8, 4)
    assert [parse_hertz(t) for t in ("850 MHz", "1GHz", "5e8", "12 khz")] == [85e7, 1e9, 5e8, 12e3]
