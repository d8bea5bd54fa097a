"""Numbers at wandb and TensorBoard: read back from the files that the libraries write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.schema import Config
from rl.trackers import MAX_SAMPLES, SAMPLE_COLUMNS, TensorBoardTracker, WandbTracker, sample_table, start_trackers

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
CONFIG = {"num_steps": 1, "model": {"source": "tiny", "context_length": 2048}, "gyms": [{"name": "sums"}]}
ROW = {"reward/mean": 0.5, "rollout/logprob_gap_mean": None, "step": 0}


@pytest.fixture
def no_key(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def config(**report) -> Config:
    return Config.model_validate(CONFIG | {"report": report})


def events(folder: Path) -> list:
    """All events of a folder, file by file as TensorBoard reads them; each record is length, CRC, data, CRC."""
    found = []
    for file in sorted(folder.glob("events.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            found.append(event_pb2.Event.FromString(data[at + 12 : at + 12 + size]))
            at += 12 + size + 4
    return found


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows: a session that starts at a step hides what came before it of that step and later."""
    curves: dict[str, dict[int, float]] = {}
    for event in events(folder):
        if event.HasField("session_log"):
            curves = {tag: {s: v for s, v in one.items() if s < event.step} for tag, one in curves.items()}
        for value in event.summary.value:
            if value.HasField("simple_value"):
                curves.setdefault(value.tag, {})[event.step] = value.simple_value
    return curves


def test_wandb_writes_an_offline_folder_without_a_key_with_samples_and_goes_on_under_the_same_id(tmp_path, no_key):
    tracker = WandbTracker(config(tags=["sweep"], notes="why"), tmp_path, is_resumed=False)
    tracker.log(ROW, 0)
    tracker.samples([[0, "sums", "t", "1+2=", "3", 1.0, "ok", "stop", 2]], 0)
    tracker.close()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    first = json.loads((tmp_path / "tracking.json").read_text())["wandb_id"]
    assert folder.name.endswith(first) and list(folder.glob("*.wandb"))
    (table,) = folder.rglob("*.table.json")
    found = json.loads(table.read_text())
    assert tuple(found["columns"]) == SAMPLE_COLUMNS and found["data"][0][3:5] == ["1+2=", "3"]
    WandbTracker(config(), tmp_path, is_resumed=True).close()
    folders = {one.name for one in (tmp_path / "wandb").glob("offline-run-*")}
    assert len(folders) == 2 and all(f"-{first}" in name for name in folders)  # of one second: the second ends in -1
    WandbTracker(config(), tmp_path, is_resumed=False).close()  # a new run in a used folder
    assert json.loads((tmp_path / "tracking.json").read_text())["wandb_id"] != first


def test_tensorboard_shows_one_value_a_step_after_a_resume_and_after_a_rewind(tmp_path):
    tracker = TensorBoardTracker(tmp_path, first_step=0)
    for step in range(4):
        tracker.log({"reward/mean": float(step), "rollout/turns_mean": None}, step)
    tracker.log({"reward/mean": 20.0}, 2)  # rewound to step 2
    tracker.close()
    assert shown(tmp_path) == {"reward/mean": {0: 0.0, 1: 1.0, 2: 20.0}}
    resumed = TensorBoardTracker(tmp_path, first_step=1)
    resumed.log({"reward/mean": 10.0}, 1)
    resumed.close()
    assert shown(tmp_path) == {"reward/mean": {0: 0.0, 1: 10.0}}


def test_tensorboard_shows_samples_as_a_table(tmp_path):
    tracker = TensorBoardTracker(tmp_path, first_step=0)
    tracker.samples([[0, "sums", "t", "1|2\n=", "3", 1.0, "ok", "stop", 2]], 0)
    tracker.close()
    (text,) = [v.tensor.string_val[0].decode() for e in events(tmp_path) for v in e.summary.value]
    assert text.splitlines()[0].startswith("| step | gym |") and "| 1\\|2 = | 3 | 1.000 |" in text


def test_what_is_off_is_not_started(tmp_path, no_key):
    assert start_trackers(config(wandb="off"), tmp_path, first_step=None) == []
    (only,) = start_trackers(config(wandb="off", tensorboard=True), tmp_path, first_step=3)
    only.close()
    assert isinstance(only, TensorBoardTracker) and not (tmp_path / "tracking.json").exists()


def test_a_table_holds_whole_groups_and_at_least_one(group):
    wide = [group(n, *[1.0] * 24) for n in range(4)]
    assert len(sample_table(wide, 0)) == 48 <= MAX_SAMPLES
    assert len(sample_table([group(0, *[1.0] * 100)], 0)) == 100
