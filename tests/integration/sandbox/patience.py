"""Limits for what must end by itself: far away, however busy the machine. Those that a test waits for are short."""

from __future__ import annotations

from gyms.sandbox import Limits

__all__ = ["PATIENT"]

PATIENT = Limits(cpu_seconds=60.0, wall_seconds=240.0, memory_bytes=256 << 20, processes=16, file_bytes=4 << 20)
