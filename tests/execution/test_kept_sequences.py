"""Several sequences of tokens in one program on the fabric."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.errors import HostError
from onewafer.execution import (
    Fidelity,
    KeptSequences,
    Loader,
    Phase,
    WaferOptions,
    Wanted,
    WantedSequence,
    launch_files,
    place_sequence,
)
from onewafer.execution.kept_sequences import _Placed
from onewafer.graph import Evaluator, Slot
from tests.mesh.models import llama
from tests.mesh.test_sequences import arrays_of


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    """No launch is known from earlier runs, and none is kept."""
    monkeypatch.setattr(launch_files.LaunchFile, "of", lambda *_: launch_files.LaunchFile(None))


GRAPH = llama(rows=4, positions=8, layers=1)
WEIGHTS = arrays_of(GRAPH, 0)


def load(fidelity=Fidelity.FABRIC, sequences=2):
    loader = Loader(WaferOptions(fidelity=fidelity, rectangle=(2, 2)))
    placed = place_sequence(
        GRAPH, loader.architecture, loader.options, context=8, sequences=sequences
    )
    return loader, loader.load(Wanted(placed, "llama"))


def exact(tokens):
    ids = np.array(tokens, np.int32).reshape(-1, 1)
    return Evaluator(GRAPH, WEIGHTS).run({"ids": ids})[GRAPH.outputs[0]][0]


def test_sequences_go_on_beside_each_other_and_begin_again():
    loader, program = load()
    program.keep(WEIGHTS)
    kept = KeptSequences(program)
    assert (len(kept), kept.most_rows, kept.context) == (2, 4, 8)
    launches = []

    def launch(tokens):
        found, launched = kept.launch(tokens)
        launches.append(launched)
        for sequence, logits in found.items():
            np.testing.assert_allclose(logits, exact(kept.tokens(sequence)), atol=1e-5)

    launch({1: [3, 5]})
    launch({0: [1, 2, 4], 1: [6]})
    assert kept.count_known(1, [3, 5, 7]) == 2
    kept.free(1, keep=2)
    launch({1: [7], 0: [8]})
    kept.free(0)
    launch({0: [9]})
    assert [kept.tokens(0), kept.tokens(1)] == [[9], [3, 5, 7]]
    program.count_call(Phase.BATCH, launches, rows=8, flop=0)
    (record,) = loader.ledger.programs
    assert record.launches == len(launches)
    assert program.expect(launches[1].launch) == launches[1].activity.cycles


@pytest.mark.slow
def test_tokens_beyond_the_room_change_nothing():
    _, program = load()
    program.keep(WEIGHTS)
    kept = KeptSequences(program)
    kept.launch({0: [1, 2]})
    with pytest.raises(HostError, match="5 rows does not work"):
        kept.launch({0: [1, 2], 1: [3, 4, 5]})
    with pytest.raises(HostError, match="0 rows does not work"):
        kept.launch({0: []})
    assert kept.tokens(0) == [1, 2]


def extend(kept, *wanted, count=1, host=None):
    hosts = host or [None] * len(wanted)
    return kept.extend(
        [WantedSequence(tokens, count, of) for tokens, of in zip(wanted, hosts, strict=True)]
    )


def test_sequences_are_had_where_most_of_them_is():
    _, program = load(Fidelity.MODEL, sequences=3)
    program.keep(WEIGHTS)
    kept = KeptSequences(program)
    first = extend(kept, [1, 2, 3], [4, 5], [6])
    assert first.launched == (3, 2, 1)
    assert [launched.launch.num_rows for launched in first.launches] == [4, 2]
    beams = ([4, 5, 7], [1, 2, 3, 8], [4, 5, 9])  # two go on from the second one
    found = extend(kept, *beams)
    assert found.launched == (1, 1, 3)
    assert [kept.tokens(index) for index in range(3)] == [[1, 2, 3, 8], [4, 5, 7], [4, 5, 9]]
    for tokens, outputs in zip(beams, found.outputs, strict=True):
        np.testing.assert_allclose(outputs, [exact(tokens)], atol=1e-5)
    again = extend(kept, *beams, count=0)
    assert (again.launches, again.launched) == ((), (0, 0, 0))


def test_values_may_be_left_to_the_host():
    """Fidelity auto: launches are simulated, and compared with the host's outputs."""
    loader, program = load(Fidelity.AUTO)
    program.keep(WEIGHTS)
    kept = KeptSequences(program)
    pairs = ([1, 2, 3], [4, 5]), ([1, 2, 3, 6], [4, 5, 7])
    for wanted in pairs:
        host = [exact(tokens).reshape(1, -1).astype(np.float32) for tokens in wanted]
        assert extend(kept, *wanted, host=host).outputs is None
    (record,) = loader.ledger.programs
    assert record.figures.agreement.launches == 3
    assert record.figures.agreement.other_bits == 0
    assert record.figures.agreement.distance < 1e-5


def test_a_host_without_some_outputs_is_compared_where_it_has_them():
    host = np.array([[1.0, 2.0], [3.0, 4.0]])
    placed = _Placed(WantedSequence([1, 2, 3, 4], 2, host), [], 0)
    whole = placed.outputs_of_host(Slot(0, 1, 3), has_all_rows=True)
    np.testing.assert_array_equal(whole, [[np.nan, np.nan], [1, 2], [3, 4]])
    last = placed.outputs_of_host(Slot(0, 1, 3), has_all_rows=False)
    np.testing.assert_array_equal(last, [[3, 4]])
    none = placed.outputs_of_host(Slot(0, 0, 3), has_all_rows=False)
    np.testing.assert_array_equal(none, [[np.nan, np.nan]])
