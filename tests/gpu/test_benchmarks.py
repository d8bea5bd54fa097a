"""The figures of docs/gpu.md can be taken on this device; how good they are is not for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import PARTS

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "smollm2-135m-instruct"


@pytest.mark.parametrize("part", PARTS)
def test_every_part_measures_something(part: str) -> None:
    if part != "grid" and not MODEL.is_dir():
        pytest.skip("python -m rl.prepare smollm2 --output models/smollm2-135m-instruct")
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part, "--rounds", "1", "--json", "--model", MODEL]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["machine"]["gpu"] and all(value > 0 for value in found[part].values())
