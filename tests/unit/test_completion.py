"""What a shell is told when Tab is pressed, as argcomplete's shell code asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl.completion import main, parser_of
from rl.verbs import VERBS

pytest.importorskip("argcomplete")
ROOT = Path(__file__).parents[2]


def completions(line: str, tmp_path: Path) -> list[str]:
    answer = tmp_path / "answer"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_SHELL": "bash",
             "COMP_LINE": line, "COMP_POINT": str(len(line.encode())), "COMP_TYPE": "9"}  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "rl.verbs"], cwd=ROOT, env=os.environ | asked, check=True, capture_output=True
    )
    return sorted(word.strip() for word in answer.read_text().split("\013") if word)


def test_verbs_options_files_and_settings_are_completed(tmp_path: Path) -> None:
    assert completions("k2rl re", tmp_path) == ["replay", "report"]
    assert completions("k2rl train --dr", tmp_path) == ["--dry-run"]
    found = completions("k2rl train configs/tiny_c", tmp_path)
    assert found == ["configs/tiny_cpu.toml", "configs/tiny_critic.toml"]
    assert completions("k2rl train configs/tiny_cpu.toml learner.los", tmp_path) == ["learner.loss="]
    assert completions("k2rl sweep configs/tiny_cpu.toml learner.lr_e", tmp_path) == ["learner.lr_end_frac="]
    assert completions("k2rl completion z", tmp_path) == ["zsh"]
    assert "validate" in completions("k2rl gyms ", tmp_path)


@pytest.mark.parametrize("name", sorted(VERBS))
def test_the_parser_of_every_verb_is_found_without_running_it(name: str) -> None:
    assert parser_of(VERBS[name].module, prog=f"k2rl {name}").prog == f"k2rl {name}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_code_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([shell]) == 0
    assert "k2rl" in capsys.readouterr().out
