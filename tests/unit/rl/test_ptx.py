"""Curated conversations: where they come from, which of their tokens are learned, which come next."""

from __future__ import annotations

import json
import string
from collections import Counter

import pytest
from datasets import Dataset, DatasetDict

from configs.schema import TinyModelConfig
from gyms.adder.gym import Adder
from gyms.api import Gym, GymSettings, Score, Services, Status, Task, message
from rl.ptx import Conversation, PtxData, load_conversations, tokenise
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat

LINE = '{"messages": [{"role": "user", "content": "1+2="}, {"role": "assistant", "content": "3"}]}'
TURNS = "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<end>{% endif %}{% endfor %}"


class Sums(Gym):
    """A list of additions."""

    def tasks(self, split):
        first = 0 if split == "train" else 50
        return [
            Task(id=f"{split}/{a}", prompt=(message("user", f"{a}+1="),), data={"answer": str(a + 1)})
            for a in range(first, first + 50)
        ]

    def score(self, task, response):
        return Score(status=Status.OK, value=float(response == task.data["answer"]))

    def gold(self, task):
        return task.data["answer"]


class Unanswered(Sums):
    """The same without worked answers."""

    def gold(self, task):
        return None


@pytest.fixture(scope="module")
def bare(tiny_folder) -> ChatFormat:
    return ChatFormat(tiny_folder, use_template=False)


@pytest.fixture
def with_template(bare):
    """A chat format of its own, whose template may be changed."""

    def make(template: str) -> ChatFormat:
        chat = object.__new__(ChatFormat)
        chat.__dict__ |= bare.__dict__ | {"use_template": True}
        chat.tokenizer = bare.tokenizer.__class__(
            tokenizer_object=bare.tokenizer.backend_tokenizer, eos_token="<end>", pad_token="<pad>"
        )
        chat.tokenizer.chat_template = template
        return chat

    return make


def ids(chat: ChatFormat, text: str) -> tuple[int, ...]:
    return tuple(chat.tokenizer.convert_tokens_to_ids(c) for c in text)


def conversation(*contents: str):
    return Conversation(message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(contents))


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_loss_falls_on_the_answer_and_its_end_token_only(bare):
    sample = tokenise(conversation("1+2=", "34"), bare)
    assert sample.prefix == ids(bare, "1+2=")
    assert sample.token_ids == (*ids(bare, "34"), bare.end_token_id)
    assert sample.loss_mask == (True, True, True)


def test_a_system_message_is_part_of_the_prefix(bare):
    sample = tokenise((message("system", "**"), *conversation("1=", "1")), bare)
    assert sample.prefix == ids(bare, "**1=")


def test_of_several_turns_only_what_the_assistant_wrote_is_learned(with_template):
    chat = with_template(TURNS)
    sample = tokenise(conversation("1+2=", "3", "4+5=", "9"), chat)
    end = (chat.end_token_id,)
    assert sample.prefix == ids(chat, "1+2=")
    assert sample.token_ids == ids(chat, "3") + end + ids(chat, "4+5=") + ids(chat, "9") + end
    assert sample.loss_mask == (True,) * 2 + (False,) * 4 + (True,) * 2


def test_a_template_that_rewrites_what_came_before_is_refused_for_several_turns(with_template):
    chat = with_template("{{ messages | length }}" + TURNS)
    assert tokenise(conversation("1+2=", "3"), chat).prefix == ids(chat, "11+2=")
    with pytest.raises(ValueError, match="rewrites earlier messages"):
        tokenise(conversation("1+2=", "3", "4+5=", "9"), chat)


@pytest.mark.parametrize("contents", [("1+2=",), ("1+2=", "3", "4+5=")])
def test_a_conversation_must_end_with_the_assistant(bare, contents):
    with pytest.raises(ValueError, match="must end with an assistant message"):
        tokenise(conversation(*contents), bare)


# -- order ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(bare) -> PtxData:
    gym = Sums(GymSettings(), Services())
    return PtxData(load_conversations(gyms={"sums": gym}), bare, max_tokens=16)


def test_a_batch_is_a_pure_function_of_its_number(data):
    forwards = [data.batch(u, seed=1, stream=0, batch_size=7) for u in range(20)]
    backwards = [data.batch(u, seed=1, stream=0, batch_size=7) for u in reversed(range(20))][::-1]
    assert forwards == backwards
    assert data.batch(0, seed=2, stream=0, batch_size=7) != forwards[0]
    assert data.batch(0, seed=1, stream=1, batch_size=7) != forwards[0]


