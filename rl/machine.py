"""What a run needs of the machine beside memory: room for socket names, and programs that others call.

Found out by running with an empty PATH and in deep folders. Without `bash` no actor starts: Ray's workers begin in one.
Without `lscpu` no engine starts on a CPU: vLLM asks it for cores and NUMA nodes. Without `g++` or `node` every sample
of a task in C++ or JavaScript is masked. A run calls nothing else by name: no compiler, git, numactl or ps.

Only the machine that the command runs on can be looked at; on a cluster the nodes may differ.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from gyms.api import Gym
from gyms.sandbox.view import tool

__all__ = ["check_languages", "check_programs", "check_ray_folder"]

MAX_SOCKET_BYTES = 107
"""Longest name of a Unix socket on Linux: `sun_path` has 108 bytes, the last one 0."""
RAY_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""Where Ray 2.60 puts its longest socket, under the folder for temporary files; all but the pid has a fixed length."""
LANGUAGES: Mapping[str, str] = {"cpp": "g++", "javascript": "node"}
NUM_LOOKED_AT = 200
"""Tasks of a split that are asked for their language."""


def check_ray_folder(environment: Mapping[str, str], *, pid: int) -> None:
    """Ray's sockets fit into its folder, which it can make; for a run that starts its own Ray.

    Args:
        environment: variables of the process.
        pid: of the process that starts Ray.

    Raises:
        ValueError: the folder's name is too long, or it cannot be written to.
    """
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in environment), "")
    folder = environment[name] if name else "/tmp"
    told = f"{name} = {folder}" if name else folder
    if (excess := len(os.fsencode(folder + RAY_SOCKET.format(pid=pid))) - MAX_SOCKET_BYTES) > 0:
        raise ValueError(
            f"{told} is {excess} bytes too long for Ray, whose sockets lie in it (a socket's name has at most "
            f"{MAX_SOCKET_BYTES} bytes): set RAY_TMPDIR to a short folder, e.g. RAY_TMPDIR=/tmp"
        )
    wanted = Path(folder).absolute() / "ray"
    existing = next(path for path in (wanted, *wanted.parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise ValueError(
            f"Ray keeps its sockets and logs in {told}, and {existing} cannot be written to: set RAY_TMPDIR to a "
            "folder that can"
        )


def check_programs(*, on_cpu: bool) -> None:
    """Programs that Ray and the engine call.

    Raises:
        ValueError: one is missing.
    """
    if shutil.which("bash") is None:
        raise ValueError("bash is not on PATH, and without it Ray starts no actor; install it")
    if on_cpu and shutil.which("lscpu") is None:
        raise ValueError(
            "lscpu is not on PATH, and without it vLLM's CPU engine does not start; install it (Debian: util-linux)"
        )


def check_languages(where: str, gym: Gym, programs: Mapping[str, str] = LANGUAGES) -> None:
    """Compilers and interpreters for the languages in which a gym's tasks want programs.

    Args:
        where: the gym in messages.
        programs: what a language needs.

    Raises:
        ValueError: one is missing; every sample of such a task would be masked.
    """
    if not gym.needs.sandbox:
        return
    for split in ("train", "heldout"):
        tasks = gym.tasks(split)
        num = min(len(tasks), NUM_LOOKED_AT)
        languages: Sequence[str] = [str(tasks[i * len(tasks) // num].data.get("language", "")) for i in range(num)]
        for language, program in programs.items():
            if language in languages and not tool(program):
                raise ValueError(
                    f"{where}: {languages.count(language)} of {num} {split} tasks want {language} programs, and "
                    f"{program} is not installed: every sample of theirs would be masked; install {program}, or leave "
                    "the tasks out"
                )
