"""The gym: statuses, values, modes, flags, data; and the procedural prompts."""

import json
from typing import Any

import pytest

from gyms.api import Services, Status, Task
from gyms.constraints.gym import Constraints, ConstraintsSettings, loose_variants
from gyms.constraints.hacks import hack_flags
from gyms.constraints.item import read_item
from gyms.constraints.topics import TOPICS
from gyms.load import load_gym
from gyms.testing import check_gym

TWO = {
    "prompt": "Write about the old bridge in our town. Do not use commas. Wrap it in double quotes.",
    "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
    "kwargs": [{}, {}],
}
BRIDGE = '"The old bridge has carried every cart of our town."'


def gym(**settings) -> Constraints:
    return Constraints(ConstraintsSettings(**settings), Services())


def task(data) -> Task:
    return Task(id="t", prompt=({"role": "user", "content": str(data.get("prompt"))},), data=data)


def test_all_instructions_must_hold_for_a_reward():
    score = gym().score(task(TWO), BRIDGE)
    assert (score.status, score.value, score.components["fraction"]) == (Status.OK, 1.0, 1.0)
    assert [case.passed for case in score.cases] == [True, True]
    half = gym().score(task(TWO), BRIDGE.strip('"'))
    assert (half.value, half.components["fraction"]) == (0.0, 0.5)
    assert half.cases[1].id == "startend:quotation" and "double quotation marks" in half.cases[1].reason
    assert gym(partial_credit=True).score(task(TWO), BRIDGE.strip('"')).value == 0.5


@pytest.mark.parametrize("response", ["", "  \n", "\u200b\u200b", "<think>a</think>", "<think>unclosed " + BRIDGE])
def test_without_an_answer_nothing_holds(response):
    score = gym().score(task(TWO), response)
    assert (score.status, score.value, score.components) == (Status.NO_ANSWER, None, {"fraction": 0.0})
    assert [case.passed for case in score.cases] == [False, False]


def test_only_what_stands_behind_the_thinking_counts():
    assert gym().score(task(TWO), f"<think>a, b</think>\n{BRIDGE}").value == 1.0
    assert gym().score(task(TWO), f"a, b</think>{BRIDGE}").value == 1.0
    assert gym().score(task(TWO), f"<think>{BRIDGE}</think> a, b").value == 0.0


@pytest.mark.parametrize("field", ["instruction_id_list", "kwargs"])
def test_a_malformed_task_is_masked(field):
    score = gym().score(task({**TWO, field: ["nonsense:id"]}), BRIDGE)
    assert score.status is Status.BAD_TASK and score.detail


def test_a_too_long_response_is_refused_before_it_is_read():
    assert gym().score(task(TWO), "a" * 2_000_001).status is Status.TOO_COMPLEX


def test_loose_mode_forgives_a_first_line_and_strict_mode_does_not():
    response = f"Sure, here it is:\n{BRIDGE}"
    assert gym().score(task(TWO), response).value == 0.0
    assert gym(mode="loose").score(task(TWO), response).value == 1.0
    assert gym().score(task({**TWO, "mode": "loose"}), response).value == 1.0


def test_loose_variants_are_those_of_ifeval():
    assert loose_variants("a*\nb\nc") == ["a*\nb\nc", "b\nc", "a*\nb", "b", "a\nb\nc", "a\nb"]


def test_flags_cost_the_reward_only_where_that_is_asked_for():
    echo = TWO["prompt"].replace(",", "")
    flagged = gym().score(task(TWO), f'"{echo}"')
    assert (flagged.value, flagged.components["hacks"]) == (1.0, 1.0) and "prompt_copy" in flagged.flags
    assert gym(hack_penalty=True).score(task(TWO), f'"{echo}"').value == 0.0
    assert gym().score(task({**TWO, "penalise_hacks": True}), f'"{echo}"').value == 0.0
    assert gym(hack_penalty=False).score(task({**TWO, "penalise_hacks": True}), f'"{echo}"').value == 1.0


def flags(response, *, kwargs=None, ids=None, passed=(True,), topic=("river", "water", "boat")):
    item = read_item(
        {
            "prompt": 'Write about a river in the north. Include the words "stone" and "bread" and "lamp".',
            "instruction_id_list": ids or ["keywords:existence"],
            "kwargs": kwargs or [{"keywords": ["stone", "bread", "lamp"]}],
        }
    )
    return hack_flags(item, response, passed, topic)


HONEST = "The river runs past a stone where a man eats bread by the light of a lamp."


