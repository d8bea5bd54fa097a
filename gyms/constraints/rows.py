"""Rows in the published form of IFEval and IFBench, or in one that gyms/row_formats/instructions.py turns into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from gyms.api import Task, message
from gyms.constraints.item import ItemError, read_item
from gyms.heldout import is_heldout
from gyms.rows import Located, Skipped, make_all, read_file, read_source

__all__ = ["read_rows", "split_rows"]


def read_rows(path: Path | None, source: str | None, split: str) -> Iterable[Located]:
    """The rows of the one or the other."""
    return read_file(path) if path is not None else read_source(str(source), "", split, instead="path")


def split_rows(
    rows: Iterable[Located],
    *,
    heldout_fraction: float,
    skip_malformed: bool,
    mode: Literal["strict", "loose"],
    compat: bool,
) -> tuple[list[Task], list[Task], Skipped]:
    """Train and held-out tasks; a row's split depends on its prompt alone, so equal prompts never part.

    Raises ValueError that names a row which is malformed or contradictory, unless they are to be skipped, and where one
    of the two splits would be empty.
    """

    def checked(row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        try:
            read_item(row, mode=mode, compat=compat)
            if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
                raise ItemError("'prompt' must be a string that is not empty")
        except ItemError as error:
            hint = " (compat = true takes contradictory rows as published)" if "contradict" in str(error) else ""
            raise ValueError(f"{where}: {error}{hint}") from None
        return row

    made, skipped = make_all(rows, checked, skip_malformed=skip_malformed)
    train: list[Task] = []
    held: list[Task] = []
    for number, row in enumerate(made):
        is_held = is_heldout(row["prompt"], fraction=heldout_fraction)
        (held if is_held else train).append(make_task(row, number))
    if not train or not held:
        raise ValueError(
            f"the data gives {len(train)} train and {len(held)} held-out tasks with heldout_fraction = "
            f"{heldout_fraction}; both splits need at least one"
        )
    return train, held, skipped


def make_task(row: Mapping[str, Any], number: int) -> Task:
    """The task of one row."""
    data = {name: row[name] for name in ("prompt", "instruction_id_list", "kwargs", "mode", "compat") if name in row}
    return Task(id=f"row/{number}/{row.get('key', '')}", prompt=(message("user", row["prompt"]),), data=data)
