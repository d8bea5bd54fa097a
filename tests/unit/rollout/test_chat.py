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


def test_no_begin_or_end_token_is_added_behind_the_callers_back(folder):
    chat = ChatFormat(folder, use_template=False)
    assert chat.prompt_ids([message("user", "")]) == ()
    assert chat.response_ids("") == (chat.end_token_id,)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "a prompt without messages"),
        ([message("user", "1"), "2"], "message 1 is '2', expected a role and a content"),
        ([{"content": "1"}], "message 0 is {'content': '1'}, expected a role and a content"),
        ([{"role": "user", "content": "1", "name": "x"}], "'name': 'x'}, expected a role and a content, and no more"),
        ([{"role": "tool", "content": "1"}], "message 0 has the role 'tool', expected one of system, user, assistant"),
        ([{"role": "user", "content": [1]}], "message 0 has a content of type list, expected text"),
        ([message("user", "1\udc80")], r"half a surrogate pair \(U\+DC80\) is no text"),
    ],
)
@pytest.mark.parametrize("use_template", [False, True])
def test_messages_that_are_no_messages_are_refused_in_one_line(folder, messages, expected, use_template):
    set_template(folder, TEMPLATE)
    with pytest.raises(ValueError, match=expected) as caught:
        ChatFormat(folder, use_template=use_template).prompt_ids(messages)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("use_template", [False, True])
def test_lengths_of_many_prompts_are_those_of_each_with_its_fault_in_its_place(folder, use_template):
    set_template(folder, TEMPLATE)
    chat = ChatFormat(folder, use_template=use_template)
    prompts = [[message("user", text)] for text in ("1+2", "<end>", "", "\ud800", "3" * 40)]
    found = chat.prompt_lengths([*prompts, []])
    expected = [len(chat.prompt_ids(prompt)) for prompt in prompts if "\ud800" not in prompt[0]["content"]]
    assert [length for length in found if isinstance(length, int)] == expected
    assert [i for i, length in enumerate(found) if isinstance(length, ValueError)] == [3, 5]
    assert chat.prompt_lengths([]) == chat.response_lengths([]) == []
    first, second, fault = chat.response_lengths(["12", "<end>", "\ud800"])
    assert (first, second) == (3, len(chat.response_ids("<end>"))) and isinstance(fault, ValueError)


def test_an_answer_that_is_no_text_is_refused(folder):
    with pytest.raises(ValueError, match=r"half a surrogate pair \(U\+D800\) is no text"):
        ChatFormat(folder, use_template=False).response_ids("1\ud800")


NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
LEAVES_SYSTEM_OUT = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}{% endfor %}"
ALTERNATES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate\nuser/assistant') }}{% endif %}{{ m['content'] }}"
    "{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "system_prompt", "expected"),
    [
        (NO_SYSTEM + TEMPLATE, None, None),
        (TEMPLATE, "", None),
        (NO_SYSTEM + TEMPLATE, "", "model.system_prompt is set, but the chat template of model.path refuses messages"),
        (TEMPLATE, " 1 ", None),
        (NO_SYSTEM + TEMPLATE, "1", "model.system_prompt is set, but the chat template of model.path refuses messages "
         "of the roles system, user: TemplateError: System role not supported; remove it, or have the gym put it"),
        (LEAVES_SYSTEM_OUT, "7", "model.system_prompt is set, but the chat template of model.path leaves system "
         "messages out; remove it"),
        ("{{ tools | length }}", None, "the chat template of model.path refuses messages of the roles user: TypeError: "
         "object of type 'NoneType' has no len(); give model.path a template that renders a user message without"),
        ("{% if %}", None, "the chat template of model.path refuses messages of the roles user: TemplateSyntaxError"),
        ("{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}", None, "the chat "
         "template of model.path leaves out what a message says in plain text; give model.path a template"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_do_what_every_run_needs_is_refused_with_the_setting(
    folder, template, system_prompt, expected
):
    set_template(folder, template)
    chat = ChatFormat(folder, use_template=True, system_prompt=system_prompt)
    if expected is None:
        return chat.check()
    with pytest.raises(ValueError) as caught:
        chat.check()
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_template_raises_of_a_prompt_is_one_line_with_the_roles(folder):
    set_template(folder, ALTERNATES)
    chat = ChatFormat(folder, use_template=True)
    chat.check()
    with pytest.raises(ValueError) as caught:
        chat.prompt_ids([message("user", "1"), message("user", "2")])
    assert str(caught.value) == (
        "the chat template of model.path refuses messages of the roles user, user: TemplateError: Conversation roles "
        "must alternate user/assistant"
    )


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
