"""Which layers each stage has."""

from hypothesis import given
from hypothesis import strategies as st

from onewafer.perf.gpu.training_step import divide, run_lengths
from tests.perf.gpu.training_cases import MODEL


@given(layers=st.integers(1, 200), runs=st.integers(1, 64))
def test_runs_have_all_layers_and_differ_by_one_at_most(layers: int, runs: int) -> None:
    lengths = run_lengths(layers, runs)

    assert len(lengths) == runs
    assert sum(lengths) == layers
    assert max(lengths) - min(lengths) <= 1


def test_llama_405b_has_a_layer_less_at_both_ends() -> None:
    """The Llama 3 Herd of Models, section 3.3.2: 126 layers over 16 stages."""
    lengths = run_lengths(126, 16)

    assert (lengths[0], lengths[-1]) == (7, 7)
    assert set(lengths[1:-1]) == {8}


def test_embedding_goes_with_the_first_stage_and_the_head_with_the_last() -> None:
    stages = divide(MODEL.segments, 4, 3)

    assert stages == (((0, 1), (1, 6)), ((1, 6),), ((1, 6),), ((1, 6), (2, 1)))


def test_a_model_without_repeated_layers_is_one_stage() -> None:
    assert divide(MODEL.segments[:1], 1, 1) == (((0, 1),),)
