"""What computes in passing leaves no threads behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rollout.engine.teams import in_passing


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """For products of whichever thread asks, on any machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads() -> set[str]:
    """Of this process, as the kernel numbers them."""
    return {path.name for path in Path("/proc/self/task").iterdir()}


def left(before: set[str]) -> set[str]:
    """Threads that were not there before, once there are none, or will be: one is gone a moment after it was joined."""
    for _ in range(1000):
        if not threads() - before:
            break
        time.sleep(0.01)
    return threads() - before


def computed() -> float:
    torch.set_num_threads(2)
    return float(torch.ones(1 << 20).sum())


def test_a_call_in_passing_answers_and_its_team_is_gone_with_it() -> None:
    assert computed() == 1 << 20  # this thread has its own team from here on
    before = threads()
    assert in_passing(computed) == 1 << 20
    assert not left(before)
    done, end = threading.Event(), threading.Event()
    stays = threading.Thread(target=lambda: (computed(), done.set(), end.wait()), daemon=True)
    stays.start()
    done.wait()
    assert len(threads() - before) >= 2, "control: a thread that stays keeps its team"
    end.set()
    stays.join()


def test_what_a_call_in_passing_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_passing(lambda: 1 / 0)
