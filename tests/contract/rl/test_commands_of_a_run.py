"""Commands of a run as a shell starts them: what their processes say, and what a sweep makes of one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl.sweep import main

ROOT = Path(__file__).parents[3]
CONFIG = """
num_steps = 2
[model]
source = "tiny"
context_length = 64
chat_template = false
tiny = {{ hidden_size = 32, num_layers = 1, num_heads = 1, intermediate_size = 32 }}
[cluster]
object_store_bytes = 78643200
[rollout]
max_prompt_tokens = 16
long_prompts = "drop"
[[gyms]]
name = "odd"
gym = "{gym}"
budget = 5
"""
GYM = '''
from gyms.api import Gym, Score, Status, Task, message


class Odd(Gym):
    """The name of a task has a character that few terminals show, and the long prompt makes it known."""

    def tasks(self, split):
        prompts = [split, f"{split}!", "a long prompt " * 8 if split == "train" else "short"]
        return [Task(id=f"{split}/\\u4e2d/{i}", prompt=(message("user", text),)) for i, text in enumerate(prompts)]

    def score(self, task, response):
        return Score(status=Status.OK, value=0.0)
'''


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "odd.py").write_text(GYM)
    file = tmp_path / "base.toml"
    file.write_text(CONFIG.format(gym=tmp_path / "odd.py"))
    return str(file)


def test_a_dry_run_says_what_it_must_in_what_the_terminal_can_show(config: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rl.train", config, "--dry-run", f"run_dir={tmp_path / 'run'}"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if not line.endswith(" measured")] == []  # on a slow machine
    *notes, ready = done.stdout.splitlines()
    assert "(task 'train/?/2'" in "".join(notes) and ready.startswith("run: ready. ")


def test_a_run_that_fails_keeps_no_other_from_running(
    config: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    wrong = ["model.source=folder", f"model.path={tmp_path / 'no_model'}", "report.wandb=off"]
    assert main([config, "seed=0,1", *wrong, "--output", str(tmp_path / "runs")]) == 1
    told = capfd.readouterr().err
    assert told.count("failed with exit status 2; going on with the next") == 2
    assert told.splitlines()[-1] == "failed: base-seed0, base-seed1"
