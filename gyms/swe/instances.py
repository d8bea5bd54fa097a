"""What is to be mended: a snapshot, an issue, and hidden tests; built in, or rows as SWE-bench publishes them.

*Built in* is a text file each (gyms/swe/repositories/), cut into sections by lines of the form `=== kind path`:

    === issue                       what the model is told
    === source PATH                 a file of the snapshot, with the bug; its visible tests, too
    === hidden PATH                 a file of the hidden tests
    === patch                       the gold patch, a unified diff
    === fail_to_pass                ids of tests that fail before it and pass behind it, one a line
    === pass_to_pass                ids of tests that pass before and behind it

*Published rows* have the columns `instance_id`, `problem_statement`, `patch`, `test_patch`, `FAIL_TO_PASS` and
`PASS_TO_PASS` (lists, or JSON in a text); the snapshot is the folder of that id below `snapshots`, checked out. Hidden
tests are what `test_patch` makes of the snapshot. Ids are pytest's (`tests/test_a.py::test_b`).

Left out: images with installed dependencies. What the sandbox has is Python's standard library and pytest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from gyms.rows import make_all, read_file
from gyms.swe.patch import FileChange, apply, read_patch

__all__ = ["Instance", "built_in", "instance_of_text", "published"]

REPOSITORIES = Path(__file__).parent / "repositories"
MAX_FILE_BYTES = 1 << 20
"""Larger files of a snapshot are left out: they are data."""
MAX_SNAPSHOT_BYTES = 32 << 20
_SECTION = re.compile(r"^=== (issue|source|hidden|patch|fail_to_pass|pass_to_pass)(?: (\S+))?\n", re.M)
_TEST_ID = re.compile(r"[^:]+\.py::.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One repository with one issue."""

    id: str
    issue: str
    files: Mapping[str, str] = field(repr=False)
    """The snapshot: relative path -> text."""
    hidden: Mapping[str, str] = field(repr=False)
    """Files of the hidden tests; they replace those of the snapshot."""
    patch: tuple[FileChange, ...] = field(repr=False)
    """The gold patch."""
    fail_to_pass: tuple[str, ...]
    """Ids of tests that only pass behind the gold patch."""
    pass_to_pass: tuple[str, ...]
    """Ids of tests that pass before it and behind it."""

    def __post_init__(self) -> None:
        if not self.issue.strip() or not self.files or not self.fail_to_pass:
            raise ValueError(f"{self.id}: an issue, a snapshot and tests that fail before the patch are needed")
        for test in (*self.fail_to_pass, *self.pass_to_pass):
            if not _TEST_ID.fullmatch(test):
                raise ValueError(f"{self.id}: {test!r:.100} is no test id of pytest, such as tests/test_a.py::test_b")
        self.mended()  # the patch fits

    def mended(self) -> dict[str, str]:
        """The snapshot behind the gold patch."""
        try:
            return apply(self.patch, self.files)
        except ValueError as error:
            raise ValueError(f"{self.id}: {error}") from None


@lru_cache(maxsize=1)
def built_in() -> Mapping[str, Instance]:
    """The repositories that come with the project, by id."""
    files = sorted(REPOSITORIES.glob("*.txt"))
    return {file.stem: instance_of_text(file.stem, file.read_text(encoding="utf-8")) for file in files}


def instance_of_text(name: str, text: str) -> Instance:
    """An instance from its sections; see the head of this file."""
    heads = list(_SECTION.finditer(text))
    if not heads or heads[0].start() != 0:
        raise ValueError(f"{name}: expected a text that begins with a line of the form `=== issue`")
    parts: dict[str, dict[str, str]] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        content = text[head.end() : following.start() if following else len(text)]
        parts.setdefault(head[1], {})[head[2] or ""] = content.rstrip("\n") + "\n" * bool(content.strip("\n"))

    def ids(kind: str) -> tuple[str, ...]:
        return tuple(parts.get(kind, {}).get("", "").split("\n"))[:-1]

    return Instance(
        id=name,
        issue=parts.get("issue", {}).get("", "").strip(),
        files=parts.get("source", {}),
        hidden=parts.get("hidden", {}),
        patch=read_patch(parts.get("patch", {}).get("", "")),
        fail_to_pass=ids("fail_to_pass"),
        pass_to_pass=tuple(filter(None, ids("pass_to_pass"))),
    )


def published(rows: Path, snapshots: Path) -> Mapping[str, Instance]:
    """Rows as SWE-bench publishes them, by id.

    Raises:
        ValueError: in one line, with the row and what is wrong with it or its snapshot.
    """

    def instance(row: Mapping[str, Any], where: str) -> Instance:
        missing = [
            name for name in ("instance_id", "problem_statement", "patch", "test_patch") if not _is_text(row.get(name))
        ]
        if missing:
            raise ValueError(f"{where}: {missing[0]!r} must be a text, got {row.get(missing[0])!r:.40}")
        name = str(row["instance_id"])
        if not re.fullmatch(r"[\w.\-]+", name) or name.startswith("."):
            raise ValueError(f"{where}: instance_id {name!r:.100} must be a plain name: it names the snapshot's folder")
        try:
            files = read_snapshot(snapshots / name)
            tests = read_patch(row["test_patch"])
            behind = apply(tests, files)
            return Instance(
                id=name,
                issue=row["problem_statement"],
                files=files,
                hidden={change.path: behind[change.path] for change in tests if change.path in behind},
                patch=read_patch(row["patch"]),
                fail_to_pass=_ids(row, "FAIL_TO_PASS"),
                pass_to_pass=_ids(row, "PASS_TO_PASS"),
            )
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    made, _ = make_all(read_file(rows), instance, skip_malformed=None)
    found = {one.id: one for one in made}
    if len(found) < len(made):
        raise ValueError(f"{rows}: an instance_id comes twice; give every row one of its own")
    return found


def read_snapshot(folder: Path) -> dict[str, str]:
    """The text files of a checked-out repository; what is hidden, binary or larger than 1 MiB is left out.

    Raises:
        ValueError: there is no such folder, or it is too large.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no snapshot {folder}; check the repository out there, at the commit of the row")
    files: dict[str, str] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        if is_hidden or path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        try:
            files[relative.as_posix()] = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        size += path.stat().st_size
        if size > MAX_SNAPSHOT_BYTES:
            raise ValueError(
                f"the snapshot {folder} has over {MAX_SNAPSHOT_BYTES >> 20} MiB of text; leave out its data"
            )
    return files


def _is_text(found: object) -> bool:
    return isinstance(found, str) and bool(found.strip())


def _ids(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = row.get(name) or []
    try:
        found = json.loads(found) if isinstance(found, str) else found
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} must be a list of test ids, or one as JSON; got {row.get(name)!r:.60}")
    return tuple(found)
