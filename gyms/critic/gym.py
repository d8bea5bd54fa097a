"""Which of two answers is right? A verifiable gym that trains a critic, on pairs whose winner is known.

Its tasks come from two places. *Sums*: an addition with its right answer and a near miss, as many as there are
additions; they are there from the first step, and small models can learn them. *The pool*: pairs of the run's own
verified groups, which the loop adds; once it holds `min_pool` pairs, it takes over, so that the critic learns from the
policy's own mistakes as they change (Kimi K2 section 3.2.2, the closed loop). Every pair is asked in both orders, so
naming a position is right half of the time and never more.

Prompt and verdict are the ones that the judge uses (prompt.py, verdict.py): what is learned here is what
judges there. A verdict that does not read exactly as asked is the model's fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, overload

from pydantic import ConfigDict, Field, model_validator

from gyms.api import Gym, GymSettings, Score, Services, Split, Status, Task
from gyms.arithmetic.gym import Arithmetic, ArithmeticSettings
from gyms.critic.pool import CriticPool, KnownPair, critic_form, known_pairs, task_of, tasks_of
from gyms.critic.prompt import UNFENCED, PromptStyle, default_labels
from gyms.critic.verdict import Outcome, UnreadableVerdict, Verdict, VerdictForm
from gyms.lazy import LazyTasks

__all__ = ["CriticGym", "CriticGymSettings"]

_NEAR_MISSES = (1, -1, 2, -2, 10, -10, 3, -3, 9, -9)


class CriticGymSettings(GymSettings):
    """How the pairs are shown, and where they come from."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    style: PromptStyle = "short"
    """`full`: fences and a JSON verdict. `short`: few words, one letter. `bare`: "17+25=24?42?", one character.
    `quote`: the same line, the answer itself."""
    labels: tuple[str, str] | None = None
    """What the answers are called. Default: A and B, in bare style 1 and 2. Not for `quote`."""
    sums: dict[str, Any] = Field(default_factory=dict)
    """Settings of the arithmetic gym that makes the built-in pairs; its style follows `style`."""
    source: Literal["pool", "sums"] = "pool"
    """`pool`: the run's own pairs once there are enough. `sums`: always the built-in ones."""
    min_pool: int = Field(default=64, ge=1)
    """Pairs of a split that the pool needs before it takes over from the sums."""
    max_train: int = Field(default=2000, ge=1)
    """Train pairs that the pool keeps."""
    max_heldout: int = Field(default=500, ge=1)
    """Held-out pairs that the pool keeps."""
    heldout_fraction: float = Field(default=0.1, ge=0.0, le=1.0)
    """Fraction of the problems whose pairs are held out."""
    max_pairs_per_group: int = Field(default=1, ge=1)
    """Most pairs that one group adds."""
    max_chars: int = Field(default=1000, ge=1)
    """Longer answers are not made into pairs."""

    @model_validator(mode="after")
    def _sums_are_valid(self) -> CriticGymSettings:
        if "style" in self.sums:
            raise ValueError("sums.style follows style; leave it out")
        if self.labels and self.style == "quote":
            raise ValueError('style = "quote" names an answer by repeating it; leave labels out')
        arithmetic_settings(self)
        critic_form(self.style, self.labels or default_labels(self.style))
        return self


def arithmetic_settings(settings: CriticGymSettings) -> ArithmeticSettings:
    """Settings of the gym behind the built-in pairs."""
    style = "bare" if settings.style in UNFENCED else "chat"
    return ArithmeticSettings.model_validate({**settings.sums, "style": style})


