"""Runs submitted programs where they can do no harm: what a program is, the tiers of isolation, their probes."""

from gyms.sandbox.open import open_sandbox
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
