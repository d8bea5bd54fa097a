"""How tests share a machine, and what the last lines say about them: hooks that `tests/conftest.py` hands to pytest.

Workers take whole files (`--dist=loadfile`) in the order of collection, so files that mostly wait for processes of
their own go first and the many short ones fill what is left. Each worker has its own folder for temporary files: tests
of the sandbox look at what is left there, and must not see their neighbours'. A worker computes on its share of the
cores, one thread at least: threads that wait for each other while another worker has the core cost more than they give.
Unit tests have one thread, as their matrices are small. Actors of a run have what its config says.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent
FIRST = (
    "integration/test_runs.py",
    "integration/test_logprob_gap.py",
    "integration/test_joint.py",
    "integration/test_environments.py",
    "integration/test_light_environment.py",
    "integration/sandbox/test_sandbox_attacks.py",
    "integration/test_ray_job.py",
    "integration",
    "contract",
    "unit/rl",
)
"""Files and folders below tests/, the longest first."""

TIER = "sandbox tier"
"""Name of the report's property that says under which tier of the sandbox a test ran."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--oracles", metavar="FOLDER", help="published data sets, for tests/oracles (else rows of our own)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each worker a folder of its own below the one that temporary files go to."""
    os.environ.setdefault("RAY_TMPDIR", "/tmp")  # paths of Ray's sockets do not fit below a long TMPDIR
    if hasattr(config, "workerinput"):
        os.environ["OMP_NUM_THREADS"] = str(num_threads())
        folder = tempfile.mkdtemp(prefix="w")
        Path(folder).chmod(0o711)  # one tier of the sandbox enters it as another user
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=rank)  # stable: the order within a file stays


def rank(item: pytest.Item) -> int:
    """Place of a test's file in `FIRST`."""
    path = item.path.relative_to(ROOT).as_posix() if item.path.is_relative_to(ROOT) else ""
    return next((i for i, first in enumerate(FIRST) if path == first or path.startswith(f"{first}/")), len(FIRST))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1 if item.path.is_relative_to(ROOT / "unit") else num_threads())
    tier = getattr(item, "callspec", None) and item.callspec.params.get("sandbox")  # type: ignore[attr-defined]
    if tier:
        item.user_properties.append((TIER, tier))


def num_threads() -> int:
    """Of this worker, or of the only process where there are none."""
    return max(len(os.sched_getaffinity(0)) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), 1)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Under which sandbox tiers tests passed, and what was skipped, once for each reason."""
    passed = Counter(
        value
        for report in terminalreporter.stats.get("passed", ())
        for name, value in report.user_properties
        if name == TIER
    )
    skipped = Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", ()))
    if passed:
        told = ", ".join(f"{tier} ({number} tests)" for tier, number in sorted(passed.items()))
        terminalreporter.write_line(f"sandbox tiers tested here: {told}")
    if skipped:
        terminalreporter.write_line(f"skipped: {sum(skipped.values())}")
        for reason, number in skipped.most_common():
            terminalreporter.write_line(f"  {number} x {reason}")


def reason_of(report: Any) -> str:
    where = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return re.sub(r"^Skipped: ", "", where)
