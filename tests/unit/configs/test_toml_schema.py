"""The schema that editors read: it takes what the loader takes, and refuses the mistakes that editors should mark."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from configs.toml_schema import main, toml_schema

FOLDER = Path(__file__).parents[3] / "configs"
VALIDATOR = Draft7Validator(toml_schema())


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.toml")), ids=lambda file: file.stem)
def test_every_shipped_file_is_valid(file: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(tomllib.loads(file.read_text()))] == []


def test_the_schema_is_a_schema() -> None:
    Draft7Validator.check_schema(toml_schema())


@pytest.mark.parametrize(
    "text",
    [
        'base = "other.toml"', "seed = 3", '[learner.mismatch]\ncorrection = "none"', "[learner]\nlr = 1",
        '[rollout.temperature]\nstart = 1.0', '[[gyms]]\nname = "x"\nargs = {anything = [1]}', "",
    ],
)  # fmt: skip
def test_what_a_file_may_say_is_valid(text: str) -> None:
    assert VALIDATOR.is_valid(tomllib.loads(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "base = 3", "sead = 3", "seed = -1", 'seed = "3"', "[learner]\nlrr = 1e-4", "[learner]\nlr = true",
        '[report]\nwandb = "on"', "[learner]\nbetas = [0.9, 2.0]", "gyms = 3",
    ],
)  # fmt: skip
def test_what_an_editor_should_mark_is_not_valid(text: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(text)), text


def test_every_setting_is_explained_where_it_is_typed() -> None:
    schema = toml_schema()
    assert schema["properties"]["num_steps"]["minimum"] == 0
    nodes = [schema, *schema["definitions"].values()]
    settings = [one for node in nodes for one in node["properties"].values()]
    assert len(settings) > 100 and all(one.get("description") or "#/definitions/" in str(one) for one in settings)
    assert all(node["description"] for node in schema["definitions"].values())


def test_the_file_beside_the_configs_is_todays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(FOLDER / "config.schema.json")]) == 0
    assert main(["--check", str(tmp_path / "no.json")]) == 1 and "is stale; run: " in capsys.readouterr().err
    assert main(["--output", str(tmp_path / "new.json")]) == 0
    assert (tmp_path / "new.json").read_bytes() == (FOLDER / "config.schema.json").read_bytes()
    assert main(["--output", str(tmp_path / "no" / "new.json")]) == 2
    assert "--output: [Errno 2] No such file or directory" in capsys.readouterr().err
    assert main([]) == 0 and capsys.readouterr().out == (tmp_path / "new.json").read_text()
