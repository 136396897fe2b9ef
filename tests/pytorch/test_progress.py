import io

from rich.console import Console

from onewafer.pytorch import ProgressLine


def test_line_shows_the_cycle_and_disappears():
    stream = io.StringIO()
    progress = ProgressLine(Console(file=stream, force_terminal=True, width=80))
    with progress.compiling("Net, 4 rows on 2×2 PEs"):
        pass
    with progress.simulating("Net", 20000) as show:
        show(12345)
    text = stream.getvalue()
    assert "compiling Net, 4 rows on 2×2 PEs" in text
    assert "simulating Net" in text
    assert "12,345 cycles" in text
    assert text.endswith("\x1b[1A\x1b[2K")


def test_nothing_is_written_where_there_is_no_terminal():
    stream = io.StringIO()
    with ProgressLine(Console(file=stream)).simulating("Net", 2) as show:
        show(1)
    assert stream.getvalue().strip() == ""
