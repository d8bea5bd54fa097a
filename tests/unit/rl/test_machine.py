"""What a machine lacks for a run is told in one line, with the remedy, before anything starts."""

from __future__ import annotations

import os
import socket

import pytest

from gyms.api import Gym, GymSettings, Needs, Score, Services, Status, Task, message
from rl.machine import MAX_SOCKET_BYTES, RAY_SOCKET, check_languages, check_programs, check_ray_folder

PID = 12345
ROOM = MAX_SOCKET_BYTES - len(RAY_SOCKET.format(pid=PID))


def test_the_longest_name_that_a_socket_can_have_is_the_systems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for length, is_possible in ((MAX_SOCKET_BYTES, True), (MAX_SOCKET_BYTES + 1, False)):
        with socket.socket(socket.AF_UNIX) as one:
            if is_possible:
                one.bind("s" * length)
            else:
                with pytest.raises(OSError, match="AF_UNIX path too long"):
                    one.bind("s" * length)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_deep_for_rays_sockets_is_refused_with_the_remedy(variable):
    longest = "/tmp/".ljust(ROOM, "x")
    check_ray_folder({variable: longest}, pid=PID)
    with pytest.raises(ValueError) as caught:
        check_ray_folder({variable: longest + "yz"}, pid=PID)
    assert str(caught.value) == (
        f"{variable} = {longest}yz is 2 bytes too long for Ray, whose sockets lie in it (a socket's name has at most "
        "107 bytes): set RAY_TMPDIR to a short folder, e.g. RAY_TMPDIR=/tmp"
    )
    with pytest.raises(ValueError, match="is 1 bytes too long"):
        check_ray_folder({variable: longest}, pid=10 * PID)  # the name holds the process's number


def test_bytes_count_not_characters():
    folder = "/tmp/".ljust(ROOM - 1, "x")
    check_ray_folder({"TMPDIR": folder + "x"}, pid=PID)
    with pytest.raises(ValueError, match="is 1 bytes too long"):
        check_ray_folder({"TMPDIR": folder + "\u00e9"}, pid=PID)


def test_rays_own_variable_counts_before_the_systems_and_neither_is_needed():
    check_ray_folder({"RAY_TMPDIR": "/tmp", "TMPDIR": "/tmp/" + "x" * 200}, pid=PID)
    check_ray_folder({}, pid=PID)


def test_a_folder_that_cannot_be_written_to_is_refused():
    with pytest.raises(ValueError, match="/proc/self/status cannot be written to: set RAY_TMPDIR"):
        check_ray_folder({"TMPDIR": "/proc/self/status"}, pid=PID)


def test_a_machine_without_the_programs_of_ray_and_vllm_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", {**os.environ, "PATH": str(tmp_path)})
    with pytest.raises(ValueError, match="bash is not on PATH, and without it Ray starts no actor; install it"):
        check_programs(on_cpu=False)
    (tmp_path / "bash").touch(mode=0o755)
    with pytest.raises(ValueError, match=r"lscpu is not on PATH, .* install it"):
        check_programs(on_cpu=True)
    check_programs(on_cpu=False)
    (tmp_path / "lscpu").touch(mode=0o755)
    check_programs(on_cpu=True)


class Programs(Gym):
    """Tasks that want programs in given languages."""

    needs = Needs(sandbox=True)

    def __init__(self, *languages: str) -> None:
        super().__init__(GymSettings(), Services())
        self.languages = languages

    def tasks(self, split):
        return [
            Task(id=f"{split}/{i}", prompt=(message("user", "?"),), data={"language": language})
            for i, language in enumerate(self.languages)
        ]

    def score(self, task, response):
        return Score(status=Status.OK, value=0.0)


def test_a_language_without_its_compiler_is_refused_with_how_many_tasks_want_it():
    programs = {"cpp": "no-such-compiler", "python": "env"}
    check_languages("gyms.0 (code)", Programs("python", "python"), programs)
    with pytest.raises(ValueError) as caught:
        check_languages("gyms.0 (code)", Programs("python", "cpp", "cpp"), programs)
    assert str(caught.value) == (
        "gyms.0 (code): 2 of 3 train tasks want cpp programs, and no-such-compiler is not installed: every sample of "
        "theirs would be masked; install no-such-compiler, or leave the tasks out"
    )
