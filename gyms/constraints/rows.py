"""Rows in the published form of IFEval and IFBench, or in one that gyms/row_formats/instructions.py turns into it.

The published data sets hold a few rows whose instructions exclude each other. They are well-formed, and nobody who
reads the data can mend them, so they are left out rather than refused, each named with its reason; other malformed rows
are an error until they are mended or skipped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from gyms.api import Task, message
from gyms.constraints.item import Contradiction, ItemError, read_item
from gyms.heldout import is_heldout
from gyms.rows import Located, Skipped, make_all, read_file, read_source

__all__ = ["checked_row", "make_task", "read_rows", "split_rows"]

MAX_NAMED = 20
"""Contradictory rows that are named; the others are counted."""
_log = logging.getLogger(__name__)


def read_rows(path: Path | None, source: str | None, split: str) -> Iterable[Located]:
    """The rows of the one or the other."""
    return read_file(path) if path is not None else read_source(str(source), "", split, instead="path")


def split_rows(
    rows: Iterable[Located],
    *,
    heldout_fraction: float,
    skip_malformed: bool,
    skip_contradictory: bool,
    mode: Literal["strict", "loose"],
    compat: bool,
) -> tuple[list[Task], list[Task], Skipped]:
    """Train and held-out tasks; a row's split depends on its prompt alone, so equal prompts never part.

    Raises ValueError that names a row which is malformed or contradictory, unless they are to be skipped, and where one
    of the two splits would be empty.
    """
    contradictory: list[str] = []

    def kept(row: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
        try:
            return checked_row(row, where, mode=mode, compat=compat)
        except Contradiction as error:
            if not skip_contradictory:
                hint = "skip_contradictory = true leaves out such rows, compat = true takes them as published"
                raise ValueError(f"{error} ({hint})") from None
            contradictory.append(str(error))
            return None

    made, skipped = make_all(rows, kept, skip_malformed=skip_malformed)
    if contradictory:
        named = "; ".join(contradictory[:MAX_NAMED])
        more = f" (and {len(contradictory) - MAX_NAMED} more)" if len(contradictory) > MAX_NAMED else ""
        _log.warning("skip_contradictory left out %d rows: %s%s", len(contradictory), named, more)
        skipped += Skipped(num_rows=len(contradictory), reasons=tuple(contradictory))
    train: list[Task] = []
    held: list[Task] = []
    for number, row in enumerate(made):
        if row is None:
            continue  # it keeps its number, so that the ids of other rows do not depend on the setting
        is_held = is_heldout(row["prompt"], fraction=heldout_fraction)
        (held if is_held else train).append(make_task(row, f"row/{number}"))
    if not train or not held:
        left_out = f" ({skipped} left out)" if skipped.num_rows else ""
        raise ValueError(
            f"the data gives {len(train)} train and {len(held)} held-out tasks with heldout_fraction = "
            f"{heldout_fraction}{left_out}; both splits need at least one"
        )
    return train, held, skipped


def checked_row(
    row: Mapping[str, Any], where: str, *, mode: Literal["strict", "loose"], compat: bool
) -> Mapping[str, Any]:
    """The row; ValueError with its place where it is malformed, a Contradiction where no response satisfies it."""
    try:
        read_item(row, mode=mode, compat=compat)
    except Contradiction as error:
        raise Contradiction(f"{where}{_key(row)}: {error}") from None
    except ItemError as error:
        raise ValueError(f"{where}: {error}") from None
    if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
        raise ValueError(f"{where}: 'prompt' must be a string that is not empty")
    return row


def make_task(row: Mapping[str, Any], place: str) -> Task:
    """The task of one row."""
    data = {name: row[name] for name in ("prompt", "instruction_id_list", "kwargs", "mode", "compat") if name in row}
    return Task(id=f"{place}/{row.get('key', '')}", prompt=(message("user", row["prompt"]),), data=data)


def _key(row: Mapping[str, Any]) -> str:
    """The row's own name, as published rows have one."""
    key = row.get("key")
    return f" (key {key})" if isinstance(key, str | int) and str(key).strip() else ""
