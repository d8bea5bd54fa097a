"""Rows in the form of published data sets: a few of our own by default, the published files with `--oracles FOLDER`.

The same tests read both. `own/` was written for this project (its own wording and numbers), so that readers, verifiers
and gold answers are exercised on a clean clone; what only the whole published sets can show is asserted by
`make test-oracles ORACLES=FOLDER`. Licences and sizes keep those sets out of the repository.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

OWN = Path(__file__).parent / "own"
FILES = {
    "gsm8k/train.jsonl": "GSM8K",
    "gsm8k/test.jsonl": "GSM8K",
    "math/math500.jsonl": "MATH-500",
    "math/math_verify_cases.dev.jsonl": "Math-Verify's test cases, one {gold, pred, expected} a line",
    "humaneval/HumanEval.jsonl.gz": "HumanEval",
    "mbpp/mbpp.jsonl": "MBPP",
    "ifeval/input_data.jsonl": "IFEval",
    "autoj/autoj_pairwise.json": "Auto-J's pairwise test set",
}
"""Path below the folder -> whose published file it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracles:
    """Where the rows are, and whether they are the published ones."""

    folder: Path
    is_published: bool

    def path(self, name: str) -> Path:
        """A file of `FILES`; skips the test where the given folder lacks it."""
        path = self.folder / name
        if not path.is_file():
            pytest.skip(f"{path} is missing: the file of {FILES[name]} goes there")
        return path

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path(name).read_text(encoding="utf-8").splitlines()]

    def expected(self, *, own: Any, published: Any) -> Any:
        """What must be found: it depends on the rows."""
        return published if self.is_published else own


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--oracles")
    if given is not None and not any((Path(given) / name).is_file() for name in FILES):
        raise pytest.UsageError(
            f"--oracles {given}: no published file is in this folder; it may hold {', '.join(FILES)}"
        )


@pytest.fixture(scope="session")
def oracles(pytestconfig: pytest.Config) -> Oracles:
    given = pytestconfig.getoption("--oracles")
    return Oracles(folder=OWN if given is None else Path(given).resolve(), is_published=given is not None)
