"""Every command of a page is run as it stands, in a folder as its reader has it, or stands in a table with the reason.

Runs themselves take minutes: of a command that would start one its config is resolved (`--print`) or, with a plug-in,
checked (`--dry-run`), and a sweep is planned. What arguments and settings a command may have at all is for
`tests/unit/test_pages.py`.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from unittest import mock

import pytest

from tests.page_commands import PAGES, ROOT, Command, commands
from tests.reader import make_folder

INSTALLS = "changes the machine, not the project"
SERVES = "tests/integration/test_serving.py: takes a trained model"
CLUSTER = "tests/integration/test_ray_job.py: takes a cluster"
RUNS = "tests/integration/test_runs.py: takes engines, and minutes"
MEASURES = "measures for minutes; its figures are in docs/benchmarks.md and docs/ablations.md"
NOT_RUN: Mapping[str, str] = {
    "apt-get *": INSTALLS,
    "pip install *": INSTALLS,
    "make *": "installs, trains, or is what runs this test; targets are looked up in tests/unit/test_pages.py",
    ". .venv/bin/activate": "of the shell",
    "export *": "of the shell",
    "eval *": "of the shell; tests/unit/test_completion.py",
    "ray *": CLUSTER,
    "rl.sweep *--submit *": CLUSTER,
    "curl *": SERVES,
    "vllm.*": SERVES,
    "rl.evaluate *": RUNS,
    "rl.replay *": RUNS,
    "rl.export *": "tests/unit/rl/test_export.py: takes a run's checkpoint",
    "rl.prepare *": "downloads 93 MB; `make model` before the tests does it",
    "rl.page.command *--follow": "ends at Ctrl-C; tests/unit/rl/page/test_command.py",
    "rl.page.command runs/shop*": "of a run that a page leaves to the reader",
    "reward.calibrate *openai:*": "asks an endpoint; tests/unit/reward",
    "pytest *": "tests/contract/test_gym_examples.py",
    "gyms.cli.main validate word": "of an installed package; tests/contract/test_plugins.py",
    "tensorboard *": "a program of others",
    "wandb *": "a program of others, and a key",
    "hf download *": "a program of others, and the hub",
    "rl.* qwen.toml *": "takes a model of the hub; tests/unit/test_tutorials.py loads the config",
    "benchmarks.ablations *--steps *": MEASURES,
    "benchmarks.ablations --write *": MEASURES,
    "benchmarks.gpu*": "takes a GPU; tests/gpu/test_benchmarks.py",
}
"""Patterns of module (or program) and arguments, and where else it is seen to work."""
STATUS = {"gyms.cli.main audit examples/leaky_sums/leaky_sums.py": 1}
"""Of commands that a page says to fail."""


def typed(command: Command) -> str:
    """Module or program, and arguments."""
    words = command.words if command.module is None else (command.module, *command.arguments)
    return " ".join((words[0].rpartition("/")[2], *words[1:]) if command.module is None else words)


COMMANDS = {typed(command): command for page in PAGES for command in commands(page)}
RUN = [text for text in COMMANDS if not any(fnmatchcase(text, pattern) for pattern in NOT_RUN)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reader")
    make_folder(path)
    return path


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """What a program sets for its own process is taken back."""
    level, modules = logging.root.level, set(sys.modules)
    with mock.patch.dict(os.environ):
        yield
    logging.root.setLevel(level)
    for name in ("my_losses", "my_advantages"):
        if name not in modules:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_a_pattern_of_the_table_is_of_a_command(pattern: str) -> None:
    assert any(fnmatchcase(text, pattern) for text in COMMANDS), "no page has it: take it out"


@pytest.mark.parametrize("text", RUN)
def test_a_command_of_a_page_works_as_it_stands(
    text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[text]
    assert command.module is not None, "a program of others: run it, or give the reason in NOT_RUN"
    if not (ROOT / "models").exists() and re.search("smollm2.*--dry-run|rl.plan", text):
        pytest.skip("there is no models/smollm2-135m-instruct: make model")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    named = [sorted(folder.glob(word)) if "*" in word else [word] for word in command.arguments]
    arguments = [str(path) for paths in named for path in paths]
    if command.module == "rl.cli" and not {"--print", "--dry-run"} & set(arguments):
        arguments.append("--dry-run" if ":" in text else "--print")  # a loss of one's own is tried
    if command.module == "rl.sweep" and not {"--table", "--dry-run"} & set(arguments):
        arguments.append("--dry-run")
    monkeypatch.setattr(sys, "argv", [command.module, *arguments])
    try:
        status = importlib.import_module(command.module).main()
    except SystemExit as stopped:  # argparse, after --help
        status = stopped.code
    assert (status or 0) == STATUS.get(text, 0), "".join(capsys.readouterr())
