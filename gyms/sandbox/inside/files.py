"""Reading, writing, listing and saving the folder of a session, in a confined process that runs no submitted code.

A path is walked one part at a time, and no part may be a symbolic link: what a submission links to is not followed, not
even to where it might go itself. Only regular files are read and written, so that nothing can make this wait. What it
finds goes to the result channel; what is wrong, in one line, to standard error, with status 1.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from gyms.sandbox.inside.channel import RESULT_FD

__all__ = ["run"]

MAX_ENTRIES = 4096
MAX_PATH_BYTES = 1024
"""Longest path that a session takes (gyms/sandbox/session.py): a longer one could be saved and not be written again."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def run(body: dict[str, Any]) -> None:
    """Do what is asked of the working folder; never returns."""
    path = body.get("path", "")
    try:
        if body["mode"] == "read":
            _read(path)
        elif body["mode"] == "list":
            _list()
        elif body["mode"] == "snapshot":
            for path in _files() if body["paths"] is None else body["paths"]:
                _save(path)
        else:
            for path, (content, mode) in body["contents"].items():
                _write(path, base64.b64decode(content), mode)
    except OSError as error:
        kinds = {
            errno.ELOOP: "it is a symbolic link, or lies behind one",
            errno.ENOTDIR: "a part of it is no folder, or a symbolic link",
            errno.ENXIO: "it is no regular file",
        }
        os.write(2, f"{path!r}: {kinds.get(error.errno or 0, error.strerror or error)}".encode("utf-8", "replace"))
        os._exit(1)
    except MemoryError:
        os.write(2, f"{path!r}: more than the session's memory".encode("utf-8", "replace"))
        os._exit(1)
    os._exit(0)


@contextlib.contextmanager
def _parent(path: str, *, makes: bool) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that holds a path, and the path's last part."""
    *folders, name = path.split("/")
    here = os.open(".", _FOLDER)
    try:
        for folder in folders:
            if makes:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o755, dir_fd=here)
            below = os.open(folder, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here, name
    finally:
        os.close(here)


def _open_file(path: str, flags: int) -> int:
    with _parent(path, makes=bool(flags & os.O_CREAT)) as (folder, name):
        fd = os.open(name, flags | _FILE, 0o644, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.ENXIO, "it is no regular file")
    return fd


def _read(path: str) -> None:
    fd = _open_file(path, os.O_RDONLY)
    while chunk := os.read(fd, 1 << 16):
        _send(chunk)


def _write(path: str, content: bytes, mode: int | None) -> None:
    fd = _open_file(path, os.O_WRONLY | os.O_CREAT)
    os.ftruncate(fd, 0)
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
    if mode is not None:
        os.fchmod(fd, mode)
    os.close(fd)


def _files() -> list[str]:
    """Paths of all regular files; a folder that cannot be looked into is an error: what it holds would be missing."""
    paths = [path for path, kind, _ in _entries(on_error=_refuse_folder) if kind == "file"]
    for path in paths:
        if len(os.fsencode(path)) > MAX_PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, f"the path {path[:100]!r}... has more than {MAX_PATH_BYTES} bytes")
    return paths


def _refuse_folder(error: OSError) -> None:
    raise OSError(error.errno, f"{error.filename!r}: {error.strerror}")


def _save(path: str) -> None:
    """One line of JSON (path, permissions, size in bytes), then the content."""
    fd = _open_file(path, os.O_RDONLY)
    info = os.fstat(fd)
    left = info.st_size
    _send(json.dumps((path, info.st_mode & 0o777, left)).encode() + b"\n")
    while chunk := os.read(fd, min(1 << 16, left + 1)):
        left -= len(chunk)
        if left < 0:
            break
        _send(chunk)
    if left:
        raise OSError(errno.EBUSY, "its size changed while it was read")
    os.close(fd)


def _list() -> None:
    """One line of JSON for each: path, kind and size in bytes."""
    for entry in _entries():
        _send(json.dumps(entry).encode() + b"\n")


def _entries(on_error: Callable[[OSError], None] | None = None) -> list[tuple[str, str, int]]:
    """Path, kind and size in bytes of all that is there, sorted."""
    found: list[tuple[str, str, int]] = []
    for folder, folders, names, fd in os.fwalk(".", onerror=on_error, follow_symlinks=False):
        below = []
        for name in sorted([*folders, *names]):
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            kind = "file" if stat.S_ISREG(info.st_mode) else "folder" if stat.S_ISDIR(info.st_mode) else "other"
            if stat.S_ISLNK(info.st_mode):
                kind = "link"
            path = os.path.join(folder, name).removeprefix("./")
            found.append((path, kind, info.st_size if kind == "file" else 0))
            if kind == "folder":
                below.append(name)
            if len(found) > MAX_ENTRIES:
                raise OSError(errno.EFBIG, f"the folder has more than {MAX_ENTRIES} entries")
        folders[:] = below  # without links to folders, which would be opened before they are passed over
    return sorted(found)


def _send(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(RESULT_FD, left) :]
