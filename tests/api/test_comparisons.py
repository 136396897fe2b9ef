"""`onewafer.compare`: the values, forms and messages of a comparison."""

import json
import re

import pytest
import torch
from torch import nn

import onewafer
from onewafer.errors import ConfigurationError
from onewafer.perf.report.table import TABLE_COLUMNS
from onewafer.terminal import SHOWN_COLUMNS
from tests.perf.dense_model import LLAMA_8B, dense_model

MODEL = dense_model("8b", LLAMA_8B)


@pytest.fixture(scope="module")
def comparison():
    return onewafer.compare(MODEL, on="cs3", against=["h100x8"], context=512, progress=False)


def test_answers_are_found_by_their_system(comparison):
    assert comparison.systems == ("cs3", "h100x8")
    assert comparison["cs3"].tpot_seconds < comparison["h100x8"].tpot_seconds
    assert repr(comparison) == "<Comparison: 8b on cs3, h100x8>"
    with pytest.raises(ConfigurationError, match="'b200x8' was not compared; choose from cs3, h10"):
        _ = comparison["b200x8"]


def test_a_comparison_in_all_its_forms(comparison, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = comparison.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == ["cs3", "h100x8"]
    assert frame.loc["cs3", "tpot_seconds"] == comparison["cs3"].tpot_seconds
    written = json.loads(comparison.to_json())["comparisons"][0]["results"][0]
    assert written["tpot_seconds"] == comparison["cs3"].tpot_seconds
    assert "8b: decode, batch 1, context 512" in str(comparison)
    assert "8b: decode, batch 1, context 512" in re.sub("<[^>]*>", "", comparison._repr_html_())
    comparison.draw(tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text().startswith("<?xml")
    with pytest.raises(ConfigurationError, match="picture"):
        comparison.draw(tmp_path / "picture.txt")


def test_a_curve_has_a_point_for_each_number_of_requests():
    pytest.importorskip("pandas")
    systems = {"on": (), "against": "h100x8,h100x1"}
    curve = onewafer.compare(MODEL, **systems, job="serve", prompt=64, answer=64, progress=False)
    frame = curve.to_pandas()
    assert frame.loc["h100x1", "concurrency"].tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert len(curve.answers) + len(curve.refusals) == len(frame) == 2 * len(curve.points)
    assert "serving prompts of 64" in str(curve)
    with pytest.raises(ConfigurationError, match="the comparison has 9 points"):
        _ = curve["h100x1"]


def test_a_module_is_compared_by_one_call_of_it():
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(64, 64), nn.ReLU()), torch.ones(2, 64)
    by_value, by_name, in_tuple = (
        onewafer.compare(module, inputs, against="h100", progress=False)
        for inputs in (x, {"input": x}, (x,))
    )
    assert by_value.to_json() == by_name.to_json() == in_tuple.to_json()
    assert by_value.model == "Sequential"
    with pytest.raises(ConfigurationError, match="Sequential is not a class of transformers"):
        onewafer.compare(module, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": 7}, "model: 7 is of type int; give a name of the catalogue, a script, or"),
        ({"model": "nowhere.py"}, r"there is no script nowhere\.py"),
        ({"job": "x"}, "job='x': choose from decode, prefill, serve, train"),
        ({"job": "serve", "context": 1}, "context belongs to decode and prefill; serve takes conc"),
        ({"batch": 0}, "batch=0: write a whole number of at least 1"),
        ({"on": [], "against": ()}, "no system is named; write on cs3 against h100x8"),
        ({"on": "cs9"}, "there is no system 'cs9'"),
        ({"precision": "f8"}, "precision='f8': choose from fp32, bf16"),
        ({"wafer_precision": "f8"}, "wafer_precision='f8': choose from fp32"),
        ({"mode": "x"}, "mode='x': choose from "),
        ({"region": "x"}, "region='x': write WIDTHxHEIGHT"),
        ({"clock": 850}, "a wafer has no clock of 850 Hz"),
        ({"prices": {"h100": -1}}, "price h100=-1: a price is a finite number of at least 0"),
        ({"prices": {"h100": "2"}}, "prices={'h100': '2'}: write a price for each device"),
        ({"prices": 2.5}, "prices=2.5: write a price for each device, as in {'h100': 2.5}"),
        ({"against": 8}, "systems 'cs3' and 8: write texts, as in 'h100x8,b200x8', or lists"),
        ({"arguments": "--x 1"}, "arguments='--x 1': write a list of texts, as in"),
        ({"prices": {"b200": 1}}, "there is a price for b200, which no system here has"),
    ],
)
def test_wrong_arguments_are_named_with_the_choices(options, message):
    with pytest.raises(ConfigurationError, match=message):
        onewafer.compare(**{"model": MODEL, "progress": False} | options)


def test_tables_are_as_wide_as_those_of_the_command():
    assert SHOWN_COLUMNS == TABLE_COLUMNS
