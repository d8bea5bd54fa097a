"""`k2rl VERB`: every verb teaches, mistakes are one line, and nothing is loaded that is not used."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rl.verbs import VERBS, main

ROOT = Path(__file__).parents[2]


def test_help_lists_every_verb_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told and verb.help in told for name, verb in VERBS.items())
    assert all(f"$ {verb.example}\n" in told for verb in VERBS.values()) and max(map(len, told.splitlines())) <= 120
    assert all(verb.example.startswith(f"k2rl {name}") for name, verb in VERBS.items() if name != "completion")


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_verb_explains_itself_under_its_own_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: k2rl {name} ")


def test_a_wrong_verb_is_one_line_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "x.toml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and "did you mean 'train'?" in captured.err


def test_no_verb_shows_the_help_and_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("usage: k2rl VERB")


def test_a_verb_gets_its_arguments_and_gives_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(ROOT / "configs" / "tiny_cpu.toml"), "seed=7", "--print"]) == 0
    assert '"seed": 7' in capsys.readouterr().out
    assert main(["train", "no_such.toml"]) == 2
    assert capsys.readouterr().err.startswith("not started: ")
    assert main(["gyms", "info", "no_such_gym"]) == 2


def test_a_run_without_its_libraries_says_in_one_line_what_to_install() -> None:
    # None in sys.modules is Python's way to say that a module cannot be found: a light environment.
    code = (
        "import sys\nfrom gyms.extras import EXTRAS\nsys.modules.update(dict.fromkeys(EXTRAS))\n"
        "from rl.verbs import main\nsys.exit(main(['train', 'configs/tiny_cpu.toml']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("not started: a run needs torch, ray")
    assert "[cpu]'" in done.stderr


def test_both_commands_are_console_scripts_that_exist() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"k2rl": "rl.verbs:main", "gyms": "gyms.cli.main:main"}
