"""A file that says only what is different from another: order, names, circles, and where a mistake stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.load import ConfigError, load_config

BASE = """
num_steps = 7
seed = 3
[model]
source = "tiny"
[rollout.temperature]
start = 1.2
[[gyms]]
name = "arithmetic"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "exp").mkdir()
    write(tmp_path / "base.toml", BASE)
    write(tmp_path / "exp" / "middle.toml", 'base = "../base.toml"\nseed = 4\n[rollout.temperature]\nend = 0.5\n')
    return tmp_path


def write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def refusal(*files: Path, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(files, overrides)
    return str(caught.value)


def test_a_file_wins_over_its_base_and_the_base_over_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # bases are found from their files, wherever the command runs
    top = write(folder / "exp" / "top.toml", 'base = "middle.toml"\n[learner]\nlr = 1e-3\n')
    config = load_config([top])
    assert (config.num_steps, config.seed, config.learner.lr) == (7, 4, 1e-3)
    assert (config.rollout.temperature.start, config.rollout.temperature.end) == (1.2, 0.5)
    assert load_config([top], ["seed=9"]).seed == 9


def test_a_file_with_a_base_is_called_as_itself_unless_it_says_otherwise(folder: Path) -> None:
    write(folder / "base.toml", 'name = "first"\n' + BASE)
    assert load_config([folder / "base.toml"]).name == "first"
    assert load_config([folder / "exp" / "middle.toml"]).name == "middle"
    named = write(folder / "exp" / "named.toml", 'base = "middle.toml"\nname = "mine"\n')
    assert load_config([named]).name == "mine"
    assert load_config([folder / "base.toml", write(folder / "more.toml", "seed = 5")]).name == "first"


def test_bases_in_a_circle_are_refused_with_the_way_round(folder: Path) -> None:
    write(folder / "base.toml", 'base = "exp/middle.toml"\n')
    told = refusal(folder / "base.toml")
    assert told.startswith("base goes round in a circle: ") and told.count(" -> ") == 2
    assert refusal(write(folder / "own.toml", 'base = "own.toml"')).count("own.toml") == 2


@pytest.mark.parametrize(("text", "told"), [("base = 3", "got 3, wanted the path"), ('base = ""', "got ''")])
def test_a_base_that_is_no_path_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(write(tmp_path / "x.toml", text))


def test_a_base_that_cannot_be_read_is_told_with_who_named_it(folder: Path) -> None:
    lost = write(folder / "lost.toml", 'base = "bas.toml"')
    told = refusal(lost)
    assert "bas.toml does not exist; the nearest is" in told and told.endswith(f"(the base of {lost})")
    write(folder / "base.toml", "seed = = 3")
    assert refusal(folder / "exp" / "middle.toml").endswith(f"(the base of {folder / 'exp' / 'middle.toml'})")


def test_what_is_wrong_is_told_with_the_file_that_says_it(folder: Path) -> None:
    middle = write(folder / "exp" / "middle.toml", 'base = "../base.toml"\n[learner]\nlr = "fast"\ntaau = 1\n')
    write(folder / "base.toml", BASE + "budget = 0\n")
    told = refusal(middle, overrides=("seed=-1",)).splitlines()
    assert told == [f"learner.taau is not a setting; did you mean learner.tau? (set in {middle})"]
    write(middle, middle.read_text().replace("taau = 1\n", ""))
    rate, seed, budget = sorted(refusal(middle, overrides=("seed=-1",)).splitlines(), key=lambda line: line[-20:])
    told = {line.partition(":")[0]: line for line in (rate, seed, budget)}
    assert told["learner.lr"].endswith(f"(set in {middle})")
    assert told["seed"].endswith("(set on the command line)")
    assert told["gyms.0.budget"].endswith(f"(set in {folder / 'exp' / '../base.toml'})")


def test_with_one_file_a_mistake_is_told_as_it_is(folder: Path) -> None:
    assert refusal(write(folder / "base.toml", BASE + "budget = 0\n")).count("(") == 0
