"""The worker's side of episodes: those that live in it, and the requests about them. See reward/seat.py for the host's.

| request | payload | reply |
|---|---|---|
| `open` | (number, task, seed) | `opened` |
| `step` | (number, turn) | `stepped`: messages, is_done |
| `assess` | number | `scored`: one score |
| `close` | number | `closed` |
| `gold_turns` | task | `gold_turns`: turns, or null |

An episode lives here until it is closed, whatever becomes of its calls; when the host closes the pipe all are closed.
"""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

from gyms.api import Environment, Episode, Gym, Reply, Score, Turn
from gyms.episodes.turns import turn_as_json
from reward.wire import MAX_OBSERVED_CHARS, score_as_json

__all__ = ["EPISODE_REQUESTS", "Residents"]

EPISODE_REQUESTS = frozenset({"open", "step", "assess", "close", "gold_turns"})


class Residents:
    """The episodes of one worker."""

    def __init__(self) -> None:
        self._episodes: dict[int, Episode] = {}

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
            self._episodes[number] = episode
            return {"kind": "opened"}
        if kind == "step":
            number, turn = content
            return _stepped(self._episodes[number].step(turn))
        if kind == "assess":
            score = self._episodes[content].score()
            if not isinstance(score, Score):
                return _failed(f"score returned {type(score).__name__}, expected gyms.api.Score")
            return {"kind": "scored", "scores": [score_as_json(score)]}
        if content in self._episodes:  # not there: it could not be opened, or lived in a worker that died
            self._episodes.pop(content).close()
        return {"kind": "closed"}

    def close_all(self) -> None:
        """At the worker's end, which nobody waits for longer than he likes."""
        while self._episodes:
            with contextlib.suppress(Exception):
                self._episodes.popitem()[1].close()


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