@pytest.mark.parametrize("batch_size", [1, 7, 50, 120])
def test_every_epoch_shows_each_conversation_once_in_an_order_of_its_own(data, batch_size):
    shown = [s for u in range(-(-150 // batch_size)) for s in data.batch(u, seed=0, stream=0, batch_size=batch_size)]
    epochs = [shown[i * 50 : (i + 1) * 50] for i in range(3)]
    everything = Counter(data[i] for i in range(50))
    assert len(everything) == 50
    assert all(Counter(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_small_set_is_a_fixed_sample_shown_in_a_new_order_every_epoch(data):
    shown = [s for u in range(6) for s in data.batch(u, seed=0, stream=0, batch_size=4, num_conversations=8)]
    epochs = [shown[i * 8 : (i + 1) * 8] for i in range(3)]
    assert len(set(epochs[0])) == 8 and Counter(epochs[0]) == Counter(epochs[1]) == Counter(epochs[2])
    assert epochs[0] != epochs[1]
    others = data.batch(0, seed=1, stream=0, batch_size=8, num_conversations=8)
    assert Counter(others) != Counter(epochs[0])
    assert Counter(data.batch(0, seed=0, stream=0, batch_size=50, num_conversations=99)) == Counter(
        data[i] for i in range(50)
    )


def test_a_conversation_that_is_too_long_is_refused_with_its_number(bare):
    data = PtxData([conversation("1=", "1"), conversation("1" * 9, "2")], bare, max_tokens=10)
    assert len(data[0].token_ids) == 2
    with pytest.raises(ValueError, match=r"ptx conversation 1 has 11 tokens, more than 10 "):
        data[1]


def test_no_conversations_are_refused(bare):
    with pytest.raises(ValueError, match=r"ptx\.source holds no conversations"):
        PtxData([], bare, max_tokens=10)


# -- sources ----------------------------------------------------------------------------------------------------------


def test_a_gym_gives_its_training_tasks_with_their_worked_answers():
    found = load_conversations(gyms={"sums": Sums(GymSettings(), Services())})
    assert len(found) == 50
    assert found[7] == (message("user", "7+1="), message("assistant", "8"))


def test_a_worked_answer_that_is_known_to_be_wrong_is_not_taught():
    gym = Sums(GymSettings(), Services())
    wrong = {gym.tasks("train")[7].id}
    found = load_conversations(gyms={"sums": gym}, left_out={"sums": wrong})
    assert [c[0]["content"] for c in found] == [f"{a}+1=" for a in range(50) if a != 7]


def test_several_gyms_take_turns_and_the_smaller_one_begins_again():
    class Few(Sums):
        def tasks(self, split):
            return [Task(id=f"few/{a}", prompt=(message("user", f"{a}-1="),), data={"answer": "0"}) for a in range(3)]

    settings, services = GymSettings(), Services()
    found = load_conversations(gyms={"sums": Sums(settings, services), "few": Few(settings, services)})
    assert len(found) == 2 * 50
    assert [found[i][0]["content"] for i in (0, 1, 2, 3, 6, 7)] == ["0+1=", "0-1=", "1+1=", "1-1=", "3+1=", "0-1="]
    assert len({found[i][0]["content"] for i in range(100)}) == 50 + 3


def test_a_gym_without_worked_answers_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"ptx\.source\.gym = 'sums' has no worked answers"):
        load_conversations(gyms={"sums": Unanswered(GymSettings(), Services())})


def test_the_seed_chooses_among_more_conversations_than_are_wanted():
    gym = Sums(GymSettings(), Services())

    def chosen(seed):
        return [c[0]["content"] for c in load_conversations(gyms={"sums": gym}, max_examples=10, seed=seed)]

    assert chosen(0) == chosen(0) != chosen(1)
    assert len(set(chosen(0))) == 10
    assert len(load_conversations(gyms={"sums": gym}, max_examples=99)) == 50


def test_a_jsonl_file_is_read_and_its_empty_lines_are_skipped(tmp_path):
    file = tmp_path / "curated.jsonl"
    file.write_text(f"{LINE}\n\n{LINE.replace('3', chr(0x2028))}\n")
    assert load_conversations(jsonl=file) == [conversation("1+2=", "3"), conversation("1+2=", "\u2028")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "Expecting property name"),
        (b"[1, 2]", "expected a JSON object"),
        (b'{"messages": []}', "want {"),
        (b'{"messages": "hi"}', "want {"),
        (b'{"messages": [3]}', "a message needs `role` and a text `content`"),
        (b'{"messages": [{"role": "user"}]}', "a message needs `role` and a text `content`"),
        (b'{"messages": [{"role": "bot", "content": "x"}]}', "role 'bot' is none of system, user, assistant, tool"),
        (b'{"messages": [{"role": "tool", "content": "x"}]}', "a message of the role tool needs `tool_call_id`"),
        (b'{"messages": [{"role": ["user"], "content": "x"}]}', "is none of system, user, assistant"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "the last message must be the assistant's"),
        (b'{"messages": [{"role": "assistant", "content": "\xff"}]}', "codec can't decode"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(tmp_path, line, problem):
    file = tmp_path / "curated.jsonl"
    file.write_bytes(f"{LINE}\n\n".encode() + line + b"\n")
    with pytest.raises(ValueError) as caught:
        load_conversations(jsonl=file)
    assert str(caught.value).startswith(f"{file}:3: ")
    assert problem in str(caught.value)


def test_a_missing_or_empty_file_is_refused_by_its_path(tmp_path):
    with pytest.raises(ValueError, match=r"ptx\.source\.jsonl = .*missing\.jsonl does not exist"):
        load_conversations(jsonl=tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(ValueError, match=r"ptx\.source\.jsonl = .*empty\.jsonl holds no conversations"):
        load_conversations(jsonl=tmp_path / "empty.jsonl")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_of_datasets_is_read_and_one_without_messages_is_refused(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    rows = [json.loads(LINE)] * 3
    DatasetDict({"train": Dataset.from_list(rows)})["train"].to_json(tmp_path / "good" / "train.jsonl")
    Dataset.from_list([{"text": "x"}]).to_json(tmp_path / "bad" / "train.jsonl")
    assert load_conversations(dataset=str(tmp_path / "good")) == [conversation("1+2=", "3")] * 3
    with pytest.raises(ValueError, match=r"train\[0\]: the columns are \[text\], wanted were messages"):
        load_conversations(dataset=str(tmp_path / "bad"))


# -- worked episodes --------------------------------------------------------------------------------------------------


def test_a_worked_episode_is_what_the_policy_would_have_sampled_and_seen(tmp_path):
    """Token by token what an episode of these turns becomes (rl/episodes.py); loss on the policy's turns alone."""
    shape = TinyModelConfig(hidden_size=32, num_layers=1, num_heads=1, intermediate_size=32, alphabet=string.printable)
    build_tiny_model(tmp_path, shape, context_length=64, seed=0)
    chat = ChatFormat(tmp_path, use_template=False)
    env = Adder(Adder.Settings(num_operands=3, min_operand=10, max_operand=99), Services())
    found = load_conversations(gyms={"adder": env}, tool_format=chat.tool_format)
    sample = tokenise(found[0], chat)
    task = env.tasks("train")[0]
    assert sample.prefix == chat.prompt_ids(task.prompt)
    a, b, c = task.data["operands"]
    turns = [f"add({a},{b})", f"add({a + b},{c})"]
    answer = chat.decode(sample.token_ids).partition(f"{a + b + c}\n")[2]
    expected = "".join([turns[0], "<end>", f"{a + b}\n", turns[1], "<end>", f"{a + b + c}\n", answer, "<end>"])
    assert chat.tokenizer.decode(list(sample.token_ids)) == expected
    observed = "".join(chat.decode([t]) for t, m in zip(sample.token_ids, sample.loss_mask, strict=True) if not m)
    assert observed == f"{a + b}\n{a + b + c}\n"
    assert str(a + b + c) in answer and found[0].tools == tuple(env.tools(task))


def test_an_environment_without_worked_episodes_is_refused_as_a_source(tmp_path):
    class Unworked(Adder):
        def gold_turns(self, task):
            return None

    with pytest.raises(ValueError, match=r"'adder' has no worked answers \(gold_turns\(\) returns None\)"):
        load_conversations(gyms={"adder": Unworked(Adder.Settings(), Services())})
