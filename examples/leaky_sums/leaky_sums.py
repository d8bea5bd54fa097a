"""A gym with a leak, on purpose: it pays for every digit of the sum that occurs *somewhere* in the answer.

A verifier that "gives partial credit" like this one looks reasonable and is a reward hack waiting to happen: who writes
every digit is always right. `python -m gyms audit` finds it out (docs/tutorials/collapse.md). Sums are asked as the
built-in gym asks them of tiny models: `17+25=`, the answer's digits least significant first.
"""

from __future__ import annotations

from gyms.api import Gym, GymSettings, Score, Status, Task, message

__all__ = ["LeakySums"]


class Settings(GymSettings):
    max_operand: int = 99
    """Largest operand; the smallest has one digit less."""


class LeakySums(Gym):
    """Sums whose verifier counts digits instead of comparing numbers."""

    Settings = Settings

    def tasks(self, split):
        high = self.settings.max_operand
        low = (high + 1) // 10
        pairs = [(a, b) for a in range(low, high + 1) for b in range(low, high + 1)]
        kept = [(a, b) for a, b in pairs if ((a + b) % 7 == 0) == (split == "heldout")]
        return [
            Task(id=f"{a}+{b}", prompt=(message("user", f"{a}+{b}="),), data={"answer": str(a + b)[::-1]})
            for a, b in kept
        ]

    def score(self, task, response):
        answer = task.data["answer"]
        value = sum(digit in response for digit in answer) / len(answer)
        return Score(status=Status.OK, value=value, components={"exact": float(response.strip() == answer)})

    def gold(self, task):
        return task.data["answer"]
