"""What a gym may write to while it scores: its scratch folder, a temporary folder in it, and what its `needs` declare.

A worker has the rights of the run, root's in a container. A verifier that hands a response to a library can be made to
write: SQL's `ATTACH DATABASE '/any/file'`, a template that includes, an archive that unpacks itself upwards. Landlock
takes the right away in the thread that scores, and in all that it starts; reading is as before. It is taken after the
gym was built: building runs no response, and libraries fill caches there.

Its limits: threads that a gym starts while it is built keep their rights, and so does the sandbox's own. A gym that
starts programs which mount file systems declares `Needs(writes=("/",))`, for Landlock refuses mounts too. Kernels
before 5.13, or with Landlock switched off, confine nothing: `python -m gyms doctor` says so, and the run logs it once.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import tempfile
from pathlib import Path

from gyms.api import Needs
from gyms.sandbox.inside import kernel, landlock

__all__ = ["confine_writes", "tell_unconfined", "use_temporary_folder", "writable_paths"]

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
_SHARED_MEMORY = "/dev/shm"
_log = logging.getLogger(__name__)


def use_temporary_folder(folder: Path) -> None:
    """Have this process and what it starts make temporary files in a folder."""
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # asked for anew


def writable_paths(scratch: Path, needs: Needs) -> list[str]:
    """What a gym may write to."""
    declared = [str(Path(path).expanduser()) for path in needs.writes]
    return [str(scratch), *_DEVICES, *([_SHARED_MEMORY] if needs.processes else []), *declared]


def confine_writes(scratch: Path, needs: Needs) -> bool:
    """Refuse all other writing, in this thread and what it starts; False where this kernel cannot."""
    if "/" in needs.writes:
        return True
    if sys.platform != "linux" or not landlock.abi():
        return False
    kernel.forbid_new_privileges()
    landlock.restrict_writes(writable_paths(scratch, needs))
    return True


@functools.cache
def tell_unconfined() -> None:
    """Log that verifiers are not confined; once a process."""
    _log.warning("this kernel has no Landlock: verifiers can write wherever this user can (python -m gyms doctor)")
