"""A gym's author installs no torch: what he uses imports nothing that an extra brings."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from gyms.extras import EXTRAS

ROOT = Path(__file__).parents[2]
HEAVY = {*EXTRAS, "vllm", "pandas", "pyarrow"}
# What needs one: numpy for the strengths of compared siblings, httpx for an endpoint.
NOT_LIGHT = {"reward.ranking", "reward.critic", "reward.critic_config", "reward.judges.endpoint"}


def modules_of(room: str) -> list[str]:
    files = sorted((ROOT / room).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return [
        name for name in names if not name.endswith("__main__") and ".inside." not in name and name not in NOT_LIGHT
    ]


def loaded_by(modules: list[str], *, own: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """Which of these modules brings which libraries of extras, imported one after another by a fresh interpreter.

    Args:
        modules: their names.
        own: rooms of which nothing is loaded yet when the next is imported, as if it were the first: a cycle is seen.
    """
    code = (
        f"import importlib, sys\nheld = set()\nfor name in {modules!r}:\n"
        f"    for old in [old for old in sys.modules if old.partition('.')[0] in {own!r}]: del sys.modules[old]\n"
        "    importlib.import_module(name)\n"
        "    print(name, *sys.modules.keys() - held)\n    held |= sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: heavy for name, *new in lines if (heavy := HEAVY & set(new))}


def test_no_module_of_a_light_room_and_no_command_imports_what_an_extra_brings() -> None:
    """A command of a run is light until it works."""
    rooms = [modules_of(room) for room in ("configs", "gyms", "reward")]
    assert min(map(len, rooms)) > 3
    assert loaded_by([*itertools.chain(*rooms)]) == {}
    commands = ("verbs", "cli", "train", "evaluate", "replay", "prepare", "report", "sweep", "export", "doctor")
    assert loaded_by([f"rl.{name}" for name in commands], own=("configs", "gyms", "rollout", "reward", "rl")) == {}


def test_a_learner_or_an_engine_imports_nothing_of_the_loop_and_no_client_for_it() -> None:
    """Their processes are started anew after a loss, and everything in them waits for what they import."""
    pytest.importorskip("torch")
    found = loaded_by(["rl.learner", "rollout.engine.process"])
    assert set().union(*found.values()) & {"httpx", "ray", "transformers", "vllm"} == set(), found


def test_a_scoring_worker_that_runs_no_code_imports_nothing_that_opens_a_sandbox() -> None:
    code = "import sys\nimport reward.worker\nprint('gyms.sandbox.open' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"


def test_the_check_would_see_a_heavy_import() -> None:
    pytest.importorskip("numpy")
    assert loaded_by(["gyms.api", "reward.ranking"]) == {"reward.ranking": {"numpy"}}
