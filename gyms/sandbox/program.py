"""What goes into a sandbox and what comes out: plain data, no mechanism.

A `Program` holds source and inputs, never an expected result: whoever gives the verdict compares outside. A `Run` is
what was observed from outside; the exit status of a submitted program is a fact about it, never a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

__all__ = ["Ending", "Language", "Limits", "Program", "Run", "Sandbox", "SandboxError"]

Language = Literal["python", "cpp", "javascript"]


class Ending(StrEnum):
    """How a run ended."""

    EXITED = "exited"
    """By itself, whatever its exit status."""
    CPU_LIMIT = "cpu_limit"
    WALL_LIMIT = "wall_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    """Wrote more than `Limits.output_bytes`; the output is cut there."""
    KILLED = "killed"
    """By a signal that no limit of ours explains: a segmentation fault, its own kill(2), a refused system call."""
    COMPILE_FAILED = "compile_failed"


class SandboxError(RuntimeError):
    """The sandbox itself failed: ours to repair, never a fault of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use."""

    cpu_seconds: float = 10.0
    """CPU time of all processes of the run, in seconds."""
    wall_seconds: float = 30.0
    """Wall clock from start to the last byte, in seconds; the backstop for programs that sleep."""
    memory_bytes: int = 512 << 20
    processes: int = 32
    """Processes and threads at one time."""
    file_bytes: int = 16 << 20
    """Largest file, and all of the private scratch folder together."""
    output_bytes: int = 1 << 20
    """Most bytes kept of each of standard output, standard error and the result channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One run of submitted code: source, standard input, limits.

    Example:
        Program(language="python", source="print(input())", stdin=b"hello\\n")
    """

    source: str
    language: Language = "python"
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Plain file name -> content, put into the working folder before the run."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was seen of one run, from outside."""

    ending: Ending
    exit_status: int
    """Exit status, or minus the signal's number."""
    stdout: bytes = b""
    stderr: bytes = b""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    tier: str = ""
    """Name of the isolation that it ran under; see `python -m gyms doctor`."""


class Sandbox(Protocol):
    """Runs programs, one at a time from one caller; SandboxError where the sandbox itself fails."""

    @property
    def tier(self) -> str:
        """Name of the isolation in use."""
        ...

    def run(self, program: Program) -> Run:
        """Run it to its end or its limit; nothing of it is left when this returns."""
        ...

    def close(self) -> None:
        """Stop all processes of the sandbox."""
        ...
