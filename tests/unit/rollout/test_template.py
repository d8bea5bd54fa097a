"""What prompts depend on: the model folder alone, not the day, and every token of its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.schema import TinyModelConfig
from gyms.api import message
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat
from rollout.template import apply_template, notes_on

DATED = "{% if strftime_now is defined %}{{ strftime_now('%d%m%Y') }}{% endif %}{{ messages[0]['content'] }}"


@pytest.fixture
def folder(tmp_path) -> Path:
    shape = TinyModelConfig(hidden_size=32, num_layers=1, num_heads=1, intermediate_size=32)
    build_tiny_model(tmp_path / "model", shape, context_length=32, seed=0)
    return tmp_path / "model"


def chat_with(folder: Path, template: str) -> ChatFormat:
    (folder / "chat_template.jinja").write_text(template)
    return ChatFormat(folder, use_template=True)


def test_a_template_that_writes_todays_date_writes_the_same_on_any_day(folder):
    chat, question = chat_with(folder, DATED), [message("user", "1+2")]
    assert chat.decode(chat.prompt_ids(question)) == "260720241+2"
    assert apply_template(chat.tokenizer, question, (), opens=True) == "260720241+2"
    assert len(notes_on(chat.tokenizer)) == 1 and "26 Jul 2024" in notes_on(chat.tokenizer)[0]


def test_a_template_without_a_date_needs_no_note(folder):
    assert not notes_on(chat_with(folder, "{{ messages[0]['content'] }}").tokenizer)
    (folder / "chat_template.jinja").unlink()
    assert not notes_on(ChatFormat(folder, use_template=False).tokenizer)


def test_the_fingerprint_names_the_ids_of_all_tokens_and_how_text_is_split(folder):
    before = ChatFormat(folder, use_template=False).fingerprint
    assert before == ChatFormat(folder, use_template=False).fingerprint
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["1"], vocabulary["2"] = vocabulary["2"], vocabulary["1"]
    file.write_text(json.dumps(tokenizer))
    other = ChatFormat(folder, use_template=False).fingerprint
    assert other["chat_template"] == before["chat_template"] and other["tokenizer"] != before["tokenizer"]
    vocabulary["1"], vocabulary["2"] = vocabulary["2"], vocabulary["1"]
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"String": "-"}, "content": "+"}
    file.write_text(json.dumps(tokenizer))
    split = ChatFormat(folder, use_template=False).fingerprint["tokenizer"]
    assert split not in (before["tokenizer"], other["tokenizer"])
