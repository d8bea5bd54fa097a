"""Rows as they are published: each form is told by its columns, and becomes a task that its own answer solves."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from gyms.api import Gym, Services
from gyms.code.gym import Code
from gyms.columns import Reads, RowSettings, mapped_rows, nearest_columns, paths_of
from gyms.constraints.registry import find
from gyms.load import load_gym
from gyms.row_formats import FORMATS
from gyms.row_formats.form import at, text_of
from gyms.row_formats.instructions import _FUNCTIONS
from gyms.sandbox import Sandbox

ASKED = "A box holds 6 eggs. How many do 7 boxes hold?"
USER = [{"role": "user", "content": ASKED}]
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWERS: dict[str, dict[str, Any]] = {
    "verl": {
        "data_source": "own",
        "prompt": USER,
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "42"},
        "extra_info": {"index": 3},
    },
    "verl, as Skywork wraps it": {
        "prompt": [SYSTEM, *USER],
        "reward_model": {"style": "rule", "ground_truth": '["42"]'},
        "data_source": "own",
    },
    "open-instruct": {"messages": USER, "ground_truth": "42", "dataset": "math"},
    "open-instruct, as a list": {"messages": USER, "ground_truth": ["42"], "dataset": ["math"]},
    "math": {"problem": ASKED, "level": "Level 1", "type": "Algebra", "solution": r"$6\cdot 7=\boxed{42}$."},
    "math, with its answer": {
        "problem": ASKED,
        "level": "1",
        "type": "Prealgebra",
        "solution": r"\boxed{42}",
        "answer": "42",
    },
    "final-answer": {"question": ASKED, "final_answer": "42", "difficulty": 2.0, "topic": "Arithmetic"},
    "final-answer, as a list": {
        "question": ASKED,
        "solution": [r"It is \boxed{42}."],
        "final_answer": ["42"],
        "answer_type": "Numerical",
        "is_multiple_answer": False,
        "unit": None,
    },
    "nemo": {"problem": ASKED, "expected_answer": "42", "generated_solution": r"\boxed{42}", "problem_type": "x"},
    "nemo-gym": {"responses_create_params": {"input": USER}, "expected_answer": "42", "agent_ref": {"name": "own"}},
    "aime": {"ID": "own-1", "Problem": ASKED, "Answer": 42, "Solution": r"\boxed{42}"},
    "trl": {"prompt": ASKED, "answer": "42"},
    "trl-solution": {"prompt": [SYSTEM, *USER], "solution": r"$\boxed{42}$"},
    "openrlhf": {"input": ASKED, "label": "42"},
    "openrlhf-answer": {"input": ASKED, "answer": "42"},
    "alpaca": {"instruction": "How many eggs do 7 such boxes hold?", "input": "A box holds 6 eggs.", "output": "42"},
    "this gym's own": {"question": ASKED, "answer": "42"},
    "this gym's own, as published by AI-MO": {"id": 1, "problem": ASKED, "solution": r"\boxed{42}", "answer": "42"},
}


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def other(row: dict[str, Any]) -> dict[str, Any]:
    """The same row about other eggs."""
    return json.loads(json.dumps(row).replace("6 eggs", "8 eggs").replace("42", "56"))


@pytest.mark.parametrize("gym_name", ["math", "gsm8k"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_published_row_of_a_question_is_told_by_its_columns(tmp_path: Path, name: str, gym_name: str) -> None:
    row = ANSWERS[name]
    if gym_name == "gsm8k" and name in ("math", "trl-solution"):
        pytest.skip("the answer is boxed in a solution, which this gym does not read")
    args = {
        "train_file": written(tmp_path / "t.jsonl", [row]),
        "heldout_file": written(tmp_path / "h.jsonl", [other(row)]),
    }
    gym = load_gym("g", gym_name, args)
    (task,), (held,) = gym.tasks("train"), gym.tasks("heldout")
    asked = task.prompt[-1]["content"]
    assert "6 eggs" in asked and "7" in asked and "42" not in asked and "[{" not in asked
    for each, right in ((task, "42"), (held, "56")):
        gold = gym.gold(each)
        assert gold is not None and gym.score(each, gold).value == 1.0
        assert gym.score(each, f"#### {right}" if gym_name == "gsm8k" else rf"\boxed{{{right}}}").value == 1.0
        assert gym.score(each, "#### 41" if gym_name == "gsm8k" else r"\boxed{41}").value == 0.0
    by_name = name.partition(",")[0]
    if by_name in FORMATS:
        named = load_gym("g", gym_name, {**args, "format": by_name})
        assert named.tasks("train") == gym.tasks("train")


@pytest.mark.parametrize("name", ANSWERS)
def test_no_row_fits_two_formats_of_its_kind(name: str) -> None:
    fitting = [form.name for form in FORMATS.values() if form.kind == "answer" and form.fits(ANSWERS[name])]
    assert fitting == ([name.partition(",")[0]] if "own" not in name else [])


def test_columns_are_named_by_paths(tmp_path: Path) -> None:
    row = {"chat": [SYSTEM, {"role": "user", "content": ASKED}], "info": json.dumps({"gold": ["x", 42]}), "a.b": 1}
    columns = {"question": "chat.-1.content", "answer": "info.gold.1"}
    args = {"train_file": written(tmp_path / "t.jsonl", [row]), "heldout_fraction": 0.5, "columns": columns}
    gym = load_gym("g", "gsm8k", args)
    (task,) = [*gym.tasks("train"), *gym.tasks("heldout")]
    assert task.data["question"] == ASKED and task.data["answer"] == "42"
    assert at(row, "a.b") == 1
    for path in ("chat.5.content", "info.silver", "a.c", "chat.first", "nothing"):
        with pytest.raises(KeyError):
            at(row, path)
    with pytest.raises(
        ValueError, match=r"t\.jsonl:1: columns\.answer = .info\.silver. leads nowhere.*\[a\.b, chat, info\]"
    ):
        load_gym("g", "gsm8k", {**args, "columns": {**columns, "answer": "info.silver"}}).tasks("train")


def test_unknown_columns_are_answered_with_those_there_are_and_the_likeliest_mapping(tmp_path: Path) -> None:
    row = {"qestion": ASKED, "meta": {"ground_truth": "42"}, "n": 1}
    gym = load_gym("g", "math", {"train_file": written(tmp_path / "t.jsonl", [row])})
    wanted = (
        r"t\.jsonl:1: the columns are \[meta, n, qestion\], wanted were question, answer; "
        r'perhaps columns = \{ question = "qestion", answer = "meta\.ground_truth" \}'
    )
    with pytest.raises(ValueError, match=wanted):
        gym.tasks("train")
    with pytest.raises(
        ValueError, match=r"there is no format 'verll' \(did you mean 'verl'\?\); expected one of auto, own"
    ):
        load_gym("g", "math", {"format": "verll"})
    with pytest.raises(ValueError, match=r"format = 'apps' is for code rows; this gym reads answer rows: verl, "):
        load_gym("g", "math", {"train_file": str(tmp_path / "t.jsonl"), "format": "apps"}).tasks("train")


def test_every_path_that_is_proposed_leads_somewhere() -> None:
    rows: list[dict[str, Any]] = [
        {"reward.model": {"gt": "4"}, "q": "x"},
        {"chat.log": [*USER], "q": "x"},
        {"meta": {"a.b": 1, "answer": None}, "text": '{"answer": "4", "n": null}', "empty": None},
        {"chat": USER, "list": [1, 2], "broken": '{"a": '},
    ]
    reads = Reads(kind="answer", wanted=("question", "answer"), own=())
    for row in rows:
        assert all(at(row, path) is not None for path in nearest_columns(row, reads).values())
        for path in paths_of(row):
            at(row, path)
    assert list(paths_of(rows[0])) == ["reward.model", "q"]
    assert nearest_columns(rows[2], reads) == {"question": "text", "answer": "text.answer"}


def test_a_column_with_a_dot_in_its_name_is_named_in_the_error(tmp_path: Path) -> None:
    row = {"reward.model": {"gt": "4"}, "q": "x"}
    gym = load_gym("g", "math", {"train_file": written(tmp_path / "t.jsonl", [row])})
    with pytest.raises(ValueError, match=r"the columns are \[q, reward\.model\], wanted were question, answer"):
        gym.tasks("train")


def test_malformed_rows_of_a_mixture_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{n} + {n}?"}], "ground_truth": str(2 * n)} for n in range(40)]
    rows[7]["ground_truth"] = '{"func_name": "validate_lowercase", "N": null}'
    rows[9]["messages"] = [*USER, {"role": "assistant", "content": "42"}, *USER]
    args = {"train_file": written(tmp_path / "t.jsonl", rows)}
    with pytest.raises(ValueError, match=r"^2 malformed rows: .*t\.jsonl:8: .*t\.jsonl:10: .*skip_malformed = true"):
        load_gym("g", "gsm8k", {**args, "heldout_fraction": 0.2}).tasks("train")
    rows[0] = {"text": "no question at all"}
    written(tmp_path / "t.jsonl", rows)
    for gym_name in ("gsm8k", "math"):
        gym: Any = load_gym("g", gym_name, {**args, "heldout_fraction": 0.2, "skip_malformed": True})
        assert len(gym.tasks("train")) + len(gym.tasks("heldout")) == 37
        assert gym.skipped.num_rows == 3
    assert "t.jsonl:8" in str(gym.skipped) and "a conversation of 3 turns" in str(gym.skipped)


@pytest.mark.parametrize("gym_name", ["gsm8k", "math", "chat"])
def test_one_file_for_both_splits_is_refused_with_the_setting_that_splits_it(tmp_path: Path, gym_name: str) -> None:
    rows = [{"question": f"{n} + {n}?", "prompt": f"{n} + {n}?", "answer": str(2 * n)} for n in range(60)]
    file = written(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ValueError, match=r"the same file.*heldout_fraction = 0\.1"):
        load_gym("g", gym_name, {"train_file": file, "heldout_file": file})
    gym = load_gym("g", gym_name, {"train_file": file, "heldout_fraction": 0.3, "format": "own"})
    train, held = ({task.prompt[0]["content"] for task in gym.tasks(split)} for split in ("train", "heldout"))
    assert len(train) + len(held) == 60 and len(held) > 5 and not train & held


def test_a_conversation_is_a_question_only_where_it_is_one() -> None:
    assert text_of([SYSTEM, *USER, {"role": "assistant", "content": "42"}]) == ASKED
    for bad in ([], [SYSTEM], 3, None, [{"role": "user"}], [*USER, *USER]):
        with pytest.raises(ValueError):
            text_of(bad)


CASES = [
    {"input": "1 2\n", "output": "3\n", "testtype": "stdin"},
    {"input": "4 5\n", "output": "9\n", "testtype": "stdin"},
]
METHOD = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "
ADD = "def add(a, b):\n    return a + b\n"
PRINT_SUM = "print(sum(map(int, input().split())))"
PACKED = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(CASES[1:])))).decode()
CODE: dict[str, tuple[dict[str, Any], str]] = {
    "apps": (
        {
            "question": "Read two numbers, print their sum.",
            "solutions": json.dumps([PRINT_SUM]),
            "input_output": json.dumps({"inputs": ["1 2\n", ["4 5"]], "outputs": ["3\n", ["9"]]}),
            "starter_code": "",
            "difficulty": "EASY",
        },
        PRINT_SUM,
    ),
    "apps with a function": (
        {
            "question": "Add two numbers.",
            "input_output": {"fn_name": "add", "inputs": [[1, 2], [4, 5]], "outputs": [[3], [9]]},
            "starter_code": METHOD,
        },
        METHOD + "return a + b",
    ),
    "livecodebench": (
        {
            "question_content": "Read two numbers, print their sum.",
            "public_test_cases": json.dumps(CASES[:1]),
            "private_test_cases": PACKED,
            "starter_code": "",
            "metadata": "{}",
        },
        PRINT_SUM,
    ),
    "livecodebench with a function": (
        {
            "question_content": "Add two numbers.",
            "public_test_cases": json.dumps([{"input": "1\n2", "output": "3", "testtype": "functional"}]),
            "private_test_cases": "[]",
            "starter_code": METHOD,
            "metadata": json.dumps({"func_name": "add"}),
        },
        METHOD + "return a + b",
    ),
    "kodcode": (
        {
            "question": "Write `add`, which adds two numbers.",
            "solution": ADD,
            "test_code": "from solution import add\n\ndef test_small():\n    assert add(1, 2) == 3\n",
        },
        ADD,
    ),
    "kodcode with parameters and a class": (
        {
            "question": "Write `add`, which adds two numbers.",
            "solution": ADD,
            "test_code": (
                "import pytest\nfrom solution import *\n\n@pytest.mark.parametrize('a', [1, 2])\n"
                "def test_small(a):\n    assert add(a, 2) == a + 2\n\n"
                "class TestLarge:\n    def test_one(self):\n        assert add(10, 20) == 30\n"
            ),
        },
        ADD,
    ),
    "kodcode with what pytest does not collect": (
        {
            "question": "Write `add`, which adds two numbers.",
            "solution": ADD,
            "test_code": (
                "import pytest, unittest\nfrom solution import add\n\n"
                "@pytest.fixture\ndef test_data():\n    return 3\n\n"
                "class TestNode:\n    def __init__(self, n):\n        self.n = n\n    def test_n(self): ...\n\n"
                "class TestNone:\n    __test__ = False\n    def test_n(self): ...\n\n"
                "class AddTest(unittest.TestCase):\n    def test_one(self):\n"
                "        self.assertEqual(add(1, 2), 3)\n\n"
                "def test_small(test_data):\n    assert add(test_data, 2) == 5\n"
            ),
        },
        ADD,
    ),
    "kodcode-light": (
        {
            "question": "Add two numbers.",
            "solution": ADD,
            "test": "from solution import add\n\ndef test_small():\n    assert add(1, 2) == 3\n",
            "test_info": [{"function_name": "add", "function_declaration": "def add(a, b):"}],
        },
        ADD,
    ),
    "acecode": (
        {"id": "own", "question": "Add two numbers.", "test_cases": ["assert add(1, 2) == 3", "assert add(4, 5) == 9"]},
        ADD,
    ),
    "prime-code": (
        {
            "prompt": [SYSTEM, {"role": "user", "content": "Read two numbers, print their sum."}],
            "reward_model": {"ground_truth": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]})},
        },
        PRINT_SUM,
    ),
}


@pytest.mark.parametrize("name", CODE)
def test_a_published_row_of_a_program_is_solved_by_a_right_one_alone(
    tmp_path: Path, name: str, sandbox: Sandbox
) -> None:
    row, right = CODE[name]
    asked = next(column for column in ("question", "question_content", "prompt") if column in row)
    rows = [json.loads(json.dumps(row)) for _ in range(12)]
    for number, each in enumerate(rows):
        if asked == "prompt":
            each[asked][-1]["content"] += f" ({number})"
        else:
            each[asked] += f" ({number})"
    args = {"path": written(tmp_path / "rows.jsonl", rows), "heldout_fraction": 0.4}
    gym: Gym = load_gym("g", "code", args, Services(sandbox=sandbox))
    tasks = [*gym.tasks("train"), *gym.tasks("heldout")]
    assert len(tasks) == len(rows)
    found = gym.score(tasks[0], f"```python\n{right}\n```")
    assert found.value == 1.0, found
    wrong = gym.score(tasks[0], "```python\n" + right.replace("sum(", "max(").replace("+", "*") + "\n```")
    assert not wrong.status.is_masked and not wrong.value, wrong
    assert "expected" not in tasks[0].prompt[0]["content"]


def test_hidden_tests_that_would_run_code_are_refused() -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return (print, ("ran",))

    row = dict(CODE["livecodebench"][0])
    for packed in (pickle.dumps(Attack()), b"junk", pickle.dumps(b"x" * 10), b""):
        row["private_test_cases"] = base64.b64encode(zlib.compress(packed)).decode()
        rows = list(mapped_rows([("f:1", row)], RowSettings(), Code.reads))
        assert isinstance(rows[0][1], ValueError) and "private_test_cases" in str(rows[0][1])


def test_open_instructs_functions_are_ids_with_exactly_their_arguments() -> None:
    truth: dict[str, Any] = {"N": 3, "quantifier": "at most", "keyword_list": ["a"], "word": "egg", "letter": "e"}
    truth |= {"forbidden_words": ["b"], "language": "en", "i": 1, "first_word": "Eggs", "postscript_marker": "P.S."}
    truth |= {"section_splitter": "Section", "original_prompt": ASKED, "end_phrase": "Done."}
    for name, convert in _FUNCTIONS.items():
        for number, (identifier, arguments) in enumerate(convert(truth)):
            constraint = find(identifier)
            assert constraint is not None, name
            constraint.args.model_validate(arguments)
            assert number < 2


def test_rows_of_open_instruct_are_asked_as_instructions(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(30):
        messages = [{"role": "user", "content": f"Tell me about {number} eggs, without commas."}]
        by_id = repr([{"instruction_id": ["punctuation:no_comma"], "kwargs": [None]}])
        by_name = json.dumps({"func_name": "validate_no_commas", "N": None, "quantifier": None})
        rows.append({"messages": messages, "ground_truth": by_name if number % 2 else by_id, "dataset": "ifeval"})
    rows[3]["ground_truth"] = json.dumps({"func_name": "validate_word_constraint", "N": 9, "quantifier": "around"})
    args = {"path": written(tmp_path / "rows.jsonl", rows)}
    with pytest.raises(ValueError, match=r"rows\.jsonl:4: no instruction of IFEval asks for 'around' 9"):
        load_gym("g", "constraints", args).tasks("train")
    gym = load_gym("g", "constraints", {**args, "skip_malformed": True})
    tasks = [*gym.tasks("train"), *gym.tasks("heldout")]
    assert len(tasks) == 29
    for task in tasks:
        assert gym.score(task, "Eggs are round and they are brown.").value == 1.0
        assert gym.score(task, "Eggs, too, are round.").value == 0.0


CHATS: dict[str, dict[str, Any]] = {
    "messages-prompt": {"messages": [*USER, {"role": "assistant", "content": "42"}]},
    "sharegpt-prompt": {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": "42"}]},
    "alpaca-prompt": {"instruction": ASKED, "input": "", "output": "42"},
    "own": {"prompt": ASKED},
}


@pytest.mark.parametrize("name", CHATS)
def test_open_prompts_are_told_by_their_columns_and_lose_their_answers(tmp_path: Path, name: str) -> None:
    rows = [json.loads(json.dumps(CHATS[name]).replace("7 boxes", f"{n} boxes")) for n in range(30)]
    gym = load_gym("g", "chat", {"train_file": written(tmp_path / "t.jsonl", rows), "heldout_fraction": 0.3})
    tasks = [*gym.tasks("train"), *gym.tasks("heldout")]
    assert len(tasks) == 30 and len({task.id for task in tasks}) == 30
    assert all(len(task.prompt) == 1 and task.prompt[0]["role"] == "user" for task in tasks)
    assert not any("42" in task.prompt[0]["content"] for task in tasks)


def test_every_format_says_where_it_is_from() -> None:
    for name, form in FORMATS.items():
        assert form.name == name and form.published and form.needs
    assert len({form.published for form in FORMATS.values()}) >= len(FORMATS) - 1


def test_the_table_of_the_documentation_lists_every_format() -> None:
    page = (Path(__file__).parents[3] / "docs/rows.md").read_text()
    for form in FORMATS.values():
        needs = ", ".join(f"`{path}`" for path in form.needs)
        assert f"| `{form.name}` | {form.kind} | {needs} | {form.published} |\n" in page


def test_columns_serve_every_gym_that_reads_rows(tmp_path: Path) -> None:
    checks = [{"call": "add(1, 2)", "expected": 3}]
    rows = [
        {"ask": {"text": f"Add two numbers, {n}."}, "cases": checks, "ids": ["punctuation:no_comma"], "with": [None]}
        for n in range(40)
    ]
    file = written(tmp_path / "rows.jsonl", rows)
    for gym_name, args in (
        ("code", {"path": file, "columns": {"prompt": "ask.text", "tests": "cases"}}),
        (
            "constraints",
            {"path": file, "columns": {"prompt": "ask.text", "instruction_id_list": "ids", "kwargs": "with"}},
        ),
        ("chat", {"train_file": file, "heldout_fraction": 0.2, "columns": {"prompt": "ask.text"}}),
    ):
        gym = load_gym("g", gym_name, args)
        tasks = [*gym.tasks("train"), *gym.tasks("heldout")]
        assert len(tasks) == 40, gym_name
        assert all(task.prompt[0]["content"].startswith("Add two numbers, ") for task in tasks)
