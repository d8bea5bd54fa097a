"""Tokens of thoughts and of answers, by a mark that is one token or many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rl.thinking import Thinking


class Letters:
    """A tokenizer of single characters that knows one mark as a whole, as token 500."""

    unk_token_id = None

    def __init__(self, whole: str = "") -> None:
        self._whole = whole

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        if self._whole and self._whole in text:
            before, _, after = text.partition(self._whole)
            return [*map(ord, before), 500, *map(ord, after)]
        return [ord(letter) for letter in text]

    def decode(self, ids, skip_special_tokens: bool) -> str:
        return "".join("" if skip_special_tokens and i == 500 else self._whole if i == 500 else chr(i) for i in ids)


@pytest.fixture
def sample(scored):
    def make(text: str, tokenizer: Letters):
        ids = tuple(tokenizer.encode(text, add_special_tokens=False))
        read = tokenizer.decode(ids, skip_special_tokens=True)
        return replace(scored(1.0, token_ids=ids).sample, text=read)

    return make


@pytest.mark.parametrize("whole", ["", "</think>", "<think>"])
def test_thoughts_end_behind_the_last_mark_that_closes_them(sample, whole):
    tokenizer = Letters(whole)
    thinking = Thinking(tokenizer)
    for text, thoughts in (
        ("<think>hm</think>17", "<think>hm</think>"),
        ("hm</THINK>a</think>b", "hm</THINK>a</think>"),
    ):
        expected = len(tokenizer.encode(thoughts, add_special_tokens=False))
        assert thinking.num_thought(sample(text, tokenizer)) == expected
    assert thinking.num_thought(sample("<think>hm 17", tokenizer)) == len(tokenizer.encode("<think>hm 17", False))
    assert thinking.num_thought(sample("17", tokenizer)) is None


def test_means_are_over_responses_that_mark_their_thoughts(group, scored, sample):
    tokenizer = Letters("</think>")
    one, two = (replace(scored(1.0), sample=sample(text, tokenizer)) for text in ("hm</think>1", "hmmmm</think>234"))
    row = Thinking(tokenizer).metrics([group(0, one, two, 0.0)])
    assert row == {"rollout/thought_tokens_mean": (3 + 6) / 2, "rollout/answer_tokens_mean": (1 + 3) / 2}
    assert Thinking(tokenizer).metrics([group(0, 1.0)]) == {}


def test_a_real_tokenizer_will_do(tiny_folder):
    from rollout.chat import ChatFormat

    tokenizer = ChatFormat(tiny_folder, use_template=False).tokenizer
    Thinking(tokenizer)
