"""A task's own limits in place of the gym's, under the names that people give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from gyms.sandbox.program import Limits

__all__ = ["limits_of"]

MAX_LIMITS = {"cpu_seconds": 100.0, "wall_seconds": 100.0, "memory_bytes": 64 << 30, "processes": 1024}
_LIMIT_NAMES = {
    "cpu": "cpu_seconds",
    "cpu_s": "cpu_seconds",
    "wall": "wall_seconds",
    "wall_s": "wall_seconds",
    "seconds": "wall_seconds",
    "timeout": "wall_seconds",
    "memory": "memory_bytes",
    "procs": "processes",
    "output": "output_bytes",
    "files": "file_bytes",
}
_MEBIBYTES = {"memory_mb": "memory_bytes", "mem_mb": "memory_bytes", "output_mb": "output_bytes"}


def limits_of(given: object, default: Limits) -> Limits:
    """The default with a task's own limits in place of some; ValueError with the key that is wrong."""
    if given is None:
        return default
    if not isinstance(given, Mapping):
        raise ValueError(f"limits is {type(given).__name__}, expected an object")
    known = {f.name for f in fields(Limits)}
    changed: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 50:
            raise ValueError(f"limits.{name} = {value!r}: expected a number above 0")
        target = _LIMIT_NAMES.get(name, _MEBIBYTES.get(name, name))
        if target not in known:
            raise ValueError(f"limits.{name} is not known; expected some of {', '.join(sorted(known))}")
        amount = value * (1 << 20) if name in _MEBIBYTES else value
        changed[target] = amount if target.endswith("seconds") else int(amount)
        if changed[target] > MAX_LIMITS.get(target, 1 << 30):
            highest = MAX_LIMITS.get(target, 1 << 30)
            raise ValueError(f"limits.{name} = {value!r}: at most {highest} is allowed")
    return replace(default, **changed)
