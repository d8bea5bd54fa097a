"""What learner and engines print goes into the run folder: logs/learner.log, logs/engine_0.log, ...

Ray writes it into its own session's folder, which ends with the cluster; vLLM and its children write to descriptors,
past Python. So the actor's class is wrapped: its process points descriptors 1 and 2 at the file before anything of the
class runs. A process that is started anew goes on in the same file. Where the folder cannot be written on the actor's
node, what is printed stays with Ray.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["logged"]


def logged(kind: type, folder: Path | None, name: str) -> type:
    """`kind`, whose process writes what it prints into `name`.log of a folder; None: `kind` itself."""
    if folder is None:
        return kind
    file = folder / f"{name}.log"

    class Logged(kind):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            with contextlib.suppress(OSError):
                _redirect(file)
            super().__init__(*args, **kwargs)

    Logged.__name__, Logged.__qualname__, Logged.__doc__ = kind.__name__, kind.__qualname__, kind.__doc__
    return Logged


def _redirect(file: Path) -> None:
    """Point this process's standard output and error at the end of a file.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"--- process {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)
