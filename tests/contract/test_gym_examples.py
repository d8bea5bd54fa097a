"""What the documentation shows as a gym is a gym, and keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from gyms.load import load_gym
from gyms.testing import check_gym, open_gym

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["word_gym", "sql_gym"])
def test_an_example_package_keeps_the_contract(name: str) -> None:
    check_gym(open_gym(ROOT / "examples" / name / f"{name}.py"))


@pytest.mark.parametrize(("name", "args"), [("my_gym.py", {"max_length": 6}), ("my_environment.py", {})])
def test_the_gyms_of_the_documentation_keep_the_contract(tmp_path: Path, name: str, args: dict[str, int]) -> None:
    blocks = [block.split("```")[0] for block in (ROOT / "docs/gyms.md").read_text().split("```python\n")]
    (code,) = [block for block in blocks if block.startswith(f"# {name}\n")]
    (tmp_path / name).write_text(code)
    check_gym(load_gym("documented", str(tmp_path / name), args))
