"""What must survive a kill, in one `RunState`, saved atomically: learner file first, manifest last, one rename.

A checkpoint is a folder `checkpoints/step_<n>` that exists whole or not at all. All else of a run is a function of the
config and the step (draws, seeds, schedules, PTX order), so nothing more needs saving, and a run that was killed and
started again equals one that was not. What would silently break that is in the manifest and compared on resume: the
config, the chat template, the gyms' tasks.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gyms.mixture import GymEntry
from rl.ahead import Held
from rl.partial import PartialGroup
from rl.run_folder import LEARNER_FILE, LEARNER_FOLDER, write_atomically
from rl.sampling import Rates
from rl.toggle import Budgets

__all__ = [
    "Checkpoint", "PublishedWeights", "RunState", "complete_checkpoints",
    "latest_checkpoint", "prune", "write_manifest",
]  # fmt: skip

_REPLACED = ".replaced.partial"
MANIFEST_FILE = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """A version of the packed weights, as the loop holds it."""

    version: int
    """Number of these weights; 0 are the source's."""
    handle: Any
    """What the cluster hands to the engines; opaque to the loop."""
    num_bytes: int
    """Size of the packed weights."""
    pack_seconds: float
    """Time from asking the learner until the artefact is in the object store and compared with the one before."""
    code_flip_frac: float | None = None
    """Fraction of INT4 codes that differ from those published before; None for the first."""


@dataclass(slots=True, kw_only=True)
class RunState:
    """Where a run stands between two steps. Theta and optimiser live in the learner and are saved beside it."""

    num_steps: int
    """Steps of the run."""
    weights: PublishedWeights
    """Current policy."""
    step: int = 0
    """Next step to do."""
    is_warm: bool = False
    """The warm-up is done (or there is none)."""
    num_evals: int = 0
    """Evaluations recorded so far."""
    rates: Rates = field(default_factory=dict)
    """Success rates of tasks by gym and task id, where the sampling of prompts uses them (`rl.sampling`)."""
    budgets: Budgets = field(default_factory=dict)
    """Token budgets of tasks by gym and task id, where `reward.toggle` uses them (`rl.toggle`)."""
    carried: tuple[PartialGroup, ...] = ()
    """Groups with unfinished responses, in the order in which they began."""
    ahead: Held | None = None
    """Complete groups of the step to do, drawn while the one before was learned (`rl.ahead`), where they were saved."""
    is_stopping: bool = False
    """Ctrl-C: stop at the next boundary, with a checkpoint."""

    @property
    def goes_on(self) -> bool:
        """There is a step left to do and nobody asked to stop."""
        return self.step < self.num_steps and not self.is_stopping

    def advance(self, weights: PublishedWeights, carried: tuple[PartialGroup, ...] = ()) -> None:
        """A step is done: its weights are the policy now, under which unfinished groups go on."""
        self.step += 1
        self.weights, self.carried, self.ahead = weights, carried, None

    def state_dict(self, entries: Sequence[GymEntry]) -> dict[str, Any]:
        """Plain facts for the manifest; `entries` are the run's gyms."""
        return {
            "step": self.step,
            "weight_version": self.weights.version,
            "is_warm": self.is_warm,
            "num_evals": self.num_evals,
            "rates": self.rates,
            "budgets": self.budgets,
            "carried": [group.state_dict(entries) for group in self.carried],
            "ahead": None if self.ahead is None else self.ahead.facts(),
        }

    def load_state_dict(self, state: dict[str, Any], weights: PublishedWeights, entries: Sequence[GymEntry]) -> None:
        """Take back what `state_dict` gave; `weights` are those of the restored learner, `entries` the run's gyms."""
        self.carried = tuple(PartialGroup.from_state(one, entries) for one in state.get("carried", []))
        self.rates = {gym: dict(rates) for gym, rates in state.get("rates", {}).items()}
        self.budgets = {gym: dict(budgets) for gym, budgets in state.get("budgets", {}).items()}
        self.step, self.is_warm, self.num_evals = state["step"], state["is_warm"], state["num_evals"]
        self.weights = weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    """Has the manifest, and masters and optimiser (`rl.learner_state`)."""
    run: dict[str, Any] = field(default_factory=dict)
    """What `RunState.state_dict` gave."""
    fingerprint: dict[str, Any] = field(default_factory=dict)
    """Facts that must be the same when the run goes on: chat template, gyms."""

    @property
    def step(self) -> int:
        """The next step to do."""
        return self.run["step"]

    def holds(self, run: dict[str, Any], fingerprint: dict[str, Any]) -> bool:
        """Whether a checkpoint of these facts would say what this one says: a step has one outcome."""
        return json.loads(json.dumps([run, fingerprint])) == [self.run, self.fingerprint]


def staging_folder(checkpoints: Path, step: int) -> Path:
    """An empty folder to write a checkpoint into, out of sight of `latest_checkpoint`.

    Of a name that no other attempt has: what a learner still writes that was given up, as behind a link that was cut,
    comes into no checkpoint. What earlier attempts left goes first, as a disk that it filled would stay full.
    """
    for left in checkpoints.glob(".step_*.partial"):
        if not left.name.endswith(_REPLACED):
            shutil.rmtree(left, ignore_errors=True)  # somebody may still write
    folder = checkpoints / f".step_{step:06d}.{uuid.uuid4().hex}.partial"
    folder.mkdir(parents=True)
    return folder


def write_manifest(staging: Path, checkpoints: Path, *, run: dict[str, Any], fingerprint: dict[str, Any]) -> Path:
    """Finish a staged checkpoint: manifest last, then one rename. An older one of the same step is replaced."""
    write_atomically(staging / MANIFEST_FILE, json.dumps({"run": run, "fingerprint": fingerprint}, indent=2) + "\n")
    folder = checkpoints / f"step_{run['step']:06d}"
    replaced = checkpoints / f".{folder.name}{_REPLACED}"  # a kill leaves it to latest_checkpoint() and prune()
    if folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        folder.rename(replaced)
    staging.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return folder


def latest_checkpoint(checkpoints: Path) -> Checkpoint | None:
    """The complete checkpoint with the highest step, or None.

    One that a kill caught between the two renames of `write_manifest` is put back first.
    """
    for replaced in checkpoints.glob(f".step_*{_REPLACED}"):
        folder = checkpoints / replaced.name.removeprefix(".").removesuffix(_REPLACED)
        if not folder.exists():
            replaced.rename(folder)
    for folder in _complete(checkpoints):
        return _read(folder)
    return None


def complete_checkpoints(checkpoints: Path) -> list[Checkpoint]:
    """All complete checkpoints, newest first; nothing is put back or changed."""
    return [_read(folder) for folder in _complete(checkpoints)]


def prune(checkpoints: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and what a kill left half-written."""
    kept = _complete(checkpoints)[:keep]
    for folder in (*checkpoints.glob("step_*"), *checkpoints.glob(".step_*.partial")):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=folder.name.startswith("."))  # into those somebody may still write


def _read(folder: Path) -> Checkpoint:
    facts = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    return Checkpoint(folder=folder, run=facts["run"], fingerprint=facts["fingerprint"])


def _complete(checkpoints: Path) -> list[Path]:
    """Folders of complete checkpoints, newest first."""
    folders = sorted(checkpoints.glob("step_*"), reverse=True)
    return [folder for folder in folders if (folder / MANIFEST_FILE).is_file() and _has_learner(folder)]


def _has_learner(folder: Path) -> bool:
    return (folder / LEARNER_FILE).is_file() or (folder / LEARNER_FOLDER / ".metadata").is_file()
