"""Runs submitted programs where they can do no harm: what a program is, the tiers of isolation, their probes."""

from typing import TYPE_CHECKING, Any

from gyms.sandbox.program import (
    Call,
    Cell,
    Ending,
    Entry,
    Exam,
    File,
    FileRefused,
    Limits,
    Outcome,
    Program,
    Run,
    Sandbox,
    SandboxError,
    Session,
)

if TYPE_CHECKING:
    from gyms.sandbox.open import open_sandbox

__all__ = [
    "Call",
    "Cell",
    "Ending",
    "Entry",
    "Exam",
    "File",
    "FileRefused",
    "Limits",
    "Outcome",
    "Program",
    "Run",
    "Sandbox",
    "SandboxError",
    "Session",
    "open_sandbox",
]


def __getattr__(name: str) -> Any:
    """`open_sandbox`, imported when it is asked for: a scoring worker that runs no code starts sooner without."""
    if name != "open_sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gyms.sandbox.open import open_sandbox

    return open_sandbox
