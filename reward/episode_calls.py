"""The calls of an episode in a scoring worker: each one request, under the gym's limits, its answer checked.

Episodes in a worker have numbers; the host gives them. What is raised is WorkerProcess.ask's: WorkerFault, Refused,
Stopped, GarbageReply. The worker's side is reward/residents.py.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from gyms.api import Reply, Score, Task, Turn
from gyms.episodes.episode import unanswered
from reward.process import IsStopped, WorkerFault, WorkerProcess
from reward.wire import GarbageReply, parse_gold_turns, parse_scores, parse_stepped

__all__ = ["assess", "close", "gold_turns", "play", "start", "step"]

_PLAYED = 0
"""Number of an episode that is closed before another request is made."""


def start(worker: WorkerProcess, number: int, task: Task, seed: int, is_stopped: IsStopped) -> None:
    """Begin an episode."""
    reply = worker.ask("open", pickle.dumps((number, task, seed)), is_stopped, call="start")
    if reply["kind"] != "opened":
        raise GarbageReply(f"a reply of the kind {reply['kind']!r:.40} to the start of an episode")


def step(worker: WorkerProcess, number: int, turn: Turn, is_stopped: IsStopped) -> Reply:
    """The environment's answer to the next turn."""
    reply = parse_stepped(worker.ask("step", pickle.dumps((number, turn)), is_stopped, call="step"), turn)
    if problem := unanswered(turn, reply):
        raise WorkerFault(f"step: {problem}", is_alive=True)
    return reply


def assess(worker: WorkerProcess, number: int, is_stopped: IsStopped) -> Score:
    """The score of the episode so far."""
    reply = worker.ask("assess", pickle.dumps(number), is_stopped, call="score")
    if reply["kind"] != "scored":
        raise GarbageReply(f"a reply of the kind {reply['kind']!r:.40} to a request for a score")
    assert worker.built is not None  # ask() builds first
    return parse_scores(reply.get("scores"), num_wanted=1, components=worker.built.components)[0]


def close(worker: WorkerProcess, number: int, is_stopped: IsStopped) -> None:
    """End an episode; one that is not there is none to end."""
    reply = worker.ask("close", pickle.dumps(number), is_stopped, call="close")
    if reply["kind"] != "closed":
        raise GarbageReply(f"a reply of the kind {reply['kind']!r:.40} to the close of an episode")


def gold_turns(worker: WorkerProcess, task: Task, is_stopped: IsStopped) -> list[Turn] | None:
    """Turns that must score 1.0, or None where none are known; of a gym of one turn, its gold response."""
    return parse_gold_turns(worker.ask("gold_turns", pickle.dumps(task), is_stopped, call="gold_turns"))


def play(worker: WorkerProcess, task: Task, seed: int, turns: Sequence[Turn], is_stopped: IsStopped) -> Score:
    """The score of a whole episode; turns behind one that was answered as the last are left out."""
    start(worker, _PLAYED, task, seed, is_stopped)
    for turn in turns:
        if step(worker, _PLAYED, turn, is_stopped).is_done:
            break
    score = assess(worker, _PLAYED, is_stopped)
    close(worker, _PLAYED, is_stopped)
    return score
