"""A real learner of two ranks on the Ray of RAY_ADDRESS: what it exports and saves, and saves again when it was loaded.

python -m tests.integration.far_ranks FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from configs.load import load_config
from rl.actors import Actors
from rl.bundles import Spot
from rl.rank_group import start_learner
from rl.settings import learner_settings
from rl.tiny_model import build_tiny_model
from tests.integration.harness import ROOT


async def main(folder: Path) -> None:
    config = load_config(
        [ROOT / "configs" / "tiny_cpu.toml"],
        ["learner.num_ranks=2", "engine.num_engines=1", "cluster.cpus_per_bundle=1"],
    )
    model = config.model
    build_tiny_model(folder / "base", model.tiny, context_length=model.context_length, seed=config.seed)
    async with Actors(config, logs=folder / "logs") as actors:
        settings = learner_settings(config, folder / "base")
        learner = start_learner(actors, settings, spots=[Spot(0, 0), Spot(1, 0)], limits=config.cluster)
        await learner.ask("export", folder / "int4", setting="start_seconds")
        for name in ("first", "second"):
            (folder / name).mkdir()
            await learner.ask("save", folder / name, setting="save_seconds")
            await learner.ask("load", folder / name, setting="save_seconds")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
