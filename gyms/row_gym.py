"""A gym that reads rows: what it reads is declared on its class, so that it is known without opening any data.

`python -m gyms look FILE` goes by it: for each of these gyms it makes tasks of a file's rows exactly as a run would.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gyms.api import Gym, Services, Split, Task, message
from gyms.columns import Reads, RowSettings, mapped_rows
from gyms.heldout import is_heldout
from gyms.rows import Located, Skipped, make_all

__all__ = ["RowGym", "asked"]


class RowGym(Gym):
    """Subclass it, with settings that extend `RowSettings`, and give the file's rows to `tasks_of`."""

    reads: ClassVar[Reads]
    """What it reads of a row."""
    file_setting: ClassVar[str]
    """The setting that names a file of rows."""
    share_setting: ClassVar[str]
    """The setting that holds out a share of that file."""

    def __init__(self, settings: RowSettings, services: Services) -> None:
        super().__init__(settings, services)
        self.skipped = Skipped()
        """Malformed rows that were left out so far."""

    @abstractmethod
    def task_of(self, row: Mapping[str, Any], where: str) -> Task:
        """The task of a row whose columns are named as this gym has them; ValueError where it is malformed."""

    def tasks_of(self, rows: Iterable[Located]) -> list[Task]:
        """The tasks of rows as they were published; ValueError, unless malformed ones are to be left out."""
        mapped = mapped_rows(rows, self.settings, self.reads)
        made, skipped = make_all(mapped, self.task_of, skip_malformed=self.settings.skip_malformed)
        self.skipped += skipped
        return made

    def parted(self, tasks: Iterable[Task], *, fraction: float, seed: int = 0) -> dict[Split, list[Task]]:
        """Tasks of one source, split by the hash of their fingerprints (gyms/heldout.py), in order."""
        parts: dict[Split, list[Task]] = {"train": [], "heldout": []}
        for task in tasks:
            is_held = is_heldout(self.fingerprint(task), fraction=fraction, seed=seed)
            parts["heldout" if is_held else "train"].append(task)
        return parts


def asked(split: Split, tasks: Iterable[Task], suffix: str) -> tuple[Task, ...]:
    """Tasks whose prompt is the bare question, numbered within the split, each with the suffix."""
    return tuple(
        replace(task, id=f"{split}/{number}", prompt=(message("user", task.prompt[-1]["content"] + suffix),))
        for number, task in enumerate(tasks)
    )
