"""`python -m gyms` lists, describes and validates, for people and as JSON."""

from __future__ import annotations

import json

import pytest

from gyms.__main__ import main

ARITHMETIC = "gyms.arithmetic:Arithmetic"


def test_list_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_info_shows_every_setting_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", ARITHMETIC, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["settings"]["max_operand"]["default"] == 99
    assert all(field["description"] for field in facts["settings"].values())
    assert main(["info", ARITHMETIC]) == 0
    assert "max_operand = 99: Largest operand." in capsys.readouterr().out


def test_validate_checks_the_gym_with_the_given_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", ARITHMETIC, "--args", '{"difficulty": 1}', "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_tasks"] == {"train": 90, "heldout": 5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "no_such_gym"], "there is no gym of that name"),
        (["validate", ARITHMETIC, "--args", "{"], "expected a JSON object"),
        (["validate", ARITHMETIC, "--args", '{"max_oprand": 3}'], "did you mean 'max_operand'"),
    ],
)
def test_errors_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert main([*arguments, "--json"]) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]
