"""Human labels: files of compared answers, and a judge that looks its verdicts up in one.

A file is JSON lines, or one JSON array, of rows `{"prompt": ..., "response 1": ..., "response 2": ..., "label": ...}`.
Label 0 says that the first response is better, 1 the second, 2 that they tie (Auto-J's published form). Other keys are
ignored. A row that is not of this form is refused with its place: a mislabelled pair is worse than none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyms.critic.verdict import Outcome
from reward.judges.api import Comparison, JudgeCost, JudgeFailed, Pair

__all__ = ["HumanLabels", "LabelledPair", "read_pairs"]

_OUTCOMES = (Outcome.FIRST, Outcome.SECOND, Outcome.TIE)
_TEXTS = ("prompt", "response 1", "response 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPair:
    """Two answers that a person compared.

    Example:
        LabelledPair(id="12", prompt="What is rain?", first="Water.", second="Dunno.", label=Outcome.FIRST)
    """

    id: str
    """Place in the file, from 0."""
    prompt: str
    first: str
    second: str
    label: Outcome


class HumanLabels:
    """Says of a pair what people said of it, in whichever order it is asked; `no_label` where they said nothing.

    Where people contradict each other on the same pair there is no verdict either.
    """

    def __init__(self, pairs: Sequence[LabelledPair], *, name: str = "human") -> None:
        self.name = name
        self.cost = JudgeCost()
        self._labels: dict[tuple[str, str, str], set[Outcome]] = {}
        for pair in pairs:
            self._labels.setdefault((pair.prompt, pair.first, pair.second), set()).add(pair.label)
            self._labels.setdefault((pair.prompt, pair.second, pair.first), set()).add(pair.label.swapped)

    async def compare(self, pair: Pair) -> Comparison:
        """The label; JudgeFailed where there is none, or more than one."""
        labels = self._labels.get((pair.question, pair.first, pair.second), set())
        if len(labels) != 1:
            self.cost.failures["no_label"] += 1
            told = "people disagree on this pair" if labels else "nobody has labelled this pair"
            raise JudgeFailed("no_label", told)
        return Comparison(outcome=next(iter(labels)))


def read_pairs(path: Path) -> list[LabelledPair]:
    """The labelled pairs of a file; ValueError with the place of the first row that is none."""
    if not path.is_file():
        raise ValueError(f"there is no file {path} (looked for {path.resolve()}); give a JSON or JSONL file of pairs")
    pairs = [_pair(row, where, number) for number, (where, row) in enumerate(_rows(path))]
    if not pairs:
        raise ValueError(f"{path}: it holds no pairs")
    return pairs


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is not UTF-8 ({error})") from None
    if text.lstrip().startswith("["):
        rows = _json(text, str(path))
        yield from ((f"{path}[{number}]", row) for number, row in enumerate(rows))
        return
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON strings may hold U+2028
        if line.strip():
            yield f"{path}:{number}", _json(line, f"{path}:{number}")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}); got {text[:60]!r}") from None


def _pair(row: Any, where: str, number: int) -> LabelledPair:
    if not isinstance(row, Mapping):
        raise ValueError(f"{where}: expected an object, got {row!r:.60}")
    missing = [key for key in _TEXTS if not isinstance(row.get(key), str)]
    if missing:
        raise ValueError(f"{where}: {missing[0]!r} must be a string; the row has the keys {sorted(map(str, row))}")
    label = row.get("label")
    if type(label) is not int or label not in (0, 1, 2):
        raise ValueError(f"{where}: 'label' must be 0 (first), 1 (second) or 2 (tie), got {label!r:.60}")
    return LabelledPair(
        id=str(number),
        prompt=row["prompt"],
        first=row["response 1"],
        second=row["response 2"],
        label=_OUTCOMES[label],
    )
