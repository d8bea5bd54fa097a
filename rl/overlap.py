"""Contamination: training tasks that stand in held-out data or in a benchmark too, and those that stand there twice.

Two problems count as one where their texts are equal up to case, sentence punctuation and spaces, or where they share
`overlap.ngram` words in a row (13, as GPT-3's appendix C and most since). Signs that mean something in mathematics and
code (`+ - ( ) [ ] = ...`) are words of their own: "3 + 4" is not "3 - 4", and a decimal point stays in its number.

Prompts of a template share words in a row without sharing a problem. So words that stand in more than 1 % of a gym's
training tasks, and in more than `COMMON`, count as its template's and betray nothing; equality still does.

A gym that says itself what makes two tasks one problem (`Gym.fingerprint`) is believed, word for word: held-out tasks
were compared by it already (`gyms.mixture.check_disjoint`), and equal prompts are no doubles where it differs. Of
splits of more than `MAX_TASKS` that many are looked at, evenly spread; with `overlap.rule = "drop"` every task is asked
about when it is drawn. Left out: near matches (edit distance, embeddings), and answers; both want people who look.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.prompts import OverlapConfig
from gyms.api import Gym, Split, Task
from gyms.mixture import GymEntry
from gyms.rows import read_file

__all__ = ["Overlaps", "Problems", "check_overlap", "file_texts", "ngrams", "words"]

MAX_TASKS = 20_000
"""Tasks of a split that are looked at, at most."""
COMMON = 5
"""Training tasks that may share words in a row before the words count as a template's."""
COLUMNS = ("problem", "question", "prompt", "instruction", "messages", "input", "text", "query")
"""Where a row of a benchmark has its problem: the first of them that it has."""
_WORD = re.compile(r"\d+(?:[.,]\d+)*|\w+|[^\w\s.,;:!?'\"`\u2018\u2019\u201c\u201d]")


def words(text: str) -> tuple[str, ...]:
    """A text as words: case, sentence punctuation and spaces gone.

    Example:
        words("What is 3.5 + 4?") == ("what", "is", "3.5", "+", "4")
    """
    return tuple(_WORD.findall(text.casefold()))


