"""Runs submitted programs where they can do no harm: what a program is, the tiers of isolation, their probes."""

from gyms.sandbox.open import open_sandbox
from gyms.sandbox.program import Call, Ending, Exam, Limits, Outcome, Program, Run, Sandbox, SandboxError

__all__ = [
    "Call",
    "Ending",
    "Exam",
    "Limits",
    "Outcome",
    "Program",
    "Run",
    "Sandbox",
    "SandboxError",
    "open_sandbox",
]
