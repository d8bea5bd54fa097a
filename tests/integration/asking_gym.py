"""A gym for tests: the adder, whose tool a model answers where one is at hand."""

from __future__ import annotations

from dataclasses import replace

from gyms.adder.gym import ADD, Adder
from gyms.api import Call, Episode, Score, Task
from gyms.episodes.calling import Calling


class Told(Calling):
    """Passes on what was heard."""

    def __init__(self, own: Calling) -> None:
        super().__init__((ADD,))
        self.own = own

    def run(self, call: Call) -> str:
        return self.own.run(call) if call.heard is None else call.heard

    def score(self) -> Score:
        self.own.answer = self.answer
        return self.own.score()


class Asking(Adder):
    """Sums whose parts somebody is asked for."""

    def tools(self, task: Task):
        return (replace(ADD, persona="0+1="),)

    def start(self, task: Task, seed: int) -> Episode:
        own = super().start(task, seed)
        assert isinstance(own, Calling)
        return Told(own)
