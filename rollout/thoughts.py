"""Where a model's thoughts end: the marks of this model, read in what it sampled and in what its prompt ends with.

A response is read once, here, and whoever judges it gets a `Response` (gyms/response.py): verifiers, the critic, and
the environment of an episode, in training and in evaluations alike.

| models | marks | |
|---|---|---|
| Qwen, DeepSeek, Kimi K2 | `<think>` `</think>` | ordinary text; some templates end the prompt with the first |
| Kimi 1.5, Kimi-VL | U+25C1 `think` U+25B7 | likewise |
| Magistral | `[THINK]` `[/THINK]` | special tokens |
| gpt-oss | the channels `analysis` and `final` | made of special tokens |

*Marks made of special tokens* are not in a sample's text, which leaves those out: there they are looked for in the
tokens, and the special tokens are taken out of the answer behind them.
*A prompt that opens thoughts* ends with an opening mark, whoever wrote it there: the template, or a bare prompt. Then
the response must close them, and curated answers, which hold no thoughts, are given the closing mark before them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from gyms.response import Marks, Response, after_thoughts
from rollout.types import Sample

__all__ = ["Thoughts"]

_TAIL_TOKENS = 64
"""Last tokens of a prompt that are looked at: the longest mark in use has 32 characters."""


class Thoughts:
    """Reads responses of one model.

    Args:
        tokenizer: of transformers.
        marks: what opens and closes its thoughts; none: it has no thoughts.
        end_token_ids: that end a response, and are no part of what it says.
    """

    def __init__(self, tokenizer: Any, marks: Sequence[Marks], end_token_ids: Sequence[int]) -> None:
        self.marks = tuple(marks)
        self._tokenizer = tokenizer
        self._end_token_ids = frozenset(end_token_ids)
        self._special = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        written = [mark for pair in self.marks for mark in pair]
        self._are_special = any(text in mark for mark in written for text in self._special.values() if text)

    def read(self, sample: Sample, *, keep_special: bool = False) -> Response:
        """What counts of a response.

        Args:
            keep_special: leave special tokens in the answer: tool calls may be written in them.
        """
        begins_inside = self.opened_by(self._end_of(sample.prompt_ids)) is not None
        whole, pieces = sample.text, []
        if self._are_special or keep_special:
            pieces = self._pieces([i for i in sample.token_ids if i not in self._end_token_ids])
            whole = "".join(text for text, _ in pieces)
        answer = after_thoughts(whole, marks=self.marks, begins_inside=begins_inside)
        if answer is not None and pieces and not keep_special:
            answer = _ordinary(pieces, start=len(whole) - len(answer))
        return Response(answer, whole)

    def answer_ids(self, turn_ids: Sequence[int], *, begins_inside: bool) -> tuple[int, ...] | None:
        """What stays of a turn whose thoughts are left out: the tokens behind them; None where it holds no thoughts.

        They are the tokens that were sampled, but for a character that shares a token with the end of the thoughts.

        Args:
            turn_ids: as sampled, end token included.
            begins_inside: whether the prompt had opened thoughts.
        """
        num_said = len(turn_ids)
        while num_said and turn_ids[num_said - 1] in self._end_token_ids:
            num_said -= 1
        said, ends = tuple(turn_ids[:num_said]), tuple(turn_ids[num_said:])
        whole = self._tokenizer.decode(list(said), skip_special_tokens=False)
        answer = after_thoughts(whole, marks=self.marks, begins_inside=begins_inside)
        if answer == whole:
            return None
        answer = (answer or "").lstrip("\n")
        begin = len(whole) - len(answer)

        def before(place: int) -> str:
            return self._tokenizer.decode(list(said[:place]), skip_special_tokens=False)

        # A place inside of a character says too much, a mark of replacement for each of its bytes perhaps, and none
        # says too little: the search ends where the answer begins or earlier, and goes on to the end of a character.
        start = bisect_left(range(num_said + 1), begin, key=lambda place: len(before(place)))
        while len(left := before(start)) < begin or not whole.startswith(left):
            start += 1
        head = whole[begin : len(left)]
        return (*self._tokenizer.encode(head, add_special_tokens=False), *said[start:], *ends)

    def opened_by(self, prompt: str) -> Marks | None:
        """The marks of the thoughts that a prompt leaves open at its very end."""
        end = prompt.rstrip().casefold()
        return next((pair for pair in self.marks if end.endswith(pair[0].casefold())), None)

    def closing_ids(self, prompt: str, answer: str) -> tuple[int, ...]:
        """Token ids that end the thoughts which a prompt has opened, before an answer that does not end them itself."""
        pair = self.opened_by(prompt)
        if pair is None or pair[1].casefold() in answer.casefold():
            return ()
        return tuple(self._tokenizer.encode(f"{pair[1]}\n\n", add_special_tokens=False))

    def _end_of(self, prompt_ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(prompt_ids[-_TAIL_TOKENS:]), skip_special_tokens=False)

    def _pieces(self, token_ids: Sequence[int]) -> list[tuple[str, bool]]:
        """The text in stretches, with whether a stretch is of special tokens."""
        found = []
        for is_special, run in groupby(token_ids, key=self._special.__contains__):
            ids = list(run)
            text = "".join(self._special[i] for i in ids) if is_special else self._tokenizer.decode(ids)
            found.append((text, is_special))
        return found


def _ordinary(pieces: Sequence[tuple[str, bool]], *, start: int) -> str:
    """The text from a place on, without the stretches of special tokens."""
    kept, place = [], 0
    for text, is_special in pieces:
        if not is_special:
            kept.append(text[max(0, start - place) :])
        place += len(text)
    return "".join(kept)
