"""The environment `swe`: repositories are mended, and whoever works on the tests instead gets nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gyms.api import Call, Episode, Reply, Score, Services, Status, Task, Turn
from gyms.episodes.calling import MAX_CALLS_A_TURN
from gyms.episodes.checks import play
from gyms.load import GymSpec, load_gym
from gyms.mixture import check_disjoint
from gyms.sandbox import Ending, Limits, Run, Sandbox
from gyms.swe.gym import Swe, SweSettings, _Repair, what_is_wrong
from gyms.swe.instances import built_in, published
from gyms.swe.judge import MAX_SOURCE_FILES, Verdict, is_source, judge, submitted
from gyms.testing import check_gym

INSTANCE = built_in()["interval_booking"]
BUG = "    return a.start <= b.start <= a.end or a.start <= b.end <= a.end\n"


def swe(sandbox: Sandbox | None, **args: object) -> Swe:
    gym = load_gym("swe", "gyms.swe.gym:Swe", args, Services(sandbox=sandbox))
    assert isinstance(gym, Swe)
    return gym


def task_of(gym: Swe, name: str) -> Task:
    return next(task for split in ("train", "heldout") for task in gym.tasks(split) if task.id == name)


def calls(*named: tuple[str, dict[str, object]]) -> Turn:
    return Turn(text="", calls=tuple(Call(id=f"c{n}", tool=t, arguments=a) for n, (t, a) in enumerate(named)))


def said(reply: Reply) -> list[str]:
    return [message["content"] for message in reply.messages]


def ran(command: str) -> Turn:
    return calls(("run", {"command": command}))


def judged(sandbox: Sandbox, changes: Mapping[str, str]) -> Verdict:
    """The verdict on the snapshot with these source files changed."""
    files = {path: text.encode() for path, text in {**INSTANCE.files, **changes}.items()}
    return judge(sandbox, INSTANCE, files)


@pytest.fixture(scope="module")
def gym() -> Iterator[Swe]:
    from gyms.sandbox import open_sandbox

    sandbox = open_sandbox()
    if sandbox.tier == "landlock":
        pytest.skip("the environment `swe` needs a sandbox tier with namespaces")
    yield swe(sandbox)
    sandbox.close()


@pytest.fixture
def episode(gym: Swe) -> Iterator[Episode]:
    begun = gym.start(task_of(gym, "interval_booking"), seed=0)
    yield begun
    begun.close()


def after(gym: Swe, *turns: Turn) -> Score:
    """The score of an episode of `interval_booking`."""
    episode = gym.start(task_of(gym, "interval_booking"), seed=0)
    for turn in turns:
        episode.step(turn)
    score = episode.score()
    assert episode.score() == score
    episode.close()
    return score


@pytest.mark.parametrize("name", sorted(built_in()))
def test_every_built_in_repository_has_a_bug_that_its_gold_patch_mends(gym: Swe, name: str) -> None:
    assert what_is_wrong(gym._sandbox, built_in()[name]) == ""


def test_it_keeps_the_contract(gym: Swe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gyms.episodes.checks.NUM_REPLAYED", 4)  # the gold episode of both tasks, and two drawn ones
    check_gym(gym, max_tasks=1, num_episodes=4)


def test_the_splits_share_no_repository() -> None:
    gym = swe(None)
    check_disjoint(gym)
    assert len(built_in()) == 12 == len(gym.tasks("train")) + len(gym.tasks("heldout"))
    assert 2 <= len(gym.tasks("heldout")) <= 5


def test_a_session_as_a_model_would_have_it(episode: Episode) -> None:
    found, read, tested = said(
        episode.step(
            calls(
                ("search", {"text": "def overlap"}),
                ("read", {"path": "rooms/interval.py", "first": 18, "last": 20}),
                ("run", {"command": "python3 -m pytest tests"}),
            )
        )
    )
    assert found == "rooms/interval.py:18:def overlap(a, b):"
    assert read.splitlines()[0] == "   18 def overlap(a, b):" and len(read.splitlines()) == 3
    assert "1 passed in ..." in tested
    reply = episode.step(calls(("edit", {"path": "rooms/interval.py", "old": BUG, "new": BUG.replace("<=", "<")})))
    assert said(reply) == ["changed"]
    partly = episode.score()
    assert partly.value == 0.0 and 0.0 < partly.components["fail_to_pass"] < 1.0
    better = "    return a.start < b.end and b.start < a.end\n"
    episode.step(calls(("edit", {"path": "rooms/interval.py", "old": BUG.replace("<=", "<"), "new": better})))
    assert episode.step(Turn(text="Done.")) == Reply(is_done=True)
    score = episode.score()
    assert score.value == 1.0
    assert score.components == {"fail_to_pass": 1.0, "pass_to_pass": 1.0, "num_calls": 5.0}


def test_a_patch_that_breaks_what_worked_is_worth_nothing(gym: Swe) -> None:
    broken = "    return False\n"
    score = after(gym, calls(("edit", {"path": "rooms/interval.py", "old": BUG, "new": broken})))
    assert score.value == 0.0 and score.components["pass_to_pass"] < 1.0 and "test_" in score.detail


def test_what_goes_wrong_is_told_to_the_model(episode: Episode) -> None:
    answers = said(
        episode.step(
            calls(
                ("read", {"path": "nope.py"}),
                ("read", {"path": "../etc/passwd"}),
                ("edit", {"path": "rooms/interval.py", "old": "start", "new": "x"}),
                ("edit", {"path": "rooms/interval.py", "old": "", "new": "x"}),
                ("run", {"command": "exit 3"}),
                ("search", {"text": "\ud800"}),
                ("read", {"path": "rooms/__init__.py"}),
            )
        )
    )
    assert all(answer.startswith("Error: ") for answer in answers[:4])
    assert "it must stand there exactly once" in answers[2] and "is there already" in answers[3]
    assert answers[4] == "(exit status 3)"
    assert answers[5].startswith("Error: ") and answers[6] == "(no such lines; the file has 0)"
    many = said(episode.step(calls(*[("run", {"command": "true"})] * (MAX_CALLS_A_TURN + 1))))
    assert many[-1].startswith("Error: not run.") and many[-2] == "(no output)"


class Asleep:
    """A sandbox, and its session, whose commands all sleep past their limit."""

    def open(self, files: object, *, limits: Limits) -> Asleep:
        return self

    def run(self, argv: object, *, limits: Limits) -> Run:
        return Run(ending=Ending.WALL_LIMIT, exit_status=-9, wall_seconds=limits.wall_seconds)


@pytest.mark.parametrize(("cpu_seconds", "num_run"), [(200.0, 1), (30.0, 3), (1.0, MAX_CALLS_A_TURN)])
def test_calls_behind_the_time_of_a_turn_are_not_run_and_the_next_turn_has_its_own(
    cpu_seconds: float, num_run: int
) -> None:
    episode = _Repair(INSTANCE, Asleep(), SweSettings(cpu_seconds=cpu_seconds))  # type: ignore[arg-type]
    turn = calls(*[("run", {"command": "sleep 2000"})] * MAX_CALLS_A_TURN)
    for _ in range(2):
        told = said(episode.step(turn))
        assert all(answer.startswith("Error: it took longer than a call may") for answer in told[:num_run])
        assert all(answer.startswith("Error: not run. The calls before it took") for answer in told[num_run:])


PLANTED = {
    "a conftest that makes everything pass": (
        "conftest.py",
        "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
        "    out = yield\n    out.get_result().outcome = 'passed'\n",
    ),
    "a conftest beside the tests": (
        "tests/conftest.py",
        "def pytest_collection_modifyitems(items):\n    for item in items:\n        item.obj = lambda *a, **k: None\n",
    ),
    "the test file, overwritten": ("tests/test_calendar.py", "def test_bookings_may_touch():\n    pass\n"),
    "a configuration that leaves tests out": ("pytest.ini", "[pytest]\naddopts = --collect-only\n"),
    "a sitecustomize": ("sitecustomize.py", "import os\nos._exit(0)\n"),
    "a .pth file": ("evil.pth", "import os; os._exit(0)\n"),
    "a plug-in by entry point": ("evil-1.0.dist-info/entry_points.txt", "[pytest11]\nevil = evil\n"),
    "a pytest of its own": ("pytest.py", "import os\nos._exit(0)\n"),
    "a standard module of its own": ("json.py", "raise SystemExit(0)\n"),
    "a report file": ("report.xml", '<testsuite tests="7" failures="0"/>'),
    "a compiled file": ("rooms/interval.pyc", "x"),
}


TAKEN = {"a pytest of its own", "a standard module of its own", "a report file"}
"""Sources like any other, which stand behind the real ones and are read by nobody."""


def plant(path: str, text: str) -> Turn:
    return ran(f"mkdir -p $(dirname {path}) && cat > {path} <<'END'\n{text}\nEND")


def test_what_is_planted_beside_the_sources_is_not_taken(gym: Swe) -> None:
    episode = gym.start(task_of(gym, "interval_booking"), seed=0)
    for path, text in PLANTED.values():
        episode.step(plant(path, text))
    taken = submitted(episode._session, INSTANCE.files)  # type: ignore[attr-defined]
    episode.close()
    assert taken is not None
    new = {path for path in taken if taken[path] != INSTANCE.files.get(path, "").encode() or path not in INSTANCE.files}
    assert new == {PLANTED[what][0] for what in TAKEN}


def test_what_is_planted_pays_nothing_and_costs_a_mended_repository_nothing(gym: Swe) -> None:
    planted = [plant(path, text) for path, text in PLANTED.values()]
    score = after(gym, *planted, ran("printf '\\n# touched\\n' >> rooms/interval.py"))
    assert (score.status, score.value) == (Status.OK, 0.0)
    assert score.components["fail_to_pass"] == 0.0 and score.components["pass_to_pass"] == 1.0
    assert after(gym, *planted, *gym.gold_turns(task_of(gym, "interval_booking"))).value == 1.0


FORGED = {
    "output that imitates pytest": "print('7 passed in 0.01s')\n",
    "output that imitates the report": (
        "import json, os\nfor fd in range(1, 64):\n    try:\n"
        "        os.write(fd, json.dumps({'report': '0' * 32, 'status': 0, 'outcomes': {}, 'reasons': {}}).encode())\n"
        "    except OSError:\n        pass\n"
    ),
    "an early end": "import os\nos._exit(0)\n",
    "an exit": "import sys\nsys.exit(0)\n",
    "an end of pytest": "import pytest\npytest.exit('done', 0)\n",
    "a skip": "import pytest\npytest.skip('no', allow_module_level=True)\n",
    "reports that say passed": (
        "import _pytest.reports as r\nold = r.TestReport.from_item_and_call\n"
        "def made(item, call):\n    report = old(item, call)\n    report.outcome = 'passed'\n    return report\n"
        "r.TestReport.from_item_and_call = made\n"
    ),
    "tests that are never run": (
        "import _pytest.python as p\np.Function.runtest = lambda self: None\n"
        "p.pytest_pyfunc_call = lambda pyfuncitem: True\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(FORGED))
def test_what_a_source_file_does_to_its_tester_pays_nothing(gym: Swe, what: str) -> None:
    source = INSTANCE.files["rooms/interval.py"]
    verdict = judged(gym._sandbox, {"rooms/interval.py": FORGED[what] + source})
    assert not verdict.is_solved(INSTANCE)
    if what.startswith(("reports", "tests")):
        assert verdict.is_tampered and not verdict.passed


def test_a_source_that_hangs_is_its_own_fault(gym: Swe) -> None:
    slow = "while True:\n    pass\n"
    files = {path: text.encode() for path, text in {**INSTANCE.files, "rooms/interval.py": slow}.items()}
    verdict = judge(gym._sandbox, INSTANCE, files, cpu_seconds=1.0)
    assert not verdict.has_report and not verdict.passed


def test_a_repository_that_was_emptied_or_filled_is_judged_all_the_same(gym: Swe) -> None:
    assert after(gym, ran("rm -rf rooms tests")).value == 0.0
    many = after(gym, ran("mkdir big; for i in $(seq 1100); do echo x > big/$i.py; done"))
    assert many.status is Status.TOO_COMPLEX
    linked = after(gym, ran("rm rooms/interval.py; ln -s /etc/passwd rooms/interval.py"))
    assert linked.value == 0.0


def test_history_is_not_there(episode: Episode) -> None:
    (told,) = said(episode.step(ran("ls -a; git log 2>/dev/null | head -1")))
    assert ".git" not in told.split()


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("a.py", True), ("pkg/data.json", True), ("contest.py", True), ("pkg/testing.py", True),
        ("conftest.py", False), ("pkg/conftest.py", False), ("pkg/Conftest.py", False), ("tests/helper.py", False),
        ("pkg/tests/x.py", False), ("test_x.py", False), ("x_test.py", False), ("a.pth", False), (".git/config", False),
        ("pkg/.hidden.py", False), ("x.egg-info/entry_points.txt", False), ("usercustomize.py", False), ("a.so", False),
        ("pkg/__pycache__/a.cpython-311.pyc", False), ("pyproject.toml", False), ("setup.cfg", False),
    ],
)  # fmt: skip
def test_source_files_are_told_by_their_names(path: str, counts: bool) -> None:
    assert is_source(path) is counts


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, str]:
    """A row in the published form, and its snapshot."""
    folder = tmp_path / "snapshots" / "someone__sums-1"
    (folder / "tests").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("the answer")
    (folder / "picture.png").write_bytes(b"\x89PNG\xff")
    (folder / "sums.py").write_text("def add(a, b):\n    return a - b\n")
    (folder / "tests" / "test_sums.py").write_text(
        "from sums import add\n\n\ndef test_zero():\n    assert add(0, 0) == 0\n"
    )
    row = {
        "instance_id": "someone__sums-1",
        "repo": "someone/sums",
        "base_commit": "0" * 40,
        "problem_statement": "add subtracts",
        "patch": "diff --git a/sums.py b/sums.py\n--- a/sums.py\n+++ b/sums.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n"
        "-    return a - b\n+    return a + b\n",
        "test_patch": "diff --git a/tests/test_sums.py b/tests/test_sums.py\n--- a/tests/test_sums.py\n"
        "+++ b/tests/test_sums.py\n@@ -3,3 +3,7 @@\n \n def test_zero():\n     assert add(0, 0) == 0\n+\n+\n"
        "+def test_one():\n+    assert add(1, 1) == 2\n",
        "FAIL_TO_PASS": '["tests/test_sums.py::test_one"]',
        "PASS_TO_PASS": ["tests/test_sums.py::test_zero"],
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    return {"rows": str(tmp_path / "rows.jsonl"), "snapshots": str(tmp_path / "snapshots")}


def test_published_rows_are_read_with_their_snapshots(gym: Swe, rows: dict[str, str]) -> None:
    found = published(Path(rows["rows"]), Path(rows["snapshots"]))["someone__sums-1"]
    assert sorted(found.files) == ["sums.py", "tests/test_sums.py"]
    assert "test_one" in found.hidden["tests/test_sums.py"] and "test_one" not in found.files["tests/test_sums.py"]
    assert what_is_wrong(gym._sandbox, found) == ""
    own = swe(gym._sandbox, **rows)
    task = task_of(own, "someone__sums-1")
    assert "test_one" not in task.prompt[0]["content"]
    assert own.start(task, 0).score().value == 0.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"problem_statement": ""}, "'problem_statement' must be a text"),
        ({"instance_id": "../x"}, "must be a plain name"),
        ({"instance_id": "other"}, "there is no snapshot"),
        ({"FAIL_TO_PASS": "test_one (sums.Tests)"}, "must be a list of test ids"),
        ({"FAIL_TO_PASS": ["test_one (sums.Tests)"]}, "is no test id of pytest"),
        ({"FAIL_TO_PASS": []}, "tests that fail before the patch are needed"),
        ({"patch": "nothing"}, "the patch changes no file"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(rows: dict[str, str], change: dict[str, object], reason: str) -> None:
    row = json.loads(Path(rows["rows"]).read_text())
    Path(rows["rows"]).write_text(json.dumps({**row, **change}))
    with pytest.raises(ValueError, match=rf"rows\.jsonl:1: .*{reason}"):
        swe(None, **rows).tasks("train")


def test_a_gold_patch_that_mends_nothing_is_a_bad_task(gym: Swe, rows: dict[str, str]) -> None:
    row = json.loads(Path(rows["rows"]).read_text())
    row["patch"] = row["patch"].replace("+    return a + b", "+    return a * b")
    Path(rows["rows"]).write_text(json.dumps(row))
    own = swe(gym._sandbox, **rows)
    episode = own.start(task_of(own, "someone__sums-1"), 0)
    assert episode.step(ran("ls")) == Reply(is_done=True)
    assert episode.score().status is Status.BAD_TASK
    assert "its gold patch does not pass tests/test_sums.py::test_one" in episode.score().detail


def test_a_gold_patch_of_files_that_do_not_count_is_a_bad_task(gym: Swe, rows: dict[str, str]) -> None:
    """As in `django/test/`: whoever mends it as the gold patch does would be judged by the snapshot."""
    row = json.loads(Path(rows["rows"]).read_text())
    folder = Path(rows["snapshots"], "someone__sums-1")
    (folder / "lib" / "test").mkdir(parents=True)
    (folder / "sums.py").rename(folder / "lib" / "test" / "sums.py")
    tests = folder / "tests" / "test_sums.py"
    tests.write_text(tests.read_text().replace("from sums", "from lib.test.sums"))
    row["patch"] = row["patch"].replace("sums.py", "lib/test/sums.py")
    row["test_patch"] = row["test_patch"].replace("from sums", "from lib.test.sums")
    Path(rows["rows"]).write_text(json.dumps(row))
    own = swe(gym._sandbox, **rows)
    task = task_of(own, "someone__sums-1")
    score = own.start(task, 0).score()
    assert score.status is Status.BAD_TASK
    assert "its gold patch does not pass tests/test_sums.py::test_one" in score.detail


def test_a_repository_of_many_files_can_be_mended(gym: Swe, rows: dict[str, str]) -> None:
    folder = Path(rows["snapshots"], "someone__sums-1", "more")
    folder.mkdir()
    for number in range(MAX_SOURCE_FILES + 1):
        (folder / f"m{number}.py").touch()
    own = swe(gym._sandbox, **rows)
    task = task_of(own, "someone__sums-1")
    assert play(own, task, own.gold_turns(task)).score.value == 1.0


def test_a_search_that_was_cut_short_shows_nothing_of_what_it_found(gym: Swe) -> None:
    episode = gym.start(task_of(gym, "interval_booking"), seed=0)
    written = "python3 -c \"open('long.txt', 'w').write('needle and more of it\\n' * 400000)\""
    _, found = said(episode.step(calls(("run", {"command": written}), ("search", {"text": "needle"}))))
    assert found == "Error: it wrote more than a call may, and was ended."
    episode.close()


def test_settings_and_machines_that_do_not_fit_are_refused(rows: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="rows and snapshots belong together"):
        swe(None, rows=rows["rows"])
    assert GymSpec(name="s", reference="gyms.swe.gym:Swe").build().tasks("train")  # no sandbox is needed for tasks
