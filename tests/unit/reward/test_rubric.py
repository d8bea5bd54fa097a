"""Rubrics are data: what comes with the project is valid, and what a person can get wrong is refused by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gyms.api import Task
from reward import rubric as rubrics
from reward.rubric import Criterion, join, load_rubric, parse_pack, rubric_for, rubric_names

PACK = """
name = "mine"
version = 2
kind = "human"
[[criteria]]
id = "clear"
text = "Is clear."
weight = 2
"""


def test_the_packs_that_come_with_the_project_are_valid() -> None:
    assert {"core", "prescriptive", "brief"} <= set(rubric_names())
    found = load_rubric("core+prescriptive")
    assert found.label == "core@1+prescriptive@1"
    assert [c.id for c in found.criteria] == ["clarity", "fluency", "grounding", "initial_praise", "self_justification"]
    assert all(c.mandatory and c.polarity == "pitfall" for c in found.criteria[3:])


def test_a_pack_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(PACK)
    found = load_rubric(f"{tmp_path}/mine.toml+prescriptive")
    assert found.label == "mine@2+prescriptive@1" and found.criteria[0].weight == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("weight = 2", "weight = 0"), r"where: criteria\.0\.weight: .*greater than 0.*got 0"),
        (("weight = 2", "weight = -1.0"), "greater than 0"),
        (("weight = 2", "weight = nan"), "finite|greater"),
        (("weight = 2", "weight = inf"), "finite|less"),
        (("weight = 2", "weight = true"), "valid number"),
        (("weight = 2", 'weight = "2"'), "valid number"),
        (("weight = 2", "wieght = 2"), "unknown key .did you mean 'weight'"),
        (("version = 2", "version = 0"), "greater than or equal to 1"),
        (("version = 2", ""), "version: Field required"),
        (('kind = "human"', 'kind = "humans"'), "'core', 'prescriptive' or 'human'"),
        (('kind = "human"', 'kind = "prescriptive"'), "not mandatory"),
        (('id = "clear"', 'id = "Clear!"'), "pattern"),
        (('id = "clear"', 'id = "winner"'), "reserved"),
        (('text = "Is clear."', 'text = "   "'), "blank"),
        (('text = "Is clear."', f'text = "{"x" * 801}"'), "at most 800"),
        (("weight = 2", 'polarity = "pitfall"'), "all criteria are pitfalls"),
        (("weight = 2", 'check = "no_such"'), "none of"),
        (("weight = 2", '[[criteria]]\nid = "clear"\ntext = "Other."'), "the same id 'clear'"),
        (("weight = 2", '[[criteria]]\nid = "other"\ntext = "is  CLEAR."'), "the same text"),
        (("weight = 2", "weight = "), "not TOML"),
        (("[[criteria]]", "[criteria]"), "criteria"),
    ],
)
def test_a_bad_pack_is_refused_with_its_key(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_pack(PACK.replace(*change), "where")


def test_too_many_and_too_long_are_refused_together() -> None:
    pack = parse_pack(PACK, "where")
    extra = [Criterion(id=f"c{i}", text=f"Says {i}.") for i in range(20)]
    with pytest.raises(ValueError, match="at most 20 criteria, got 21"):
        join([pack], extra)
    long = [Criterion(id=f"c{i}", text=f"{i} " + "x" * 790) for i in range(12)]
    with pytest.raises(ValueError, match="at most 8000 characters"):
        join([pack], long)


def test_pitfalls_alone_are_no_rubric_but_join_one() -> None:
    with pytest.raises(ValueError, match="'prescriptive': all criteria are pitfalls"):
        load_rubric("prescriptive")
    with pytest.raises(ValueError, match="the same id"):
        load_rubric("core+core")


def test_an_unknown_pack_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'core'"):
        load_rubric("cor")
    with pytest.raises(ValueError, match="there is no file"):
        load_rubric(f"{tmp_path}/none.toml")


def test_a_task_brings_its_own_criteria() -> None:
    row = {"id": "two_lines", "text": "Is two lines long.", "weight": 1}
    task = Task(id="t", prompt=(), data={"rubric": "brief", "criteria": (row,)})
    assert rubric_for(task).label == "brief@1+task"
    assert rubric_for(Task(id="t", prompt=())).label == "core@1+prescriptive@1"
    for data, told in (
        ({"rubric": 3}, r"^task 't': data\['rubric'\] must be a string"),
        ({"criteria": "x"}, r"^task 't': .*data\['criteria'\] a list of tables"),
        ({"criteria": [{"id": "x"}]}, r"^task 't': criteria\.0: text: Field required"),
        ({"criteria": [3]}, r"^task 't': criteria\.0: expected a table, got int"),
        ({"rubric": "no"}, r"^rubric 'no': there is no rubric pack 'no'"),
    ):
        with pytest.raises(ValueError, match=told):
            rubric_for(Task(id="t", prompt=(), data=data))


class Dist:
    name = "their-package"


def offer(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group="reward_rubrics")


def test_an_installed_pack_is_found_and_a_collision_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "their_rubrics"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.toml").write_text(PACK)
    monkeypatch.syspath_prepend(tmp_path)
    entries = [offer("mine", "their_rubrics"), offer("core", "other.pack"), offer("lost", "no_such_package")]

    def listed(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [entry for entry in entries if name in (None, entry.name)]

    monkeypatch.setattr(rubrics, "entry_points", listed)
    rubrics._load_pack.cache_clear()
    try:
        assert load_rubric("mine").label == "mine@2"
        with pytest.raises(ValueError, match=r"several packages offer .*'core': this project and .*other\.pack"):
            load_rubric("core")
        with pytest.raises(ValueError, match="ModuleNotFoundError"):
            load_rubric("lost")
    finally:
        rubrics._load_pack.cache_clear()
