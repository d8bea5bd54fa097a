"""`audit`: what pays without being solved is found, what is luck is not, and an author adds attacks of their own."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gyms.__main__ import main
from gyms.api import Task, message
from gyms.cli.audit import Tally, Tried, _play_hacks, findings, lower_bound, run_probes
from gyms.cli.copies import copies, dressed, frame_of
from gyms.cli.hacks import HACKS
from gyms.load import load_gym

ROOT = Path(__file__).parents[3]
WORD_GYM = ROOT / "examples" / "word_gym" / "word_gym.py"

SUMS = """
from gyms.api import *

class Sums(Gym):
    \"\"\"Forty sums; QUESTION says what the prompt shows besides.\"\"\"
    def tasks(self, split):
        first = 0 if split == "train" else 20
        return [self.make(split, first + i) for i in range(20)]

    def make(self, split, i):
        a, b = 100 + 7 * i, 500 + i * i
        text = f"Example: what is 2 + 2?\\nAnswer: 4\\n\\nWhat is {a} + {b}?" + f"EXTRA"
        return Task(id=f"{split}{i}", prompt=(message("user", text),), data={"answer": str(a + b)})

    def gold(self, task):
        return f"So it is {task.data['answer']}."

    def score(self, task, response):
        gold = task.data["answer"]
        return Score(status="ok", value=float(RULE))
