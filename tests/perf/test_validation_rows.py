"""Published figures of a topic, one after the other."""

from onewafer.perf.published import published_figures
from onewafer.perf.validation_rows import Recomputed, recompute

TOPIC = "wafer_decode"


def test_every_figure_has_a_row_and_progress_hears_of_it_first():
    heard = []

    def compute(figure):
        assert heard[-1] == figure.name
        return Recomputed(ours=2 * figure.value, finding="twice", range=(1.0, 9.0))

    rows = recompute(TOPIC, compute, target=0.1, rule="a rule", progress=heard.append)

    assert [row.figure for row in rows] == [*published_figures(TOPIC)]
    assert heard == [row.figure.name for row in rows]
    for row in rows:
        if row.figure.conditions.get("is_comparable", True):
            assert (row.error, row.finding, row.range) == (1.0, "twice", (1.0, 9.0))
        else:
            assert (row.ours, row.finding) == (None, row.figure.note)
        assert (row.target, row.rule) == (0.1, "a rule")
