"""`python -m reward.calibrate`: figures, resuming, errors that say what to do; and files of human labels."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gyms.critic.verdict import Outcome
from reward.calibrate import main, verdict_key
from reward.judges.api import JudgeFailed, Pair
from reward.judges.labels import HumanLabels, read_pairs
from reward.judges.load import load_judge
from reward.judges.prompted import PromptSettings
from reward.rubric import load_rubric
from tests.unit.reward.scripted_judges import Table


def row(prompt: str, first: str, second: str, label: Any) -> dict[str, Any]:
    return {"scenario": "s", "prompt": prompt, "response 1": first, "response 2": second, "label": label}


ROWS = [row("p1", "long answer", "short", 0), row("p2", "short", "long answer", 1), row("p3", "aa", "bb", 2),
        row("p4", "long answer", "short", 1)]  # fmt: skip


def written(folder: Path, rows: list[Any], name: str = "pairs.json") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(found) + "\n" for found in rows))
    return path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_agreement_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path, ROWS))
    found = printed(capsys, "--pairs", path, "--judge", "longer")
    assert found["agreement"] == 0.75 and found["num_pairs"] == 4 and found["rubric"] == "core@1+prescriptive@1"
    assert found["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert printed(capsys, "--pairs", path, "--judge", "first")["agreement"] == 0.25
    assert printed(capsys, "--pairs", path, "--judge", f"human:{path}")["agreement"] == 1.0
    assert main(["--pairs", path, "--judge", "longer"]) == 0
    assert "agreement: 0.7500" in capsys.readouterr().out


def test_a_json_array_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "array.json"
    path.write_text("\ufeff" + json.dumps([{**ROWS[0], "prompt": "line\u2028separator"}]), encoding="utf-8")
    assert read_pairs(path)[0].prompt == "line\u2028separator"
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps({**ROWS[0], "prompt": "a\u2028b"}, ensure_ascii=False) + "\n\n", encoding="utf-8")
    assert read_pairs(lines)[0].label is Outcome.FIRST


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("p", "a", "b", 3), r"pairs\.json:2: 'label' must be 0"),
        (row("p", "a", "b", True), "'label' must be"),
        (row("p", "a", "b", "1"), "'label' must be"),
        (row("p", "a", "b", 1.0), "'label' must be"),
        (row("p", "a", None, 1), "'response 2' must be a string"),
        ([1], "expected an object"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Any, message: str
) -> None:
    path = written(tmp_path, [ROWS[0], bad])
    with pytest.raises(ValueError, match=message):
        read_pairs(path)
    assert main(["--pairs", str(path), "--judge", "longer"]) == 2
    assert "pairs.json:2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "{", "[1", '{"a": 1}', "[" * 100_000, "\xff"],
    ids=["empty", "blank", "torn", "array", "keys", "deep", "latin"],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"bad\.json"):
        read_pairs(path)
    with pytest.raises(ValueError, match="there is no file"):
        read_pairs(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("nobody", "there is no judge 'nobody'"),
        ("random:x", "needs a seed"),
        ("random", "needs a seed"),
        ("human", "needs a file"),
        ("human:/no/such", "there is no file"),
        ("longer:3", "takes no argument"),
        ("openai:model", "openai:MODEL@URL"),
        ("openai:m@ftp://host", "base_url must be http"),
        ("openai:m@http://user:pass@host/v1", "without a user"),
        ("no_module:factory", "ModuleNotFoundError"),
        ("json:nothing", "AttributeError"),
        ("json:dumps", "cannot be loaded|has no"),
    ],
)
def test_a_judge_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], judge: str, message: str
) -> None:
    if "@" in judge:
        pytest.importorskip("httpx")
    with pytest.raises(ValueError, match=message):
        load_judge(judge, PromptSettings())
    assert main(["--pairs", str(written(tmp_path, ROWS)), "--judge", judge]) == 2


def test_a_key_that_is_not_set_is_named_and_bad_arguments_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    path = str(written(tmp_path, ROWS))
    assert main(["--pairs", path, "--judge", "openai:m@http://localhost:1", "--key-env", "NO_SUCH_KEY"]) == 2
    assert "NO_SUCH_KEY is not set" in capsys.readouterr().err
    assert main(["--pairs", path, "--judge", "longer", "--rubric", "no_such"]) == 2
    capsys.readouterr()
    assert main(["--pairs", path, "--judge", "longer", "--deadline", "nan"]) == 2
    assert "deadline_seconds must be above 0, got nan" in capsys.readouterr().err
    for resume in (f"{path}/verdicts", str(tmp_path)):
        assert main(["--pairs", path, "--judge", "longer", "--resume", resume]) == 2
        assert f"--resume {resume}: verdicts cannot be stored there" in capsys.readouterr().err
    for arguments in (["--limit", "0"], ["--limit", "x"], ["--concurrency", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            main(["--pairs", path, "--judge", "longer", *arguments])


CALLS: list[Pair] = []


def counting(argument: str, settings: PromptSettings) -> Table:
    """A judge for --judge: prefers the longer answer and fails on p1 where the argument says so."""

    def decide(pair: Pair) -> Outcome | JudgeFailed:
        CALLS.append(pair)
        if argument == "flaky" and pair.question == "p1":
            return JudgeFailed("timeout", "late")
        return Outcome.FIRST if len(pair.first) > len(pair.second) else Outcome.SECOND

    return Table(decide)


def test_stored_verdicts_are_not_asked_for_again_and_failures_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CALLS.clear()
    path, store = str(written(tmp_path, ROWS)), tmp_path / "deep" / "verdicts.jsonl"
    common = ["--pairs", path, "--resume", str(store)]
    reference = f"{__name__}:counting"
    first = printed(capsys, *common, "--judge", f"{reference}:flaky")
    assert (len(CALLS), first["num_failed"], len(store.read_text().splitlines())) == (8, 1, 6)
    with store.open("a") as file:
        file.write('{"key": "torn')
    again = printed(capsys, *common, "--judge", reference)
    assert (len(CALLS), again["num_failed"], again["num_remembered"]) == (10, 0, 6)
    assert len(store.read_text().splitlines()) == 8
    assert printed(capsys, *common, "--judge", reference)["agreement"] == again["agreement"] and len(CALLS) == 10
    printed(capsys, *common, "--judge", reference, "--rubric", "brief")
    assert len(CALLS) == 18
    store.write_text("rubbish\n" + store.read_text())
    assert main([*common, "--judge", reference]) == 2
    assert "verdicts.jsonl:1: not a stored verdict" in capsys.readouterr().err


def test_the_key_of_a_verdict_knows_everything_that_it_depends_on() -> None:
    """J14."""
    rubric, other = load_rubric("core"), load_rubric("brief")
    base = Pair(key="k", question="q", first="a", second="b", rubric=rubric)
    pairs = [
        base,
        Pair(key="k", question="q", first="b", second="a", rubric=rubric),
        Pair(key="k", question="q", first="a", second="b", rubric=other),
        Pair(key="k", question="q", first="a", second="b"),
        Pair(key="k", question="qa", first="", second="b", rubric=rubric),
        Pair(key="k", question="q", first="a\ud800", second="b", rubric=rubric),
    ]
    keys = [verdict_key("judge", pair) for pair in pairs] + [verdict_key("judge/hotter", base)]
    assert len(set(keys)) == len(keys)
    assert verdict_key("judge", Pair(key="other", question="q", first="a", second="b", rubric=rubric)) == keys[0]


def test_a_limit_takes_the_same_pairs_every_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(f"p{i}", "long answer", "short", i % 3) for i in range(30)]
    path = str(written(tmp_path, rows))
    found = [printed(capsys, "--pairs", path, "--judge", "longer", "--limit", "9") for _ in range(2)]
    assert found[0]["num_pairs"] == 9 and found[0]["confusion"] == found[1]["confusion"]


def test_without_any_verdict_the_exit_status_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, ROWS[:1])
    other = written(tmp_path, ROWS[1:], "other.json")
    assert main(["--pairs", str(path), "--judge", f"human:{other}"]) == 1
    assert "no_label" in capsys.readouterr().out


def test_people_who_contradict_each_other_give_no_verdict(tmp_path: Path) -> None:
    judge = HumanLabels(read_pairs(written(tmp_path, [ROWS[0], {**ROWS[0], "label": 2}])))
    with pytest.raises(JudgeFailed, match="disagree"):
        asyncio.run(judge.compare(Pair(key="k", question="p1", first="long answer", second="short")))
