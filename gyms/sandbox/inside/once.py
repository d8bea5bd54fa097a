"""One job in an interpreter that something else has isolated: what bubblewrap starts as its process 1."""

from __future__ import annotations

import json
import os

from gyms.sandbox.inside import job, zygote

__all__ = ["main"]


def main(spec_fd: int) -> None:
    """Read limits and descriptor numbers, run the job, end."""
    with os.fdopen(spec_fd, "rb") as pipe:
        spec = json.loads(pipe.read())
    zygote.forget_command_line()
    job.preload("random")
    job.prepare(spec["profile"])
    job.run_init(spec, spec["fds"], spec["profile"])
