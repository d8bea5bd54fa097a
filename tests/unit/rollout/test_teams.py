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


def num_threads() -> int:
    """Of this process, as the kernel counts them."""
    return len(list(Path("/proc/self/task").iterdir()))


def settled(most: int) -> int:
    """Their number, once it is at most that, or will not be: a thread is gone a moment after it was joined."""
    for _ in range(1000):
        if num_threads() <= most:
            break
        time.sleep(0.01)
    return num_threads()


def computed() -> float:
    torch.set_num_threads(2)
    return float(torch.ones(1 << 20).sum())


def test_a_call_in_passing_answers_and_its_team_is_gone_with_it() -> None:
    assert computed() == 1 << 20  # this thread has its own team from here on
    before = num_threads()
    assert in_passing(computed) == 1 << 20
    assert settled(before) <= before
    done, end = threading.Event(), threading.Event()
    stays = threading.Thread(target=lambda: (computed(), done.set(), end.wait()))
    stays.start()
    done.wait()
    while_it_stays = num_threads()
    end.set()
    stays.join()
    assert settled(while_it_stays - 2) <= while_it_stays - 2, "control: a thread that stays keeps its team"


def test_what_a_call_in_passing_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_passing(lambda: 1 / 0)
