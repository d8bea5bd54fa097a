"""Engines in a process of their own, as in a run: vLLM's backend for models that it does not know changes transformers'
classes for the whole process, and a learner in it could not compute with them any more.

Calls are sent through a pipe, by the name of the engine's method; one engine lives at a time.
"""

from __future__ import annotations

import gc
import multiprocessing
import traceback
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from rollout.engine.engine import EngineSettings

__all__ = ["EngineProcess"]

START = "start"


class EngineProcess:
    """A process that holds an engine.

    Raises:
        RuntimeError: (any method) what the engine raised, with its traceback.
    """

    def __enter__(self) -> EngineProcess:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()

    def start(self, settings: EngineSettings) -> bool:
        """Start an engine in the place of the last one; returns whether its swaps are copies."""
        return self.call(START, settings)

    def call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """What the engine's method of this name returns."""
        self._pipe.send((method, arguments, keywords))
        try:
            is_result, result = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the engine's process ended during {method}") from None
        if not is_result:
            raise RuntimeError(result)
        return result


def _serve(pipe: Connection) -> None:
    from rollout.engine.engine import VLLMEngine

    engine: VLLMEngine | None = None
    while True:
        try:
            method, arguments, keywords = pipe.recv()
        except EOFError:
            return
        try:
            if method == START:
                if engine is not None:
                    engine.close()
                    engine = None
                    gc.collect()  # vLLM's process group must go before the next engine comes
                engine = VLLMEngine(*arguments)
                pipe.send((True, engine._staging is not None))
            else:
                pipe.send((True, getattr(engine, method)(*arguments, **keywords)))
        except Exception as error:
            pipe.send((False, f"{error!r}\n{traceback.format_exc()}"))
