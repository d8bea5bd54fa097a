"""Known pairs: one question, one answer verified right, one verified wrong. What a critic is trained and tested on.

Groups with a verifiable reward give them away for free (Kimi K2 section 3.2.2, the closed loop): the verifier has said
which sibling is right, so "which answer is right?" is itself a verifiable task. `known_pairs` and `tasks_of` are pure;
`CriticPool` keeps the newest pairs of a run, bounded, with the held-out ones apart.

A *problem* is in one split or the other, never in both, by a hash of the problem: whoever sees a pair in training has
never been tested on that problem, in no order and with no other siblings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gyms.api import Split, Task
from gyms.chat.checks import has_content
from gyms.critic.prompt import PairPrompt, PromptStyle
from gyms.critic.verdict import VerdictForm
from gyms.heldout import is_heldout

__all__ = ["CriticPool", "KnownPair", "critic_form", "known_pairs", "split_of", "task_of", "tasks_of"]

RIGHT = 1.0
"""Reward from which an answer counts as right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPair:
    """A right and a wrong answer to one question.

    Example:
        KnownPair(id="add/3/4/9f2c", problem="add [3, 4]", question="What is 3 + 4?", right="7", wrong="8")
    """

    id: str
    """Unique name."""
    problem: str
    """What makes two pairs the same problem: the gym's fingerprint of the task."""
    question: str
    """What was asked."""
    right: str
    """Verified right."""
    wrong: str
    """Verified wrong."""


def known_pairs(
    task: Task,
    responses: Sequence[str],
    rewards: Sequence[float | None],
    *,
    problem: str,
    max_pairs: int = 1,
    max_wrong: float = 0.5,
    max_chars: int = 4000,
    key: str = "",
) -> list[KnownPair]:
    """Pairs of a verified group: the same for the same arguments, whatever else happens in the run.

    Args:
        responses: the siblings' texts.
        rewards: what the verifier gave them; None for those masked or truncated, which are left out.
        problem: the gym's fingerprint of the task.
        max_pairs: most pairs of this group; no answer is used twice.
        max_wrong: reward up to which an answer counts as wrong.
        max_chars: longer answers are left out: a cut answer may have lost what makes it right.
        key: with the task's id it picks which siblings meet.

    Example:
        known_pairs(task, ["7", "8"], [1.0, 0.0], problem="add [3, 4]")[0].right == "7"
    """
    if len(responses) != len(rewards):
        raise ValueError(f"task {task.id!r}: {len(responses)} responses and {len(rewards)} rewards; they must match")
    rated: dict[str, float] = {}
    for response, reward in zip(responses, rewards, strict=True):
        text = response.strip()
        if reward is not None and len(text) <= max_chars and has_content(text):
            rated.setdefault(text, reward)

    def shuffled(texts: Iterable[str]) -> list[str]:
        return sorted(texts, key=lambda text: _hash(key, task.id, text))

    rights = shuffled(text for text, reward in rated.items() if reward >= RIGHT)
    wrongs = shuffled(text for text, reward in rated.items() if reward <= max_wrong)
    question = task.prompt[0]["content"] if len(task.prompt) == 1 else "\n\n".join(m["content"] for m in task.prompt)
    return [
        KnownPair(
            id=f"{task.id}/{_hash(right, wrong)[:8]}", problem=problem, question=question, right=right, wrong=wrong
        )
        for right, wrong in list(zip(rights, wrongs, strict=False))[:max_pairs]
    ]


def critic_form(style: PromptStyle, labels: tuple[str, str]) -> VerdictForm:
    """The verdict on a known pair: one winner, no ties."""
    return VerdictForm(labels=labels, allow_tie=False, is_json=style == "full")


def tasks_of(pair: KnownPair, *, style: PromptStyle, labels: tuple[str, str] | None = None) -> tuple[Task, Task]:
    """The two tasks of a pair: right answer first, and second."""
    return task_of(pair, "ab", style=style, labels=labels), task_of(pair, "ba", style=style, labels=labels)


def task_of(
    pair: KnownPair, order: Literal["ab", "ba"], *, style: PromptStyle, labels: tuple[str, str] | None = None
) -> Task:
    """One task of a pair; `ab` shows the right answer first.

    Raises:
        ValueError: in `quote`, answers that cannot be told apart as they are shown.
    """
    first, second = (pair.right, pair.wrong) if order == "ab" else (pair.wrong, pair.right)
    limit = 2 * max(len(pair.question), len(first), len(second), 1)  # never cut: cleaning may lengthen a text
    prompt = PairPrompt(
        key=f"{pair.id}/{order}",
        question=pair.question,
        first=first,
        second=second,
        style=style,
        max_question_chars=limit,
        max_answer_chars=limit,
    )
    form = critic_form(style, labels or prompt.labels)
    facts = {field: getattr(pair, field) for field in ("id", "problem", "question", "right", "wrong")}
    return Task(
        id=f"{pair.id}/{order}",
        prompt=prompt.messages(form),
        data={"winner": "first" if order == "ab" else "second", "labels": list(form.labels), **facts},
    )


def split_of(problem: str, heldout_fraction: float) -> Split:
    """Where a problem belongs: a hash of it decides, so no list has to be kept."""
    return "heldout" if is_heldout(problem, fraction=heldout_fraction) else "train"


class CriticPool:
    """The newest known pairs of a run, by split.

    Args:
        max_train: train pairs kept; the oldest go first.
        max_heldout: held-out pairs kept.
        heldout_fraction: fraction of the problems that is held out, in [0, 1].
    """

    def __init__(self, *, max_train: int = 2000, max_heldout: int = 500, heldout_fraction: float = 0.1) -> None:
        self._limits: dict[Split, int] = {"train": max_train, "heldout": max_heldout}
        self._heldout_fraction = heldout_fraction
        self._pairs: dict[Split, dict[str, KnownPair]] = {"train": {}, "heldout": {}}

    def add(self, pairs: Iterable[KnownPair], *, split: Split | None = None) -> None:
        """Add pairs. A pair that is there already becomes the newest.

        Args:
            split: where they belong; "heldout" for pairs of a gym's own held-out tasks. Default: by problem. A pair
                whose problem stands in the other split is left out.
        """
        for pair in pairs:
            place: Split = split or split_of(pair.problem, self._heldout_fraction)
            other: Split = "train" if place == "heldout" else "heldout"
            if any(known.problem == pair.problem for known in self._pairs[other].values()):
                continue
            kept = self._pairs[place]
            kept.pop(pair.id, None)
            kept[pair.id] = pair
            while len(kept) > self._limits[place]:
                del kept[next(iter(kept))]

    def pairs(self, split: Split) -> tuple[KnownPair, ...]:
        """The pairs of a split, oldest first."""
        return tuple(self._pairs[split].values())

    def state_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {split: [asdict(pair) for pair in self.pairs(split)] for split in ("train", "heldout")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        for split in self._pairs:
            self._pairs[split] = {row["id"]: KnownPair(**row) for row in state[split]}


def _hash(*parts: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
