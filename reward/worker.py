"""A scoring worker: the child process in which one gym verifies responses. Started by `reward.process`, never by hand.

    python -m reward.worker REQUEST_FD REPLY_FD HOST_PID SCRATCH

It reads frames from one pipe and answers on another, so that a gym may print what it likes: standard output and error
go nowhere once the worker is ready. The gym is built on request. A gym that raises is reported and the worker lives on;
all worse things (hangs, exits, garbage on the pipe) are the host's to notice, and it kills the worker. The end of the
request pipe ends the worker, and `reward.keeper` ends everything that the worker left. Once the gym is built, the
thread that scores can write to its scratch folder and to little else (gyms/confinement/confine.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import resource
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from gyms.api import Gym, Needs, Score, ServiceFailed, Services
from gyms.confinement.confine import confine_writes, use_temporary_folder
from gyms.confinement.declared import Watch, watched
from gyms.load import GymSpec, SpecError, resolve
from gyms.sandbox.program import Sandbox
from reward.keeper import fork_worker
from reward.residents import EPISODE_REQUESTS, Residents
from reward.wire import HEADER_BYTES, MAX_TEXT_CHARS, body_length, pack_frame, score_as_json

__all__ = ["main"]


def main() -> None:
    """Serve requests until the host closes the pipe."""
    request_fd, reply_fd, host_pid = (int(argument) for argument in sys.argv[1:4])
    scratch = Path(sys.argv[4])
    for fd in (request_fd, reply_fd):
        os.set_inheritable(fd, False)  # programs that a gym starts must not hold the pipes
    fork_worker(host_pid, scratch, (request_fd, reply_fd))
    own_pid = os.getpid()
    with os.fdopen(request_fd, "rb") as requests:
        hello = _read_frame(requests)
        if hello is None:
            return
        desk = _Desk(pickle.loads(hello), scratch)
        _silence()
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")  # where memory runs out, this goes before the run does
        _send(reply_fd, {"kind": "ready", "serial": 0, "pid": own_pid})
        while (frame := _read_frame(requests)) is not None:
            kind, serial, payload = pickle.loads(frame)
            reply = desk.answer(kind, payload)
            if os.getpid() != own_pid:
                os._exit(0)  # the gym forked and both sides came back: only one may answer
            _send(reply_fd, {**reply, "serial": serial})
        desk.close()


class _Desk:
    """The one gym of this worker, and its answers to requests."""

    def __init__(self, spec: GymSpec, scratch: Path) -> None:
        self._spec = spec
        self._scratch = scratch
        self._gym: Gym | None = None
        self._sandbox: Sandbox | None = None
        self._watch: Watch | None = None
        self._is_confined: bool | None = None
        self._residents = Residents()

    def answer(self, kind: str, payload: bytes) -> dict[str, Any]:
        """Around one plug-in call: whatever a gym raises becomes a reply that says so."""
        try:
            return self._build() if kind == "build" else self._asked(kind, payload)
        except BaseException as error:  # sys.exit in a gym ends its call, not the worker
            if kind == "build" and isinstance(error, SpecError):
                return {"kind": "refused", "detail": str(error)[:MAX_TEXT_CHARS]}
            is_undeclared = self._watch is not None and bool(self._watch.refusal)
            is_spent = isinstance(error, MemoryError)
            told = _told(error)
            if self._is_confined and isinstance(error, PermissionError):
                told = f"{told}; a verifier may write to services.scratch and to what Needs(writes=...) declares"
            return {
                "kind": "failed",
                "detail": told,
                "is_spent": is_spent,
                "is_undeclared": is_undeclared,
                "is_service": isinstance(error, ServiceFailed),
            }

    def close(self) -> None:
        self._residents.close_all()
        if self._sandbox is not None:
            self._sandbox.close()

    def _build(self) -> dict[str, Any]:
        key = self._spec.config_key or f"gyms.{self._spec.name}"
        needs = resolve(self._spec.reference, config_key=f"{key}.gym").needs
        if needs.sandbox and self._sandbox is None:
            from gyms.sandbox import open_sandbox  # heavy: only where code is run
            from gyms.sandbox.apart import SandboxApart

            self._sandbox = SandboxApart(open_sandbox)
        _limit_memory(needs)
        folder, temporary = self._scratch / "gym", self._scratch / "tmp"
        self._scratch.chmod(0o711)
        folder.mkdir(mode=0o700, exist_ok=True)
        temporary.mkdir(exist_ok=True)
        temporary.chmod(0o1777)  # as /tmp: the sandbox's jobs have users of their own
        use_temporary_folder(temporary)
        self._gym = self._spec.build(Services(scratch=folder, sandbox=self._sandbox))
        if self._is_confined is None:
            self._is_confined = confine_writes(self._scratch, needs)
        return {
            "kind": "built",
            "is_confined": self._is_confined,
            "wall_seconds": float(needs.wall_seconds),
            "cpu_seconds": None if needs.cpu_seconds is None else float(needs.cpu_seconds),
            "has_sandbox": needs.sandbox,
            "needs_judge": needs.judge,
            "minimum": float(self._gym.minimum),
            "components": [str(name) for name in self._gym.components],
        }

    def _asked(self, kind: str, payload: bytes) -> dict[str, Any]:
        assert self._gym is not None  # the host builds first
        _seed()
        if kind in EPISODE_REQUESTS:
            with watched(self._gym.needs) as self._watch:
                reply = self._residents.answer(self._gym, kind, payload)
            if refusal := self._watch.refusal:
                return {"kind": "failed", "detail": refusal, "is_undeclared": True}
            return reply
        task, responses = pickle.loads(payload)
        with watched(self._gym.needs) as self._watch:
            if kind == "gold":
                kind, count = responses
                gold = self._gym.gold(task)
                if gold is None:
                    return {"kind": "no_gold"}
                responses = [gold] * count
            if kind == "group":
                scores = self._gym.score_group(task, responses)
            elif kind == "batch":
                scores = self._gym.score_batch(list(zip(task, responses, strict=True)))
            else:
                scores = [self._gym.score(task, responses[0])]
        if refusal := self._watch.refusal:
            return {"kind": "failed", "detail": f"score: {refusal}", "is_undeclared": True}
        wrong = _what_is_wrong(scores, len(responses), f"score_{kind}" if kind != "one" else "score")
        if wrong:
            return {"kind": "failed", "detail": wrong}
        return {"kind": "scored", "scores": [score_as_json(score) for score in scores]}


def _what_is_wrong(scores: object, num_wanted: int, call: str) -> str:
    """What a gym returned instead of its scores, or an empty string."""
    if not isinstance(scores, Sequence) or isinstance(scores, str | bytes):
        return f"{call} returned {type(scores).__name__}, expected a sequence of gyms.api.Score"
    if len(scores) != num_wanted:
        return f"{call} returned {len(scores)} scores for {num_wanted} responses"
    for score in scores:
        if not isinstance(score, Score):
            return f"{call} returned {type(score).__name__}, expected gyms.api.Score"
    return ""


def _limit_memory(needs: Needs) -> None:
    """Cap the address space. What a sandbox starts below this worker has limits of its own and may raise this one."""
    wanted = needs.memory_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard if needs.sandbox else soft))


def _seed() -> None:
    """The global generators, the same for every request: a score must not depend on what was scored before it."""
    random.seed(0)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(0)


def _told(error: BaseException) -> str:
    """Type, message and innermost place of an exception, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    try:
        words = str(error)
    except Exception:  # an exception whose own __str__ raises still has a type
        words = "(it cannot be printed)"
    return f"raised {type(error).__name__}: {words}{place}".replace("\n", " ")[:MAX_TEXT_CHARS]


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


if __name__ == "__main__":
    main()
