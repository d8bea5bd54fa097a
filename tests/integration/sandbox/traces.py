"""What a sandbox may leave on the machine: processes, zombies, descriptors, mounts, files.

Only what this test's sandboxes can have made is looked at, because others run beside it: tests of other processes, a
neighbour's sandboxes, and in this process Ray or an engine that an earlier test shares with a later one. So files and
mounts are those below a temporary folder of our own, processes are those below children that were not there before, and
descriptors are of the kinds that a sandbox opens.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

__all__ = ["Traces", "Watch", "descendants", "is_running", "own_temporary_folder", "start_of", "wait_for"]

Traces = tuple[frozenset[int], int, frozenset[str], frozenset[str]]
"""Processes of sandboxes, descriptors, mounts and files."""
PATIENCE_SECONDS = 120.0
"""How long something that will come may take on a busy machine; nothing is slower for it where it comes at once."""
_OPENED = re.compile(r"pipe:|anon_inode:\[?pidfd|/memfd:|/proc/|/")
"""Pipes, processes, files. Sockets and event queues are Ray's too; those of a sandbox end with its processes."""


class Watch:
    """The traces of sandboxes that are opened after this."""

    def __init__(self) -> None:
        self._others = {pid for pid, parent in _parents().items() if parent == os.getpid()}
        self._known: set[Traces] = set()

    def processes(self) -> set[int]:
        """What descends from children that this process did not have before, zombies included."""
        parents = _parents()
        return _below({pid for pid in parents if parents[pid] == os.getpid()} - self._others, parents)

    def traces(self) -> Traces:
        folder = tempfile.gettempdir()
        mounts = {line for line in Path("/proc/self/mounts").read_text().splitlines() if folder in line}
        files = {str(path) for path in Path(folder).glob("sandbox-*/*")}
        return frozenset(self.processes()), _num_descriptors(), frozenset(mounts), frozenset(files)

    def settled(self) -> Traces:
        """The traces, once they have not changed for a tenth of a second: the last run may still be being reaped.

        Traces at which they settled before need no such wait: what is still being reaped is a process more than those.
        """
        seen = [self.traces()]
        if seen[0] in self._known:
            return seen[0]
        while len(seen) < 6 or (len(set(seen[-6:])) > 1 and len(seen) < 250):
            time.sleep(0.02)
            seen.append(self.traces())
        self._known.add(seen[-1])
        return seen[-1]


@contextlib.contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """Where sandboxes of this process, and of those it starts, keep their files: open to their users as /tmp is."""
    folder, before = tempfile.mkdtemp(prefix="attacks-"), (tempfile.tempdir, os.environ.get("TMPDIR"))
    Path(folder).chmod(0o1777)
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    try:
        yield Path(folder)
    finally:
        tempfile.tempdir = before[0]
        os.environ.pop("TMPDIR")
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], bool]) -> bool:
    """True as soon as the condition holds; False where it still does not after a long while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds


def descendants(root: int) -> set[int]:
    """A process and all below it, zombies included."""
    return _below({root}, _parents())


def is_running(pid: int, started: str) -> bool:
    """False for a zombie too, and where the number has gone to another process since."""
    facts = _facts(Path(f"/proc/{pid}"))
    return facts is not None and facts[0] not in ("Z", "X") and facts[2] == started


def start_of(pid: int) -> str:
    """When the process started: with its number, who it is. Empty where it is gone."""
    facts = _facts(Path(f"/proc/{pid}"))
    return facts[2] if facts else ""


def _below(roots: set[int], parents: Mapping[int, int]) -> set[int]:
    """These and all below them."""
    below = set(roots)
    while new := {pid for pid, parent in parents.items() if parent in below and pid not in below}:
        below |= new
    return below


def _parents() -> dict[int, int]:
    """The parent of every process."""
    found = {int(path.name): _facts(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    return {pid: facts[1] for pid, facts in found.items() if facts is not None}


def _facts(folder: Path) -> tuple[str, int, str] | None:
    """State, parent and start of a process."""
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), fields[19]


def _num_descriptors() -> int:
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += _OPENED.match(str(path.readlink())) is not None
    return found
