"""The labs teach what they say: a solved notebook runs, and an unsolved one fails with advice."""

import json
from collections import Counter
from importlib.util import find_spec

import pytest

from tests.docs.test_notebooks import assert_prints, run_notebook
from tools.notebooks import ROOT, notebooks, pages, to_notebook
from tools.tutorials import Kind, Step, parse_tutorial

LABS = pages("docs/labs")
NEEDED = {
    "transformer-layer": ("torch",),
    "wafer-or-gpus": ("transformers", "aiconfigurator_core"),
}
"""The modules that a lab needs beside those of the extra `notebook`, by the lab's name."""
EXERCISE = """```python
# your code: the sum
total = 0
# end of your code
```

<!-- solution
total = 3
-->

```python check
assert total == 3, "Add."
print("Right.")
```

```text
Right.
```
"""


def require(lab):
    for module in NEEDED.get(lab.stem, ()):
        if find_spec(module) is None:
            pytest.skip(f"the lab needs {module}")


def parse(lab):
    return parse_tutorial(lab.read_text(encoding="utf-8"))


def name_of(page):
    return page.stem


def test_an_exercise_is_a_block_with_a_solution():
    exercise, check = (step for step in parse_tutorial(EXERCISE) if step.kind is not Kind.PROSE)
    assert exercise.solution == "total = 3\n"
    assert exercise.solved().text == "# your code: the sum\ntotal = 3\n# end of your code\n"
    assert (check.kind, check.output) == (Kind.CHECK, "Right.\n")
    assert "total = 3" not in to_notebook([exercise, check], "page.md")


def test_a_solution_has_one_place():
    with pytest.raises(ValueError, match="no place, or several, for the solution 'x = 1"):
        Step(Kind.PYTHON, "x = 0\n", solution="x = 1\n").solved()


def test_there_are_labs():
    assert LABS


@pytest.mark.parametrize("lab", LABS, ids=name_of)
def test_each_exercise_has_a_solution_and_a_check(lab):
    steps = parse(lab)
    kinds = Counter(step.kind for step in steps)
    exercises = [step for step in steps if "your code" in step.text and step.kind is not Kind.PROSE]
    assert exercises == [step for step in steps if step.solution is not None]
    assert len(exercises) == kinds[Kind.CHECK] > 0
    assert steps.index(exercises[-1]) < max(i for i, s in enumerate(steps) if s.kind is Kind.CHECK)
    assert all(step.solved().text != step.text for step in exercises)


@pytest.mark.parametrize("lab", LABS, ids=name_of)
def test_a_notebook_for_students_has_no_solution(lab):
    text = notebooks()[lab.relative_to(ROOT).with_suffix(".ipynb").as_posix()]
    shown = "\n".join(cell["source"] for cell in json.loads(text)["cells"])
    solutions = [step.solution.strip() for step in parse(lab) if step.solution is not None]
    assert [solution for solution in ("<!-- solution", *solutions) if solution in shown] == []


@pytest.mark.slow
@pytest.mark.usefixtures("kernel_folder")
@pytest.mark.parametrize("lab", LABS, ids=name_of)
def test_a_solved_lab_prints_what_the_page_shows(lab):
    require(lab)
    steps = [step.solved() for step in parse(lab)]
    assert_prints(steps, run_notebook(to_notebook(steps, lab.name)))


@pytest.mark.slow
@pytest.mark.usefixtures("kernel_folder")
@pytest.mark.parametrize("lab", LABS, ids=name_of)
def test_every_check_of_an_unsolved_lab_fails_with_a_sentence(lab):
    require(lab)
    steps = parse(lab)
    cells = run_notebook(to_notebook(steps, lab.name), allow_errors=True)
    failures = [[o for o in cell.outputs if o.output_type == "error"] for cell in cells]
    ran = [step for step in steps if step.is_run or step.kind is Kind.FILE]
    for step, errors in zip(ran, failures, strict=True):
        names = [error.ename for error in errors]
        assert names == ["AssertionError"] * (step.kind is Kind.CHECK), (step.text, errors)
        assert all(error.evalue.rstrip().endswith(".") for error in errors), errors
