"""A learner without a model on the Ray of RAY_ADDRESS, which reads and writes folders of the driver's node.

python -m tests.integration.far_learner FOLDER: for each line on standard input it saves and prints what came of it.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from configs.schema import Config
from rl.actors import Actors
from rl.faults import ActorLost


@dataclass(frozen=True)
class Settings:
    model_folder: Path


class FarLearner:
    """Its state is what it read, as often as it was saved."""

    def __init__(self, settings: Settings) -> None:
        self.state = (settings.model_folder / "weights").read_bytes()

    def save(self, folder: Path) -> None:
        (folder / "learner.pt").write_bytes(self.state)
        self.state += self.state

    def load(self, folder: Path) -> None:
        self.state = (folder / "learner.pt").read_bytes()

    def export(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(self.state)


async def main(folder: Path) -> None:
    config = Config.model_validate(
        {"model": {"source": "tiny"}, "gyms": [{"name": "arithmetic"}], "cluster": {"cpus_per_bundle": 1}}
    )
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "weights").write_bytes(b"theta")
    async with Actors(config, logs=folder / "logs") as actors:
        number, restored = 0, folder / "base"
        while True:
            learner = actors.start(
                FarLearner, Settings(model_folder=folder / "base"), name="learner", bundle=0, environment={}
            )
            try:
                await learner.ask("__ray_ready__", setting="start_seconds")
                if number:
                    await learner.ask("load", restored, setting="save_seconds")
                for _ in sys.stdin:
                    staging = folder / f"step_{number}"
                    staging.mkdir()
                    await learner.ask("save", staging, setting="save_seconds")
                    print(f"saved {(staging / 'learner.pt').read_bytes().decode()}", flush=True)
                    number, restored = number + 1, staging
                await learner.ask("export", folder / "export", setting="save_seconds")
                return
            except ActorLost as error:
                print(error, flush=True)
                staging.rmdir()
                actors.stop(learner)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
