"""Bubblewrap where it cannot be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from gyms.sandbox.bwrap import BubblewrapRunner
from gyms.sandbox.forkserver import Launch
from gyms.sandbox.program import Limits, SandboxError
from gyms.sandbox.view import interpreters


def test_a_bubblewrap_that_cannot_be_started_leaves_no_descriptor() -> None:
    runner = BubblewrapRunner(interpreters()[0], uid=0)
    runner._bwrap = "/nowhere/bwrap"
    num_fds = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(SandboxError, match="cannot start /nowhere/bwrap"):
        runner.run([Launch(body={}, limits=Limits())])
    with pytest.raises(SandboxError, match="cannot start /nowhere/bwrap"):
        runner.open(Limits(), {})
    assert len(list(Path("/proc/self/fd").iterdir())) <= num_fds
