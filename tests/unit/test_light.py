"""A gym's author installs no torch: what he uses imports nothing that an extra brings."""

from __future__ import annotations

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


def loaded_by(modules: list[str]) -> set[str]:
    """The libraries of extras that a fresh interpreter holds after importing these modules."""
    code = f"import importlib, sys\nfor name in {modules!r}:\n    importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(done.stdout.split())


@pytest.mark.parametrize("room", ["configs", "gyms", "reward"])
def test_no_module_of_a_light_room_imports_what_an_extra_brings(room: str) -> None:
    modules = modules_of(room)
    assert len(modules) > 3
    assert loaded_by(modules) == set()


@pytest.mark.parametrize(
    "module",
    [
        "rl.verbs",
        "rl.cli",
        "rl.train",
        "rl.evaluate",
        "rl.replay",
        "rl.prepare",
        "rl.report",
        "rl.sweep",
        "rl.export",
        "rl.doctor",
    ],
)
def test_the_commands_of_a_run_are_light_until_they_work(module: str) -> None:
    assert loaded_by([module]) == set()


def test_a_learner_or_an_engine_imports_nothing_of_the_loop_and_no_client_for_it() -> None:
    """Their processes are started anew after a loss, and everything in them waits for what they import."""
    for module in ("rl.learner", "rollout.engine.process"):
        assert loaded_by([module]) & {"httpx", "ray", "transformers", "vllm"} == set(), module


def test_the_check_would_see_a_heavy_import() -> None:
    pytest.importorskip("numpy")
    assert loaded_by(["reward.ranking"]) == {"numpy"}
