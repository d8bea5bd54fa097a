"""`python -m gyms` lists, describes and validates, for people and as JSON."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gyms.__main__ import main

ARITHMETIC = "gyms.arithmetic.gym:Arithmetic"


def test_list_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_info_shows_every_setting_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", ARITHMETIC, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["settings"]["max_operand"]["default"] == 99
    assert all(field["description"] for field in facts["settings"].values())
    assert main(["info", ARITHMETIC]) == 0
    shown = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["max_operand", "99", "Largest operand."] in shown
    assert main(["info", "gsm8k", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["columns"]["default"] == {}  # which a schema leaves out


def test_validate_checks_the_gym_with_the_given_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", ARITHMETIC, "--args", '{"difficulty": 1}', "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_tasks"] == {"train": 90, "heldout": 5}
    assert main(["validate", ARITHMETIC, "--args", '{"difficulty": 1}']) == 0
    assert "keeps the contract. Tasks: 90 train, 5 heldout; at most 50 of each" in capsys.readouterr().out


def test_an_environment_is_shown_and_validated_with_its_turns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "gyms.adder.gym:Adder"]) == 0
    assert "An environment of at most 32 turns" in capsys.readouterr().out
    validate = ["validate", "gyms.adder.gym:Adder", "--args", '{"num_train": 500}', "--max-tasks", "3"]
    assert main([*validate, "--episodes", "50", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["is_valid"], facts["num_episodes"], facts["tools"]) == (True, 50, ["add"])
    assert main([*validate, "--episodes", "50"]) == 0
    assert "Gold episodes scored 1, and 50 of random turns were survived. Tools: add." in capsys.readouterr().out
    assert main(["info", "gyms.arithmetic.gym:Arithmetic", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["max_turns"] == 1


def test_validate_says_which_rows_were_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"{n} and {n}?", "answer": f"Twice {n}.\n#### {2 * n}"} for n in range(10, 40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([*map(json.dumps, rows), '{"question": "no answer"}']))
    args = json.dumps({"train_file": str(file), "skip_malformed": True, "heldout_fraction": 0.2})
    assert main(["validate", "gsm8k", "--args", args]) == 0
    assert "skip_malformed left out 1 malformed rows" in capsys.readouterr().out
    assert main(["validate", "gsm8k", "--args", args, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["num_skipped_rows"] == 1 and "rows.jsonl:31" in facts["skipped_because"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "no_such_gym"], "there is no gym of that name"),
        (["validate", ARITHMETIC, "--args", "{"], "expected a JSON object"),
        (["validate", ARITHMETIC, "--args", '{"max_oprand": 3}'], "--args.max_oprand: unknown setting (did you mean"),
        (["validate", "chat", "--args", '{"rubric": 3}'], "--args.rubric: Input should be"),
        (["audit", "gsm8k", "--args", '{"heldout_fraction": 0.1}'], "--args: heldout_fraction splits train_file"),
        (["validate", "arithmetik"], "NAME = 'arithmetik': there is no gym"),
    ],
)
def test_errors_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert main([*arguments, "--json"]) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]


NOISY = """
import os
from gyms.api import Gym, Score, Status, Task, message

print("imported")

class Noisy(Gym):
    def tasks(self, split):
        print("tasks", flush=True)
        os.system("echo a child")
        return [Task(id=split, prompt=(message("user", split),), data={"answer": "42"})]

    def score(self, task, response):
        print("scored")
        return Score(status=Status.OK, value=float(RULE))
"""


@pytest.mark.parametrize("command", ["info", "validate", "audit"])
def test_standard_output_holds_one_json_document_whatever_a_gym_prints(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "noisy.py"
    path.write_text(NOISY.replace("RULE", "response.strip() == '42'"))
    main([command, str(path), "--json"])
    captured = capfd.readouterr()
    assert isinstance(json.loads(captured.out), dict)
    assert "imported" in captured.err and (command == "info" or "a child" in captured.err)


def test_a_failed_check_ends_with_status_1_and_wrong_use_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "generous.py"
    path.write_text(NOISY.replace("RULE", "True"))
    assert main(["validate", str(path)]) == 1
    assert main(["audit", str(path)]) == 1
    assert "a hack that pays" in capsys.readouterr().out
    assert main(["validate", str(path), "--max-tasks", "0"]) == 2
    with pytest.raises(SystemExit) as caught:
        main(["no_such_command"])
    assert caught.value.code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["doctor", "--help"], ["audit", "--help"]])
def test_help_documents_the_exit_status(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    told = capsys.readouterr().out
    assert "Exit status:\n  0  all is well\n  1  a check failed" in told and "\n  2  wrong use" in told


def in_terminal(*arguments: str, columns: int) -> list[str]:
    """Lines that the command shows on a terminal of so many columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "50", "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen([sys.executable, "-m", "gyms", *arguments], stdout=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        try:
            while chunk := os.read(leader, 65536):
                shown += chunk
        except OSError:  # the other end is closed: Linux says so by EIO
            pass
        os.close(leader)
    assert process.returncode == 0
    return shown.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()


def test_a_terminal_gets_tables_of_its_width_and_a_pipe_whole_rows() -> None:
    narrow, wide = in_terminal("info", ARITHMETIC, columns=60), in_terminal("info", ARITHMETIC, columns=100)
    assert max(map(len, narrow)) <= 60 < max(map(len, wide)) <= 100
    assert any(line.split()[:1] == ["heldout_fraction"] for line in narrow)  # a name is never cut
    piped = subprocess.run([sys.executable, "-m", "gyms", "info", ARITHMETIC], capture_output=True, text=True)
    assert "most 5000 problems." in next(line for line in piped.stdout.splitlines() if line.startswith("heldout_fract"))
    assert "\x1b" not in piped.stdout and max(map(len, piped.stdout.splitlines())) > 100


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    code = "import sys\nfrom gyms.cli.main import main\nsys.stdin.read()\nsys.exit(main(['list', '--json']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.close()  # before a word was written
        process.stdin.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (1, b"")
