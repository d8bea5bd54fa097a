"""How many tokens of a response are thoughts and how many are the answer, where the model marks its thoughts.

Thoughts end with the last mark that closes them (`gyms.response.THOUGHT_MARKS`), as verifiers have it; where they were
opened and never closed, all of the response is thoughts. Most models that think have a token for each mark, which is
looked for among the ids; otherwise the number of tokens is found by decoding prefixes, halving each time. Responses
without marks count for neither number, and neither do episodes, whose turns each think anew.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from gyms.response import THOUGHT_MARKS
from rl.batch import Group
from rollout.types import Sample

__all__ = ["Thinking"]


class Thinking:
    """Finds where thoughts end.

    Args:
        tokenizer: of the policy, Hugging Face's.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._opening, self._closing = ({mark[side].casefold() for mark in THOUGHT_MARKS} for side in (0, 1))
        self._opening_ids, self._closing_ids = self._single(0), self._single(1)

    def _single(self, side: int) -> frozenset[int]:
        """Ids of the marks that are one token."""
        ids = [self._tokenizer.encode(mark[side], add_special_tokens=False) for mark in THOUGHT_MARKS]
        whole = [found[0] for found in ids if len(found) == 1 and found[0] != self._tokenizer.unk_token_id]
        return frozenset(whole)

    def num_thought(self, sample: Sample) -> int | None:
        """Tokens up to the end of the thoughts, their mark included; None where nothing marks any."""
        ids, text = sample.token_ids, sample.text.casefold()
        ends = [i for i, token in enumerate(ids) if token in self._closing_ids]
        if ends:
            return ends[-1] + 1
        if num := _count(self._closing, text):
            return bisect_left(range(len(ids) + 1), num, key=lambda n: _count(self._closing, self._text(ids[:n])))
        is_open = any(token in self._opening_ids for token in ids) or _count(self._opening, text)
        return len(ids) if is_open else None

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True).casefold()

    def metrics(self, groups: Sequence[Group]) -> dict[str, float]:
        """Mean tokens of thoughts and of answers over the responses that mark them; nothing where none does."""
        samples = [s.sample for g in groups for s in g.samples if not s.sample.turns]
        found = [(n, s.num_sampled - n) for s in samples if (n := self.num_thought(s)) is not None]
        if not found:
            return {}
        thoughts, answers = (math.fsum(part) / len(found) for part in zip(*found, strict=True))
        return {"rollout/thought_tokens_mean": thoughts, "rollout/answer_tokens_mean": answers}


def _count(marks: set[str], text: str) -> int:
    return sum(text.count(mark) for mark in marks)
