"""How often Python looks for unreachable cycles."""

import gc

from onewafer.process.garbage import collection_while_serving


def test_collection_is_less_frequent_while_requests_are_answered() -> None:
    thresholds = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    try:
        with collection_while_serving():
            assert gc.get_threshold() == (50_000, 10, 10)
        assert gc.get_threshold() == (700, 10, 10)
        gc.set_threshold(0, 10, 10)
        with collection_while_serving():
            assert gc.get_threshold() == (0, 10, 10), "it was off"
    finally:
        gc.set_threshold(*thresholds)