def ngrams(found: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """All stretches of `size` words; none where there are fewer."""
    return (tuple(found[i : i + size]) for i in range(len(found) - size + 1))


class Problems:
    """Problems to keep apart from: an index of their texts.

    Args:
        size: words in a row that two of them must share.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._whole: dict[int, str] = {}
        self._grams: dict[int, str] = {}

    def add(self, text: str, where: str) -> None:
        """A problem, and where it stands, for people."""
        found = words(text)
        self._whole.setdefault(hash(found), where)
        for gram in ngrams(found, self._size):
            self._grams.setdefault(hash(gram), where)

    def equal(self, text: str) -> str | None:
        """Where an equal problem stands."""
        return self._whole.get(hash(words(text)))

    def shared(self, text: str) -> dict[int, str]:
        """Words in a row, as hashes, that it shares with others, and where those stand."""
        if not self._grams:
            return {}
        found = {hash(gram) for gram in ngrams(words(text), self._size)}
        return {gram: self._grams[gram] for gram in found if gram in self._grams}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """What a gym's training tasks share with others."""

    gym: Gym
    problems: Problems
    common: frozenset[int]
    """Words in a row that are the template's."""
    doubles: Mapping[str, str]
    """Training tasks that are another one again, which is named."""
    num_tasks: int
    """Training tasks that were looked at."""
    found: Mapping[str, str]
    """Those of them that stand elsewhere, and where."""

    def where(self, task: Task) -> str | None:
        """Where a training task stands too; None where it is clean."""
        return self.doubles.get(task.id) or _elsewhere(self.problems, self.gym, task, self.common)


def check_overlap(
    settings: OverlapConfig, entries: Sequence[GymEntry], benchmarks: Sequence[tuple[str, str]]
) -> tuple[dict[str, Overlaps], list[str]]:
    """What each gym's training tasks share with its held-out tasks and with benchmarks; lines for people on it.

    Args:
        benchmarks: texts, and where they stand (`file_texts`).

    Raises:
        ValueError: something is shared and `overlap.rule` is "refuse", or a gym has nothing else.
    """
    found: dict[str, Overlaps] = {}
    notes: list[str] = []
    if settings.rule == "off":
        return found, notes
    for i, entry in enumerate(entries):
        one = found[entry.name] = _overlaps(entry.gym, benchmarks, settings.ngram)
        lines = []
        for what, those in (("stand in other data too", one.found), ("are there twice", one.doubles)):
            if those:
                name = min(those)
                lines.append(
                    f"gyms.{i} ({entry.name}): {len(those)} of {one.num_tasks} training tasks {what} (task {name!r}: "
                    f"{those[name]})"
                )
        if lines and settings.rule == "refuse":
            raise ValueError(
                f'{"; ".join(lines)}; mend the data, or set overlap.rule = "drop" to leave them out, "report" to keep '
                "them"
            )
        if settings.rule == "drop" and len({*one.found, *one.doubles}) == one.num_tasks:
            raise ValueError(f'{"; ".join(lines)}; overlap.rule = "drop" would leave no training task')
        notes += [f"{line}{': dropped' if settings.rule == 'drop' else ''}" for line in lines]
    return found, notes


def _overlaps(gym: Gym, benchmarks: Sequence[tuple[str, str]], size: int) -> Overlaps:
    problems = Problems(size)
    for text, where in benchmarks:
        problems.add(text, where)
    for task in _some(gym, "heldout"):
        problems.add(_text(task), f"held-out task {task.id!r}")
    first: dict[Any, str] = {}
    doubles: dict[str, str] = {}
    shared: dict[str, dict[int, str]] = {}
    equal: dict[str, str] = {}
    num = 0
    for task in _some(gym, "train"):
        num += 1
        before = first.setdefault(_identity(gym, task), task.id)
        if before != task.id:
            doubles[task.id] = f"as {before!r}"
        text = _text(task)
        if (where := problems.equal(text)) and _may_be_equal(gym, where):
            equal[task.id] = where
        elif some := problems.shared(text):
            shared[task.id] = some
    counts = Counter(gram for some in shared.values() for gram in some)
    common = frozenset(gram for gram, count in counts.items() if count > max(COMMON, num // 100))
    for name, some in shared.items():
        if left := sorted(where for gram, where in some.items() if gram not in common):
            equal[name] = f"shares {size} words in a row with {left[0]}"
    return Overlaps(gym=gym, problems=problems, common=common, doubles=doubles, num_tasks=num, found=equal)


def _elsewhere(problems: Problems, gym: Gym, task: Task, common: frozenset[int]) -> str | None:
    text = _text(task)
    if (where := problems.equal(text)) and _may_be_equal(gym, where):
        return where
    return next((where for gram, where in sorted(problems.shared(text).items()) if gram not in common), None)


def _text(task: Task) -> str:
    """What is asked: all that the user says."""
    return "\n".join(m["content"] for m in task.prompt if m["role"] == "user")


def _identity(gym: Gym, task: Task) -> Any:
    """What is equal for training tasks that are there twice: the text, and what the gym says itself.

    A gym may call problems the same that are worth asking both (3 + 4 and 4 + 3), or different behind equal prompts.
    """
    return words(_text(task)), gym.fingerprint(task) if _knows(gym) else None


def _knows(gym: Gym) -> bool:
    """Whether a gym says itself what makes two tasks one; held-out ones were compared so (`check_disjoint`)."""
    return type(gym).fingerprint is not Gym.fingerprint


def _may_be_equal(gym: Gym, where: str) -> bool:
    return not (_knows(gym) and where.startswith("held-out task "))


def _some(gym: Gym, split: Split) -> Iterator[Task]:
    tasks = gym.tasks(split)
    num = min(len(tasks), MAX_TASKS)
    return (tasks[i * len(tasks) // num] for i in range(num))


def file_texts(files: Iterable[Path]) -> list[tuple[str, str]]:
    """The problems of benchmark files, and where each stands.

    Raises:
        ValueError: a file cannot be read, or has no column that holds a problem.
    """
    found: list[tuple[str, str]] = []
    for file in files:
        num, columns = len(found), set()
        for where, row in read_file(file.expanduser()):
            if isinstance(row, ValueError):
                raise row
            columns |= set(row)
            if text := _problem_of(row):
                found.append((text, where))
        if len(found) == num:
            raise ValueError(
                f"overlap.files: {file} has no problem in its rows: wanted one of the columns {', '.join(COLUMNS)}, it "
                f"has {', '.join(sorted(map(str, columns))) or 'none'}"
            )
    return found


def _problem_of(row: Mapping[str, Any]) -> str:
    for column in COLUMNS:
        value = row.get(column)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list) and value and all(isinstance(m, Mapping) for m in value):
            return "\n".join(str(m.get("content", "")) for m in value if m.get("role") == "user")
    return ""


def digest(texts: Iterable[tuple[str, str]]) -> str:
    """16 hexadecimal digits that change with the problems."""
    made = hashlib.sha256()
    for text, _ in texts:
        made.update("\x00".join(words(text)).encode(errors="surrogatepass") + b"\x01")
    return made.hexdigest()[:16]
