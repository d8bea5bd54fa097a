"""What only a CUDA device can show. Without one, everything here is skipped for one reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rl.learner import Learner
from tests.gpu.policies import build_learner

HERE = Path(__file__).parent
CASES = [("llama", 32), ("qwen2", 32), ("llama", 128)]
"""Marlin; Marlin with biases, which it permutes; Machete on Hopper."""


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-g{case[1]}")
def learner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Learner:
    kind, group_size = request.param
    return build_learner(tmp_path_factory.mktemp("policy"), kind=kind, group_size=group_size)


@pytest.fixture(scope="module")
def folder(learner: Learner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int4") / "model"
    learner.export(folder)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
