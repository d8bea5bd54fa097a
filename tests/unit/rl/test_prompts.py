"""Nothing that passed the checks dies of its prompts: all that a run can draw is measured before it starts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal

import pytest

import rl.prompts
from configs.load import load_config
from configs.schema import Config
from gyms.api import Gym, GymSettings, Score, Services, Status, Task, Tool, message
from gyms.mixture import GymEntry, draws
from rl.prompts import Askable, check_conversations, check_prompts
from rl.ptx import Conversation, PtxData
from rollout.chat import ChatFormat


class Listed(Gym):
    """A gym over two lists of prompts; a prompt is a text, or anything to stand in a task."""

    def __init__(self, train: Sequence, held: Sequence = ("9",)) -> None:
        super().__init__(GymSettings(), Services())
        self._prompts = {"train": train, "heldout": held}

    def tasks(self, split):
        prompts = self._prompts[split]

        class Tasks(Sequence):
            def __len__(self):
                return len(prompts)

            def __getitem__(self, i):  # type: ignore[override]
                prompt = (message("user", prompts[i]),) if isinstance(prompts[i], str) else prompts[i]
                return prompt if isinstance(prompt, Task | int) else Task(id=f"{split}/{i}", prompt=prompt)

        return Tasks()

    def score(self, task, response):
        return Score(status=Status.OK, value=0.0)


class Asking(Listed):
    """Somebody can be asked who is as long as the prompt."""

    def tools(self, task):
        return (Tool(name="ask", description="Ask.", parameters={}, persona=task.prompt[0]["content"]),)


@pytest.fixture(scope="module")
def chat(tiny_folder) -> ChatFormat:
    return ChatFormat(tiny_folder, use_template=False)


def config_of(*overrides: str) -> Config:
    given = (
        'model={source="tiny",chat_template=false}', 'gyms=[{name="listed",budget=8}]', "rollout.prompts_per_step=4",
        "rollout.max_prompt_tokens=8", "num_steps=5", "eval.num_tasks=1", *overrides,
    )  # fmt: skip
    return load_config([], given)


Check = Callable[..., list[str]]


@pytest.fixture
def check(chat) -> Check:
    def run(train, held=("9",), *overrides, say=lambda text: None):
        config = config_of(*overrides)
        entries = [GymEntry(name="listed", gym=Listed(train, held), share=1.0, budget=8)]
        askable = Askable.of(config, chat, {e.name: e.gym for e in entries})
        return check_prompts(config, entries, 0, askable, say)

    return run


DROP = 'rollout.long_prompts="drop"'


def test_one_long_prompt_of_a_thousand_is_found_whatever_the_steps_draw(check):
    for place in (0, 137, 999):
        prompts = ["1+1="] * 1000
        prompts[place] = "1" * 9
        with pytest.raises(ValueError) as caught:
            check(prompts)
        assert str(caught.value) == (
            "gyms.0 (listed): 1 of 1000 train prompts are longer than rollout.max_prompt_tokens = 8 (task "
            f"'train/{place}': its prompt has 9 tokens); raise rollout.max_prompt_tokens = 8 to 9, or set "
            'rollout.long_prompts = "drop" to draw others instead'
        )
        assert check(prompts, ["9"], DROP) == [
            "gyms.0 (listed): 1 of 1000 train prompts are longer than rollout.max_prompt_tokens = 8 (task "
            f"'train/{place}': its prompt has 9 tokens): dropped"
        ]


def test_a_prompt_of_exactly_the_limit_is_asked(check):
    assert check(["1" * 8], ["2" * 8]) == []


def test_the_advice_names_the_longest(check):
    with pytest.raises(ValueError, match=r"3 of 4 train prompts .* to 12, or set"):
        check(["1" * 9, "1" * 12, "1" * 10, "1"])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", "1 of 2 train prompts are empty"),
        (" ", "1 of 2 train prompts are empty"),
        ((), "cannot be rendered (task 'train/1': a prompt without messages)"),
        (({"role": "tool", "content": "1"},), "cannot be rendered (task 'train/1': message 0 has the role 'tool'"),
        (({"role": "user", "content": 5},), "message 0 has a content of type int, expected text"),
        ("1\udfff", "half a surrogate pair (U+DFFF) is no text"),
    ],
)
def test_prompts_that_are_none_are_refused_or_dropped_like_long_ones(check, prompt, expected):
    with pytest.raises(ValueError) as caught:
        check(["1", prompt])
    assert expected in str(caught.value) and str(caught.value).endswith('"drop" to draw others instead')
    (note,) = check(["1", prompt], ["9"], DROP)
    assert expected in note and note.endswith(": dropped")


def test_a_null_character_is_a_character(check):
    assert check(["1\x00"]) == []


def test_held_out_prompts_are_measured_too(check):
    with pytest.raises(ValueError, match=r"1 of 3 held-out prompts are longer .* \(task 'heldout/2'"):
        check(["1"], ["1", "2", "3" * 9])


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_a_split_of_which_nothing_is_left_is_refused(check, split):
    long = ["1" * 9, "", "2" * 10]
    with pytest.raises(ValueError, match=f"that leaves no {split} tasks"):
        check(*((long, ["9"]) if split == "train" else (["9"], long)), DROP)


def test_fewer_held_out_tasks_than_are_wanted_are_told(check):
    (note,) = check(["1"], ["1", "2"], "eval.num_tasks=3")
    assert note == "gyms.0 (listed) has 2 held-out tasks, fewer than eval.num_tasks = 3: all of them are used"


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (7, "a train task is of type int, expected gyms.api.Task"),
        (Task(id=3, prompt=(message("user", "1"),)), "a train task has the id 3, expected text"),  # type: ignore[arg-type]
        (Task(id="\ud800", prompt=(message("user", "1"),)), r"a train task has the id '\ud800', expected text"),
        (Task(id="heldout/0", prompt=(message("user", "1"),)),
         "a train task and a heldout task have the same id 'heldout/0'; ids must be unique within a gym"),
        (Task(id="train/0", prompt=(message("user", "1"),)), "a train task and a train task have the same id"),
        (Task(id="lock", prompt=(message("user", "1"),), data={"lock": threading.Lock()}),
         "train task 'lock' cannot be pickled for its scoring worker: TypeError: cannot pickle '_thread.lock'"),
    ],
)  # fmt: skip
def test_a_gym_whose_tasks_are_none_is_refused_whatever_the_rule(check, task, expected):
    with pytest.raises(ValueError) as caught:
        check(["1", task], ["9"], DROP)
    assert expected in str(caught.value)


# -- splits that are too large to be measured -------------------------------------------------------------------------


class Endless(Sequence):
    """A trillion prompts; one in three is too long."""

    def __len__(self):
        return 10**12

    def __getitem__(self, i):  # type: ignore[override]
        return f"{i % 10}" if i % 3 else "1" * 9


def test_of_an_endless_split_what_the_run_draws_is_measured(check):
    with pytest.raises(ValueError, match=r"of 20 train prompts are longer"):
        check(Endless())
    (note,) = check(Endless(), ["9"], DROP)
    config = config_of()
    entries = [GymEntry(name="listed", gym=Listed(Endless()), share=1.0, budget=8)]
    drawn = [d.task for step in range(5) for d in draws(config.seed, step, 4, entries)]
    num_long = sum(len(task.prompt[0]["content"]) > 8 for task in drawn)
    assert 0 < num_long < 20 and f"{num_long} of 20 train prompts" in note


def test_what_is_drawn_is_decided_by_the_same_rule_without_having_been_measured(chat):
    entries = [GymEntry(name="listed", gym=Listed(Endless()), share=1.0, budget=8)]
    dropping = Askable(chat, {"listed": entries[0].gym}, max_tokens=8, rule="drop")
    found = [d for step in range(10) for d in draws(0, step, 8, entries, fits=dropping.fits)]
    assert all(len(d.task.prompt[0]["content"]) == 1 for d in found) and any(d.num_dropped for d in found)
    assert found[40:48] == list(
        draws(0, 5, 8, entries, fits=Askable(chat, {"listed": entries[0].gym}, max_tokens=8, rule="drop").fits)
    )
    with pytest.raises(
        ValueError, match=r"gym 'listed': task 'train/\d+' cannot be asked: its prompt has 9 tokens; raise"
    ):
        [
            draws(0, step, 8, entries, fits=Askable(chat, {"listed": entries[0].gym}, max_tokens=8, rule="refuse").fits)
            for step in range(10)
        ]


def test_a_long_check_says_how_far_it_is(check, monkeypatch):
    monkeypatch.setattr(rl.prompts, "SILENT_SECONDS", 0.0)
    said = []
    check(["1"] * 600, ["9"], say=said.append)
    assert "listed, train prompts: 512 of 600 measured" in said


# -- curated conversations --------------------------------------------------------------------------------------------


def conversations(chat, *answers: str, rule: Literal["refuse", "drop"] = "refuse") -> PtxData:
    found = [Conversation((message("user", "1="), message("assistant", answer))) for answer in answers]
    return PtxData(found, chat, max_tokens=6, rule=rule)


def test_one_conversation_of_no_use_is_found_among_a_thousand(chat):
    answers = ["2"] * 1000
    for answer, what in (("3" * 4, "has 7 tokens, more than 6"), ("\ud800", "half a surrogate pair")):
        answers[411] = answer
        with pytest.raises(ValueError) as caught:
            check_conversations(config_of(), conversations(chat, *answers))
        assert f"ptx.source: 1 of 1000 conversations are of no use (conversation 411 {what}" in str(caught.value)
        assert 'set ptx.long_conversations = "drop"' in str(caught.value)
        dropping = config_of('ptx.long_conversations="drop"')
        (note,) = check_conversations(dropping, conversations(chat, *answers, rule="drop"))
        assert note.endswith(": dropped")


def test_a_dropped_conversation_leaves_its_place_to_another_and_the_rest_stays(chat):
    answers = [str(i % 7) for i in range(30)]
    whole = conversations(chat, *answers)
    answers[4] = answers[19] = "3" * 9
    data = conversations(chat, *answers, rule="drop")
    places = [(whole.drawn(i, 30, seed=1, stream=0), data.drawn(i, 30, seed=1, stream=0)) for i in range(90)]
    assert (
        {old for old, new in places if old != new} == {4, 19} == {old for old, _ in places} - {new for _, new in places}
    )
    batch = data.batch(2, seed=1, stream=0, batch_size=30)
    assert batch == conversations(chat, *answers, rule="drop").batch(2, seed=1, stream=0, batch_size=30)
    with pytest.raises(ValueError, match=r"ptx conversation \d+ has 12 tokens"):
        conversations(chat, *answers).batch(0, seed=1, stream=0, batch_size=30)


def test_a_fixed_sample_of_which_nothing_is_of_use_is_refused(chat):
    dropping = config_of('ptx.long_conversations="drop"', "ptx.num_conversations=2")
    chosen = {conversations(chat, *"1234").drawn(i, 2, seed=0, stream=0) for i in range(2)}
    answers = ["3" * 9 if i in chosen else "1" for i in range(4)]
    with pytest.raises(ValueError, match="of 2 ptx conversations none can be used"):
        check_conversations(dropping, conversations(chat, *answers, rule="drop"))


def test_a_task_whose_persona_leaves_no_room_for_an_answer_is_found_before_the_start(chat):
    """Of what its model is told, the tokens of two line ends are not the persona's."""
    config = config_of("rollout.max_prompt_tokens=800")
    entries = [GymEntry(name="listed", gym=Asking(["1" * 6, "1" * 9]), share=1.0, budget=8)]

    def notes(rule: Literal["refuse", "drop"], longest: int | None) -> list[str]:
        gyms = {"listed": entries[0].gym}
        askable = Askable(chat, gyms, max_tokens=800, rule=rule, max_persona_tokens=longest)
        return check_prompts(config, entries, 0, askable)

    found = (
        "gyms.0 (listed): 1 of 2 train prompts have a persona that leaves no room for an answer of persona.max_tokens "
        "(task 'train/1': the persona of its tool 'ask' has 11 tokens)"
    )
    with pytest.raises(ValueError) as caught:
        notes("refuse", 10)
    assert str(caught.value) == (
        f"{found}; raise model.context_length or lower persona.max_tokens by 1, "
        'or set rollout.long_prompts = "drop" to draw others instead'
    )
    assert notes("drop", 10) == [f"{found}: dropped"]
    assert notes("refuse", 11) == notes("refuse", None) == []
