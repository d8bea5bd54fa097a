"""The processes that hold an engine's weights: this one, or, with tensor parallelism, one for each slice.

vLLM's multiprocess executor sends a call to all workers and reads their answers one by one. If one of them has raised,
it raises too and leaves the others' answers unread, so that every later call gets the answer to the one before. So with
more than one worker a call travels as a `k2rl_try`, which never raises: all answers are read, then the errors count.

What goes over is pickled. An artefact is plain data and may; a generator or a live tensor may not. Weights come in two
phases: `hold` gives the whole artefact to every worker, each of which checks it byte for byte, while nothing that is
served changes; `load_held` lets each take its rows and columns of it. If one fails, all of them are given the old one
(rollout/engine/engine.py), as with a single worker.

Each worker computes on its part of the engine's threads: left alone, it would start as many as the whole engine has.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from rollout.engine.states import EngineBroken
from rollout.weights.contract import WeightArtefact
from rollout.weights.device_copy import Loan
from rollout.weights.receiver import tensors

__all__ = ["Answer", "Workers", "threads_shared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call came to in one worker."""

    value: Any = None
    """What the method returned."""
    error: str | None = None
    """What it raised, as text: not every exception can be pickled."""


class Workers:
    """Calls to all workers of an engine, from the engine's thread.

    Args:
        llm: vLLM's engine, in this process.
        num: workers: `tensor_parallel`.
    """

    def __init__(self, llm: Any, *, num: int) -> None:
        self._llm = llm
        self._num = num
        self._held: WeightArtefact | None = None

    @property
    def are_here(self) -> bool:
        """Whether the one worker lives in this process: live tensors may be handed back and forth."""
        return self._num == 1

    @property
    def is_one_lost(self) -> bool:
        """Whether a worker elsewhere has died. vLLM then ends the others, and whoever waits for an answer."""
        return not self.are_here and self._llm.engine_core.engine_core.model_executor.is_failed

    def ask(self, method: Any, *args: Any) -> list[Any]:
        """Call a method of vLLM's worker, or of `SwapExtension`, in every worker; their answers, by rank.

        Raises:
            RuntimeError: what was raised in workers elsewhere, with the ranks of those that did.
            Exception: what the worker in this process raised, as it is.
        """
        if self.are_here:
            return self._llm.collective_rpc(method, args=args)
        answers: list[Answer] = self._llm.collective_rpc("k2rl_try", args=(method, args))
        if failed := [f"worker {rank}: {one.error}" for rank, one in enumerate(answers) if one.error is not None]:
            raise RuntimeError("; ".join(failed))
        return [one.value for one in answers]

    @contextlib.contextmanager
    def in_step(self) -> Iterator[None]:
        """Around calls of vLLM's own to all workers, which leave answers unread where one of several fails.

        Raises:
            EngineBroken: one of several failed: they no longer hold the same, and answers would be taken for others'.
        """
        try:
            yield
        except Exception as error:
            if self.are_here:
                raise
            raise EngineBroken(f"not all {self._num} processes of the engine did as they were told: {error}") from error

    def hold(self, artefact: WeightArtefact) -> None:
        """Give workers elsewhere an artefact, to be loaded by `load_held`. Nothing that is served changes.

        Raises:
            RuntimeError: it was damaged on the way to one of them.
        """
        if not self.are_here:
            self._held = None
            self.ask("k2rl_hold", artefact)
            self._held = artefact

    def load(self, artefact: WeightArtefact, loan: Loan | None = None) -> None:
        """Load an artefact through vLLM's layerwise reload; workers elsewhere are given it unless they hold it.

        A worker in this process reads a copy on its device instead, where that was borrowed.

        Raises:
            Exception: as `ask`; some workers may then have the new weights and some not.
        """
        if self.are_here:
            self.ask("k2rl_swap", tensors(artefact, None if loan is None else loan.flat))
            return
        if self._held is not artefact:
            self.hold(artefact)
        self._held = None
        self.ask("k2rl_load_held")


@contextlib.contextmanager
def threads_shared(num: int) -> Iterator[None]:
    """Processes that are started within get OMP_NUM_THREADS for an equal part of this thread's, one at least.

    Args:
        num: processes; 1 starts none, and nothing changes.
    """
    if num == 1:
        yield
        return
    name, before = "OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS")
    os.environ[name] = str(max(torch.get_num_threads() // num, 1))
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
