"""The host's end of a job that does not end by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from gyms.sandbox.program import Ending, Limits
from gyms.sandbox.pump import Job, NeverEnded, drive


@pytest.fixture
def job() -> Iterator[Job]:
    """It ends when it is killed."""
    job = Job(b"", b"", Limits())
    job.end_fd, end = os.pipe()
    job.killer = lambda: os.write(end, b".")
    job.close_child_ends()
    job.begin()
    yield job
    job.close()
    os.close(job.end_fd)
    os.close(end)


def test_a_job_that_takes_the_cores_from_whoever_kills_it_was_ended_at_its_limit_and_is_no_fault(job: Job) -> None:
    job.started = time.monotonic() - job.backstop_seconds - 10.0
    drive([job])
    assert job.run("landlock").ending is Ending.WALL_LIMIT


def test_a_job_that_no_signal_ends_is_a_fault(job: Job) -> None:
    job.killer = lambda: None
    job.started = time.monotonic() - job.backstop_seconds - 1000.0
    with pytest.raises(NeverEnded, match="did not end when it was killed"):
        drive([job])
