"""Folders of the driver's node, for processes on any node: run folder and model need lie on that one alone.

    driver's node     Shelf      an actor that reads and writes files there, a piece at a time
    a process         Folders    a folder to read is fetched, once a node; a folder to write is sent when it is written

Where a process sees what the driver's node sees (it is on that node, or the file system is shared, or every node has
the model), it reads and writes there, and nothing is copied. Whether it does is found out, not set: a folder to read
has the same files, by size and by samples of each; in a folder to write a mark appears that the shelf has just made.
Hidden folders, where tools keep what is of one machine (`.cache`, `.git`), do not count.

What was fetched lies in the node's folder for temporary files (`TMPDIR`) under a name made of its content, so processes
share it, and a process that is started anew finds it there. Whoever uses something holds a lock, which the kernel takes
away from the dead. What nobody holds is deleted, with its lock: scratch folders by whoever makes one next, all by
whoever fetches something.

Left out: fetching of a sharded checkpoint only the files that have a rank's rows; telling files apart that differ
between two samples alone (a file of up to 64 MiB is looked at whole).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from rollout.folders import replace_folder

__all__ = ["PIECE_BYTES", "Folders", "Shelf", "is_there", "listing"]

PIECE_BYTES = 32 << 20
"""Of a file in one answer: what a copy takes of the memory of both ends."""
SAMPLE_BYTES, NUM_SAMPLES = 1 << 16, 1 << 10
"""Of a file: what is compared of it, evenly spaced, and its end."""
FULL_BYTES = 1 << 20
"""A disk with less room is full: whoever wrote there when it ran out filled it to the last block."""
ROOM, ROOM_FOR_COPIES = "make room there", "give that node room there (TMPDIR)"
ROOM_FOR_SCRATCH = "give that node room there (TMPDIR), or let it see the folder that is to be written"
SCRATCH = "scratch-"
"""What names of scratch folders begin with; those of what was fetched are a hash."""
_Listing = Mapping[str, tuple[int, str]]
"""Of a folder: files by their names in it, with size and a hash of samples."""


def listing(folder: Path) -> _Listing:
    """The files of a folder and of those in it that are not hidden; nothing where there is none."""
    files = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    seen = {name: file for name, file in files.items() if not any(part.startswith(".") for part in name.parts[:-1])}
    return {str(name): _facts(file) for name, file in seen.items()}


def _facts(file: Path) -> tuple[int, str]:
    size, found = file.stat().st_size, hashlib.blake2b(digest_size=16)
    with file.open("rb") as stream:
        for offset in (*range(0, size, max(SAMPLE_BYTES, size // NUM_SAMPLES)), max(0, size - SAMPLE_BYTES)):
            stream.seek(offset)
            found.update(stream.read(SAMPLE_BYTES))
    return size, found.hexdigest()


class Shelf:
    """The driver's node as others reach it. Every call may come twice, but for `append`."""

    def listing(self, folder: Path) -> _Listing:
        return listing(folder)

    def read(self, file: Path, offset: int) -> bytes:
        """At most a piece."""
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(PIECE_BYTES)

    def begin(self, folder: Path) -> Path:
        """An empty folder beside one that is to be replaced; what is left of an attempt that died there goes."""
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        staging = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
        with _told_if_full(folder, folder.parent, ROOM):
            staging.mkdir()
        return staging

    def write(self, folder: Path, name: str, offset: int, piece: bytes) -> None:
        """A piece of a file of a folder, on disk when this returns. The folder must be there: one that was given up and
        deleted does not come back."""
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is gone: what was to be written there was given up")
        file = folder / name
        with _told_if_full(file, folder, ROOM):
            for parent in reversed(file.relative_to(folder).parents[:-1]):  # not `parents=True`: would make it again
                (folder / parent).mkdir(exist_ok=True)
            with file.open("r+b" if offset else "wb") as stream:
                stream.seek(offset)
                stream.write(piece)
                stream.flush()
                os.fsync(stream.fileno())

    def append(self, file: Path, text: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as stream:
            stream.write(text)

    def replace(self, staging: Path, folder: Path) -> None:
        """Put what was written beside a folder in its place."""
        if staging.exists():
            replace_folder(staging, folder)

    def mark(self, folder: Path) -> Path:
        """A new file that whoever sees this folder, which is there, sees."""
        mark = folder / f".{uuid.uuid4().hex}.mark"
        with _told_if_full(mark, folder, ROOM):
            mark.touch()
        return mark

    def unmark(self, mark: Path) -> None:
        mark.unlink(missing_ok=True)


class Folders:
    """The driver's folders as one process has them.

    Args:
        ask: calls a method of the shelf; None: this is the driver's node.
    """

    def __init__(self, ask: Callable[..., Any] | None = None) -> None:
        self._ask: Callable[..., Any] = ask or _nobody
        self._is_here = ask is None
        self._place = Path(tempfile.gettempdir()) / f"k2rl-{os.getuid()}"

    @contextlib.contextmanager
    def read(self, folder: Path) -> Iterator[Path]:
        """Where this process finds what the driver has in `folder`, until the context ends.

        Raises:
            OSError: it could not be fetched; says what to do.
        """
        wanted: _Listing = {} if self._is_here else self._ask("listing", folder)
        if all(_has(folder / name, facts) for name, facts in wanted.items()):
            yield folder
            return
        key = hashlib.blake2b(json.dumps([str(folder), wanted]).encode(), digest_size=16).hexdigest()
        copy = self._place / key / folder.name
        while True:  # between two locks, or for its age, somebody may have deleted some of it
            with self._lock(key, fcntl.LOCK_SH):
                if listing(copy) == wanted:
                    yield copy
                    return
            with self._lock(key, fcntl.LOCK_EX):
                if listing(copy) != wanted:
                    self._fetch(folder, wanted, copy)

    @contextlib.contextmanager
    def added_to(self, folder: Path) -> Iterator[Path]:
        """Where this process writes files that the driver is to have in `folder`, which it has; others may add some.

        Raises:
            OSError: this node, or the driver's, has no room; says which, and what to do.
        """
        if self.sees(folder):
            with _told_if_full(folder, folder, ROOM):
                yield folder
            return
        with self.scratch() as made:
            with _told_if_full(folder, made, ROOM_FOR_SCRATCH):
                yield made
            self._send(made, folder)

    @contextlib.contextmanager
    def replaced(self, folder: Path) -> Iterator[Path]:
        """Where this process makes a folder that the driver is to have as `folder`, whole or not at all; and others
        beside it.

        Raises:
            OSError: as `added_to`.
        """
        if self.sees(folder.parent):
            with _told_if_full(folder, folder.parent, ROOM):
                yield folder
            return
        with self.scratch() as made:
            with _told_if_full(folder, made, ROOM_FOR_SCRATCH):
                yield made / folder.name
            for one in sorted(made.iterdir()):
                there = folder.with_name(one.name)
                staging = self._ask("begin", there)
                self._send(one, staging)
                self._ask("replace", staging, there)

    def sees(self, folder: Path) -> bool:
        """Whether what is written into a folder, which the driver's node has, is there when it is written here."""
        if self._is_here:
            return True
        mark = self._ask("mark", folder)
        try:
            return mark.is_file()
        finally:
            self._ask("unmark", mark)

    def append(self, file: Path, text: bytes) -> None:
        """Add to a file of the driver's node."""
        self._ask("append", file, text)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on this node, until the context or this process ends."""
        key = SCRATCH + uuid.uuid4().hex
        with self._lock(key, fcntl.LOCK_EX):
            self._sweep(f"{SCRATCH}*", but=key)
            made = self._place / key
            with _told_if_full(made, self._place, ROOM_FOR_COPIES):
                made.mkdir()
            try:
                yield made
            finally:
                self._delete(key)

    # -- parts --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lock(self, key: str, how: int) -> Iterator[None]:
        """Hold the lock that says that somebody uses `key`.

        Raises:
            BlockingIOError: somebody else holds it, and `how` says not to wait.
            OSError: the place is not this user's alone, or has no room; says what to do.
        """
        told = _told_if_full(self._place, self._place.parent, ROOM_FOR_COPIES)
        with told, contextlib.suppress(FileExistsError):
            self._place.mkdir(mode=0o700)
        facts = self._place.lstat()  # in a folder for everybody's temporary files anybody may have made it
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise OSError(
                f"{self._place} on node {os.uname().nodename} is not a folder of this user alone: remove it, or give "
                "that node another folder for temporary files (TMPDIR)"
            )
        file = self._place / f"{key}.lock"
        while True:
            with _told_if_full(file, self._place, ROOM_FOR_COPIES):
                lock = file.open("a+b")  # NFS lends a lock that is shared to readers alone
            with lock:
                fcntl.flock(lock, how)
                if is_there(file, lock):  # whoever held it may have deleted it: the next one's is another
                    yield
                    return

    def _fetch(self, folder: Path, wanted: _Listing, copy: Path) -> None:
        self._sweep("*", but=copy.parent.name)
        staging = copy.with_name("partial")
        shutil.rmtree(copy.parent, ignore_errors=True)
        try:
            for name, (size, _) in wanted.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                with (staging / name).open("wb") as stream:
                    while stream.tell() < size and (piece := self._ask("read", folder / name, stream.tell())):
                        stream.write(piece)
                    stream.flush()
                    os.fsync(stream.fileno())
            if listing(staging) != wanted:
                raise OSError("it changed meanwhile")
        except OSError as error:
            raise OSError(
                f"{folder} could not be fetched into {staging} on node {os.uname().nodename}: {error}; give that node "
                "room there (TMPDIR), or let it see that folder"
            ) from error
        staging.rename(copy)

    def _sweep(self, names: str, *, but: str) -> None:
        """Delete what nobody uses, of such names."""
        for one in self._place.glob(f"{names}.lock"):
            if one.stem != but:
                with contextlib.suppress(BlockingIOError), self._lock(one.stem, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self._delete(one.stem)

    def _delete(self, key: str) -> None:
        """While this process alone holds its lock, which goes last."""
        shutil.rmtree(self._place / key, ignore_errors=True)
        (self._place / f"{key}.lock").unlink(missing_ok=True)

    def _send(self, made: Path, folder: Path) -> None:
        for file in sorted(file for file in made.rglob("*") if file.is_file()):
            self._send_file(file, folder, str(file.relative_to(made)))

    def _send_file(self, file: Path, folder: Path, name: str) -> None:
        with file.open("rb") as stream:
            piece = stream.read(PIECE_BYTES)
            self._ask("write", folder, name, 0, piece)  # also of an empty file
            while piece:
                offset, piece = stream.tell(), stream.read(PIECE_BYTES)
                if piece:
                    self._ask("write", folder, name, offset, piece)


@contextlib.contextmanager
def _told_if_full(what: Path, place: Path, remedy: str) -> Iterator[None]:
    """Around what writes into a place of this node: that its disk is full is told with the node's name.

    safetensors says so in words alone, and deletes what it wrote. torch says, by a RuntimeError, that a file is not
    as long as it expected: where there is no room left, it fails for that.
    """
    try:
        yield
    except Exception as error:
        is_told = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))
        if not is_told and not (isinstance(error, RuntimeError) and shutil.disk_usage(place).free < FULL_BYTES):
            raise
        raise OSError(
            f"{what} could not be written: {place} on node {os.uname().nodename} is full ({error}); {remedy}"
        ) from error


def is_there(file: Path, opened: IO[Any]) -> bool:
    """Whether a file is the one that was opened. NFS renames what is deleted while it is open."""
    try:
        return os.path.samestat(os.fstat(opened.fileno()), file.stat())
    except FileNotFoundError:
        return False


def _has(file: Path, facts: tuple[int, str]) -> bool:
    return file.is_file() and _facts(file) == facts


def _nobody(method: str, *args: object) -> None:
    raise AssertionError(f"{method} was asked of a shelf on this very node")