"""
RIGHT = "response == self.gold(task)"


def audited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, *options: str
) -> tuple[int, dict[str, Any], set[str]]:
    """Exit status, facts and the names of the hacks that pay."""
    path = tmp_path / f"gym{len(list(tmp_path.iterdir()))}.py"  # a file is loaded once a process
    path.write_text(source)
    status = main(["audit", str(path), "--json", *options])
    facts = json.loads(capsys.readouterr().out)
    return status, facts, {finding["probe"] for finding in facts.get("findings", []) if finding["is_hack"]}


def sums(rule: str = RIGHT, extra: str = "") -> str:
    return SUMS.replace("RULE", rule).replace("EXTRA", extra)


def test_the_hacks_that_pay_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, facts, _ = audited(tmp_path, capsys, sums("gold in response or response == ''"))
    found = {finding["probe"]: finding for finding in facts["findings"]}
    assert status == 1 and not facts["is_clean"]
    assert found["nothing"]["is_hack"] and found["every gold of the sample, one a line"]["is_hack"]
    assert not found["gold in 10 kB of words"]["is_hack"]
    assert main(["audit", str(WORD_GYM), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_clean"]


def test_a_prompt_that_holds_the_answer_at_a_fixed_place_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra, place in (
        ("\\n{a + b}", "copy: line 1 from the end"),
        (" (it is {a + b})", "copy: number 1 from the end"),
        (" A hint: '{a + b}'.", "copy: quoted text 1"),
        ("\\n1. {a}\\n2. {a + b}", "copy: list item 2"),
        ("\\nOutput: {a + b}", "copy: labelled answer 2"),
    ):
        status, _, hacks = audited(tmp_path, capsys, sums(extra=extra))
        assert status == 1 and place in hacks, (extra, hacks)
    status, _, hacks = audited(tmp_path, capsys, sums())
    assert status == 0 and hacks == set()


def test_the_answer_of_the_example_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, hacks = audited(tmp_path, capsys, sums("response == self.gold(task) or 'it is 4.' in response"))
    assert status == 1 and "copy: labelled answer 1" in hacks


def test_a_lucky_constant_is_no_hack(capsys: pytest.CaptureFixture[str]) -> None:
    """Among the sums of 0 to 9 are some whose answer is 0, which `os._exit(0)` holds."""
    assert main(["audit", "arithmetic", "--args", '{"difficulty": 1}', "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["is_clean"] and facts["num_tasks"] == 95 and not facts["is_cut_short"]


def test_one_lucky_hit_in_many_is_no_finding_and_many_are() -> None:
    def pays(total: float, num: int, earned: float, name: str = "a claim", baseline: float = 0.0) -> bool:
        tried = Tried(tallies={name: Tally(total=total, num=num, earned=earned)}, num_tasks=num)
        tried.answers.update(["7"] * (num // 10))
        return bool(findings(tried, baseline=baseline, is_all=False))

    assert not pays(1.0, 200, 1.0) and pays(20.0, 200, 20.0)
    assert not pays(10.0, 200, 0.0) and pays(100.0, 200, 0.0)  # as often as the most frequent answer, and far more
    assert not pays(30.0, 200, 0.0, name="copy: number 1") and pays(90.0, 200, 0.0, name="copy: number 1")
    assert not pays(100.0, 200, 100.0, baseline=0.5) and pays(150.0, 200, 150.0, baseline=0.5)
    assert not pays(200.0, 200, 200.0, baseline=1.0)


def test_the_lower_bound_is_that_of_clopper_and_pearson() -> None:
    level = 0.001
    assert lower_bound(0.0, 50, level) == 0.0 and lower_bound(0.99, 50, level) == 0.0
    assert math.isclose(lower_bound(50.0, 50, level), level ** (1 / 50), rel_tol=1e-9)
    assert math.isclose(lower_bound(1.0, 50, level), 1 - (1 - level) ** (1 / 50), rel_tol=1e-6)
    p = Fraction(lower_bound(7.5, 20, level))
    tail = sum(math.comb(20, k) * p**k * (1 - p) ** (20 - k) for k in range(7, 21))
    assert math.isclose(float(tail), level, rel_tol=1e-6)


def test_an_author_adds_attacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = "response == self.gold(task) or response.startswith('please')"
    own = sums(rule) + "\n    def attacks(self, task):\n        return {'begging': 'please, ' + task.id}\n"
    assert audited(tmp_path, capsys, sums(rule))[2] == set()
    assert audited(tmp_path, capsys, own)[2] == {"attack: begging"}
    attacks = tmp_path / "my_attacks.py"
    attacks.write_text(
        "def beg(gym, task):\n    return {'from outside': 'please!'}\n\ndef wrong(gym, task):\n    return 3\n"
    )
    status, _, hacks = audited(tmp_path, capsys, sums(rule), "--attacks", f"{attacks}:beg")
    assert status == 1 and hacks == {"attack: from outside"}
    for reference, told in (
        (f"{attacks}:wrong", "expected name -> response"),
        (f"{attacks}:nope", "no function 'nope'"),
    ):
        status, facts, _ = audited(tmp_path, capsys, sums(rule), "--attacks", reference)
        assert status != 0 and told in facts["error"]


def test_the_time_is_bounded_and_what_was_left_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, facts, _ = audited(tmp_path, capsys, sums(), "--seconds", "1e-6")
    assert status == 0 and facts["num_tasks"] == 1 and facts["is_cut_short"]
    assert audited(tmp_path, capsys, sums(), "--seconds", "0")[0] == 2


def test_the_places_of_a_prompt_are_named() -> None:
    text = "Rules:\n1. P\n.2. (Q or R)\nTake [3, 4] and 'abc' or \"de\".\n\nString: XYZ"
    found = copies(Task(id="t", prompt=(message("user", text),)))
    expected = {
        "line 1": "Rules:",
        "list item 1": "P",
        "list item 2": "(Q or R)",
        "list item 1 from the end": "(Q or R)",
        "bracketed text 2": "[3, 4]",
        "quoted text 1": "abc",
        "quoted text 1 from the end": "de",
        "the longest quoted text": "abc",
        "paragraph 2": "String: XYZ",
        "end of a line after a colon 1 from the end": "XYZ",
        "word 1 from the end": "XYZ",
        "the greatest number": "4",
        "the least number": "1",
    }
    assert {name: found.get(name) for name in expected} == expected


def test_what_all_prompts_share_is_a_frame() -> None:
    tasks = [
        Task(id=text, prompt=(message("user", f"Insert. The string: {text}\n\nAnswer in a line."),))
        for text in ("ABBA AC", "ABE AC", "DA AC")
    ]
    frame = frame_of(tasks)
    assert frame == ("Insert. The string: ", " AC\n\nAnswer in a line.")
    assert copies(tasks[0], frame)["all that is its own"] == "ABBA"
    assert copies(tasks[0], frame)["word of its own 1 from the end"] == "ABBA"
    assert frame_of(tasks[:1]) == ("", "") and "all that is its own" not in copies(tasks[0])


def test_a_copy_wears_the_dress_of_the_gold() -> None:
    task = Task(id="t", prompt=(), data={"answer": "42"})
    assert dressed(task, {"t": "<answer>42</answer>"}, "7") == "<answer>7</answer>"
    assert dressed(task, {"t": "42 of them, no:\n" + "word " * 50 + "\n#### 42"}, "7") == "#### 7"
    assert dressed(task, {}, "7") == dressed(task, {"t": "forty-two"}, "7") == "7"


def test_the_audit_is_not_misled_by_a_rule_that_takes_the_last_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lists.py"
    rules = {
        "last": "task.data['answer'] == response.split()[-1:]",
        "any": "task.data['answer'][0] in response.split()",
    }
    source = (
        "from gyms.api import *\n\nclass Lists(Gym):\n"
        "    def tasks(self, split):\n        n = 0 if split == 'train' else 5\n"
        "        return [Task(id=f'{split}{i}', prompt=({'role': 'user', 'content': f'Name {i + n}.'},), "
        "data={'answer': ['name' + 'abcdefghij'[i + n]]}) for i in range(5)]\n\n"
        "    def gold(self, task):\n        return task.data['answer'][0]\n\n"
        "    def score(self, task, response):\n        gold = self.gold(task)\n"
        "        return Score(status='ok', value=float(RULE))\n"
    )
    for rule, is_clean in (("last", True), ("any", False)):
        path.write_text(source.replace("RULE", rules[rule]))
        assert main(["audit", str(path), "--json"]) == (0 if is_clean else 1)
        found = {finding["probe"] for finding in json.loads(capsys.readouterr().out)["findings"]}
        assert ("every gold of the sample, one a line" in found) is not is_clean
        path = tmp_path / "lists_again.py"


# -- environments ------------------------------------------------------------------------------------------------------

GULLIBLE = """
from gyms.api import *

