"""One process at a time writes a run folder: a lock on `.lock` in it, which the kernel takes away from the dead.

Two that go on with the same run would write every row twice, and each would delete the other's half-written checkpoint.
A sweep that was killed may have left its run behind, and a second terminal is opened quickly.

What only reads the folder (report, evaluate, export, replay, a dry run) does not ask. Where the file system has no
locks, a run starts without one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from rl.folders import is_there

__all__ = ["only_run_in"]


@contextlib.contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, which is made if it is missing; where nothing came into it, it goes in the end.

    Raises:
        ValueError: another process holds it, or nothing can be written there.
    """
    file = folder / ".lock"
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            opened = file.open("a+", encoding="utf-8")  # programs that the run starts do not inherit it
        except OSError as error:
            raise ValueError(f"run_dir = {folder}: no run can be written there: {error.strerror}") from error
        with opened as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise ValueError(
                    f"a run is going on in {folder} ({lock.read() or 'its process is not known'}): wait for its end, "
                    "end it, or give another run_dir"
                ) from error
            except OSError:  # this file system has no locks
                pass
            if not is_there(file, lock):  # whoever held it deleted it meanwhile
                continue
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {os.uname().nodename}")
            lock.flush()
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    folder.rmdir()
            return
