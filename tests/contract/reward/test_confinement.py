"""A verifier writes to its scratch folder, to temporary files, and to what it declares; nowhere else."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gyms.api import Needs, Score, Task, message
from gyms.load import GymSpec, check_needs
from gyms.sandbox.inside import landlock
from reward.scorer import Scorer

FILE = Path(__file__).parent / "bad_gyms.py"
TASK = Task(id="t", prompt=(message("user", "?"),))
_names = itertools.count()
needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    names = ("Writes", "WritesDeclared", "WritesAnywhere", "Obedient")
    with Scorer([GymSpec(name=name, reference=f"{FILE}:{name}") for name in names]) as shared:
        yield shared


def ask(scorer: Scorer, response: str, gym: str = "Writes") -> Score:
    return asyncio.run(scorer.score(f"r{next(_names)}", gym, TASK, response))


@needs_landlock
@pytest.mark.parametrize("how", ["file", "folder", "sql", "thread"])
def test_writing_elsewhere_is_refused_and_nothing_appears(scorer: Scorer, how: str, tmp_path: Path) -> None:
    target = tmp_path / "there"
    score = ask(scorer, f"{how} {target}")
    assert not target.exists()
    if how != "thread":  # an error in a thread is not the gym's to see
        assert score.value is None
    if how == "file":
        assert "Permission denied" in score.detail and "Needs(writes=...)" in score.detail


@needs_landlock
def test_what_is_there_can_be_read_and_not_removed(scorer: Scorer, tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.write_text("as before")
    assert ask(scorer, f"read {target}").answer == "as before"
    assert ask(scorer, f"remove {target}").value is None
    assert target.read_text() == "as before"


def test_temporary_files_lie_in_the_scratch_folder_and_go_with_it(scorer: Scorer) -> None:
    score = ask(scorer, "temporary ")
    assert score.value == 1.0 and "scoring-worker-" in (score.answer or "")


@pytest.mark.parametrize("gym", ["WritesDeclared", "WritesAnywhere"])
def test_what_is_declared_can_be_written(scorer: Scorer, gym: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own lies elsewhere where TMPDIR is set
        assert ask(scorer, f"sql {folder}/there", gym).value == 1.0
        assert Path(folder, "there").exists()


def test_the_scratch_folder_can_be_written(scorer: Scorer) -> None:
    assert ask(scorer, "scratch", "Obedient").value == 1.0


@pytest.mark.parametrize("writes", ["/tmp", ("relative",), (Path("/tmp"),), ["/tmp"]])
def test_a_wrong_declaration_is_refused(writes: object) -> None:
    with pytest.raises(ValueError, match=r"needs\.writes = "):
        check_needs(Needs(writes=writes))  # type: ignore[arg-type]
