"""What a process is set up for before it becomes an engine, seen in one of its own."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_compiles_in_a_process_that_is_prepared_for_an_engine() -> None:
    program = """
from rollout.engine.compat import prepare_environment
prepare_environment()
import torch
def same(x):
    return x
compiled = torch.compile(same, backend=lambda graph, inputs: 1 / 0)
print(compiled(torch.ones(1)).item())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "1.0\n", done.stderr