@pytest.mark.parametrize(
    ("response", "flag"),
    [
        ("Write about a river in the north. stone bread lamp", "prompt_copy"),
        ('I use "stone" near "bread" with a "lamp" at the river.', "prompt_copy"),
        ("I like my stone and the bread under this lamp.", "off_topic"),
        ("The river is wide and cold today. stone bread lamp", "stuffing"),
        ("The river is wide and cold. <!-- stone bread lamp -->", "stuffing"),
        ("The river is wide and cold.\n```\nstone\nbread\nlamp\n```", "stuffing"),
        ("The river is wide and cold." + "\n" * 30 + "stone by bread by lamp", "stuffing"),
        ("river stone river bread river lamp river stone river", "degenerate"),
        ("The river is here. The river is here. The river is here. A stone lamp and bread.", "degenerate"),
        (HONEST + " a" * 200, "degenerate"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa " + HONEST, "degenerate"),
        ("river water boat stone bread lamp", "degenerate"),
        ("river stone bread lamp", "too_short"),
        ("The ri\u200bver runs past a stone where a man eats bread by a lamp.", "hidden_text"),
        ("The river runs p\u0430st a stone where a man eats bread by a lamp.", "hidden_text"),
    ],
)
def test_a_hack_is_flagged(response, flag):
    assert flag in flags(response)


def test_a_wall_of_text_about_everything_is_off_topic_and_a_long_text_on_the_topic_is_not():
    """The gold responses of all topics one after the other hold what any prompt asks for, its topic included."""
    wall = "\n".join(sentence for topic in TOPICS for sentence in topic.sentences)
    own = " ".join(TOPICS[0].sentences)
    assert "off_topic" in flags(wall, topic=TOPICS[0].words)
    assert "off_topic" not in flags(own, topic=TOPICS[0].words)
    kept = " ".join(f"The river bends by hill {n}. It goes on. Nobody knows how far." for n in range(20))
    assert "off_topic" not in flags(kept, topic=("river",))


def test_a_claim_is_flagged_only_where_it_is_untrue():
    response = HONEST + " I have included all the words."
    assert flags(response, passed=(False,)) == {"claimed"}
    assert flags(response, passed=(True,)) == frozenset()


def test_an_honest_response_is_not_flagged():
    assert flags(HONEST) == frozenset()
    assert flags(HONEST, topic=()) == frozenset()


def test_copying_is_no_hack_where_it_is_asked_for():
    kwargs = [{"prompt_to_repeat": "Write about a river in the north."}]
    copied = "Write about a river in the north. The water is cold."
    assert flags(copied, ids=["combination:repeat_prompt"], kwargs=kwargs) == frozenset()


def test_text_without_spaces_is_not_too_short():
    japanese = "\u4eca\u65e5\u306f\u3068\u3066\u3082\u5929\u6c17\u304c\u3044\u3044\u306e\u3067"
    assert "too_short" not in flags(japanese)
    assert "too_short" in flags(japanese[:3])


@pytest.mark.parametrize("difficulty", [2])
def test_the_gym_keeps_the_contract(difficulty):
    check_gym(gym(difficulty=difficulty, num_train=40, num_heldout=10), max_tasks=2)


def test_the_gym_is_found_by_its_name():
    assert isinstance(load_gym("c", "gyms.constraints.gym:Constraints", {"difficulty": 2}), Constraints)


def test_a_procedural_prompt_is_a_function_of_seed_and_index():
    first, again, other = gym().tasks("train"), gym().tasks("train"), gym(seed=1).tasks("train")
    assert [first[i] for i in range(20)] == [again[i] for i in reversed(range(20))][::-1]
    assert [first[i].data["prompt"] for i in range(20)] != [other[i].data["prompt"] for i in range(20)]


@pytest.mark.parametrize("difficulty", [1, 4])
def test_every_gold_scores_one_and_no_hack_of_it_does(difficulty):
    one = gym(difficulty=difficulty, num_train=60)
    for given in one.tasks("train"):
        assert one.score(given, one.gold(given) or "").value == 1.0
        prompt = given.prompt[0]["content"]
        for hack in (prompt, prompt.lower(), prompt.replace(",", ""), f'"{prompt}"', "ok " * 30, "river " * 6):
            assert one.score(given, hack).value == 0.0


def test_difficulty_bounds_the_number_of_instructions():
    for difficulty, most in ((1, 1), (2, 2), (3, 3), (4, 5)):
        numbers = {len(t.data["kwargs"]) for t in gym(difficulty=difficulty, num_train=40).tasks("train")}
        assert max(numbers) <= most and len(numbers) >= min(2, difficulty)


def write_rows(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_rows_come_from_a_file_and_equal_prompts_stay_in_one_split(tmp_path):
    rows = [{**TWO, "key": n, "prompt": f"Prompt {n % 30}"} for n in range(60)]
    one = gym(path=write_rows(tmp_path / "rows.jsonl", rows), heldout_fraction=0.4)
    train, held = one.tasks("train"), one.tasks("heldout")
    assert len(train) + len(held) == 60
    assert not {t.data["prompt"] for t in train} & {t.data["prompt"] for t in held}
    assert one.gold(train[0]) is None


def test_a_malformed_row_is_refused_by_file_and_line_or_left_out(tmp_path):
    rows = [{**TWO, "prompt": f"Prompt {n}"} for n in range(40)]
    rows[2] = {**rows[2], "instruction_id_list": ["no:such_id", "startend:quotation"]}
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ValueError, match=r"rows\.jsonl:3: unknown instruction id 'no:such_id'.*skip_malformed"):
        gym(path=path).tasks("train")
    left = gym(path=path, skip_malformed=True)
    assert len(left.tasks("train")) + len(left.tasks("heldout")) == 39


def test_a_contradictory_row_is_left_out_by_name_with_the_reason(tmp_path, caplog):
    rows = [{**TWO, "prompt": f"Prompt {n}", "key": 100 + n} for n in range(40)]
    rows[2] = {**rows[2], "instruction_id_list": ["change_case:english_capital", "change_case:english_lowercase"]}
    path = write_rows(tmp_path / "rows.jsonl", rows)
    left = gym(path=path)
    ids = {task.id for split in ("train", "heldout") for task in left.tasks(split)}
    assert len(ids) == 39 and "row/2/102" not in ids and "row/3/103" in ids
    assert left.skipped.num_rows == 1
    for told in (str(left.skipped), caplog.text):
        assert "rows.jsonl:3 (key 102)" in told and "all capitals and no capitals" in told
    with pytest.raises(ValueError, match=r"rows\.jsonl:3 \(key 102\): .*contradict.*skip_contradictory = true"):
        gym(path=path, skip_contradictory=False).tasks("train")


def test_data_of_contradictory_rows_alone_is_refused_with_the_reason(tmp_path):
    row = {**TWO, "instruction_id_list": ["change_case:english_capital", "change_case:english_lowercase"]}
    path = write_rows(tmp_path / "rows.jsonl", [{**row, "prompt": f"Prompt {n}"} for n in range(5)])
    with pytest.raises(ValueError, match=r"0 train and 0 held-out tasks.*all capitals and no capitals"):
        gym(path=path).tasks("train")


def test_two_sources_are_refused(tmp_path):
    with pytest.raises(ValueError, match="path and source"):
        gym(path=tmp_path / "x", source="y")


@pytest.mark.parametrize(
    "dressed", ["\uff44\uff45\uff45\uff50", "\U0001d41d\U0001d41e\U0001d41e\U0001d429", "\u24d3\u24d4\u24d4\u24df"]
)
def test_letters_in_fancy_dress_hide_no_word(dressed: str) -> None:
    kwargs = {"keywords:forbidden_words": {"forbidden_words": ["deep"]}, "keywords:existence": {"keywords": ["deep"]}}
    for name, wanted in (("keywords:forbidden_words", 0.0), ("keywords:existence", 1.0)):
        row = {"prompt": "Write.", "instruction_id_list": [name], "kwargs": [kwargs[name]]}
        assert gym().score(task(row), f"The sea is {dressed} and blue.").value == wanted


@pytest.mark.parametrize("written", ["\uff21\uff29", "AI"])
def test_arguments_in_fancy_dress_are_met_by_either_way_of_writing(written: str) -> None:
    prompt = "Speak of \uff21\uff29 over \u211d."
    asked: dict[str, tuple[dict[str, Any], str]] = {
        "keywords:existence": ({"keywords": ["\uff21\uff29"]}, f"I like {written}."),
        "keywords:letter_frequency": (
            {"letter": "\uff21", "let_frequency": 1, "let_relation": "at least"},
            f"Hi, {written}.",
        ),
        "startend:end_checker": ({"end_phrase": "say \uff21\uff29"}, f"They say {written}"),
        "copy:copy": ({"prompt_to_repeat": prompt}, f"Speak of {written} over \u211d."),
        "new:copy_span_idx": ({"prompt_to_repeat": prompt, "n_start": 9, "n_end": 10}, written),
        "repeat:repeat_span": ({"prompt_to_repeat": prompt, "n_start": 9, "n_end": 10}, written),
    }
    for name, (kwargs, response) in asked.items():
        item = task({"prompt": prompt, "instruction_id_list": [name], "kwargs": [kwargs]})
        assert gym().score(item, response).value == 1.0, name
        assert gym().score(item, "We go there.").value == 0.0, name
