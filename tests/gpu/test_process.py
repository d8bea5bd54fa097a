"""The process of an engine that has not begun leaves the GPU to the learner, which starts meanwhile."""

from __future__ import annotations

import subprocess
import sys


def test_a_process_that_has_imported_vllm_has_not_initialised_cuda() -> None:
    """In a process of its own: this one may have."""
    asks = "import torch; from rollout.engine.process import EngineProcess; EngineProcess(); "
    told = subprocess.run(
        [sys.executable, "-c", asks + "print(torch.cuda.is_initialized())"], capture_output=True, text=True, timeout=600
    )
    assert told.stdout.split()[-1:] == ["False"], told.stdout + told.stderr
