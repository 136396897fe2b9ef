"""Several sequences of tokens in one program on the fabric."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.errors import HostError, UnsupportedOperationError
from onewafer.execution import (
    Fidelity,
    KeptSequences,
    Loader,
    Phase,
    WaferOptions,
    Wanted,
    place_sequence,
)
from onewafer.graph import Evaluator
from tests.mesh.models import llama
from tests.mesh.test_sequences import arrays_of

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


def test_other_fidelities_keep_one_sequence():
    with pytest.raises(UnsupportedOperationError, match=r"2 sequences at a time need .*'fabric'"):
        load(Fidelity.AUTO)
    _, program = load(Fidelity.MODEL, sequences=1)
    program.keep(WEIGHTS)
    found, _ = KeptSequences(program).launch({0: [1, 2, 3]})
    np.testing.assert_allclose(found[0], exact([1, 2, 3]), atol=1e-5)
