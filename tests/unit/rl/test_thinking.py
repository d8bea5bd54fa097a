"""Tokens of thoughts and of answers, by the marks of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rl.batch import Group
from rl.thinking import Thinking
from rollout.chat import ChatFormat
from tests.unit.rollout.test_thoughts import DEEPSEEK, GPT_OSS, MAGISTRAL, QWEN, chat_of, sampled


def num_tokens(chat: ChatFormat, text: str) -> int:
    return len(chat.tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize(
    ("template", "thoughts", "answer"),
    [
        (QWEN, "<think>2?</think>", "3, so"),
        (QWEN, "<think>2?</think>4</think>", "3"),
        (QWEN, "<think>2?</think>", "\U0001f600"),
        (QWEN, "<think>2?</think>", "\U0001f600, so 3"),
        (QWEN, "<think>2? \u4e2d</think>", "\u4e2d\U0001f600"),
        (DEEPSEEK, "2?</think>", "3"),
        (MAGISTRAL, "[THINK]2?[/THINK]", "3"),
        (GPT_OSS, "<|channel|>analysis<|message|>2?<|end|><|start|>assistant<|channel|>final<|message|>", "3 and 4"),
    ],
)
def test_thoughts_end_where_the_answer_begins_that_verifiers_read(template, thoughts, answer, tmp_path: Path):
    chat = chat_of(tmp_path, template)
    sample = sampled(chat, thoughts + answer)
    assert chat.read_response(sample) == answer
    assert Thinking(chat.read_response, chat.decode).num_thought(sample) == num_tokens(chat, thoughts)


def test_thoughts_that_never_end_are_all_of_a_response_and_without_marks_there_are_none(tmp_path: Path):
    chat = chat_of(tmp_path, QWEN)
    thinking = Thinking(chat.read_response, chat.decode)
    endless = sampled(chat, "<think>hm 17")
    assert thinking.num_thought(endless) == endless.num_tokens
    assert thinking.num_thought(sampled(chat, "17")) is None


def test_means_are_over_responses_that_mark_their_thoughts(group, scored, tmp_path: Path):
    chat = chat_of(tmp_path, QWEN)
    thinking = Thinking(chat.read_response, chat.decode)

    def samples(*texts: str) -> Group:
        return group(0, *(replace(scored(1.0), sample=sampled(chat, text)) for text in texts))

    row = thinking.metrics([samples("<think>h</think>1", "<think>hmm</think>234", "5")])
    marks = num_tokens(chat, "<think></think>")
    end = 1  # the token that ends a response is the answer's
    assert row == {
        "rollout/thought_tokens_mean": marks + (1 + 3) / 2, "rollout/answer_tokens_mean": end + (1 + 3) / 2,
    }  # fmt: skip
    assert thinking.metrics([samples("5")]) == {}
