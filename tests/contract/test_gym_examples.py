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


def test_the_gym_of_the_documentation_keeps_the_contract(tmp_path: Path) -> None:
    code = (ROOT / "docs/gyms.md").read_text().split("```python\n")[1].split("```")[0]
    file = tmp_path / "my_gym.py"
    file.write_text(code)
    check_gym(load_gym("reversal", str(file), {"max_length": 6}))