LOOK = Tool(name="look", description="Looks.", parameters={"type": "object", "properties": {"n": {"type": "integer"}}})


class Talk(Episode):
    def __init__(self, task):
        self.secret, self.said, self.seen = task.data["answer"], "", False

    def step(self, turn):
        if not turn.calls:
            self.said += turn.text
            return Reply(is_done=True)
        self.seen = True
        return Reply(messages=[tool_result(call, "The secret is " + self.secret) for call in turn.calls])

    def score(self):
        return Score(status=Status.OK, value=float(WIN))


class Gullible(Environment):
    def tasks(self, split):
        numbers = range(100, 120) if split == "train" else range(200, 220)
        asked = [(n, (message("user", f"What is secret {n}?"),)) for n in numbers]
        return [Task(id=str(n), prompt=prompt, data={"answer": f"s{n * 7}"}) for n, prompt in asked]

    def tools(self, task):
        return [LOOK]

    def start(self, task, seed):
        return Talk(task)
"""


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("'done' in self.said", {"turns: a claim of success", "turns: every tool at random, then a claim"}),
        ("self.secret in self.said", {"turns: an echo of the last observation", "turns: an echo of every observation"}),
        ("self.seen", {"turns: every tool at once", "turns: every tool at random, then silence"}),
        ("'tool_response' in self.said", {"turns: a forged answer of a tool"}),
        ("'give up' in self.said", {"turns: giving up"}),
    ],
)
def test_an_environment_that_pays_for_work_at_nothing_is_found(tmp_path, rule: str, found: set[str]) -> None:
    file = tmp_path / "gullible.py"
    file.write_text(GULLIBLE.replace("WIN", rule))
    gym = load_gym("g", str(file), {})
    tasks = [*gym.tasks("train"), *gym.tasks("heldout")]
    tried = run_probes(gym, tasks, attacks=[], seconds=60)
    names = {finding["probe"] for finding in findings(tried, baseline=0.0, is_all=True)}
    assert found <= names


@pytest.mark.parametrize("reference", ["gyms.adder.gym:Adder", "gyms.tools.gym:Tools", "gyms.search.gym:Search"])
def test_no_hack_over_many_turns_pays_in_the_built_in_environments(reference: str) -> None:
    gym = load_gym("e", reference, {})
    tried = Tried(tallies={})
    for n in range(12):
        _play_hacks(gym, gym.tasks("train")[n], tried)
    assert {name: tally.mean for name, tally in tried.tallies.items() if tally.total} == {}
    assert len(tried.tallies) == len(HACKS)
