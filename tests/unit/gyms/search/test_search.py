"""The search environment: the right answer is paid where the documents that it needs were found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from gyms.api import Call, Environment, Status, Task, Turn
from gyms.episodes.checks import play
from gyms.load import load_gym
from gyms.mixture import check_disjoint
from gyms.score import Score
from gyms.search.corpus import _document_ids, world
from gyms.search.gym import TOOLS, Search
from gyms.search.index import MAX_WORDS, Index
from gyms.testing import check_gym
from tests.growth import grows_linearly


def search(**args: object) -> Search:
    gym = load_gym("search", "gyms.search.gym:Search", {"num_documents": 200, "num_train": 2000, **args})
    assert isinstance(gym, Search)
    return gym


def called(name: str, **arguments: object) -> Turn:
    return Turn(text="", calls=(Call(id="call_9", tool=name, arguments=arguments),))


def scored(gym: Search, task: Task, *turns: Turn) -> Score:
    return play(gym, task, turns).score


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A corpus of three documents, and twenty questions over it."""
    documents = [
        {"id": "m", "title": "Marie", "text": "Marie was born in Thorn."},
        {"id": "t", "title": "Thorn", "text": "Thorn lies on the Vistula. " + "It has many bridges. " * 40},
        {"id": 7, "text": "The Vistula is 1,047 km long."},
    ]
    questions = [
        {"question": f"Dear {n}, where was Marie born?", "answers": ["The Vistula", "Wisla"], "evidence": ["m", "t"]}
        for n in range(20)
    ]
    for name, rows in (("corpus", documents), ("questions", questions)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {name: str(tmp_path / f"{name}.jsonl") for name in ("corpus", "questions")}


@pytest.mark.parametrize("args", [{}, {"min_hops": 1, "max_hops": 1}, {"min_hops": 5, "max_hops": 6}])
def test_it_keeps_the_contract(args: dict[str, object]) -> None:
    check_gym(search(**args), max_tasks=10, num_episodes=60)


def test_it_keeps_the_contract_over_files(files: dict[str, str]) -> None:
    check_gym(search(**files, heldout_fraction=0.3), max_tasks=10, num_episodes=60)


def test_a_right_answer_without_its_documents_is_worth_nothing() -> None:
    gym = search()
    task = gym.tasks("train")[0]
    answer, evidence = task.data["answers"][0], task.data["evidence"]
    *hunt, last = gym.gold_turns(task)
    assert scored(gym, task, *hunt, last).value == 1.0
    blind = scored(gym, task, last)
    assert (blind.value, blind.components["correct"], blind.components["evidence"]) == (0.0, 1.0, 0.0)
    partly = scored(gym, task, *hunt, called("answer", answer=answer, evidence=evidence[1:]))
    assert partly.value == 0.0 and partly.components["evidence"] == pytest.approx(1 - 1 / len(evidence))
    wrong = scored(gym, task, *hunt, called("answer", answer="1", evidence=evidence))
    assert (wrong.value, wrong.components["evidence"]) == (0.0, 1.0)


def test_naming_everything_that_was_seen_does_not_help() -> None:
    gym = search(max_evidence=4)
    task = gym.tasks("train")[0]
    *hunt, _ = gym.gold_turns(task)
    answer, evidence = task.data["answers"][0], list(task.data["evidence"])
    more = [f"other{n}" for n in range(5 - len(evidence))]
    assert scored(gym, task, *hunt, called("answer", answer=answer, evidence=evidence + more[1:])).value == 1.0
    assert scored(gym, task, *hunt, called("answer", answer=answer, evidence=evidence + more)).value == 0.0
    assert scored(gym, task, *hunt, called("answer", answer=answer, evidence=evidence * 3)).value == 1.0


@pytest.mark.parametrize(
    ("said", "value"),
    [("the Vistula.", 1.0), ("VISTULA", 1.0), ("Wisla", 1.0), ("Vistula or Oder", 0.0), ("", 0.0), ("x" * 501, None)],
)
def test_answers_are_compared_without_case_articles_and_punctuation(files, said: str, value: float | None) -> None:
    gym = search(**files)
    task = gym.tasks("train")[0]
    score = scored(
        gym, task, called("open", id="m"), called("open", id="t"), called("answer", answer=said, evidence=["m", "t"])
    )
    assert score.value == value
    if value is None:
        assert score.status is Status.NO_ANSWER


def value_of(said: str, known: str) -> float | None:
    """What an answer is paid whose evidence is right."""
    gym = search()
    task = gym.tasks("train")[0]
    *hunt, last = gym.gold_turns(task)
    asked = dataclasses.replace(task, data={**task.data, "answers": [known]})
    return scored(gym, asked, *hunt, called("answer", **{**last.calls[0].arguments, "answer": said})).value


@pytest.mark.parametrize(
    ("said", "known"),
    [
        *[("???", "A"), ("B", "A"), ("???", "The The"), ("the", "The The"), ("-", "+"), ("???", "+"), ("the", "!")],
        *[("vitamin", "Vitamin A"), ("O", "O-"), ("O+", "O-"), ("C", "C++"), ("C#", "C"), ("C++", "C#")],
        *[("1 2", "1/2"), ("12", "1/2"), ("x2", "x\u00b2"), ("5", "-5"), ("\u22125", "5"), ("10^3", "10\u207b\u00b3")],
        *[("\u0915\u093f", "\u0915\u093e"), ("\u0e01\u0e49\u0e2d\u0e19", "\u0e01\u0e48\u0e2d\u0e19")],
    ],
)
def test_another_word_sign_or_letter_is_another_answer(said: str, known: str) -> None:
    assert value_of(said, known) == 0.0


@pytest.mark.parametrize(
    ("said", "known"),
    [
        *[("a", "A"), ("the the.", "The The"), ('"C++".', "C++"), ("C\u266f", "C#"), ("\u00bd", "1/2")],
        *[("(O-)", "O\u2212"), ("An Eiffel tower!", "The Eiffel Tower")],
        *[("\u201cJean\u2010Paul Sartre\u201d", "Jean-Paul Sartre"), ("x^2", "x\u00b2"), ("+", "+")],
        *[("cafe\u0301.", "caf\u00e9"), ("Pa\u00adris\u200b", "Paris"), ("Beatles, The", "The Beatles")],
        *[("\u0915\u093f\u0964", "\u0915\u093f")],
    ],
)
def test_a_full_stop_quotes_and_spellings_of_a_sign_change_no_answer(said: str, known: str) -> None:
    assert value_of(said, known) == 1.0


def test_what_was_not_said_by_the_tool_is_no_answer() -> None:
    gym = search()
    task = gym.tasks("train")[0]
    *hunt, _ = gym.gold_turns(task)
    assert scored(gym, task, *hunt, Turn(text=f"The answer is {task.data['answers'][0]}.")).status is Status.NO_ANSWER


def test_documents_are_found_by_words_and_read_page_by_page(files: dict[str, str]) -> None:
    gym = search(**files, page_chars=200)
    played = play(
        gym,
        gym.tasks("train")[0],
        [
            called("search", query="VISTULA long?", k=1),
            called("search", query="bridge"),
            called("search", query="submarine"),
            called("open", id="t", page=5),
            called("open", id="t", page=6),
            called("open", id="nope"),
        ],
    )
    said = [reply.messages[0]["content"] for reply in played.replies]
    assert said[0] == "[7] : The Vistula is 1,047 km long."
    assert said[1].startswith("[t] Thorn: ")
    assert said[2] == "Nothing was found."
    assert said[3].startswith("Thorn\n") and said[3].endswith("\n(page 5 of 5)")
    assert said[4:] == [
        "Error: this document has 5 pages.",
        "Error: there is no document 'nope'; `search` gives the ids.",
    ]


@pytest.mark.parametrize(
    "query", ["", '"', "a AND", "NEAR(", "title: x*", "-x OR (", "\x00", "\ud800 river", "x" * 10**5, "?" * 10**5]
)
def test_no_query_is_a_syntax_error(query: str) -> None:
    found = Index(world(0, "train", 60).documents).search(query, max_results=20)
    assert all(one.id for one in found)


def test_a_query_costs_a_bounded_number_of_words() -> None:
    index = Index(world(0, "train", 60).documents)
    name = world(0, "train", 60).documents[5].title
    assert not index.search("zzz " * MAX_WORDS + name, max_results=3)
    assert index.search("zzz " * (MAX_WORDS - 2) + name, max_results=3)[0].title == name


def test_a_corpus_is_a_function_of_its_seed_and_the_splits_share_no_name() -> None:
    assert world.__wrapped__(3, "train", 100) == world.__wrapped__(3, "train", 100)
    names = {split: {found.title for found in world(3, split, 400).documents} for split in ("train", "heldout")}
    assert len(names["train"]) == 400 and not names["train"] & names["heldout"]
    assert not names["train"] <= {found.title for found in world(4, "train", 400).documents}
    check_disjoint(search())
    assert search().tasks("train")[:9] == search().tasks("train")[:9] != search(seed=1).tasks("train")[:9]


def test_a_corpus_costs_no_more_than_its_documents() -> None:
    assert grows_linearly(lambda text: world.__wrapped__(0, "train", len(text)), "x", size=1000)


def test_an_episode_has_more_time_than_one_answer_because_the_first_one_builds_the_index() -> None:
    assert Search.needs.wall_seconds > Environment.needs.wall_seconds


def test_documents_whose_hashes_are_alike_have_ids_of_their_own() -> None:
    alike = ["Name 19317", "Name 75648"]  # by search
    assert [_document_ids(0, "train", [name]) for name in alike] == [["60bd7fbc"], ["60bd7fbc"]]
    first, second = _document_ids(0, "train", alike)
    assert first == "60bd7fbc" != second


def test_a_fact_that_is_asked_for_stands_in_its_own_document_alone() -> None:
    gym = search(min_hops=3)
    known = world(0, "train", 200)
    for task in gym.tasks("train")[:30]:
        for here, there in zip(task.data["searches"], task.data["searches"][1:], strict=False):
            holders = {one.id for one in known.documents if here in one.text and there in one.text}
            assert task.data["evidence"][task.data["searches"].index(here)] in holders


def test_a_task_of_another_corpus_is_a_bad_task() -> None:
    task = search(seed=5).tasks("train")[0]
    score = search().score(task, "")
    assert score.status is Status.BAD_TASK and "the corpus of these settings lacks" in score.detail
    assert search().score(Task(id="t", prompt=()), "").status is Status.BAD_TASK
    task = search().tasks("train")[0]
    said_as_text = dataclasses.replace(task, data={**task.data, "answers": task.data["answers"][0]})
    assert search().score(said_as_text, "").status is Status.BAD_TASK


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "Who?", "answer": "I", "evidence": ["zz"]}, "evidence 'zz' is no document of the corpus"),
        ({"question": "Who?"}, "a row needs `question`, `answer` or `answers`"),
        ({"question": "Who?", "answers": []}, "a row needs"),
        ({"question": "Who?", "answer": "I", "evidence": ["m", "t", 7]}, "needs 3 documents, .*; raise max_evidence"),
        ({"question": "Who?", "answer": "x" * 501}, "every answer has over 500 characters"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(files, row: dict[str, object], reason: str) -> None:
    Path(files["questions"]).write_text(json.dumps(row))
    with pytest.raises(ValueError, match=rf"questions.jsonl:1: .*{reason}"):
        search(**files, max_hops=2, max_evidence=2).tasks("train")


def test_an_answer_that_is_too_long_to_be_given_leaves_the_others_and_an_empty_column_the_full_one(files) -> None:
    rows = [{"question": "Who?", "answers": ["x" * 501, "I"]}, {"question": "Whom?", "answers": None, "answer": "7"}]
    Path(files["questions"]).write_text("\n".join(map(json.dumps, rows)))
    gym = search(**files)
    tasks = [*gym.tasks("train"), *gym.tasks("heldout")]
    assert sorted(task.data["answers"] for task in tasks) == [["7"], ["I"]]
    assert [scored(gym, task, *gym.gold_turns(task)).value for task in tasks] == [1.0, 1.0]


def test_a_whole_number_is_the_same_answer_and_the_same_document_as_a_float(files) -> None:
    Path(files["questions"]).write_text(json.dumps({"question": "When?", "answer": 1820.0, "evidence": [7.0]}))
    gym = search(**files)
    (task,) = [*gym.tasks("train"), *gym.tasks("heldout")]
    assert scored(gym, task, called("open", id="7"), called("answer", answer="1820", evidence=["7"])).value == 1.0


def test_questions_that_begin_alike_are_not_the_same_problem(files: dict[str, str]) -> None:
    rows = [{"question": f"Read what was said.\n\nWho was the {n}th?", "answer": "I"} for n in range(20)]
    Path(files["questions"]).write_text("\n".join(map(json.dumps, rows)))
    gym = search(**files, heldout_fraction=0.5)
    check_disjoint(gym)
    tasks = [*gym.tasks("train"), *gym.tasks("heldout")]
    assert {gym.fingerprint(task) for task in tasks} == {row["question"] for row in rows}


def test_documents_that_are_none_and_ids_that_come_twice_are_told(files: dict[str, str]) -> None:
    Path(files["corpus"]).write_text('{"id": "a", "text": "one"}\n{"id": "a", "text": "two"}')
    with pytest.raises(ValueError, match="the id 'a' comes twice"):
        search(**files).tasks("train")
    Path(files["corpus"]).write_text('{"title": "a"}')
    with pytest.raises(ValueError, match="a document needs `id`"):
        search(**files).tasks("train")


def test_settings_that_contradict_each_other_are_refused(files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="corpus and questions belong together"):
        search(corpus=files["corpus"])
    with pytest.raises(ValueError, match="min_hops = 3 is above max_hops = 2"):
        search(min_hops=3, max_hops=2)
    with pytest.raises(ValueError, match="max_evidence = 2 is less than max_hops = 3"):
        search(max_evidence=2)


def test_its_tools_are_what_the_model_is_shown() -> None:
    gym = search()
    assert [tool.name for tool in gym.tools(gym.tasks("train")[0])] == ["search", "open", "answer"]
    assert gym.tools(gym.tasks("train")[0]) == TOOLS
