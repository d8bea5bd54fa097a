"""What stands for a rank or an engine where only its surroundings are asked for; light, as many are started."""

from __future__ import annotations

import os


class Resident:
    """What an engine finds when it begins."""

    def seen(self) -> tuple[list[str], int]:
        """The GPUs that it sees, and its threads."""
        return os.environ["CUDA_VISIBLE_DEVICES"].split(","), int(os.environ["OMP_NUM_THREADS"])
