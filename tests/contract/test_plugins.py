"""Foreign packages: collisions, names, side effects of importing, the command line's view of them, a new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gyms.__main__ import main
from gyms.load import load_gym, resolve
from gyms.plugins import gym_names, is_legal_name

ROOT = Path(__file__).parents[2]
WORD_GYM = ROOT / "examples" / "word_gym" / "word_gym.py"

GYM = """
from gyms.api import Gym, Score, Status, Task, message

class {name}(Gym):
    def tasks(self, split):
        return [Task(id=split, prompt=(message("user", split),), data={{"answer": "42"}})]

    def score(self, task, response):
        return Score(status=Status.OK, value=float({rule}))
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    return tmp_path


def install(site: Path, dist: str, name: str, source: str) -> None:
    """A fake installed distribution with one module and one entry point."""
    module = f"{dist.replace('-', '_')}_{len(list(site.iterdir()))}"
    (site / f"{module}.py").write_text(source)
    folder = site / f"{module}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[reward_gyms]\n{name} = {module}:Mine\n")


def test_a_collision_names_both_and_is_resolved_by_the_package(site: Path) -> None:
    install(site, "plug-a", "mine", GYM.format(name="Mine", rule="False"))
    install(site, "plug-b", "mine", GYM.format(name="Mine", rule="True"))
    with pytest.raises(ValueError, match=r"plug-[ab] 1\.0.*plug-[ab] 1\.0.*'plug-[ab]:mine'"):
        resolve("mine")
    gym = load_gym("m", "plug-b:mine", {})
    assert gym.score(gym.tasks("train")[0], "x").value == 1.0


def test_a_package_cannot_shadow_a_built_in(site: Path) -> None:
    install(site, "plug-evil", "arithmetic", GYM.format(name="Mine", rule="True"))
    with pytest.raises(ValueError, match="2 installed packages offer a gym of that name"):
        resolve("arithmetic")
    assert resolve("k2rl:arithmetic").__name__ == "Arithmetic"


@pytest.mark.parametrize("name", ["Upper", "sl/ash", "\u00fcml", "", "x" * 101, "sp ace", "../up"])
def test_an_illegal_name_is_refused(site: Path, name: str) -> None:
    assert not is_legal_name(name)
    if name and len(name) <= 100:
        install(site, "plug-name", name, GYM.format(name="Mine", rule="True"))
        with pytest.raises(ValueError, match=r"has lower case|no gym of that name"):
            resolve(name)


def test_list_shows_what_is_broken_and_goes_on(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "plug-broken", "broken", "import no_such_module_here")
    install(site, "plug-quits", "quits", "import os; os._exit(9)")
    install(site, "plug-fine", "fine", GYM.format(name="Mine", rule="True"))
    assert main(["list", "--json"]) == 0
    assert "arithmetic" in [gym["name"] for gym in json.loads(capsys.readouterr().out)["gyms"]]
    names = [name for name in gym_names() if name not in ("broken", "quits", "fine")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gyms.cli.catalog.gym_names", lambda: {k: v for k, v in gym_names().items() if k not in names})
        assert main(["list", "--check", "--json"]) == 1
    listed = {gym["name"]: gym for gym in json.loads(capsys.readouterr().out)["gyms"]}
    assert "No module named 'no_such_module_here'" in listed["broken"]["problem"]
    assert "ended with status 9" in listed["quits"]["problem"] and listed["fine"]["problem"] == ""
    assert listed["fine"]["package"] == "plug-fine 1.0"


def test_what_an_import_changes_on_the_side_is_put_back(tmp_path: Path) -> None:
    import logging
    import signal

    (tmp_path / "rude.py").write_text(
        "import logging, os, signal, sys, tempfile\n"
        "os.chdir('/')\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nlogging.basicConfig(level=1, force=True)\n"
        "logging.disable(50)\nsys.stdout = sys.stderr\n" + GYM.format(name="Rude", rule="True")
    )
    before = (Path.cwd(), signal.getsignal(signal.SIGTERM), logging.getLogger().level, sys.stdout)
    load_gym("r", str(tmp_path / "rude.py"), {})
    assert (Path.cwd(), signal.getsignal(signal.SIGTERM), logging.getLogger().level, sys.stdout) == before
    assert logging.root.manager.disable == 0


def test_a_new_gym_is_installable_and_its_tests_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "my_sums", "--into", str(tmp_path), "--json"]) == 0
    folder = Path(json.loads(capsys.readouterr().out)["folder"])
    assert 'my_sums = "my_sums_gym:MySumsGym"' in (folder / "pyproject.toml").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout
    assert main(["validate", str(folder / "my_sums_gym.py"), "--json"]) == 0
    assert main(["audit", str(folder / "my_sums_gym.py"), "--max-tasks", "5", "--json"]) == 0
    capsys.readouterr()
    assert main(["new", "my_sums", "--into", str(tmp_path)]) == 2
    assert main(["new", "No/Name", "--into", str(tmp_path)]) == 2
    assert main(["new", "math", "--into", str(tmp_path)]) == 2
    (tmp_path / "file").write_text("")
    assert main(["new", "others", "--into", str(tmp_path / "file")]) == 2
    assert main(["new", "others", "--into", "/proc/no"]) == 2


@pytest.mark.parametrize(("gym", "status"), [(str(WORD_GYM), 0), ("gyms.testing:check_gym", 1)])
def test_the_pytest_plugin_runs_the_conformance_suite(tmp_path: Path, gym: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--gym", gym],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == status, done.stdout
    assert ("3 passed" if status == 0 else "3 failed") in done.stdout


def test_the_pytest_plugin_names_its_own_options_in_a_refusal(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--gym",
            "arithmetic",
            "--gym-args",
            '{"n": 1}',
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1 and done.stdout.count("\n--gym-args.n: unknown setting") == 3, done.stdout


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["score", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert "python -m gyms score --input rows.jsonl --output scores.jsonl" in capsys.readouterr().out
