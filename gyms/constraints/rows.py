"""Rows in the published form of IFEval and IFBench, from a local JSONL file or through `datasets`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from gyms.api import Task, message
from gyms.constraints.item import ItemError, read_item
from gyms.extras import require
from gyms.gsm8k import read_jsonl

__all__ = ["read_rows", "split_rows"]

MAX_TOLD = 5
"""Malformed rows that an error message shows."""


def read_rows(path: Path | None, source: str | None, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each row stands, for messages, and the row."""
    if path is not None:
        yield from ((f"{path}:{line}", row) for line, row in read_jsonl(path))
        return
    for number, row in enumerate(_load_dataset(str(source), split)):
        yield f"{source}/{split}[{number}]", row


def split_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    heldout_fraction: float,
    skip_malformed: bool,
    mode: Literal["strict", "loose"],
    compat: bool,
) -> tuple[list[Task], list[Task]]:
    """Train and held-out tasks; a row's split depends on its prompt alone, so equal prompts never part.

    Raises ValueError that names the rows which are malformed or contradictory, unless they are to be skipped, and
    where one of the two splits would be empty.
    """
    train: list[Task] = []
    held: list[Task] = []
    problems: list[str] = []
    for number, (where, row) in enumerate(rows):
        try:
            read_item(row, mode=mode, compat=compat)
            if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
                raise ItemError("'prompt' must be a string that is not empty")
        except ItemError as error:
            problems.append(f"{where}: {error}")
            continue
        (held if _is_heldout(row["prompt"], heldout_fraction) else train).append(make_task(row, number))
    if problems and not skip_malformed:
        more = f" (and {len(problems) - MAX_TOLD} more)" if len(problems) > MAX_TOLD else ""
        raise ValueError(
            f"{len(problems)} rows cannot be asked: {'; '.join(problems[:MAX_TOLD])}{more}. Mend the data, set "
            f"skip_malformed = true to leave them out, or compat = true to take contradictory rows as published"
        )
    if not train or not held:
        raise ValueError(
            f"the data gives {len(train)} train and {len(held)} held-out tasks with heldout_fraction = "
            f"{heldout_fraction}; both splits need at least one"
        )
    return train, held


def make_task(row: Mapping[str, Any], number: int) -> Task:
    """The task of one row."""
    data = {name: row[name] for name in ("prompt", "instruction_id_list", "kwargs", "mode", "compat") if name in row}
    return Task(id=f"row/{number}/{row.get('key', '')}", prompt=(message("user", row["prompt"]),), data=data)


def _is_heldout(prompt: str, fraction: float) -> bool:
    digest = hashlib.blake2b(prompt.strip().encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def _load_dataset(source: str, split: str) -> Iterable[Mapping[str, Any]]:
    """Rows of a split through `datasets`; imported here because it is slow to import and only the driver needs it."""
    datasets = require("datasets", user=f"source = {source!r}")

    try:
        rows: Any = datasets.load_dataset(source, split=split)
        return rows
    except (OSError, ValueError) as error:
        raise ValueError(
            f"data set source = {source!r}, split {split!r} cannot be loaded ({error}); check the name and the "
            f"network, or give a local file as path"
        ) from error
