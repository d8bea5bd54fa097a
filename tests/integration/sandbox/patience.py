"""Limits for what must end by itself: far away, however busy the machine. Those that a test waits for are short.

`run` is a program under the former, unless told otherwise.
"""

from __future__ import annotations

from gyms.sandbox import Limits, Program, Run, Sandbox

__all__ = ["PATIENT", "run"]

PATIENT = Limits(cpu_seconds=60.0, wall_seconds=240.0, memory_bytes=256 << 20, processes=16, file_bytes=4 << 20)


def run(sandbox: Sandbox, source: str, limits: Limits = PATIENT, **given: object) -> Run:
    return sandbox.run(Program(source=source, limits=limits, **given))  # type: ignore[arg-type]
