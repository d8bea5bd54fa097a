"""A scoring worker: the child process in which gyms verify responses. Started by `reward.process`, never by hand.

    python -m reward.worker REQUEST_FD REPLY_FD PARENT_PID

It reads frames from one pipe and answers on another, so that a gym may print what it likes: standard output and error
go nowhere once the worker is ready. Gyms are built on first use. A gym that raises is reported and the worker lives on;
all worse things (hangs, exits, garbage on the pipe) are the host's to notice, and it kills the worker. The kernel kills
the worker when its host dies, and the end of the request pipe ends it where the kernel cannot.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gyms.api import Gym, Score, Services
from gyms.load import GymSpec
from reward.wire import HEADER_BYTES, MAX_TEXT_CHARS, body_length, pack_frame, score_as_json

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests until the host closes the pipe."""
    request_fd, reply_fd, parent_pid = (int(argument) for argument in sys.argv[1:4])
    _die_with(parent_pid)
    for fd in (request_fd, reply_fd):
        os.set_inheritable(fd, False)  # programs that a gym starts must not hold the pipes
    own_pid = os.getpid()
    with os.fdopen(request_fd, "rb") as requests:
        hello = _read_frame(requests)
        if hello is None:
            return
        specs, scratch = pickle.loads(hello)
        _silence()
        _send(reply_fd, {"kind": "ready", "serial": 0})
        gyms: dict[str, Gym] = {}
        while (frame := _read_frame(requests)) is not None:
            kind, serial, name, payload = pickle.loads(frame)
            reply = _answer(kind, name, payload, specs, gyms, Path(scratch))
            if os.getpid() != own_pid:
                os._exit(0)  # the gym forked and both sides came back: only one may answer
            _send(reply_fd, {**reply, "serial": serial})


def _answer(
    kind: str, name: str, payload: bytes, specs: Mapping[str, GymSpec], gyms: dict[str, Gym], scratch: Path
) -> dict[str, Any]:
    """Around one plug-in call: whatever a gym raises becomes a reply that says so."""
    try:
        if kind == "build":
            gyms[name] = _build(specs[name], scratch)
            return {"kind": "built", "wall_seconds": float(gyms[name].needs.wall_seconds)}
        task, response = pickle.loads(payload)
        score = gyms[name].score(task, response)
        if not isinstance(score, Score):
            return {"kind": "failed", "detail": f"score returned {type(score).__name__}, expected gyms.api.Score"}
        return {"kind": "scored", "score": score_as_json(score)}
    except Exception as error:
        return {"kind": "failed", "detail": _told(error)}


def _build(spec: GymSpec, scratch: Path) -> Gym:
    folder = scratch / spec.name
    folder.mkdir(exist_ok=True)
    return spec.build(Services(scratch=folder))


def _told(error: Exception) -> str:
    """Type, message and innermost place of an exception, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"raised {type(error).__name__}: {error}{place}".replace("\n", " ")[:MAX_TEXT_CHARS]


def _read_frame(stream: BinaryIO) -> bytes | None:
    """The next body, or None where the host has closed the pipe."""
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    length = body_length(header)
    body = stream.read(length)
    return body if len(body) == length else None


def _send(fd: int, reply: Mapping[str, Any]) -> None:
    frame = memoryview(pack_frame(json.dumps(reply).encode("ascii")))
    while frame:
        frame = frame[os.write(fd, frame) :]


def _silence() -> None:
    """What gyms print would mix into the run's own output, or block on a pipe that nobody reads."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)  # the parent was gone before the request above


if __name__ == "__main__":
    main()
