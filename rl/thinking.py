"""How many tokens of a response are thoughts and how many are the answer, where the model marks its thoughts.

Where thoughts end is read once, for verifiers and for this (`rollout.thoughts`): the last tokens that still decode to
the whole answer are the answer's, those before them, the closing mark included, are thoughts. Thoughts that never end
are all of the response. Responses that mark nothing count for neither number, and neither do episodes,
whose turns each think anew.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

from gyms.response import Response
from rl.batch import Group
from rollout.types import Sample

__all__ = ["Thinking"]

_MOST_TOKENS = 16
"""Of four characters: a place inside of one may count three too many, one for each of its bytes."""


class Thinking:
    """Finds where thoughts end.

    Args:
        read: what counts of a response, such as `ChatFormat.read_response`.
        text: of token ids, special tokens left out, such as `ChatFormat.decode`.
    """

    def __init__(self, read: Callable[[Sample], Response], text: Callable[[Sequence[int]], str]) -> None:
        self._read, self._text = read, text

    def num_thought(self, sample: Sample) -> int | None:
        """Tokens up to the end of the thoughts, their mark included; None where nothing marks any."""
        ids, found = sample.token_ids, self._read(sample)
        if not found.is_closed:
            return len(ids)
        if found == found.whole:
            return None
        last = bisect_left(range(len(ids) + 1), True, key=lambda n: len(self._text(ids[n:])) < len(found)) - 1
        places = range(last, max(-1, last - _MOST_TOKENS), -1)
        return next((n for n in places if self._text(ids[n:]).endswith(found)), last)

    def metrics(self, groups: Sequence[Group]) -> dict[str, float]:
        """Mean tokens of thoughts and of answers over the responses that mark them; nothing where none does."""
        samples = [s.sample for g in groups for s in g.samples if not s.sample.turns]
        found = [(n, s.num_sampled - n) for s in samples if (n := self.num_thought(s)) is not None]
        if not found:
            return {}
        thoughts, answers = (math.fsum(part) / len(found) for part in zip(*found, strict=True))
        return {"rollout/thought_tokens_mean": thoughts, "rollout/answer_tokens_mean": answers}
