"""What a gym asks, in short: to notice that its tasks changed when a run goes on, or differ from process to process.

    python -m gyms.fingerprint < pickled specs > JSON

Tasks must be the same in every process (gyms/api.py). The bug to look for is an order that comes from a set, which
Python shuffles anew in every process; so the question is put to a process with another hash seed.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gyms.api import Gym
from gyms.load import GymSpec

__all__ = ["ask_another_process", "gym_fingerprint"]

NUM_TASKS = 32
"""Tasks of a split that are hashed, spread evenly."""


def gym_fingerprint(gym: Gym) -> dict[str, Any]:
    """Sizes of the splits, and a hash of tasks spread over them."""
    facts: dict[str, Any] = {}
    for split in ("train", "heldout"):
        tasks = gym.tasks(split)
        spread = [tasks[i * (len(tasks) - 1) // (NUM_TASKS - 1)] for i in range(NUM_TASKS)]
        text = "\n".join(f"{t.id}\t{gym.fingerprint(t)}" for t in spread)
        facts[split] = {"num": len(tasks), "hash": hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]}
    return facts


def ask_another_process(specs: Sequence[GymSpec]) -> dict[str, Any]:
    """Fingerprints of these gyms, by name, as a process of its own finds them; empty where it cannot build them."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gyms.fingerprint"],
        input=pickle.dumps(list(specs)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
        check=False,
    )
    return json.loads(done.stdout) if done.returncode == 0 else {}


def main() -> None:
    """Fingerprints of the gyms whose pickled specs stand on stdin, as JSON on the stdout that no gym can write to."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    specs: list[GymSpec] = pickle.load(sys.stdin.buffer)
    json.dump({spec.name: gym_fingerprint(spec.build()) for spec in specs}, out)
    out.close()


if __name__ == "__main__":
    main()
