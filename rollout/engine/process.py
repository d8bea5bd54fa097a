"""An engine in a process of its own, which is there before it is known what it serves.

Most of an engine's start is the import of vLLM: it needs no weights and does not initialise CUDA. So a run creates the
process early, and says later what to `begin` with.
"""

from __future__ import annotations

import gc

from rollout.engine.compat import check_version, prepare_environment
from rollout.engine.engine import EngineSettings, VLLMEngine

__all__ = ["EngineProcess"]


class EngineProcess(VLLMEngine):
    """A `VLLMEngine` from `begin` on; before, it has imported vLLM and must not be asked anything else."""

    def __init__(self) -> None:
        check_version()
        prepare_environment()
        gc.disable()  # thousands of modules hold no garbage, and looking for it between them takes a fifth of the time
        try:
            import vllm.v1.engine.llm_engine  # noqa: F401
        finally:
            gc.freeze()  # nor will vLLM look among them, as it does three times while it starts
            gc.enable()
        self._has_begun = False

    def begin(self, settings: EngineSettings) -> None:
        """Start the engine; raises as the constructor of `VLLMEngine` does."""
        super().__init__(settings)
        self._has_begun = True

    def close(self) -> None:
        if self._has_begun:
            super().close()
