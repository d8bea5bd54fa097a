"""What computes in passing leaves no threads behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rollout.engine.teams import in_passing

COUNTED = """
import os, threading, time
import torch
from rollout.engine.teams import in_passing

def num_threads():
    return len(os.listdir("/proc/self/task"))

def computed():
    torch.set_num_threads(2)
    return float(torch.ones(1 << 20).sum())

computed()  # this thread has its own team from here on
before = num_threads()
answer = in_passing(computed)
for _ in range(1000):  # a thread is gone a moment after it was joined
    if num_threads() <= before: break
    time.sleep(0.01)
after = num_threads()
done, end = threading.Event(), threading.Event()
threading.Thread(target=lambda: (computed(), done.set(), end.wait()), daemon=True).start()
done.wait()
print(answer, after - before, num_threads() - before)
"""
"""In a process of its own: others' threads come and go."""


def test_a_call_in_passing_answers_and_its_team_is_gone_with_it() -> None:
    """The last number is the control: a thread that stays keeps its team."""
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(float(1 << 20)), "0", "2"]


def test_what_a_call_in_passing_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_passing(lambda: 1 / 0)
