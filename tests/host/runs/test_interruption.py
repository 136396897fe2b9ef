"""What Ctrl-C and SIGTERM leave behind."""

import os
import signal

from onewafer.host import ended_by_exceptions
from onewafer.host.runs import interruption


def test_blocks_that_end_by_exceptions_leave_one_hook_for_forks(monkeypatch):
    hooks = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hook: hooks.append(hook))
    interruption._spare_forked_processes.cache_clear()
    for _ in range(3):
        with ended_by_exceptions():
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert len(hooks) == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
