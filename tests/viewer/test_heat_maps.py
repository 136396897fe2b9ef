"""Codes of a map are the counters in equal steps; levels are means of what is there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onewafer.errors import ConfigurationError
from onewafer.recording import RecordingFile
from onewafer.viewer.heat_maps import (
    Unit,
    _halve,
    draw_codes,
    encode,
    find_map,
    list_maps,
    values_of,
)
from tests.recording.recordings import record

cells = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(cells, st.booleans())
def test_a_level_is_half_as_large_and_invents_nothing(codes, is_ordered):
    halved = _halve(codes, is_ordered=is_ordered)

    for y, x in np.ndindex(halved.shape):
        four = codes[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        there = four[four > 0].astype(int)
        if not len(there):
            assert halved[y, x] == 0
        elif is_ordered:
            assert abs(halved[y, x] - there.mean()) <= 0.5
        else:
            assert halved[y, x] in there


@given(hnp.arrays(np.int64, 6, elements=st.integers(0, 1 << 50)))
def test_codes_keep_the_order_and_the_ends(counted):
    values = counted.astype(np.float64)
    codes = encode(values, np.ones(6, bool), float(values.max()))

    assert codes.min() >= 1
    assert (np.diff(codes[np.argsort(values)].astype(int)) >= 0).all()
    if values.max() > 0:
        assert codes[values.argmax()] == 255
    assert (codes[values == 0] == 1).all()


def test_the_maps_of_a_recording_are_those_that_it_has_columns_for(tmp_path):
    columns = {
        "program": np.array([[0, 0, -1]], np.int16),
        "busy_cycles": np.array([[50, 100, 0]]),
        "wait_input_empty_cycles": np.array([[50, 0, 0]]),
        "wavelets_ramp": np.array([[0, 0, 7]]),
    }
    recording = RecordingFile(record(tmp_path / "a", columns, width=3, height=1))
    names = [found.name for found in list_maps(recording)]
    drawn = draw_codes(recording, find_map(recording, "busy"))

    assert names == ["busy", "waiting", "wait-input-empty", "wavelets-ramp", "program"]
    assert values_of(recording, find_map(recording, "busy")).tolist() == [[0.5, 1.0, 0.0]]
    assert (drawn.highest, drawn.mean) == (1.0, 0.75)
    assert drawn.levels[0].tolist() == [[128, 255, 0]]
    # A router at work is drawn, also where no program is.
    ramp = draw_codes(recording, find_map(recording, "wavelets-ramp"))
    assert ramp.levels[0].tolist() == [[1, 1, 255]]
    programs = draw_codes(recording, find_map(recording, "program"))
    assert programs.levels[0].tolist() == [[1, 1, 0]]
    assert find_map(recording, "program").unit is Unit.PROGRAM


def test_a_large_map_has_levels_down_to_128_pes(tmp_path):
    busy = np.arange(300 * 2).reshape(2, 300)
    program = np.zeros((2, 300), np.int16)
    columns = {"program": program, "busy_cycles": busy}
    recording = RecordingFile(record(tmp_path / "a", columns, width=300, height=2))
    levels = draw_codes(recording, find_map(recording, "busy")).levels

    assert [level.shape for level in levels] == [(2, 300), (1, 150), (1, 75)]


def test_an_unknown_map_is_refused_with_those_there_are(tmp_path):
    recording = RecordingFile(record(tmp_path / "run.parquet"))
    with pytest.raises(ConfigurationError, match="no map 'heat'; it has: busy, program"):
        find_map(recording, "heat")
