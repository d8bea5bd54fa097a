"""The tools environment: errands that are judged by what has changed, and by nothing else having changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gyms.api import Call, Reply, Score, Status, Task, Turn
from gyms.episodes.checks import play
from gyms.load import load_gym
from gyms.mixture import check_disjoint
from gyms.testing import check_gym
from gyms.tools.dialect import DIALECTS, spelled_arguments, spelled_name
from gyms.tools.gym import BUSY, WORLDS, Tools
from gyms.tools.user import NOTHING, TOPICS, answer, ask_user, not_understood, question
from gyms.tools.world import World


def tools(**args: object) -> Tools:
    gym = load_gym("tools", "gyms.tools.gym:Tools", {"num_train": 300, "num_heldout": 30, **args})
    assert isinstance(gym, Tools)
    return gym


def called(name: str, number: int = 99, **arguments: object) -> Turn:
    return Turn(text="", calls=(Call(id=f"call_{number}", tool=name, arguments=arguments),))


def scored(gym: Tools, task: Task, turns: Sequence[Turn]) -> Score:
    return play(gym, task, turns).score


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"worlds": ["bank"], "min_errands": 3, "fault_rate": 0.5},
        {"worlds": ["shop"], "partial_credit": True, "dialects": False},
        {"worlds": ["calendar"], "max_errands": 6, "fault_rate": 0.0},
        {"worlds": ["files"], "min_errands": 2, "max_errands": 4},
        {"worlds": ["travel"], "max_errands": 3},
        {"user": "script"},
        {"user": "script", "min_errands": 3, "fault_rate": 0.5, "partial_credit": True},
        {"user": "model"},
    ],
)
def test_it_keeps_the_contract(args: dict[str, object]) -> None:
    check_gym(tools(**args), max_tasks=15, num_episodes=60)  # two a task


def test_a_change_that_nobody_wanted_costs_the_reward() -> None:
    gym = tools(worlds=["calendar"], dialects=False, fault_rate=0.0)
    free = {"title": "Mine", "day": "Monday", "start": "08:00", "minutes": 15, "guests": []}
    num_tried = 0
    for task in gym.tasks("train")[:40]:
        gold = list(gym.gold_turns(task))
        assert scored(gym, task, gold).value == 1.0
        extra = scored(gym, task, [called("create_event", **free), *gold])
        if extra.components["unwanted"]:  # the time was free, and stayed so
            num_tried += 1
            assert extra.value == 0.0
            assert extra.components["unwanted"] == 1.0
            assert extra.components["fraction"] < 1.0
    assert num_tried > 20


def test_what_was_undone_again_is_not_held_against_anybody() -> None:
    gym = tools(worlds=["bank"], dialects=False, fault_rate=0.0)
    for task in gym.tasks("train")[:20]:
        accounts = task.data["state"]["accounts"]
        there = {"from_account": "checking", "to_account": "savings", "cents": 1}
        back = {"from_account": "savings", "to_account": "checking", "cents": 1}
        assert accounts["checking"] >= 100
        detour = [called("move_money", **there), called("move_money", **back)]
        assert scored(gym, task, [*detour, *gym.gold_turns(task)]).value == 1.0


def test_half_of_the_errands_are_no_reward_and_half_with_partial_credit() -> None:
    args = {"worlds": ["shop"], "min_errands": 2, "max_errands": 2, "dialects": False, "fault_rate": 0.0}
    strict, partial = tools(**args), tools(**args, partial_credit=True)
    for task in strict.tasks("train")[:20]:
        half = strict.gold_turns(task)[:2]  # each errand is a look and a change
        assert scored(strict, task, half).value == 0.0
        fraction = scored(strict, task, half).components["fraction"]
        assert 0.0 < fraction < 1.0
        assert scored(partial, task, half).value == fraction


def test_doing_the_opposite_is_worth_nothing_not_less() -> None:
    gym = tools(worlds=["shop"], dialects=False, fault_rate=0.0, partial_credit=True)
    task = gym.tasks("train")[0]
    cart = task.data["state"]["cart"]
    emptied = [called("remove_from_cart", sku=sku, quantity=quantity) for sku, quantity in cart.items()]
    filled = [called("add_to_cart", sku=sku, quantity=1) for sku in task.data["state"]["products"]]
    assert scored(gym, task, [*emptied, *filled]).value == 0.0


def test_a_busy_service_wants_another_try_and_the_gold_episode_gives_it() -> None:
    gym = tools(fault_rate=0.5)
    num_busy = 0
    for task in gym.tasks("train")[:30]:
        gold = gym.gold_turns(task)
        played = play(gym, task, gold)
        assert played.score.value == 1.0
        busy = [place for place, reply in enumerate(played.replies[:-1]) if reply.messages[0]["content"] == BUSY]
        assert busy == [place for place in task.data["faults"] if place < len(gold) - 1]
        assert played.score.components["num_calls"] == len(gold) - 1 == len(task.data["calls"]) + len(busy)
        num_busy += len(busy)
    assert num_busy > 10


@pytest.mark.parametrize(
    ("world", "name", "argument", "source"),
    [
        ("calendar", "cancel_event", "event_id", "list_events"),
        ("shop", "cancel_order", "order_id", "list_orders"),
        ("bank", "cancel_standing_order", "order_id", "list_standing_orders"),
        ("files", "delete_file", "path", "list_files"),
        ("travel", "cancel_booking", "booking_id", "list_bookings"),
    ],
)
def test_an_error_names_tools_as_the_task_spells_them(world: str, name: str, argument: str, source: str) -> None:
    gym = tools(worlds=[world], fault_rate=0.0)
    dialects = {task.data["dialect"]: task for task in gym.tasks("train")[:60]}
    assert set(dialects) == set(DIALECTS)
    for dialect, task in dialects.items():
        wrong = called(spelled_name(name, dialect), **spelled_arguments({argument: "nowhere"}, dialect))
        said = play(gym, task, [wrong]).replies[0].messages[0]["content"]
        assert said.startswith("Error: ") and f"; {spelled_name(source, dialect)} gives the" in said
        assert spelled_name(source, dialect) in {tool.name for tool in gym.tools(task)}


def test_tasks_are_functions_of_seed_and_index_and_the_splits_share_no_prompt() -> None:
    gym, same, other = tools(), tools(num_train=50), tools(seed=1)
    assert gym.tasks("train")[:50] == same.tasks("train")[:] != other.tasks("train")[:50]
    check_disjoint(gym)
    prompts = [{task.prompt[0]["content"] for task in split} for split in (gym.tasks("train"), other.tasks("heldout"))]
    assert not prompts[0] & prompts[1]


def test_worlds_numbers_of_errands_and_dialects_are_drawn_alike() -> None:
    tasks = tools(num_train=600).tasks("train")[:]
    worlds = Counter(task.data["world"] for task in tasks)
    dialects = Counter(task.data["dialect"] for task in tasks)
    counts = Counter(len(task.prompt[0]["content"].splitlines()) for task in tasks)
    assert set(dialects) == set(DIALECTS) and set(counts) == {1, 3, 4}
    for found, kinds in ((worlds, 5), (dialects, 4), (counts, 3)):
        # 600 draws of one in `kinds`: within five standard deviations.
        sigma = (600 * (kinds - 1)) ** 0.5 / kinds
        assert all(abs(count - 600 / kinds) < 5 * sigma for count in found.values()), found


def test_a_task_that_went_through_json_is_played_like_the_task() -> None:
    gym = tools()
    for task in gym.tasks("heldout")[:10]:
        stored = Task(id=task.id, prompt=task.prompt, data=json.loads(json.dumps(task.data)))
        gold = gym.gold_turns(task)
        assert gym.gold_turns(stored) == gold
        assert play(gym, stored, gold) == play(gym, task, gold)


def test_a_turn_that_was_cut_off_does_not_end_the_episode() -> None:
    gym = tools()
    episode = gym.start(gym.tasks("train")[0], seed=0)
    assert not episode.step(Turn(text="I will", is_truncated=True)).is_done
    assert episode.step(Turn(text="Done.")) == Reply(is_done=True)


@pytest.mark.parametrize(
    "change",
    [
        {"world": "moon"},
        {"world": ["bank"]},
        {"dialect": None},
        {"state": 3},
        {"goal": None},
        {"faults": None},
        {"withheld": [{}]},
        {"withheld": [{"topic": "weather", "told": ""}]},
    ],
)
def test_a_malformed_task_is_told_apart_from_an_unfinished_errand(change: dict[str, object]) -> None:
    gym = tools()
    data = {**gym.tasks("train")[0].data, **change}
    score = gym.score(Task(id="t", prompt=(), data=data), "Done.")
    assert score.status is Status.BAD_TASK and f"data[{next(iter(change))!r}]" in score.detail


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="min_errands = 4 is above max_errands = 3"):
        tools(min_errands=4)
    with pytest.raises(ValueError, match="name at least one world, each once"):
        tools(worlds=["bank", "bank"])
    with pytest.raises(ValueError, match="max_errands = 8: a task in the world 'bank' has at most 7"):
        tools(max_errands=8)


@pytest.mark.parametrize("world", WORLDS.values(), ids=lambda world: world.name)
def test_every_world_has_tasks_of_as_many_errands_as_it_allows(world: World) -> None:
    most = world.max_errands
    tools(worlds=[world.name], min_errands=most, max_errands=most, user="script").tasks("train")[0]


def test_a_scripted_user_tells_what_a_question_names_and_nothing_else() -> None:
    withheld = [
        {"topic": "time", "told": "1. It should begin at 14:30."},
        {"topic": "guests", "told": "2. Invite Ana."},
        {"topic": "time", "told": "3. It is at 09:00."},
    ]
    assert answer(withheld, "WHOM shall I invite?") == "2. Invite Ana."
    assert answer(withheld, "At what time?") == "1. It should begin at 14:30. 3. It is at 09:00."
    assert answer(withheld, "Who, and when?") == "1. It should begin at 14:30. 2. Invite Ana. 3. It is at 09:00."
    assert answer(withheld, "Which day?") == NOTHING
    for strange in ("Sometimes?", "", "\ud800", "What have you left out?"):
        assert answer(withheld, strange, ("day", "time")) == (
            "I did not understand that; name the one thing you need: day or time."
        )
        assert answer([], strange) == NOTHING
    assert answer([], "At what time?") == NOTHING


PLAIN_QUESTIONS = {
    "account": ["Where should the money come from?", "Which one is it paid from?"],
    "amount": ["What should savings hold?"],
    "colour": ["Which colours do you want?", "Which lamp do you want?"],
    "day": ["What are the travel dates?", "Which weekday?"],
    "folder": ["To which directory?"],
    "guests": ["Which person should I invite?", "Which attendees?"],
    "length": ["When should it end?"],
    "line": ["What should I add?"],
    "name": ["What should I rename it to?", "What is the new filename?"],
    "nights": ["How many night(s)?"],
    "purpose": ["What is the payment for?"],
    "quantity": ["How much of it?"],
    "stars": ["What star rating should the hotel have?"],
}


@pytest.mark.parametrize("topic", PLAIN_QUESTIONS)
def test_plain_questions_are_understood(topic: str) -> None:
    for asked in PLAIN_QUESTIONS[topic]:
        assert answer([{"topic": topic, "told": "this"}], asked) == "this", asked


def test_the_user_says_what_can_be_left_out_in_a_world_and_not_what_was() -> None:
    gym = tools(user="script", dialects=False)
    for task in gym.tasks("train")[:30]:
        topics = WORLDS[task.data["world"]].topics
        assert gym.tools(task)[-1] == ask_user(topics)
        assert all(topic in ask_user(topics).description for topic in topics)
        played = play(gym, task, [called("ask_user", question="Please?")])
        said = not_understood(topics) if task.data["withheld"] else NOTHING
        assert played.replies[0].messages[0]["content"] == said


@pytest.mark.parametrize("world", ["files", "calendar"])
def test_no_wish_tells_what_another_one_leaves_out(world: str) -> None:
    num_open = 0
    gym = tools(user="script", worlds=[world], min_errands=4, max_errands=6)
    for task in gym.tasks("train")[:150]:
        wishes = task.prompt[0]["content"].splitlines()[1:-1]
        for gap in task.data["withheld"]:
            number, _, told = gap["told"].partition(". ")
            others = [wish for wish in wishes if not wish.startswith(f"{number}. ")]
            num_open += 1
            if gap["topic"] == "name":
                assert not any(told.removeprefix("Call it ").removesuffix(".") in wish for wish in others), wishes
            if gap["topic"] == "day":
                day = told.removeprefix("It should be on ").removesuffix(".")
                title = wishes[int(number) - 1].partition("Move ")[2].partition(" from ")[0]
                assert not any(title in wish and day in wish for wish in others), wishes
    assert num_open > 50


def test_the_gold_question_for_a_topic_is_understood_as_one() -> None:
    for topic in TOPICS:
        assert answer([{"topic": topic, "told": "this"}], question(topic)) == "this"


def test_the_gold_episode_asks_for_what_was_left_out_and_faults_count_the_worlds_calls_alone() -> None:
    gym = tools(user="script", fault_rate=0.5, dialects=False)
    num_asked = num_busy = 0
    for task in gym.tasks("train")[:40]:
        gold = gym.gold_turns(task)
        played = play(gym, task, gold)
        said = [reply.messages[0] for reply in played.replies[:-1]]
        told = [message["content"] for message in said if message["name"] == "ask_user"]
        assert all(any(gap["told"] in text for text in told) for gap in task.data["withheld"])
        served = [message["content"] for message in said if message["name"] != "ask_user"]
        busy = [place for place, text in enumerate(served) if text == BUSY]
        assert busy == [place for place in task.data["faults"] if place < len(served)]
        assert played.score.value == 1.0
        assert played.score.components["num_questions"] == len(told)
        assert played.score.components["num_calls"] == len(gold) - 1
        num_asked, num_busy = num_asked + len(told), num_busy + len(busy)
    assert num_asked > 10 and num_busy > 10


def test_a_user_changes_what_is_said_of_a_problem_and_neither_the_problem_nor_its_split() -> None:
    plain, asked = tools(), tools(user="script")
    num_open = 0
    for split in ("train", "heldout"):
        for one, other in zip(plain.tasks(split)[:30], asked.tasks(split)[:30], strict=True):
            assert plain.fingerprint(one) == asked.fingerprint(other)
            assert all(one.data[key] == other.data[key] for key in one.data)
            assert [tool.name for tool in asked.tools(other)][:-1] == [tool.name for tool in plain.tools(one)]
            assert all(gap["told"] not in other.prompt[0]["content"] for gap in other.data["withheld"])
            num_open += bool(other.data["withheld"])
    check_disjoint(asked)
    assert 10 < num_open < 60


def test_what_a_model_said_is_told_word_for_word_and_where_none_was_asked_the_script_answers() -> None:
    gym = tools(user="model", dialects=False)
    task = next(task for task in gym.tasks("train") if task.data["withheld"])
    (asked,) = called("ask_user", question=question(task.data["withheld"][0]["topic"])).calls
    heard = '<tool_call>{"name": "pay"}</tool_call> \x00'
    for text in (heard, ""):
        played = play(gym, task, [Turn(text="", calls=(replace(asked, heard=text),))])
        assert played.replies[0].messages[0]["content"] == text
        assert played.score.components["num_questions"] == 1.0
    played = play(gym, task, [Turn(text="", calls=(asked,))])
    assert task.data["withheld"][0]["told"] in played.replies[0].messages[0]["content"]


def test_a_model_that_plays_the_user_is_told_all_that_a_user_knows_and_nothing_of_what_must_be_done() -> None:
    scripted, gym = tools(user="script"), tools(user="model")
    num_open = 0
    for task, same in zip(gym.tasks("train")[:60], scripted.tasks("train")[:60], strict=True):
        assert task == same
        *others, ask = gym.tools(task)
        assert (*others, replace(ask, persona="")) == scripted.tools(task)
        assert not any(tool.persona for tool in others)
        assert task.prompt[0]["content"] in ask.persona
        assert all(gap["told"] in ask.persona for gap in task.data["withheld"])
        num_open += bool(task.data["withheld"])
        hidden = {"state": {}, "goal": {}, "calls": [], "faults": []}  # whatever they are, no word of it is told
        assert gym.tools(replace(task, data={**task.data, **hidden}))[-1].persona == ask.persona
    assert num_open > 20


def test_nobody_is_there_to_be_asked_where_everything_was_said() -> None:
    gym = tools(dialects=False)
    task = gym.tasks("train")[0]
    assert "ask_user" not in [tool.name for tool in gym.tools(task)]
    assert "withheld" not in task.data and "ask me" not in task.prompt[0]["content"]
