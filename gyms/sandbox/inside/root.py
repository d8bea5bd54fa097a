"""The root folder of submitted code: an empty memory file system that shows what an interpreter needs, read-only.

Built once for a zygote; each job then gets a /tmp and a /proc of its own on top. What is shown is named by the host;
whatever of it holds installed packages is covered with empty folders, because those may hold data sets, and with them
answers.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from gyms.sandbox.inside import kernel
from gyms.sandbox.inside.kernel import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT

__all__ = ["build_root", "mount_proc", "mount_scratch", "seal_root", "try_mount_proc"]

_BASE = "/tmp"
_OLD = "/.outside"
_DEVICES = ("null", "zero", "full", "random", "urandom")


def build_root(view: dict[str, Any]) -> None:
    """Replace the root of this mount namespace.

    `view`: `binds` is a list of [outside path, inside path], `links` of [inside path, target], `covers` of folders
    inside that are shown empty. Needs a mount namespace of its own and CAP_SYS_ADMIN over it.
    """
    kernel.mount("none", "/", None, MS_REC | MS_PRIVATE)
    kernel.mount("tmpfs", _BASE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m,nr_inodes=2048")
    os.mkdir(_BASE + _OLD, 0o700)
    kernel.pivot_root(_BASE, _BASE + _OLD)
    os.chdir("/")
    os.umask(0o022)
    for source, target in view["binds"]:
        _make_place(_OLD + source, target)
        kernel.bind_read_only(_OLD + source, target)
    for path, target in view["links"]:
        os.symlink(target, path)
    for folder in view["covers"]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            kernel.mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "mode=0555,size=4k,nr_inodes=2")
    for name in _DEVICES:
        _make_place(f"{_OLD}/dev/{name}", f"/dev/{name}")
        kernel.bind_read_only(f"{_OLD}/dev/{name}", f"/dev/{name}", devices=True)
    os.symlink("/proc/self/fd", "/dev/fd")
    os.symlink("/tmp", "/dev/shm")
    for folder in ("/tmp", "/proc"):
        os.mkdir(folder, 0o755)


def seal_root() -> bool:
    """Take the outside away; after this nothing but the view is left. False where no /proc could be mounted."""
    has_proc = try_mount_proc()
    kernel.umount_lazily(_OLD)
    os.rmdir(_OLD)
    kernel.mount("none", "/", None, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    return has_proc


def try_mount_proc() -> bool:
    """False in a container that covers parts of its own /proc: it may not mount another, and jobs go without."""
    try:
        mount_proc()
    except OSError:
        return False
    return True


def mount_proc() -> None:
    """A /proc of the current process namespace."""
    kernel.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def mount_scratch(size_bytes: int, num_files: int) -> None:
    """An empty /tmp for one job, capped in bytes and in files."""
    options = f"mode=0777,size={size_bytes},nr_inodes={num_files}"
    kernel.mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options)


def _make_place(source: str, target: str) -> None:
    """A mount point of the source's kind."""
    os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
