"""A tiny random model, and a whole run that was never interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.schema import TinyModelConfig
from rl.tiny_model import build_tiny_model
from tests.integration.harness import ALL_CORES, Runs


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


@pytest.fixture(scope="session")
def straight_run(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps without interruption, on as many threads as there are cores."""
    run_dir = tmp_path_factory.mktemp("runs") / "straight"
    runs.finish(run_dir, ALL_CORES)
    return run_dir
