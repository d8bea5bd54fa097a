"""Heavy mode (Kimi K2 Thinking): several attempts at a task, then one that sees what all of them answered.

The attempts are the first n sampled responses or episodes of an evaluation, so heavy mode adds one attempt a task. What
each answered (of an episode, what was said at its last turn; thoughts are cut) stands in front of the task's question,
and the attempt that sees them is an ordinary one: same gym, tools, budget and verifier. Moonshot has not published its
wording; this one is ours.

*Room.* The prompt must fit into `rollout.max_prompt_tokens`. Where it does not, each answer is cut to its last
characters, half as many again and again; where not even that fits, the task is asked as it is.

Left out: showing the attempts' thoughts or tool calls; more than one round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from gyms.api import Task, Tool
from gyms.mixture import Draw
from gyms.response import Response
from rl.batch import Group
from rollout.types import Sample

__all__ = ["ReadsResponses", "aggregated", "answer_of", "with_answers"]

NO_ANSWER = "(no answer)"
_MOST_CHARS, _LEAST_CHARS = 8192, 32
"""Of an answer that is cut."""


class ReadsResponses(Protocol):
    """The served policy, as far as heavy mode needs it."""

    def prompt_ids(self, task: Task, tools: Sequence[Tool] = ()) -> tuple[int, ...]:
        """A task's prompt as token ids; ValueError where it is too long."""
        ...

    def read_response(self, sample: Sample) -> Response:
        """What counts of a sampled response."""
        ...


def aggregated(policy: ReadsResponses, groups: Sequence[Group], num: int) -> list[Draw]:
    """The draws of the attempts that see the first `num` answers of each group, in the order of the groups."""
    found = []
    for group in groups:
        answers = [answer_of(policy, scored.sample) for scored in group.samples[:num]]
        found.append(replace(group.draw, task=_fitting(policy, group.draw, answers)))
    return found


def answer_of(policy: ReadsResponses, sample: Sample) -> str:
    """What an attempt answered."""
    if sample.is_truncated:
        return NO_ANSWER
    said = sample.turns[-1].turn.text if sample.turns else str(policy.read_response(sample))
    return said.strip() or NO_ANSWER


def with_answers(task: Task, answers: Sequence[str]) -> Task:
    """The task with answers of earlier attempts in front of its last message."""
    *before, last = task.prompt
    shown = "\n\n".join(f"Attempt {number}:\n{answer}" for number, answer in enumerate(answers, start=1))
    text = (
        f"Below are the answers of {len(answers)} attempts at a task, made apart from each other; any of them may be "
        "wrong. Compare them, work out what is right, and then do the task yourself."
        f"\n\n{shown}\n\nThe task:\n{last['content']}"
    )
    return replace(task, prompt=(*before, {**last, "content": text}))


def _fitting(policy: ReadsResponses, draw: Draw, answers: Sequence[str]) -> Task:
    chars = max(map(len, answers))
    while True:
        task = with_answers(draw.task, [answer[-chars:] for answer in answers])
        try:
            policy.prompt_ids(task, draw.tools)
            return task
        except ValueError:  # too long
            chars = min(chars // 2, _MOST_CHARS)
        if chars < _LEAST_CHARS:
            return draw.task
