"""Several runs share a time, counted as the wall clock of one is."""

from __future__ import annotations

import pytest

from gyms.sandbox import patience
from gyms.sandbox.patience import MAX_STRETCH, SharedTime, longest_seconds
from gyms.sandbox.program import Limits
from gyms.sandbox.pump import Job


def test_waiting_for_a_core_is_not_counted_and_stretches_the_time_of_all_runs_so_far_and_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(patience.time, "monotonic", lambda: now)
    shared = SharedTime(10.0)
    shared.use(9.0)
    now = 10.0 * MAX_STRETCH - 1.0
    assert not shared.is_spent
    now += 2.0
    assert shared.is_spent, "however little of it was the program's own"


def test_runs_that_used_the_time_up_themselves_end_it_at_once() -> None:
    shared = SharedTime(600.0)
    shared.use(599.0)
    assert not shared.is_spent
    shared.use(2.0)
    assert shared.is_spent


def test_no_run_is_waited_for_longer_than_is_said() -> None:
    job = Job(b"", b"", Limits(wall_seconds=7.0))
    job.close()
    assert job.backstop_seconds + patience.END_SECONDS == longest_seconds(7.0) == 4 * 7.0 + 3.0 + 60.0
