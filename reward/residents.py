"""The worker's side of episodes: those that live in it, and the requests about them. See reward/seat.py for the host's.

| request | payload | reply |
|---|---|---|
| `open` | (number, task, seed) | `opened` |
| `step` | (number, turn) | `stepped`: messages, is_done |
| `assess` | number | `scored`: one score |
| `close` | number | `closed` |
| `gold_turns` | task | `gold_turns`: turns, or null |

An episode lives here until it is closed, whatever becomes of its calls; when the host closes the pipe all are closed.
Calls are read here again, by the tools of the episode's task: those of a stored episode nobody has read before.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gyms.api import Call, Environment, Episode, Gym, Reply, Score, Task, Tool, Turn
from gyms.episodes.arguments import read_call
from gyms.episodes.episode import Unplayable
from gyms.episodes.turns import turn_as_json
from reward.wire import MAX_OBSERVED_CHARS, score_as_json

__all__ = ["EPISODE_REQUESTS", "Residents"]

EPISODE_REQUESTS = frozenset({"open", "step", "assess", "close", "gold_turns"})


class Residents:
    """The episodes of one worker."""

    def __init__(self) -> None:
        self._episodes: dict[int, Episode] = {}
        self._tasks: dict[int, Task] = {}

    def answer(self, gym: Gym, kind: str, payload: bytes) -> dict[str, Any]:
        """The reply to a request; what the gym raises goes through."""
        content = pickle.loads(payload)
        if kind == "gold_turns":
            return {"kind": "gold_turns", "turns": _gold_turns(gym, content)}
        if kind == "open":
            number, task, seed = content
            episode = gym.start(task, seed)
            if not isinstance(episode, Episode):
                return _failed(f"start returned {type(episode).__name__}, expected gyms.api.Episode")
            self._episodes[number], self._tasks[number] = episode, task
            return {"kind": "opened"}
        if kind == "step":
            number, turn = content
            episode = self._episodes[number]
            if turn.calls and isinstance(gym, Environment) and not isinstance(episode, Unplayable):
                turn = _read(turn, gym.tools(self._tasks[number]))
            return _stepped(episode.step(turn))
        if kind == "assess":
            score = self._episodes[content].score()
            if not isinstance(score, Score):
                return _failed(f"score returned {type(score).__name__}, expected gyms.api.Score")
            return {"kind": "scored", "scores": [score_as_json(score)]}
        if content in self._episodes:  # not there: it could not be opened, or lived in a worker that died
            del self._tasks[content]
            self._episodes.pop(content).close()
        return {"kind": "closed"}

    def close_all(self) -> None:
        """At the worker's end, which nobody waits for longer than he likes."""
        while self._episodes:
            with contextlib.suppress(Exception):
                self._episodes.popitem()[1].close()


def _read(turn: Turn, tools: Sequence[Tool]) -> Turn:
    """The turn with calls that the tools take; the others say why they are none."""

    def read(call: Call) -> Call:
        if call.arguments is None:
            return call
        made = read_call(tools, call_id=call.id, tool=call.tool, arguments=call.arguments)
        return replace(made, heard=call.heard)

    return replace(turn, calls=tuple(map(read, turn.calls)))


def _stepped(reply: object) -> dict[str, Any]:
    if not isinstance(reply, Reply):
        return _failed(f"step returned {type(reply).__name__}, expected gyms.api.Reply")
    num_chars = sum(len(text) for said in reply.messages for text in said.values())
    if num_chars > MAX_OBSERVED_CHARS:
        return _failed(
            f"step returned {num_chars} characters, at most {MAX_OBSERVED_CHARS} are read; cap what tools say"
        )
    return {"kind": "stepped", "messages": [dict(said) for said in reply.messages], "is_done": bool(reply.is_done)}


def _gold_turns(gym: Gym, task: Any) -> list[dict[str, Any]] | None:
    if isinstance(gym, Environment):
        turns = gym.gold_turns(task)
        return None if turns is None else [turn_as_json(turn) for turn in turns]
    gold = gym.gold(task)
    return None if gold is None else [turn_as_json(Turn(text=gold))]


def _failed(detail: str) -> dict[str, Any]:
    return {"kind": "failed", "detail": detail, "is_spent": False}