class CriticGym(Gym):
    """Asks which of two answers is right; see the head of this file for where they come from."""

    Settings = CriticGymSettings
    settings: CriticGymSettings
    components: ClassVar = {
        "correct": "1 where the verdict names the right answer",
        "said_first": "1 where it names the first",
    }

    def __init__(self, settings: CriticGymSettings, services: Services) -> None:
        super().__init__(settings, services)
        self.pool = CriticPool(
            max_train=settings.max_train, max_heldout=settings.max_heldout, heldout_fraction=settings.heldout_fraction
        )
        self._sums = Arithmetic(arithmetic_settings(settings), services)
        self.fits: Callable[[Task], bool] = lambda task: True
        """Whether a task that a pair would make is short enough to be asked; whoever knows the tokenizer sets it."""

    def tasks(self, split: Split) -> Sequence[Task]:
        """Two tasks a pair, a snapshot: pairs that are added later show at the next call."""
        pairs = self.pool.pairs(split) if self.settings.source == "pool" else ()
        if len(pairs) < self.settings.min_pool:
            return _PairTasks(_SumPairs(self._sums, self._sums.tasks(split)), self.settings)
        return _PairTasks(pairs, self.settings)

    def add_group(
        self, task: Task, responses: Sequence[str], rewards: Sequence[float | None], *, problem: str, is_heldout: bool
    ) -> int:
        """Put what a verified group shows into the pool; the number of pairs it gave.

        Args:
            rewards: None for siblings that were masked or truncated.
            problem: the verified gym's `fingerprint(task)`, with the gym's name in front where there are several.
            is_heldout: True for a group of the gym's held-out tasks: its pairs are for calibration only.
        """
        pairs = known_pairs(
            task,
            responses,
            rewards,
            problem=problem,
            max_pairs=self.settings.max_pairs_per_group,
            max_chars=self.settings.max_chars,
        )
        askable = [pair for pair in pairs if self._can_be_asked(pair)]
        self.pool.add(askable, split="heldout" if is_heldout else None)
        return len(askable)

    def score(self, task: Task, response: str) -> Score:
        winner = task.data.get("winner")
        if winner not in ("first", "second"):
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r} has no winner 'first' or 'second'")
        labels = task.data.get("labels")
        if not isinstance(labels, list | tuple) or len(labels) != 2 or not all(isinstance(x, str) for x in labels):
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r} has no two labels")
        if not response.strip():
            return Score(status=Status.NO_ANSWER)
        try:
            (said,) = self._form(task).parse(response).better.values()
        except UnreadableVerdict as error:
            return Score(status=Status.INVALID_ANSWER, detail=str(error)[:200])
        value = float(said == winner)
        parts = {"correct": value, "said_first": float(said is Outcome.FIRST)}
        return Score(status=Status.OK, value=value, answer=str(said), components=parts)

    def gold(self, task: Task) -> str:
        form = self._form(task)
        return form.render(Verdict(better={form.compared[0]: Outcome(task.data["winner"])}))

    def fingerprint(self, task: Task) -> str:
        return str(task.data["problem"])

    def _form(self, task: Task) -> VerdictForm:
        first, second = task.data["labels"]
        return critic_form(self.settings.style, (first, second))

    def _can_be_asked(self, pair: KnownPair) -> bool:
        """False where `quote` could not name one, since the answers look the same once cleaned, and where too long."""
        try:
            tasks = tasks_of(pair, style=self.settings.style, labels=self.settings.labels)
        except ValueError:
            return False
        return all(map(self.fits, tasks))


class _SumPairs(Sequence[KnownPair]):
    """The built-in pairs: an arithmetic task, its gold answer, and the same answer with a number that is near."""

    def __init__(self, gym: Arithmetic, tasks: Sequence[Task]) -> None:
        self._gym = gym
        self._tasks = tasks

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> KnownPair: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[KnownPair]: ...
    def __getitem__(self, index: int | slice) -> KnownPair | Sequence[KnownPair]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        task = self._tasks[index]
        right, answer = self._gym.gold(task), str(task.data["answer"])
        return KnownPair(
            id=task.id,
            problem=self._gym.fingerprint(task),
            question=task.prompt[0]["content"],
            right=right,
            wrong=right[: len(right) - len(answer)] + self._near_miss(answer, task.id),
        )

    def _near_miss(self, answer: str, key: str) -> str:
        """A wrong number close to the answer, written the way the answer is; the same one every time."""
        is_reversed = self._gym.settings.reverse_digits
        number = int(_reversed(answer) if is_reversed else answer)
        start = hashlib.blake2b(key.encode(), digest_size=1).digest()[0]
        places = [_NEAR_MISSES[(start + place) % len(_NEAR_MISSES)] for place in range(len(_NEAR_MISSES))]
        # A sum of two naturals is never negative: a minus sign would give the wrong answer away.
        wrong = next(number + step for step in places if (number + step >= 0) == (number >= 0))
        return _reversed(str(wrong)) if is_reversed else str(wrong)


class _PairTasks(LazyTasks):
    """Two tasks for each pair: 2 i shows the right answer first, 2 i + 1 second."""

    def __init__(self, pairs: Sequence[KnownPair], settings: CriticGymSettings) -> None:
        self._pairs = pairs
        self._settings = settings

    def __len__(self) -> int:
        return 2 * len(self._pairs)

    def make(self, place: int) -> Task:
        pair = self._pairs[place // 2]
        order: Literal["ab", "ba"] = "ba" if place % 2 else "ab"
        return task_of(pair, order, style=self._settings.style, labels=self._settings.labels)


def _reversed(digits: str) -> str:
    """Digits in the other order; a minus sign stays in front."""
    return digits[0] + digits[:0:-1] if digits.startswith("-") else digits[::-1]
