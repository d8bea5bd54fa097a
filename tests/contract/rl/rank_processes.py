"""Ranks of a learner as processes of their own, without Ray: what is called is called on all of them at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from rl.learner import Learner, LearnerSettings
from rl.ranks import Seat, open_store

HOST = "127.0.0.1"
_MODELS = [f"transformers.models.{kind}.modeling_{kind}" for kind in ("llama", "qwen3_moe")]
PRELOAD = ["rl.learner", "rl.shards", *_MODELS]
"""Imported once, not in every rank: of what a rank begins with, the modules of its model take the longest by far."""
PATIENCE = 300.0
"""Seconds that a rank waits for the others; a test that meets it has failed."""


class RankProcesses:
    """N processes, each with its rank's `Learner`, until the context ends."""

    def __init__(self, settings: LearnerSettings, num_ranks: int) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        self._settings, self._num_ranks = settings, num_ranks
        self._ranks: list[tuple[Any, Connection]] = []

    def __enter__(self) -> RankProcesses:
        self._store = open_store(HOST, PATIENCE)
        port = self._store.port
        for rank in range(self._num_ranks):
            seat = Seat(rank=rank, num_ranks=self._num_ranks, host=HOST, port=port, seconds=PATIENCE)
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(theirs, self._settings, seat), daemon=True)
            process.start()
            self._ranks.append((process, ours))
        return self

    def __exit__(self, *error: object) -> None:
        for process, _ in self._ranks:
            process.kill()
            process.join()

    def call(self, method: str | Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """What every rank's method returned, or a function of the learner from the top of a module."""
        for _, connection in self._ranks:
            connection.send((method, args, kwargs))
        answers = [_answer(connection, method) for _, connection in self._ranks]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


def _answer(connection: Connection, method: object) -> Any:
    return connection.recv() if connection.poll(PATIENCE) else TimeoutError(f"{method} did not answer")


def _serve(connection: Connection, settings: LearnerSettings, seat: Seat) -> None:
    torch.set_num_threads(1)
    learner = Learner(settings, seat)
    while True:
        method, args, kwargs = connection.recv()
        try:
            found = getattr(learner, method)(*args, **kwargs) if isinstance(method, str) else method(learner, *args)
        except Exception as error:
            found = error
        connection.send(found)
