"""rl/run.py: what a run does when its steps are done."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from configs.load import load_config
from rl.run import Run
from rl.run_folder import RunFolder


class NoEngines:
    """A cluster whose learner made no update, so that there is no average to write."""

    async def export(self, folder: Path) -> None:
        folder.mkdir()

    def serving(self, folder: Path, *, quantised: bool) -> None:
        raise AssertionError(f"there is no {folder.name}")


def test_a_run_without_an_update_serves_no_average(tmp_path: Path) -> None:
    given = ('model={source="tiny"}', 'gyms=[{name="arithmetic"}]', "num_steps=0", "learner.ema_decay=0.9")
    run = SimpleNamespace(cluster=NoEngines(), folder=RunFolder(tmp_path), config=load_config([], given))
    asyncio.run(Run.export(cast("Any", run)))
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
