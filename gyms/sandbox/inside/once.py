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
    try:
        zygote.forget_command_line()
        zygote.lift_limits()
        job.preload("random")
        job.prepare(spec["profile"])
    except Exception as error:
        os.write(spec["fds"][job.STATUS], json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)
    job.run_init(spec, spec["fds"], spec["profile"])
