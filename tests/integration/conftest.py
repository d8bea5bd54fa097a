"""A tiny random model, and a whole run that was never interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.schema import TinyModelConfig
from rl.tiny_model import build_tiny_model
from tests.integration.harness import Runs, standing_ray


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/integration" in str(item.path):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    build_tiny_model(folder, TinyModelConfig(num_layers=2), context_length=128, seed=3)
    return folder


@pytest.fixture(scope="session")
def runs() -> Runs:
    return Runs()


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """A Ray for a file's runs that test something else than its start: each would spend five CPU seconds on that."""
    with standing_ray() as address:
        yield address


@pytest.fixture(scope="module")
def joining_runs(ray_address: str) -> Runs:
    """Runs that join it."""
    return Runs(address=ray_address)


@pytest.fixture(scope="session")
def straight_run(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps without interruption."""
    run_dir = tmp_path_factory.mktemp("runs") / "straight"
    runs.finish(run_dir)
    return run_dir
