"""The published rates of wafers are read; all but two say why they cannot be compared."""

from onewafer.perf.published import Role, published_figures


def test_figures_are_validation_or_say_why_not():
    figures = published_figures("wafer_decode")
    compared = [f for f in figures if f.conditions.get("is_comparable", True)]

    assert [f.model for f in compared] == ["llama-3.1-8b", "llama-3.1-70b"]
    assert all(f.role is Role.VALIDATION for f in figures)
    assert all(f.note.startswith("not comparable") for f in figures if f not in compared)
    assert all(f.source and f.date and f.conditions["job"] == "decode" for f in figures)
