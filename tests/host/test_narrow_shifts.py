"""Times out of 16-bit words: what NumPy does, and what host scripts are told."""

import numpy as np
import pytest

from onewafer.host import narrow_shifts
from onewafer.host.narrow_shifts import find_narrow_shift, warn_of_narrow_shifts

WORDS = "words = np.zeros(3).astype(np.uint16)\n"
SUM = "time = words[0] + (words[1] << 16) + (words[2] << 32)\n"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (WORDS + SUM, "2:"),
        ("\n\n" + SUM + WORDS, "3:"),
        (SUM, None),
        (WORDS + "# " + SUM, None),
        (WORDS + "time = words[0] + (int(words[1]) << 16)\n", None),
        (WORDS + "mask = 1 << 16\n", None),
    ],
)
def test_shifts_of_16_bit_words_are_found(script, line):
    found = find_narrow_shift(script)
    assert found is None if line is None else found.startswith(line)


def test_the_warning_is_true():
    """With the installed NumPy, the sum of an SDK script is wrong since version 2."""
    words = np.array([7, 3, 0], np.uint16)
    is_right = int(words[0] + (words[1] << 16)) == (3 << 16) + 7
    assert is_right == (int(np.__version__.partition(".")[0]) < 2)


@pytest.mark.parametrize(("version", "is_told"), [("2.4.6", True), ("1.26.4", False)])
def test_the_script_that_runs_is_looked_at(monkeypatch, tmp_path, capsys, version, is_told):
    script = tmp_path / "run.py"
    script.write_text(WORDS + SUM)
    main = type("Main", (), {"__file__": str(script)})
    monkeypatch.setattr(narrow_shifts.np, "__version__", version)
    monkeypatch.setitem(narrow_shifts.sys.modules, "__main__", main)
    warn_of_narrow_shifts()
    assert (f"{script}:2: NumPy 2" in capsys.readouterr().err) == is_told
