"""One job or session in an interpreter that something else has isolated: what bubblewrap starts as its process 1."""

from __future__ import annotations

import json
import os

from gyms.sandbox.inside import job, supervisor, zygote

__all__ = ["main"]


def main(spec_fd: int) -> None:
    """Read limits and descriptor numbers, run the job or the session, end."""
    with os.fdopen(spec_fd, "rb") as pipe:
        spec = json.loads(pipe.read())
    is_session = spec.get("is_session", False)
    try:
        zygote.forget_command_line()
        zygote.lift_limits()
        job.preload("random")
        job.prepare(spec["profile"])
    except Exception as error:
        told = json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode()
        os.write(spec["fds"][0 if is_session else job.STATUS], told)
        os._exit(1)
    if is_session:
        supervisor.supervise(spec, spec["fds"], spec["profile"])
    job.run_init(spec, spec["fds"], spec["profile"])
