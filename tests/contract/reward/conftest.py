"""Fixtures that tests of scoring workers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.reward.processes import children


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """After the test there is no process and no descriptor that was not there before it."""
    processes, num_fds = children(), len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert children() <= processes
    assert len(list(Path("/proc/self/fd").iterdir())) <= num_fds


@pytest.fixture(scope="module")
def others() -> frozenset[int]:
    """Children of this process before the scorer came: other tests may have left theirs."""
    return frozenset(children())
