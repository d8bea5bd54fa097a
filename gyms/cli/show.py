"""How facts are shown to people: lines and tables, drawn by rich on a terminal and as plain text elsewhere.

A command says what it found as facts (for `--json`), and makes blocks of them for people. On a terminal a table keeps
to its width, long cells are wrapped, and a state has its colour; into a pipe or a file goes one line for each row,
however long, without frames, so that `grep` and `cut` see whole rows. Text is shown as it is: a gym's name in square
brackets is no markup, and control characters of foreign text are replaced.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import IO, Any

__all__ = ["Block", "Grid", "clean", "listed", "show", "stdout_to_stderr"]

_MIN_NAME_WIDTH = 20
_COLOURS = {"ok": "green", "note": "yellow", "failed": "bold red"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table: a title and the heads of its columns, which may all be empty, and rows of as many cells."""

    title: str = ""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = str | Grid
"""A line (or several) of text, or a table."""


def show(blocks: Iterable[Block], stream: IO[str] | None = None) -> None:
    """Print blocks, with an empty line between two."""
    stream = stream or sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal that knows no Unicode must not end a command
    if not stream.isatty():
        stream.write("\n".join(_plain(block) for block in blocks))
        return
    from rich.console import Console  # a tenth of a second: for terminals alone

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for number, block in enumerate(blocks):
        if number:
            console.print()
        console.print(clean(block, keep="\n") if isinstance(block, str) else _framed(block))


def listed(items: Iterable[str], *, none: str) -> str:
    """`a, b, c`, or what stands for nothing."""
    return ", ".join(items) or none


def clean(text: str, *, keep: str = "") -> str:
    """Foreign text without what a terminal would obey: of what is not printable, space is a space, all else U+FFFD."""
    return "".join(c if c in keep or c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """What foreign code prints meanwhile goes to standard error, from C and child processes too: ours alone is ours."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _framed(grid: Grid) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=clean(grid.title) or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_header = any(grid.columns)
    for number, column in enumerate(grid.columns):
        least = min(_MIN_NAME_WIDTH, _widest(grid, 0)) if number == 0 else None  # names are to be read and copied
        table.add_column(column, overflow="fold", min_width=least)
    for row in grid.rows:
        table.add_row(*(Text(clean(cell, keep="\n"), style=_COLOURS.get(cell, "")) for cell in row))
    return table


def _widest(grid: Grid, column: int) -> int:
    return max((len(row[column]) for row in grid.rows), default=1) or 1


def _plain(block: Block) -> str:
    if isinstance(block, str):
        return clean(block, keep="\n") + "\n"
    cells = [[" ".join(clean(cell).split()) for cell in row] for row in (block.columns, *block.rows) if any(row)]
    widths = [max((len(row[number]) for row in cells), default=0) for number in range(len(block.columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*([clean(block.title)] if block.title else []), *lines]) + "\n"
