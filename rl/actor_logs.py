"""What learner and engines print goes into the run folder: logs/learner.log, logs/engine_0.log, ...

Ray writes it into its own session's folder, which ends with the cluster. A process that is started anew goes on in the
same file. On a node that does not see the run folder it goes into a file there, from which a thread sends what is new
every second: what a process says in its last second, before it is killed, stays there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

from rl.folders import PIECE_BYTES, Folders

__all__ = ["redirect"]

SEND_SECONDS = 1.0


def redirect(file: Path, folders: Folders, held: contextlib.ExitStack) -> None:
    """Point this process's standard output and error at the end of a file of the driver's node.

    Where that cannot be written, what is printed stays with Ray.

    Args:
        held: closed, if ever, when the process prints nothing more.
    """
    with contextlib.suppress(OSError):
        if folders.sees(file.parent.parent):  # the run folder; that of logs may be yet to come
            _point_at(file)
            return
        local = held.enter_context(folders.scratch()) / file.name
        _point_at(local)
        threading.Thread(target=_send, args=(local, file, folders), daemon=True).start()


def _send(local: Path, file: Path, folders: Folders) -> None:
    """What is new in a local file, for as long as the process lives."""
    text, is_told = b"", False
    with local.open("rb") as stream:
        while True:
            text = text or stream.read(PIECE_BYTES)
            try:
                if text:
                    folders.append(file, text)
                    text, is_told = b"", False
                    continue
            except Exception as error:  # a full disk, a link that is cut: it is tried again for as long as we live
                if not is_told:
                    print(f"{file} could not be written for a while: {error}", flush=True)
                is_told = True
            time.sleep(SEND_SECONDS)


def _point_at(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"--- process {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)
