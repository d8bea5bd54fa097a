"""What a job uses: CPU time, memory and space of all its processes together, as its init reads them from /proc."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import stat
from collections.abc import Collection
from typing import Any

__all__ = [
    "MAX_FILES",
    "OPEN_FILES",
    "descendants",
    "has_outgrown",
    "living",
    "num_tasks",
    "of_folder",
    "of_job",
    "processes",
    "waited",
]

MAX_FILES = 2048
"""Most files of a job's working folder."""
OPEN_FILES = 256
"""Most descriptors of one process."""
SOCKET_BYTES = 212_992
"""What one socket's buffer holds unless a program asks for more, which is refused (net.core.wmem_default)."""
PIPE_BYTES = 65_536
"""What a pipe holds; a user's larger ones are bounded by fs.pipe-user-pages-soft."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def processes() -> list[tuple[int, int, int, int]]:
    """(pid, parent, CPU ticks with those of children waited for, resident pages) of every process in /proc."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(name)):
            found.append((int(name), int(fields[1]), sum(map(int, fields[11:15])), int(fields[21])))
    return found


def _stat(pid: object) -> list[bytes]:
    """What /proc says of a process, from its state on; nothing where it ended meanwhile."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def descendants(but: Collection[int] = ()) -> list[tuple[int, int, int, int]]:
    """All processes below this one, `but` these and what is below them."""
    everything = processes()
    below, found = {os.getpid()}, []
    grew = True
    while grew:
        grew = False
        for process in everything:
            if process[1] in below and process[0] not in below and process[0] not in but:
                below.add(process[0])
                found.append(process)
                grew = True
    return found


def living(profile: dict[str, Any], kept: int) -> list[int]:
    """Processes of the job that are not dead, init and one more excluded."""
    found = [p for p in processes() if p[0] != 1] if profile["is_init_one"] else descendants()
    return [pid for pid, *_ in found if pid != kept and (_stat(pid) or [b"X"])[0] not in (b"Z", b"X")]


def num_tasks() -> int:
    """Processes and threads below this one."""
    return sum(int(fields[17]) for pid, *_ in descendants() if (fields := _stat(pid)))


def of_job(profile: dict[str, Any]) -> tuple[float, int]:
    """CPU seconds and bytes of memory of the job, init excluded; what is shared after a fork counts once."""
    found = [p for p in processes() if p[0] != 1] if profile["is_init_one"] else descendants()
    cpu = sum(ticks for _, _, ticks, _ in found) / _TICKS_PER_SECOND
    own = resource.getrusage(resource.RUSAGE_CHILDREN)  # orphans that we have already collected
    memory = found[0][3] * _PAGE if len(found) == 1 else sum(_proportional(p[0], p[3]) for p in found)
    return cpu + own.ru_utime + own.ru_stime, memory + _buffers([pid for pid, *_ in found])


def _proportional(pid: int, resident_pages: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # it ended, or hides itself: count all that it has
    return resident_pages * _PAGE


def _buffers(pids: list[int]) -> int:
    """Bytes that the kernel may hold for these processes in sockets and pipes, which are no process's memory.

    The kernel does not tell how full a buffer is, so each is counted as full. None is on its way in a message, where it
    would have no descriptor: `sendmsg` is refused. A process that hides its descriptors is taken to have all it may.
    """
    seen: set[str] = set()
    hidden = 0
    for pid in pids:
        folder = f"/proc/{pid}/fd"
        try:
            names = os.listdir(folder)
        except PermissionError:
            fields = _stat(pid)
            hidden += bool(fields) and int(fields[21]) > 0  # one that is ending, or dead, hides them too
            continue
        except OSError:
            continue  # it ended meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                seen.add(os.readlink(f"{folder}/{name}"))
    sockets = sum(link.startswith("socket:") for link in seen) + hidden * OPEN_FILES
    return sockets * SOCKET_BYTES + sum(link.startswith("pipe:") for link in seen) * PIPE_BYTES


def waited(pid: int) -> float:
    """Seconds that a process's main thread stood ready and had no core; 0 where the kernel does not count them."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def of_folder(spec: dict[str, Any], profile: dict[str, Any], most_files: float = math.inf) -> tuple[int, int]:
    """Bytes and files of the working folder, counted until they are more than `most_files`: a program that makes them
    while we count must not keep us. Nothing where it is a memory file system of our own, which caps both."""
    total = count = 0
    if profile["has_namespaces"]:
        return total, count
    for folder, _, names in os.walk(spec["folder"]):
        count += len(names) + 1
        if count > most_files:
            break
        for name in names:
            with contextlib.suppress(OSError):
                info = os.lstat(os.path.join(folder, name))
                total += info.st_blocks * 512 if stat.S_ISREG(info.st_mode) else 0
    return total, count


def has_outgrown(spec: dict[str, Any], profile: dict[str, Any], held: tuple[int, int] = (0, 0)) -> bool:
    """Whether the working folder has more bytes or files than it may have and than it had before (`held`)."""
    most_bytes, most_files = max(spec["file_bytes"], held[0]), max(MAX_FILES, held[1])
    num_bytes, num_files = of_folder(spec, profile, most_files)
    return num_bytes > most_bytes or num_files > most_files
