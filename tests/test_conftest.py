"""What CI leaves to the long run, and that it leaves nothing else; what tests share."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles
from tests.compiled_once import compile_once

TRIED = []


@settings(max_examples=18)
@given(st.integers())
def test_a_property_tries_a_sixth_of_its_cases_in_ci(number):
    TRIED.append(number)
    assert len(TRIED) <= (3 if settings.get_current_profile_name() == "ci" else 18)


@pytest.mark.alternate
@pytest.mark.parametrize(("first", "name"), [(0, "a"), (1, "a"), (2, "b")])
@pytest.mark.parametrize("second", [0, 1])
def test_every_second_combination_is_slow(request, first, name, second):
    assert name in "ab"
    is_slow = request.node.get_closest_marker("slow") is not None
    assert is_slow == (first + second) % 2


@pytest.mark.alternate(3)
@pytest.mark.parametrize("number", range(5))
def test_all_but_every_third_value_are_slow(request, number):
    is_slow = request.node.get_closest_marker("slow") is not None
    assert is_slow == (number % 3 != 0)


def test_equal_programs_are_compiled_once_and_others_anew():
    def image(size, arch="wse3", **options):
        tiles = "".join(f'@set_tile_code({x}, 0, "pe.csl", .{{}});' for x in range(size))
        text = f"layout {{ @set_rectangle({size}, 1); {tiles} }}"
        options = CompileOptions(
            entry="layout.csl", architecture=load_architecture(arch), uses_memcpy=False, **options
        )
        return compile_once(options, MemoryFiles({"layout.csl": text, "pe.csl": "comptime {}"}))

    assert image(1) is image(1)
    others = [image(2), image(1, arch="wse2"), image(1, optimizes=False)]
    assert len({id(each) for each in [image(1), *others]}) == 4
