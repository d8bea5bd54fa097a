"""`new NAME`: an installable gym plug-in in a folder of its own, with a test that passes, to be filled in."""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from gyms.cli.show import Block
from gyms.plugins import gym_names

__all__ = ["new", "show_new"]

_LEGAL = re.compile(r"[a-z][a-z0-9_]{0,49}")

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"

[project]
name = "$dist"
version = "0.1.0"
description = "A reward gym: $name"
requires-python = ">=3.11"

[project.entry-points.reward_gyms]
$name = "$module:$cls"

[tool.setuptools]
py-modules = ["$module"]
"""

_GYM = '''\
"""$cls: asks for the sum of two numbers. Replace the questions and the verifier with your own.

The whole contract is gyms/api.py. In short: `tasks(split)[i]` is a pure function of the settings and i; the prompt
never holds the answer; `score` survives any string and answers the same each time; the gold answer scores 1.0.
"""

from collections.abc import Sequence

from gyms.api import Gym, GymSettings, Needs, Score, Split, Status, Task, message


class ${cls}Settings(GymSettings):
    """What a run can set; unknown keys are refused."""

    num_tasks: int = 100
    """Train tasks, at least 1."""


class $cls(Gym):
    """Asks for the sum of two numbers."""

    Settings = ${cls}Settings
    settings: ${cls}Settings
    needs = Needs(wall_seconds=5.0)
    components = {"fraction": "1 where the answer is right, else 0"}

    def tasks(self, split: Split) -> Sequence[Task]:
        # The splits differ in the first number, so no problem is in both.
        first = 0 if split == "train" else 1
        size = self.settings.num_tasks if split == "train" else 20
        return [make_task(2 * i + first, i + 10, f"{split}/{i}") for i in range(size)]

    def score(self, task: Task, response: str) -> Score:
        gold = task.data.get("answer")
        if not isinstance(gold, str):
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r} has no text as data['answer']")
        answer = response.strip()
        if not answer:
            return Score(status=Status.NO_ANSWER)
        if len(answer) > 100:
            return Score(status=Status.TOO_COMPLEX, detail="the answer has over 100 characters")
        value = float(answer == gold)
        return Score(status=Status.OK, value=value, answer=answer, components={"fraction": value})

    def gold(self, task: Task) -> str:
        return task.data["answer"]


def make_task(a: int, b: int, task_id: str) -> Task:
    """The task that asks for a + b."""
    question = f"What is {a} + {b}? Answer with the number alone."
    return Task(id=task_id, prompt=(message("user", question),), data={"answer": str(a + b)})
'''

_TEST = '''\
"""The gym keeps the contract, and pays for the right answer only."""

from pathlib import Path

from gyms.testing import check_gym, open_gym

FILE = Path(__file__).parents[1] / "$module.py"


def test_the_gym_keeps_the_contract():
    check_gym(open_gym(FILE))


def test_only_the_right_answer_is_paid():
    gym = open_gym(FILE, num_tasks=1)
    (task,) = gym.tasks("train")
    assert gym.score(task, " 10\\n").value == 1.0
    assert gym.score(task, "11").value == 0.0
    assert gym.score(task, "10 or 11").value == 0.0
'''

_README = """\
# $dist

A reward gym. `$module.py` holds it, `tests/` checks it.

```sh
pytest                                       # the contract, and your own tests
python -m gyms audit $module.py              # do the usual hacks pay?
pip install -e .                             # registers the gym under the name $name
python -m gyms validate $name
pytest --gym $name                           # the whole conformance suite, in killable workers too
```

In a run:

```toml
[[gyms]]
name = "$name"
gym = "$name"            # or the file: gym = "path/to/$module.py"
share = 1.0
budget = 64
args = { num_tasks = 100 }
```
"""


def new(options: argparse.Namespace) -> dict[str, Any]:
    """Start a gym plug-in: a folder with an installable package, a gym to be filled in, and a test that passes."""
    name = options.name
    if not _LEGAL.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError(f"NAME = {name!r}: expected lower-case letters, digits and _, a letter first, at most 50")
    if name in gym_names():
        raise ValueError(f"NAME = {name!r}: a gym of that name is installed; choose another")
    stem = name if name.endswith("_gym") else f"{name}_gym"
    words = {
        "name": name,
        "module": stem,
        "dist": stem.replace("_", "-"),
        "cls": "".join(part.capitalize() for part in stem.split("_")),
    }
    folder = Path(options.into) / words["dist"]
    files = {
        folder / "pyproject.toml": _PYPROJECT,
        folder / f"{stem}.py": _GYM,
        folder / "tests" / f"test_{stem}.py": _TEST,
        folder / "README.md": _README,
    }
    try:
        folder.mkdir(parents=True)
        (folder / "tests").mkdir()
        for path, template in files.items():
            path.write_text(Template(template).substitute(words), encoding="utf-8")
    except FileExistsError:
        raise ValueError(f"{folder} exists already; choose another name, or another place with --into") from None
    except OSError as error:
        raise ValueError(f"--into {options.into}: {folder} cannot be written: {error.strerror}") from None
    return {
        "folder": str(folder),
        "files": [str(path) for path in files],
        "next": f"edit {folder / (stem + '.py')}, then: pytest {folder}",
    }


def show_new(facts: Mapping[str, Any]) -> Iterator[Block]:
    """The files, and what to do next."""
    yield "\n".join(["wrote", *(f"  {name}" for name in facts["files"])])
    yield f"next: {facts['next']}"
