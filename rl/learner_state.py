"""Masters and moments on disk: one file of a learner that is alone, one of each rank of others; read by any number.

    learner.pt     torch.save of whole tensors
    learner/       torch.distributed.checkpoint: each rank writes the rows that it holds; a table says whose are where

Either is read by one process and by any number of ranks: a rank takes its rows out of the file, and the table tells it
which files of other ranks hold them. Numbers are fp32 and are stored as they are, so what was read is what was written,
bit for bit, whatever the cut. Ranks on several nodes may each be given a folder of their own to write into, whose
files belong into one (rl/folders.py).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rl.optim import Optimizer
from rl.qat import Masters
from rl.run_folder import LEARNER_FILE, LEARNER_FOLDER

if TYPE_CHECKING:
    from rl.shards import RankMasters

__all__ = ["load_state", "save_state"]

MASTER = "master"
"""What the masters are called beside the moments (`exp_avg`, `exp_avg_sq`, `step`): keys are `<kind>/<parameter>`."""


def save_state(folder: Path, masters: Masters | RankMasters, optimizer: Optimizer) -> None:
    """Write masters and moments into a folder; every rank calls it."""
    if not isinstance(masters, Masters):
        _save_shards(folder / LEARNER_FOLDER, masters, optimizer)
        return
    with (folder / LEARNER_FILE).open("wb") as stream:
        torch.save({"masters": masters.parameters, "optimizer": optimizer.state_dict()}, stream)
        stream.flush()
        os.fsync(stream.fileno())  # the manifest of the checkpoint must not reach the disk before it


def load_state(folder: Path, masters: Masters | RankMasters, optimizer: Optimizer) -> None:
    """Read into masters, and into an optimiser that is new; every rank calls it.

    Raises:
        ValueError: the state of another model or optimiser.
    """
    if (folder / LEARNER_FOLDER).is_dir():
        _load_shards(folder / LEARNER_FOLDER, masters, optimizer)
    else:
        _load_file(folder / LEARNER_FILE, masters, optimizer)


def _load_file(file: Path, masters: Masters | RankMasters, optimizer: Optimizer) -> None:
    is_whole = isinstance(masters, Masters)
    device = next(iter(masters.parameters.values())).device
    state = torch.load(file, map_location=device if is_whole else "cpu", weights_only=True, mmap=not is_whole)
    _check_names(file, state["masters"], masters)
    for name, master in masters.parameters.items():
        master.copy_(_cut(state["masters"][name], name, masters))
    if is_whole:
        optimizer.load_state_dict(state["optimizer"])
        return
    moments = optimizer.named(state["optimizer"])
    optimizer.load_moments(
        {
            name: {kind: _cut(value, name, masters).to(device, copy=True) for kind, value in moment.items()}
            for name, moment in moments.items()
        }
    )


def _cut(whole: Tensor, name: str, masters: Masters | RankMasters) -> Tensor:
    """What this process holds of a tensor; a count of steps is everybody's."""
    if isinstance(masters, Masters) or not whole.ndim:
        return whole
    held = masters.held(name)
    return whole[held.start : held.stop]


def _save_shards(folder: Path, masters: RankMasters, optimizer: Optimizer) -> None:
    import torch.distributed.checkpoint as dcp  # here, since a learner that is alone would wait for it

    state: dict[str, Any] = {f"{MASTER}/{name}": master for name, master in masters.parameters.items()}
    for name, moment in optimizer.moments().items():
        state |= {f"{kind}/{name}": value for kind, value in moment.items()}
    dcp.save(_placed(state, masters), checkpoint_id=folder)


def _load_shards(folder: Path, masters: Masters | RankMasters, optimizer: Optimizer) -> None:
    import torch.distributed.checkpoint as dcp

    kept = [key.split("/", 1) for key in dcp.FileSystemReader(folder).read_metadata().state_dict_metadata]
    _check_names(folder, {name: None for kind, name in kept if kind == MASTER}, masters)
    moments: dict[str, dict[str, Tensor]] = {}
    for kind, name in kept:
        if kind != MASTER:
            master = masters.parameters[name]
            is_count = kind == "step"
            moments.setdefault(name, {})[kind] = master.new_zeros(()) if is_count else torch.zeros_like(master)
    state: dict[str, Any] = {f"{MASTER}/{name}": master for name, master in masters.parameters.items()}
    state |= {f"{kind}/{name}": value for name, moment in moments.items() for kind, value in moment.items()}
    if isinstance(masters, Masters):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # yes
            dcp.load(state, checkpoint_id=folder, no_dist=True)
    else:
        dcp.load(_placed(state, masters), checkpoint_id=folder)
    optimizer.load_moments(moments)


def _placed(state: Mapping[str, Tensor], masters: RankMasters) -> dict[str, Any]:
    """Own rows as parts of whole tensors, which share their memory."""
    return {key: masters.distributed(key.split("/", 1)[1], t) if t.ndim else t for key, t in state.items()}


def _check_names(where: Path, found: Mapping[str, object], masters: Masters | RankMasters) -> None:
    if set(found) != set(masters.parameters):
        raise ValueError(f"{where} belongs to another model: its parameters differ")
