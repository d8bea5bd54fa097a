"""README shows the code as it is: the loop and the gym are quoted, not retold."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from rl.train import one_step

ROOT = Path(__file__).parents[2]


def test_readme_quotes_the_loop_as_it_is() -> None:
    assert inspect.getsource(one_step).strip() in (ROOT / "README.md").read_text()


def test_readme_shows_the_gym_that_the_tests_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "gyms.md").read_text(), flags=re.DOTALL)
    assert blocks[0].strip() in (ROOT / "README.md").read_text()
