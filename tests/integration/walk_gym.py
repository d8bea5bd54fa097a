"""A gym for tests: a walk of so many turns, whatever the model says; a turn is answered by its number."""

from __future__ import annotations

from gyms.api import Environment, Episode, GymSettings, Reply, Score, Status, Task, Turn, message


class Settings(GymSettings):
    num_turns: int = 300
    """Turns of a walk."""
    reply_chars: int = 1
    """Least characters of what a turn is answered."""


class Path(Episode):
    def __init__(self, length: int, reply_chars: int) -> None:
        self.length, self.reply_chars = length, reply_chars
        self.said: list[str] = []

    def step(self, turn: Turn) -> Reply:
        self.said.append(turn.text)
        number = len(self.said)
        return Reply(messages=(message("user", str(number).zfill(self.reply_chars)),), is_done=number >= self.length)

    def score(self) -> Score:
        value = sum(text == str(n % 10) for n, text in enumerate(self.said)) / self.length
        return Score(status=Status.OK, value=value)


class Walk(Environment):
    """Says 0, 1, 2, ... turn by turn."""

    Settings = Settings
    max_turns = 1000
    baseline = 0.2
    settings: Settings

    def tasks(self, split):
        length = self.settings.num_turns
        return [
            Task(
                id=f"{split}/{n}",
                prompt=(message("user", f"{n}{'+' if split == 'train' else '-'}"),),
                data={"n": length},
            )
            for n in range(8)
        ]

    def start(self, task: Task, seed: int) -> Episode:
        return Path(task.data["n"], self.settings.reply_chars)

    def gold_turns(self, task: Task):
        return [Turn(text=str(n % 10)) for n in range(task.data["n"])]
