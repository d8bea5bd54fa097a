"""The host's half of the zygote, where the other half fails or is late."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gyms.sandbox import forkserver
from gyms.sandbox.forkserver import ForkServer, Launch, Profile
from gyms.sandbox.program import Run, SandboxError
from gyms.sandbox.pump import NeverEnded
from gyms.sandbox.view import interpreters

PROFILE = Profile(tier="insecure", has_namespaces=False, has_seccomp=False, is_init_one=False)


class Failing(ForkServer):
    """Every run of it fails."""

    def __init__(self, error: SandboxError) -> None:
        super().__init__(interpreters()[0], PROFILE)
        self.error = error
        self.num_tries = 0

    def _ensure(self) -> None:
        pass

    def _run(self, launches: Sequence[Launch], linked: bool) -> list[Run]:
        self.num_tries += 1
        raise self.error


def test_a_run_that_failed_is_tried_once_more_and_one_that_no_signal_ends_is_not_waited_for_again() -> None:
    failing, endless = Failing(SandboxError("the zygote ended")), Failing(NeverEnded("a job did not end"))
    with pytest.raises(SandboxError, match="failed twice: the zygote ended"):
        failing.run([])
    with pytest.raises(NeverEnded, match="a job did not end"):
        endless.run([])
    assert (failing.num_tries, endless.num_tries) == (2, 1)


@pytest.fixture
def asked() -> Iterator[tuple[ForkServer, socket.socket]]:
    """A server, and the zygote's end of its line."""
    server = ForkServer(interpreters()[0], PROFILE)
    server._control, zygote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield server, zygote
    server._control.close()
    zygote.close()


def answer(zygote: socket.socket, serial: int) -> None:
    with Path(os.devnull).open() as handle:
        socket.send_fds(zygote, [json.dumps({"started": serial}).encode()], [handle.fileno()])


def test_an_answer_that_came_too_late_is_not_taken_for_the_next_ones(asked: tuple[ForkServer, socket.socket]) -> None:
    server, zygote = asked
    late = next(forkserver._serials)  # of a session that was given up
    answer(zygote, late)
    answer(zygote, late + 1)
    num_fds = len(list(Path("/proc/self/fd").iterdir()))
    os.close(server._ask({}, []))
    assert len(list(Path("/proc/self/fd").iterdir())) <= num_fds, "nothing that came is kept"


def test_an_answer_that_nobody_asked_for_is_a_fault(asked: tuple[ForkServer, socket.socket]) -> None:
    server, zygote = asked
    answer(zygote, next(forkserver._serials) + 2)
    with pytest.raises(SandboxError, match="expected the start of job"):
        server._ask({}, [])
