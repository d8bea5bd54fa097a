"""Sessions of the sandbox under every tier that works here: what a call does, what lives on, what ends with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gyms.sandbox import Ending, Entry, File, FileRefused, Program, Sandbox, SandboxError, Session, open_sandbox
from gyms.sandbox.apart import SandboxApart
from tests.integration.sandbox.patience import PATIENT
from tests.integration.sandbox.traces import Watch, wait_for

BUSY = replace(PATIENT, cpu_seconds=0.2)
IDLE = replace(PATIENT, wall_seconds=0.3)


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[Session]:
    opened = sandbox.open({"data.txt": b"1 2 3", "below/it.txt": b"x"}, limits=PATIENT)
    yield opened
    opened.close()


def test_files_given_at_the_start_are_read_written_and_listed(session: Session) -> None:
    assert session.read("data.txt") == b"1 2 3"
    session.write("data.txt", b"4")
    session.write("new/folder/file", bytes(range(256)))
    assert session.read("data.txt") == b"4" and session.read("new/folder/file") == bytes(range(256))
    assert session.list() == (
        Entry(path="below", kind="folder"),
        Entry(path="below/it.txt", kind="file", num_bytes=1),
        Entry(path="data.txt", kind="file", num_bytes=1),
        Entry(path="new", kind="folder"),
        Entry(path="new/folder", kind="folder"),
        Entry(path="new/folder/file", kind="file", num_bytes=256),
    )


def test_a_program_runs_in_the_folder_and_leaves_its_files_to_the_next(session: Session) -> None:
    done = session.run(["sh", "-c", "cat data.txt - > copy.txt; echo to errors >&2; exit 3"], stdin=b" 4")
    assert (done.ending, done.exit_status, done.stderr) == (Ending.EXITED, 3, b"to errors\n")
    assert session.run(["cat", "copy.txt"]).stdout == b"1 2 3 4"
    assert session.run(["no-such-program"]).exit_status == 127


def test_the_interpreter_keeps_its_names_and_shows_what_a_notebook_shows(session: Session) -> None:
    assert session.python("x = 6 * 7\nx").output == "42\n"
    assert session.python("import math\ndef f(n):\n    return n + x\n").output == ""
    assert session.python("print('said')\nf(1), math.pi > 3").output == "said\n(43, True)\n"
    assert session.python("open('data.txt').read()").output == "'1 2 3'\n"
    raised = session.python("def g():\n    return 1 / 0\ng()")
    assert raised.has_raised and raised.is_kept
    assert raised.output.startswith("Traceback") and raised.output.endswith("ZeroDivisionError: division by zero\n")
    assert "return 1 / 0" in raised.output and "notebook" not in raised.output
    assert session.python("1 +").output.endswith("SyntaxError: invalid syntax\n")
    assert session.python("x").output == "42\n"


def test_a_deep_traceback_is_cut_and_an_exit_ends_nothing(session: Session) -> None:
    deep = session.python("def f(n):\n    return f(n + 1)\nf(0)")
    assert deep.output.endswith("RecursionError: maximum recursion depth exceeded\n") and deep.output.count("\n") < 30
    assert session.python("raise SystemExit(3)").is_kept and session.python("len('alive')").output == "5\n"


def test_each_cell_has_its_own_limits_and_overrunning_them_costs_the_names(session: Session) -> None:
    session.python("x = 1")
    for code, limits, ending in (
        ("while True: pass", BUSY, Ending.CPU_LIMIT),
        ("import time; time.sleep(1e6)", IDLE, Ending.WALL_LIMIT),
    ):
        ended = session.python(code, limits=limits)
        assert (ended.ending, ended.is_kept) == (ending, False)
        gone = session.python("'x' in dir()")
        assert gone.output == "False\n" and not gone.is_new, "that they are gone was said when it happened"
        session.python("x = 1")
    half = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass"
    for _ in range(3):
        assert session.python(half, limits=BUSY).ending is Ending.EXITED, "what earlier cells used is not counted"


def test_a_program_that_overruns_its_limits_costs_neither_files_nor_names(session: Session) -> None:
    session.python("x = 1")
    assert session.run(["sh", "-c", "while :; do :; done"], limits=BUSY).ending is Ending.CPU_LIMIT
    assert session.run(["sleep", "1000"], limits=IDLE).ending is Ending.WALL_LIMIT
    assert session.run(["cat", "/dev/zero"]).ending is Ending.OUTPUT_LIMIT
    assert session.read("data.txt") == b"1 2 3" and session.python("x").output == "1\n"


def test_an_interpreter_that_a_program_killed_is_known_to_be_new(session: Session) -> None:
    session.python("x = 1; import os")
    pid = session.python("os.getpid()").output.strip()
    session.run(["sh", "-c", f"kill -9 {pid}"])
    cell = session.python("'x' in dir()")
    assert cell.output in ("False\n", "True\n")  # in `landlock` no signal reaches it
    assert cell.is_new == (cell.output == "False\n") and cell.is_kept


def test_what_is_random_is_the_same_in_every_session(sandbox: Sandbox) -> None:
    code = "import random\nprint({'a', 'b', 'c', 'd'}, hash('text'), random.random())"
    outputs = set()
    for _ in range(2):
        session = sandbox.open()
        outputs.add(session.python(code).output)
        session.close()
    assert len(outputs) == 1


def test_sessions_live_beside_each_other_and_beside_programs(sandbox: Sandbox) -> None:
    sessions = [sandbox.open({"number": str(n).encode()}, limits=PATIENT) for n in range(5)]
    for n, session in enumerate(sessions):
        session.python(f"x = {n}")
    assert sandbox.run(Program(source="print(6 * 7)")).stdout == b"42\n"
    for n, session in reversed(list(enumerate(sessions))):
        assert session.python("x, open('number').read()").output == f"({n}, '{n}')\n"
        session.close()


def test_a_closed_session_leaves_nothing(sandbox: Sandbox, watch: Watch) -> None:
    sandbox.run(Program(source="pass"))
    before = watch.settled()
    for _ in range(3):
        session = sandbox.open({"f": b"x"}, limits=PATIENT)
        session.python("import subprocess\nchild = subprocess.Popen(['sleep', '1000'])")
        session.run(["sh", "-c", "sleep 1000 &"])
        session.close()
        session.close()
        with pytest.raises(SandboxError, match="the session is closed"):
            session.python("1")
    assert wait_for(lambda: watch.traces() == before), (before, watch.traces())


def test_a_killed_supervisor_is_a_fault_of_ours_and_harms_no_neighbour(sandbox: Sandbox, watch: Watch) -> None:
    neighbour = sandbox.open(limits=PATIENT)
    neighbour.python("x = 1")
    before = watch.settled()
    session = sandbox.open(limits=PATIENT)
    session.python("import subprocess\nx = 1")
    supervisor = session._line._pidfd  # type: ignore[attr-defined]
    signal.pidfd_send_signal(supervisor, signal.SIGKILL)
    with pytest.raises(SandboxError, match=r"the session \(\w+\) is lost: .* no fault of what ran in it"):
        session.python("x")
    with pytest.raises(SandboxError, match="is lost"):
        session.read("f")
    assert wait_for(lambda: watch.traces() == before), (before, watch.traces())
    assert neighbour.python("x").output == "1\n"
    neighbour.close()


def test_a_session_can_be_used_from_a_thread_that_did_not_open_the_sandbox(sandbox: Sandbox) -> None:
    apart = SandboxApart(lambda: open_sandbox(sandbox.tier))  # type: ignore[arg-type]
    try:
        session = apart.open({"f": b"1"})
        session.write("g", b"2")
        assert session.python("open('f').read() + open('g').read()").output == "'12'\n"
        assert session.run(["cat", "f"]).stdout == session.read("f") == b"1" and len(session.list()) == 2
        session.close()
    finally:
        apart.close()


def test_a_path_that_is_none_below_the_folder_is_refused(session: Session) -> None:
    for path in ("", "/etc/passwd", "../f", "a/../f", "a//f", ".", "a/.", "f\0", "x" * 2000, "\ud900"):
        with pytest.raises(FileRefused, match="expected a path below the folder"):
            session.read(path)
        with pytest.raises(FileRefused, match="expected a path below the folder"):
            session.write(path, b"")


def test_what_is_no_file_is_refused_with_the_reason(session: Session) -> None:
    with pytest.raises(FileRefused, match="'nothing': No such file"):
        session.read("nothing")
    with pytest.raises(FileRefused, match="'below'"):
        session.read("below")
    for argv in ([], [""], ["a\0b"], ["echo", "\ud900"]):
        with pytest.raises(ValueError, match="expected a program and its arguments"):
            session.run(argv)


def test_a_session_of_a_forked_process_stays_its_parents(session: Session) -> None:
    session.python("x = 1")
    pid = os.fork()
    if pid == 0:
        session.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert session.python("x").output == "1\n"


def test_a_snapshot_opens_a_session_with_the_same_files_and_permissions(sandbox: Sandbox, session: Session) -> None:
    session.write("bin/tool", b"#!/bin/sh\necho ran\n")
    session.write("empty", b"")
    session.run(["sh", "-c", "chmod 755 bin/tool; chmod 400 data.txt; mkdir nothing; ln -s data.txt link"])
    session.python("open(b'\\xff\\n\"', 'wb').write(b'odd\\n[]')")
    kept = session.snapshot()
    assert kept == {
        "below/it.txt": File(content=b"x", mode=0o644),
        "bin/tool": File(content=b"#!/bin/sh\necho ran\n", mode=0o755),
        "data.txt": File(content=b"1 2 3", mode=0o400),
        "empty": File(content=b"", mode=0o644),
        '\udcff\n"': File(content=b"odd\n[]", mode=0o644),
    }
    session.run(["rm", "-r", "bin"])
    again = sandbox.open(kept, limits=PATIENT)
    try:
        assert again.run(["./bin/tool"]).stdout == b"ran\n"
        assert again.snapshot() == kept and again.snapshot(["data.txt"]) == {"data.txt": kept["data.txt"]}
    finally:
        again.close()
