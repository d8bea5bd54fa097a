"""Machines that lack something: every tier works or says in one line why not, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gyms.sandbox.inside import seccomp
from gyms.sandbox.places import candidates, check_temporary_folder, fault_of, working_place
from gyms.sandbox.program import SandboxError
from tests.integration.sandbox.traces import descendants, is_running, start_of, wait_for

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
TIERS = ("zygote", "bwrap", "landlock")
TRY = """
import contextlib, sys
from gyms.sandbox import *
from gyms.sandbox import places
places._USUAL = (sys.argv[1],)
for tier in sys.argv[2:]:
    said = []
    try:
        with contextlib.closing(open_sandbox(tier)) as box:
            run = box.run(Program(source="print(6 * 7)"))
            said.append("WORKS" if run.stdout == b"42\\n" else str(run))
            if not box.refusal("cpp"):
                run = box.run(Program(source='#include <cstdio>\\nint main() { puts("43"); }', language="cpp"))
                said.append("COMPILES" if run.stdout == b"43\\n" else str(run))
    except SandboxError as error:
        said.append("REFUSED " + str(error).replace("\\n", "|"))
    print(*said)
"""
REFUSE = """
import resource
from gyms.sandbox.inside import kernel, seccomp
def refuse(*numbers, error):
    code = [(0x20, 0, 0, 0)]
    for number in numbers:
        code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | error)]
    kernel.forbid_new_privileges()
    seccomp.Prepared([*code, (0x06, 0, 0, 0x7FFF0000)]).install()
"""
X86 = os.uname().machine == "x86_64"
LACKS = {
    "user namespaces": "refuse(272, error=1)",
    "user namespaces, and even the call": "refuse(272, error=38)",
    "Landlock": "refuse(444, 445, 446, error=38)",
    "handles on processes": "refuse(434, error=38)",
    "a filter for system calls": "refuse(157, 317, error=22)",
    "mounts": "refuse(165, 155, 442, error=1)",
    "descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
    "nearly all descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))",
    "memory": "resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))",
}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's; `usual` in it stands for /tmp, which others use as well."""
    with TemporaryDirectory(dir="/tmp", prefix="place-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "usual").mkdir()
        (Path(folder) / "usual").chmod(0o1777)
        yield Path(folder)


def folders(place: Path) -> set[str]:
    """What sandboxes left anywhere in a place."""
    return {str(path) for path in place.rglob("sandbox-*")}


def tried(tiers: Sequence[str], place: Path, before: str = "") -> list[str]:
    """What each tier came to, one after the other in the same process."""
    command = [sys.executable, "-c", before + TRY, str(place / "usual"), *tiers]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(tiers), said
    return said


@pytest.mark.skipif(not X86, reason="the numbers are those of x86-64")
@pytest.mark.parametrize("what", LACKS)
def test_a_machine_that_lacks_something_is_told_so_in_one_line(what: str, place: Path) -> None:
    for said in tried(TIERS, place, REFUSE + LACKS[what]):
        assert said in ("WORKS", "WORKS COMPILES") or said.startswith("REFUSED "), said
    assert wait_for(lambda: not folders(place))


def test_soft_limits_of_the_caller_are_not_the_jobs(place: Path) -> None:
    normal = tried(TIERS, place)
    lowered = tried(TIERS, place, "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))")
    assert [said.split()[0] for said in lowered] == [said.split()[0] for said in normal]


def long(place: Path) -> Path:
    return place / ("x" * 200) / ("y" * 200)


PLACES = {
    "owned by root alone": (lambda place: place / "job", 0o755),
    "closed": (lambda place: place / "closed", 0o700),
    "with a space": (lambda place: place / "a place", 0o1777),
    "very long": (long, 0o1777),
    "not there": (lambda place: place / "none", None),
    "a file": (lambda place: Path("/dev/null"), None),
    "relative": (lambda place: Path("no/such"), None),
}


CALLERS = [*((name, "landlock") for name in PLACES), ("closed", "zygote"), ("closed", "bwrap")]
"""Where programs have a /tmp of their own, no folder is used: one stands for all."""


@pytest.mark.parametrize(("name", "tier"), CALLERS)
def test_any_temporary_folder_will_do_and_nothing_is_left_when_the_caller_is_killed(
    name: str, tier: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, mode = PLACES[name]
    folder = make(place)
    if mode is not None:
        folder.mkdir(parents=True)
        folder.chmod(mode)
    monkeypatch.setenv("TMPDIR", str(folder))
    (said,) = tried([tier], place)
    if said.startswith("REFUSED"):
        pytest.skip(said)
    assert said in ("WORKS", "WORKS COMPILES")
    sleeping = TRY.replace("print(6 * 7)", "import time; time.sleep(987)")
    caller = subprocess.Popen([sys.executable, "-c", sleeping, str(place / "usual"), tier], cwd=ROOT)
    assert wait_for(lambda: len(descendants(caller.pid)) >= 3)
    time.sleep(0.2)  # somewhere in the middle of the program
    started = {pid: start_of(pid) for pid in descendants(caller.pid)}
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert wait_for(lambda: not any(is_running(pid, start) for pid, start in started.items()))
    assert wait_for(lambda: not folders(place))


def test_a_folder_that_will_not_do_is_passed_over_and_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = place / "job"
    job.mkdir(mode=0o755)
    job.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(job))
    assert candidates()[0] == str(job)
    assert "cannot write to it (mode 0755)" in fault_of(str(job), 60_500)
    assert fault_of(str(job), 0) == "" or os.geteuid() != 0
    assert working_place(60_500) != str(job)
    if os.geteuid() == 0:
        told = check_temporary_folder()
        assert told is not None and str(job) in told and "mode 1777" in told
    job.chmod(0o1777)
    assert fault_of(str(job), 60_500) == "" and working_place(60_500) == str(job)
    assert check_temporary_folder() is None
    place.chmod(0o700)
    assert fault_of(str(job), 60_500) == f"users other than its owner cannot enter {place}"
    assert list(job.iterdir()) == []


def test_where_no_folder_will_do_each_is_told(place: Path) -> None:
    code = (
        "from gyms.sandbox import places\nplaces._USUAL = ()\nimport os\nos.environ['TMPDIR'] = '/proc'\n"
        "places.working_place(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert SandboxError.__name__ in last and "/proc: " in last and "mode 1777" in last


def test_another_kind_of_processor_is_told() -> None:
    assert seccomp.is_supported() == (os.uname().machine in ("x86_64", "aarch64"))
