"""A learner in a process of its own that lends its weights and goes to the host: `LendingProcess` starts it.

It is told line by line on its standard input, and answers each with a line:

    publish N    publish policy N with a copy, offload, pickle artefact, forward weights and copy into `lent.pickle`
    take_back    free the copy
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from rollout.weights.contract import WeightArtefact
from rollout.weights.device_copy import DeviceCopy
from tests.integration.harness import ROOT, new_learner

Lent = tuple[WeightArtefact, dict[str, torch.Tensor], DeviceCopy]
"""Artefact, what the learner's forward pass uses, and where the copy is."""


class LendingProcess:
    """Policy 0 is the model; policy N differs by noise of that seed. `int4/` is policy 0's folder.

    Args:
        folder: to write into.
        model: the learner's.
        dtype: what it computes in.
        environment: variables of its process.
    """

    def __init__(self, folder: Path, model: Path, *, dtype: str, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.lending", str(folder), str(model), dtype],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "TMPDIR": "/tmp", **environment},  # a socket below a long one would not fit
        )  # fmt: skip
        self._wait_for("ready")

    def publish(self, version: int) -> Lent:
        """Lend a policy; the copy may be opened once."""
        self._tell(f"publish {version}")
        return pickle.loads((self.folder / "lent.pickle").read_bytes())

    def take_back(self) -> None:
        """Free what was lent last."""
        self._tell("take_back")

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._wait_for("done")

    def _wait_for(self, wanted: str) -> None:
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()).strip() != wanted:
            assert line, "the learner's process has ended"


def main(folder: Path, model: Path, dtype: str) -> None:
    torch.multiprocessing.set_sharing_strategy("file_system")  # on a CPU: a name, which any process can open
    learner = new_learner(model, compute_dtype=dtype)
    learner.export(folder / "int4")
    start = {name: master.detach().cpu().clone() for name, master in learner.masters.parameters.items()}
    learner.offload()
    print("ready", flush=True)
    for line in sys.stdin:
        command, *version = line.split()
        if command == "publish":
            learner.onload()
            generator = torch.Generator().manual_seed(int(version[0]))
            for name, master in learner.masters.parameters.items():
                noise = 0.02 * torch.randn(master.shape, generator=generator) * (version[0] != "0")
                master.copy_((start[name] + noise).to(master.device))
            learner.masters.refresh()
            artefact, known = learner.publish_shared(int(version[0]), lends=True)
            assert known is not None
            (folder / "lent.pickle").write_bytes(pickle.dumps((artefact, learner.forward_weights(), known.copy)))
            learner.offload()
        else:
            learner.take_back()
        print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
