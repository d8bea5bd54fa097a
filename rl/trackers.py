"""Where a run's numbers go besides its folder: wandb, TensorBoard and Prometheus, under the names of docs/metrics.md.

A tracker gets the rows of metrics.jsonl as they are, and every few steps whole groups of samples as a table. Nothing of
the run depends on one.

**wandb** is online where a key is configured, else it writes an offline folder for `wandb sync`. Its run's id is drawn
when a run begins and kept in the run folder (`tracking.json`), so that a resumed run goes on in the same curves, a
folder that is used for a new run begins new ones, and a run folder may be moved. What a rewound run does again it has
already, and drops.

**TensorBoard**'s files are written by tensorboardX. torch has a writer of its own, which needs the package tensorboard
with its server (gRPC, Werkzeug, Markdown: 15 MB); tensorboardX needs what is there already. A resumed or rewound run
opens a new file that hides what came after its step.

**Prometheus** reads them from Ray (rl/gauges.py).
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from configs.schema import Config
from rl.run_folder import write_atomically

if TYPE_CHECKING:
    from rl.batch import Group

__all__ = [
    "MAX_SAMPLES",
    "SAMPLE_COLUMNS",
    "TensorBoardTracker",
    "Tracker",
    "WandbTracker",
    "has_wandb_key",
    "sample_table",
    "start_trackers",
]

MAX_SAMPLES = 64
"""Samples of one table, whole groups: what a browser shows well. All are in rollouts/ of the run folder."""
SAMPLE_COLUMNS = ("step", "gym", "task", "prompt", "response", "reward", "status", "finish_reason", "num_tokens")
Row = Mapping[str, Any]
_FILES = itertools.count()
"""Numbers of TensorBoard's files: by itself the library names two that are opened within a second alike."""


class Tracker(Protocol):
    """Something that keeps the numbers of a run."""

    def log(self, row: Row, step: int) -> None:
        """Keep a step's numbers; null ones are left out."""
        ...

    def samples(self, rows: Sequence[Sequence[Any]], step: int) -> None:
        """Keep some samples of a step: rows of `SAMPLE_COLUMNS`."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def start_trackers(config: Config, folder: Path, *, first_step: int | None) -> list[Tracker]:
    """The trackers that `report` asks for.

    Args:
        folder: the run folder.
        first_step: where a resumed run goes on; None where it begins.
    """
    found: list[Tracker] = []
    if config.report.wandb != "off":
        found.append(WandbTracker(config, folder, is_resumed=first_step is not None))
    if config.report.tensorboard:
        found.append(TensorBoardTracker(folder / "tensorboard", first_step=first_step or 0))
    if config.report.prometheus:
        from rl.gauges import PrometheusTracker  # Ray, which reports of finished runs do without

        found.append(PrometheusTracker(config.name, folder))
    return found


def sample_table(groups: Sequence[Group], step: int) -> list[list[Any]]:
    """Rows of `SAMPLE_COLUMNS` of the first groups, whole ones, at most `MAX_SAMPLES`; at least one group."""
    rows: list[list[Any]] = []
    for group in groups:
        if rows and len(rows) + len(group.samples) > MAX_SAMPLES:
            break
        asked = [step, group.draw.gym, group.draw.task.id, group.draw.task.prompt[-1]["content"]]
        rows += [
            [*map(_plain, asked), _plain(s.sample.text), s.reward.total, str(s.score.status),
             str(s.sample.finish_reason), s.sample.num_sampled]
            for s in group.samples
        ]  # fmt: skip
    return rows


class WandbTracker:
    """A run at wandb, or an offline folder of one.

    Args:
        config: the resolved config; all of it is stored with the run.
        folder: the run folder, which holds wandb's files and the run's id.
        is_resumed: go on in the run of the folder's id.
    """

    def __init__(self, config: Config, folder: Path, *, is_resumed: bool) -> None:
        import wandb

        self._make_table = wandb.Table
        has_key = has_wandb_key()
        self._run = wandb.init(
            project=config.report.wandb_project,
            name=config.name,
            tags=list(config.report.tags) or None,
            notes=config.report.notes or None,
            id=_run_id(folder, is_resumed=is_resumed),
            dir=str(folder),
            mode="online" if has_key else "offline",
            resume="allow" if has_key else None,
            config=config.model_dump(mode="json"),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, row: Row, step: int) -> None:
        """As `Tracker.log`."""
        self._run.log({key: value for key, value in row.items() if value is not None}, step=step)

    def samples(self, rows: Sequence[Sequence[Any]], step: int) -> None:
        """As `Tracker.samples`, a table named `samples`."""
        table = self._make_table(columns=list(SAMPLE_COLUMNS), data=[list(row) for row in rows])
        self._run.log({"samples": table}, step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class TensorBoardTracker:
    """TensorBoard's files.

    Args:
        folder: where they lie; `tensorboard --logdir` takes it, or a folder above it.
        first_step: what other files in it hold of this step and later ones is hidden.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        from tensorboardX import SummaryWriter

        self._open = lambda step: SummaryWriter(
            str(folder), purge_step=step, filename_suffix=f".{os.getpid()}.{next(_FILES):04d}"
        )
        self._writer = self._open(first_step)
        self._next = first_step

    def log(self, row: Row, step: int) -> None:
        """As `Tracker.log`."""
        if step < self._next:  # rewound to a checkpoint: these steps are done again
            self._writer.close()
            self._writer = self._open(step)
        for key, value in row.items():
            if value is not None:
                self._writer.add_scalar(key, value, step)
        self._writer.flush()
        self._next = step + 1

    def samples(self, rows: Sequence[Sequence[Any]], step: int) -> None:
        """As `Tracker.samples`, a Markdown table under Text."""
        lines = [SAMPLE_COLUMNS, ["---"] * len(SAMPLE_COLUMNS), *rows]
        text = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
        self._writer.add_text("samples", text, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _plain(value: Any) -> Any:
    """Half surrogates, which a gym's text may hold, cannot be written as UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", r"\|").split())


def _run_id(folder: Path, *, is_resumed: bool) -> str:
    file = folder / "tracking.json"
    if is_resumed and file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))["wandb_id"]
    drawn = secrets.token_hex(8)
    write_atomically(file, json.dumps({"wandb_id": drawn}) + "\n")
    return drawn


def has_wandb_key() -> bool:
    """Whether a key for wandb is configured: in the environment, or by `wandb login`."""
    netrc = Path.home() / ".netrc"
    if os.environ.get("WANDB_API_KEY"):
        return True
    return netrc.is_file() and "api.wandb.ai" in netrc.read_text(errors="replace")
