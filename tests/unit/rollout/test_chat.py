"""How prompts become tokens, which tokens end a response, and what is noticed when that changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.schema import TinyModelConfig
from gyms.api import message
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}={% endif %}"


@pytest.fixture
def folder(tmp_path) -> Path:
    shape = TinyModelConfig(hidden_size=32, num_layers=1, num_heads=1, intermediate_size=32)
    build_tiny_model(tmp_path / "model", shape, context_length=32, seed=0)
    return tmp_path / "model"


def set_template(folder: Path, template: str | None) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)


def set_end_tokens(folder: Path, listed) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))


def test_bare_prompts_are_the_contents_of_the_messages_joined(folder):
    chat = ChatFormat(folder, use_template=False)
    prompt = chat.prompt_ids([message("system", "12"), message("user", "+3")])
    assert prompt == tuple(chat.tokenizer.convert_tokens_to_ids(list("12+3")))
    assert chat.decode(prompt) == "12+3"


def test_a_template_renders_up_to_where_the_assistant_begins_to_write(folder):
    set_template(folder, TEMPLATE)
    chat = ChatFormat(folder, use_template=True)
    assert chat.decode(chat.prompt_ids([message("user", "1+2")])) == "1+2="


def test_a_response_ends_with_the_end_token_which_is_not_part_of_its_text(folder):
    chat = ChatFormat(folder, use_template=False)
    ids = chat.response_ids("34")
    assert ids[-1] == chat.end_token_id == chat.tokenizer.eos_token_id == 0
    assert chat.decode(ids) == "34"


def test_a_special_token_written_out_in_a_task_is_the_only_way_into_a_bare_prompt(folder):
    """No begin or end token is added behind the caller's back."""
    chat = ChatFormat(folder, use_template=False)
    assert chat.prompt_ids([message("user", "")]) == ()
    assert chat.response_ids("") == (chat.end_token_id,)


@pytest.mark.parametrize(
    ("listed", "expected"), [(None, (0,)), (5, (0, 5)), ([7, 5], (0, 5, 7)), ([0, 0], (0,)), ([], (0,))]
)
def test_end_tokens_are_those_of_the_tokenizer_and_of_the_generation_config(folder, listed, expected):
    set_end_tokens(folder, listed)
    assert ChatFormat(folder, use_template=False).end_token_ids == expected


def test_the_hash_changes_with_the_template_with_its_use_and_with_the_end_tokens(folder):
    set_template(folder, TEMPLATE)
    hashes = [ChatFormat(folder, use_template=True).template_hash, ChatFormat(folder, use_template=False).template_hash]
    set_template(folder, TEMPLATE + " ")
    hashes.append(ChatFormat(folder, use_template=True).template_hash)
    set_end_tokens(folder, [9])
    hashes.append(ChatFormat(folder, use_template=True).template_hash)
    assert len(set(hashes)) == 4
    assert ChatFormat(folder, use_template=True).template_hash == hashes[-1]


def test_a_system_prompt_comes_first_unless_the_prompt_has_its_own(folder):
    set_template(folder, TEMPLATE)
    plain, ours = ChatFormat(folder, use_template=True), ChatFormat(folder, use_template=True, system_prompt="7")
    system, question = message("system", "7"), message("user", "1+2")
    assert ours.prompt_ids([question]) == plain.prompt_ids([system, question]) != plain.prompt_ids([question])
    own = [message("system", "3"), question]
    assert ours.prompt_ids(own) == plain.prompt_ids(own)
    assert ours.template_hash != plain.template_hash


def test_a_missing_template_is_refused_with_the_setting_that_does_without(folder):
    with pytest.raises(ValueError, match=r"has no chat template; set model\.chat_template = false"):
        ChatFormat(folder, use_template=True)


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"model\.path = .*empty has no tokenizer that can be loaded"):
        ChatFormat(tmp_path / "empty", use_template=False)


def test_a_model_without_end_token_is_refused(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    set_end_tokens(folder, None)
    with pytest.raises(ValueError, match="names no end-of-text token"):
        ChatFormat(folder, use_template=False)
    set_end_tokens(folder, [4])
    assert ChatFormat(folder, use_template=False).end_token_id == 4
