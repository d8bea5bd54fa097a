"""Unified diffs: read, and applied exactly.

A hunk must fit where it says it does, line by line; nothing is searched for and nothing is guessed. That is how patches
of published rows are made, and what does not fit is a broken row.

Left out: binary patches, renames and changes of a file's mode; a patch that has them is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FileChange", "Hunk", "apply", "read_patch"]

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_REFUSED = ("GIT binary patch", "Binary files", "rename from", "copy from")
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One change of a file."""

    start: int
    """Line of the old file that it begins with, counted from 1; 0 where the old file is empty."""
    old: str
    """What stands there, context included."""
    new: str
    """What is to stand there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """All changes of one file."""

    path: str
    hunks: tuple[Hunk, ...]
    is_new: bool = False
    is_deleted: bool = False


def read_patch(text: str) -> tuple[FileChange, ...]:
    """The changes of a unified diff, as `git diff` and `diff -u` write it.

    Raises:
        ValueError: it is none, or has what is left out.
    """
    changes: list[FileChange] = []
    lines = text.split("\n")
    place = 0
    while place < len(lines):
        line = lines[place]
        if refused := next((word for word in _REFUSED if line.startswith(word)), ""):
            raise ValueError(f"line {place + 1} of the patch: {refused!r} is not supported")
        if not line.startswith("--- ") or place + 1 == len(lines) or not lines[place + 1].startswith("+++ "):
            place += 1
            continue
        before, after = _path(line), _path(lines[place + 1])
        place, hunks = _hunks(lines, place + 2)
        is_new, is_deleted = before == "/dev/null", after == "/dev/null"
        if not is_new and not is_deleted and before != after:
            raise ValueError(f"the patch renames {before!r} to {after!r}, which is not supported")
        path = before if is_deleted else after
        changes.append(FileChange(path=path, hunks=tuple(hunks), is_new=is_new, is_deleted=is_deleted))
    if not changes:
        raise ValueError("the patch changes no file; expected a unified diff with `---` and `+++` lines")
    return tuple(changes)


def apply(changes: tuple[FileChange, ...], files: Mapping[str, str]) -> dict[str, str]:
    """The files behind a patch.

    Raises:
        ValueError: a hunk does not fit.
    """
    found = dict(files)
    for change in changes:
        if change.is_new == (change.path in found):
            state = "is there already" if change.is_new else "is not there"
            raise ValueError(f"the patch does not fit: {change.path} {state}")
        old = found.pop(change.path, "")
        if not change.is_deleted:
            found[change.path] = _applied(change, old)
    return found


def _applied(change: FileChange, old: str) -> str:
    lines = _lines(old)
    parts: list[str] = []
    place = 0
    for hunk in change.hunks:
        start = max(0, hunk.start - 1)
        wanted = _lines(hunk.old)
        if start < place or lines[start : start + len(wanted)] != wanted:
            raise ValueError(f"the patch does not fit: {change.path} has other lines at line {hunk.start}")
        parts += [*lines[place:start], hunk.new]
        place = start + len(wanted)
    return "".join([*parts, *lines[place:]])


def _lines(text: str) -> list[str]:
    """With their ends; a newline alone ends a line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _path(line: str) -> str:
    path = line[4:].split("\t")[0].strip()
    return path if path == "/dev/null" or not path.startswith(("a/", "b/")) else path[2:]


def _hunks(lines: list[str], place: int) -> tuple[int, list[Hunk]]:
    hunks: list[Hunk] = []
    while place < len(lines) and (head := _HUNK.match(lines[place])):
        start, num_old, num_new = int(head[1]), int(head[2] or 1), int(head[4] or 1)
        start += num_old == 0  # a hunk that only adds names the line that it comes behind
        old: list[str] = []
        new: list[str] = []
        place += 1
        while place < len(lines) and (len(old) < num_old or len(new) < num_new or lines[place] == _NO_NEWLINE):
            sign, rest = lines[place][:1], lines[place][1:]
            if lines[place] == _NO_NEWLINE:
                _cut_newline(old, new, lines[place - 1][:1])
            elif sign in ("-", "+", " ", ""):
                old += [rest + "\n"] if sign != "+" else []
                new += [rest + "\n"] if sign != "-" else []
            else:
                raise ValueError(f"line {place + 1} of the patch is no line of a hunk: {lines[place]!r:.60}")
            place += 1
        if (len(old), len(new)) != (num_old, num_new):
            raise ValueError(f"the patch is cut off in the hunk at line {head[1]} of the old file")
        hunks.append(Hunk(start=start, old="".join(old), new="".join(new)))
    return place, hunks


def _cut_newline(old: list[str], new: list[str], sign: str) -> None:
    for side in [old] if sign == "-" else [new] if sign == "+" else [old, new]:
        side[-1] = side[-1].removesuffix("\n")
