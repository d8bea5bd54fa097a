"""Where programs work that have no /tmp of their own: a folder that their user can use, and can take away.

The `landlock` and `insecure` tiers make a folder for each job on disk, and hand it to the jobs' user. When the caller
is killed, what cleans up runs as that user, so the folder above must let a plain user remove what it owns: mode 1777,
as /tmp has, and not the mode 0755 that a job scheduler may give to TMPDIR. A folder where nothing may be executed, or
that is full, would fail every compiled program and have the model pay for it. So a place is looked at before it is
used, and one that will not do is passed over for the next; `python -m gyms doctor` says so.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from gyms.sandbox.program import SandboxError

__all__ = ["candidates", "check_temporary_folder", "fault_of", "working_place"]

MIN_FREE_BYTES = 64 << 20
_USUAL = ("/tmp", "/var/tmp", "/dev/shm")


def candidates() -> list[str]:
    """Folders to look at, in order: what TMPDIR names, then the usual ones."""
    given = os.environ.get("TMPDIR", "")
    return list(dict.fromkeys([*([str(Path(given).absolute())] if given else []), *_USUAL]))


def working_place(uid: int) -> str:
    """The first folder that will do for jobs of a user (0: this process's own); SandboxError where none does."""
    faults = {}
    for path in candidates():
        faults[path] = fault_of(path, uid)
        if not faults[path]:
            return path
    told = "; ".join(f"{path}: {fault}" for path, fault in faults.items())
    raise SandboxError(
        f"programs have no folder to work in. {told}. Set TMPDIR to a folder of mode 1777 on a local disk"
    )


def fault_of(path: str, uid: int) -> str:
    """Why a folder will not do; empty where it will."""
    try:
        info = Path(path).stat()
        if not stat.S_ISDIR(info.st_mode):
            return "it is no folder"
        if uid:
            closed = [str(part) for part in (Path(path), *Path(path).parents) if not part.stat().st_mode & stat.S_IXOTH]
            if closed:
                return f"users other than its owner cannot enter {closed[-1]}"
            if not info.st_mode & stat.S_IWOTH:
                return f"users other than its owner cannot write to it (mode {stat.S_IMODE(info.st_mode):04o})"
        system = os.statvfs(path)
        if system.f_flag & os.ST_NOEXEC:
            return "nothing may be executed there (mounted noexec)"
        if system.f_bavail * system.f_frsize < MIN_FREE_BYTES or (system.f_files and not system.f_favail):
            return "it is full"
        Path(tempfile.mkdtemp(prefix="sandbox-", dir=path)).rmdir()
    except OSError as error:
        return f"{error.strerror or error}"
    return ""


def check_temporary_folder() -> str | None:
    """What is wrong with TMPDIR, and what to do; None where nothing is.

    It looks with the eyes of a user of the jobs' own, where this process is root.
    """
    uid = 65_534 if os.geteuid() == 0 else 0
    first = candidates()[0]
    fault = fault_of(first, uid)
    if not fault:
        return None
    name = f"TMPDIR = {os.environ['TMPDIR']!r}" if os.environ.get("TMPDIR") else first
    try:
        instead = f"programs that work on disk (tier landlock) use {working_place(uid)} instead"
    except SandboxError:
        instead = "and no other folder will do, so the tier landlock does not work"
    return f"{name}: {fault}; {instead}. Give a folder of mode 1777 on a local disk, or unset TMPDIR"
