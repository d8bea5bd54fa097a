"""Attacks on sessions, under every tier that works here: each costs its own call at most, and nothing of it is left.

After each attack the session must answer as ever: files as they were, and an interpreter, a new one where it says so.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gyms.sandbox import Ending, FileRefused, Sandbox, Session
from tests.integration.sandbox.patience import PATIENT
from tests.integration.sandbox.traces import Watch, wait_for

SHORT = replace(PATIENT, cpu_seconds=0.4, wall_seconds=0.6)


@pytest.fixture
def session(sandbox: Sandbox, watch: Watch) -> Iterator[Session]:
    """A session that answers as ever after the attack, and of which nothing is left."""
    before = watch.settled()
    opened = sandbox.open({"kept.txt": b"kept"}, limits=PATIENT)
    opened.python("x = 1")
    yield opened
    assert opened.read("kept.txt") == b"kept"
    opened.python("x = 2")
    assert opened.python("x + 40").output == "42\n"
    assert opened.run(["cat", "kept.txt"]).stdout == b"kept"
    opened.close()
    assert wait_for(lambda: watch.traces() == before), (before, watch.traces())


COSTS_THE_INTERPRETER = {
    "ends itself": "import os; os._exit(0)",
    "kills itself": "import os; os.kill(os.getpid(), 9)",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "stops itself": "import os; os.kill(os.getpid(), 19)\nprint('later')",
    "closes every descriptor": "import os; os.closerange(0, 256)",
    "closes the line": "import os; os.close(5)",
    "puts something else in the line's place": "import os; os.dup2(0, 5)",
    "closes the result channel": "import os; os.close(3)",
    "forges the line of its own call, and stops": (
        'import os\nfor n in range(100): os.write(3, b\'{"call": %d, "has_raised": false}\\n\' % n)\n'
        "os.kill(os.getpid(), 19)"
    ),
    "writes to the result channel": "import os; os.write(3, b'not a line')",
    "floods the result channel": "import os\nwhile True: os.write(3, b'x' * 65536)",
    "floods its output": "while True: print('x' * 65536)",
    "floods its output from a child": "import subprocess; subprocess.run(['cat', '/dev/zero'])",
    "hangs where it cannot be interrupted": "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, "
    "signal.SIG_IGN)\n    except OSError: pass\nwhile True: pass",
    "catches everything": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "waits for ever": "import threading; threading.Event().wait()",
    "reads from the line itself": "import os; os.read(5, 100)",
    "never comes to its end": "import sys\nclass Out:\n    def write(self, text): pass\n    def flush(self):\n"
    "        while True: pass\nsys.stdout = Out()",
}


@pytest.mark.parametrize("name", COSTS_THE_INTERPRETER)
def test_a_cell_that_ends_its_interpreter_is_told_and_costs_nothing_else(session: Session, name: str) -> None:
    cell = session.python(COSTS_THE_INTERPRETER[name], limits=SHORT)
    assert not cell.is_kept, cell
    assert len(cell.output) <= PATIENT.output_bytes
    gone = session.python("'x' in dir()")
    assert (gone.output, gone.is_kept) == ("False\n", True), "the next cell sees a new interpreter, and nothing else"


HARMLESS = {
    "prints what the protocol says": (
        "import json\nfor n in range(9): print(json.dumps({'call': n, 'ended': n, 'ending': 'exited', 'exit': 0}))"
    ),
    "returns in a forked copy of itself": "import os\nif os.fork() == 0: print('child')\nelse: os.wait()",
    "leaves a child that ignores signals": (
        "import os, signal, time\nif os.fork() == 0:\n    os.setsid()\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: time.sleep(1)"
    ),
    "allocates more than there is": "try:\n    x = b'x' * (1 << 30)\nexcept MemoryError:\n    print('no')",
    "takes away standard output": "import sys\nsys.stdout.close()\nsys.stderr = None\nsys.__stdout__ = None",
    "replaces what a cell runs by": (
        "import os, socket, traceback\n"
        "os.write = os.kill = os.getpid = os.dup2 = socket.recv_fds = traceback.format_exception = None"
    ),
    "raises what cannot be shown": (
        "class E(BaseException):\n    def __str__(self): raise E\n    __repr__ = __str__\nraise E"
    ),
    "shows what cannot be shown": "class R:\n    def __repr__(self): raise KeyboardInterrupt\nR()",
    "has a name without text": "'\\ud800'",
    "fills the tables of children": ("import os\nfor _ in range(10):\n    if os.fork() == 0: os._exit(0)"),
    "signals process 1": (
        "import os, signal\nfor n in range(1, 65):\n    for pid in (1, os.getppid()):\n        try: os.kill(pid, n)\n"
        "        except OSError: pass"
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_cell_that_attacks_keeps_its_interpreter_and_harms_nothing(session: Session, name: str) -> None:
    for _ in range(2):
        cell = session.python(HARMLESS[name], limits=replace(PATIENT, wall_seconds=60.0))
        assert cell.ending is Ending.EXITED and cell.is_kept, cell
    assert session.python("x = 2").is_kept and not session.python("x").is_new


@pytest.mark.parametrize("bomb", ["python", "python that leaves its group", "run"])
def test_a_fork_bomb_ends_with_its_call(session: Session, bomb: str, watch: Watch) -> None:
    before = len(watch.processes())
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    if bomb != "run":
        code = code if bomb == "python" else code.replace("os.fork()", "os.fork() or os.setsid()")
        assert session.python(code, limits=SHORT).ending is not Ending.EXITED
    else:
        session.write("bomb.sh", b"f() { f | f & f; }\nf\n")
        session.run(["sh", "bomb.sh"], limits=SHORT)
    assert wait_for(lambda: len(watch.processes()) <= before)


def test_nothing_waits_in_the_background_for_the_next_call(session: Session) -> None:
    count = ["sh", "-c", "ls /proc | grep -c '^[0-9]' || true"]
    session.python("pass")
    alone = session.run(count).stdout
    waits = "import time\nwhile True:\n    time.sleep(0.01)\n    open('ticks', 'a').write('x')"
    session.write("waits.py", waits.encode())
    session.python(f"import os\nif os.fork() == 0:\n    exec({waits!r})")
    session.python(
        "import os, threading, time\ndef tick():\n    while True:\n        time.sleep(0.01)\n"
        "        open('thread', 'a').write('x')\nthreading.Thread(target=tick, daemon=True).start()\n"
        "while not (os.path.exists('thread') and os.path.getsize('thread')): time.sleep(0.01)"
    )
    session.run(["sh", "-c", "while :; do sleep 0.01; echo x >> ticks; done & until [ -s ticks ]; do sleep 0.01; done"])
    sizes = []
    for _ in range(4):
        sizes.append({entry.path: entry.num_bytes for entry in session.list()})
        time.sleep(0.1)  # many ticks
    assert sizes[0]["ticks"] > 0 and sizes[0]["thread"] > 0
    assert sizes[0] == sizes[1] == sizes[2] == sizes[3], "it ran between calls"
    assert session.run(count).stdout == alone


def test_a_descriptor_kept_from_one_call_says_nothing_in_the_next(session: Session) -> None:
    session.python("import os\nkept = [os.dup(1), os.dup(3)]")
    cell = session.python("for fd in kept:\n    try: os.write(fd, b'forged')\n    except OSError: print('closed')")
    assert cell.output == "closed\nclosed\n" and cell.is_kept


def test_a_link_out_of_the_folder_is_not_followed(session: Session, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    links = {"file": "/etc/passwd", "folder": "/etc", "up": "..", "host": str(secret), "own": "kept.txt"}
    session.python(f"import os\nfor name, target in {links!r}.items(): os.symlink(target, name)")
    for path in ("file", "folder/passwd", "up/kept.txt", "host", "own", "folder"):
        with pytest.raises(FileRefused, match="symbolic link"):
            session.read(path)
        with pytest.raises(FileRefused, match="symbolic link"):
            session.write(path, b"overwritten")
    with pytest.raises(FileRefused, match="symbolic link"):
        session.write("up/planted/file", b"")
    kinds = {entry.path: entry.kind for entry in session.list()}
    assert kinds == {"kept.txt": "file"} | dict.fromkeys(links, "link")
    assert secret.read_text() == "secret"


def test_a_planted_file_changes_neither_our_calls_nor_the_next_interpreter(session: Session) -> None:
    planted = b"import os\nos.write(1, b'planted')\nraise SystemExit(1)\n"
    for name in ("json", "os", "sitecustomize", "usercustomize", "random", "socket", "traceback", "encodings"):
        session.write(f"{name}.py", planted)
    session.python("import os; os._exit(0)")
    assert session.python("import json, random, socket, traceback\n'fine'").output == "'fine'\n"
    assert session.read("json.py") == planted


def test_the_folder_cannot_hold_more_than_the_session_allows(session: Session) -> None:
    fill = "n = 0\ntry:\n    while True:\n        open(f'fill{n}', 'ab').write(b'x' * (1 << 20)); n += 1\n"
    for _ in range(2):
        cell = session.python(fill + "except OSError:\n    print('full')", limits=replace(PATIENT, wall_seconds=60.0))
        assert cell.output == "full\n" or cell.ending is Ending.MEMORY_LIMIT, "on disk, the watch ends it"
    if cell.output:
        with pytest.raises(FileRefused, match="No space left"):
            session.write("more", b"x" * (4 << 20))
    # Looked at while the folder is as full as before.
    assert session.run(["sh", "-c", "sleep 0.3; rm -f fill* more"]).ending is Ending.EXITED
    session.write("more", b"room again")
    with pytest.raises(FileRefused):
        session.write("large", b"x" * (8 << 20))
    assert session.run(["rm", "-f", "large", "more"]).ending is Ending.EXITED


def test_many_files_and_long_names_do_not_break_the_listing(session: Session) -> None:
    session.python(
        "import os\ntry:\n    for n in range(10**4): open(f'{n}' + 'n' * 200, 'w').close()\nexcept OSError: pass",
        limits=replace(PATIENT, wall_seconds=60.0),
    )
    try:
        assert len(session.list()) > 1000
    except FileRefused as refused:
        assert "entries" in str(refused) or "limits" in str(refused)
    assert session.run(["sh", "-c", "find . -name '*nnn' -delete"]).ending is Ending.EXITED
    session.python("open(b'\\xff\\x80', 'w').close(); os.makedirs('a/' * 50)")
    assert "\udcff\udc80" in {entry.path for entry in session.list()}


def test_a_session_reaches_neither_network_nor_other_processes(session: Session) -> None:
    cell = session.python(
        "import os, socket\nfor family in (socket.AF_INET, socket.AF_UNIX, socket.AF_NETLINK):\n"
        "    try: socket.socket(family)\n    except PermissionError: print('refused')\n"
        f"try: os.kill({os.getpid()}, 0)\nexcept OSError: print('no such process')"
    )
    assert cell.output == "refused\n" * 3 + "no such process\n"


def test_output_that_looks_like_a_report_is_output(session: Session) -> None:
    line = json.dumps({"ending": "cpu_limit", "failed": "forged", "exit": 1})
    done = session.run(["sh", "-c", f"echo '{line}'; echo '{line}' >&2; echo '{line}' >&3"])
    assert (done.ending, done.exit_status, done.stdout) == (Ending.EXITED, 0, line.encode() + b"\n") or (
        done.ending is Ending.EXITED and done.exit_status == 2  # the shell has no descriptor 3
    )


def test_a_snapshot_follows_nothing_waits_for_nothing_and_says_what_it_cannot_take(session: Session) -> None:
    session.python(
        "import os, shutil\nshutil.copy('kept.txt', 'twin')\n"
        "os.symlink('/etc/passwd', 'file'); os.symlink('/etc', 'folder'); os.symlink('..', 'up')"
    )
    assert sorted(session.snapshot()) == ["kept.txt", "twin"]
    for path, reason in (
        ("file", "symbolic link"),
        ("folder/passwd", "symbolic link"),
        ("gone", "No such file"),
        ("../kept.txt", "expected a path below"),
    ):
        with pytest.raises(FileRefused, match=reason):
            session.snapshot(["kept.txt", path])
    for hide, unhide in (("chmod 0 twin", "rm -f twin"), ("mkdir shut; chmod 0 shut", "rmdir shut")):
        session.run(["sh", "-c", hide])
        with pytest.raises(FileRefused, match="Permission denied"):
            session.snapshot()
        session.run(["sh", "-c", unhide])
    assert session.run(["rm", "-f", "file", "folder", "up"]).ending is Ending.EXITED
    assert list(session.snapshot()) == ["kept.txt"]


def test_a_snapshot_takes_a_large_file_whole_and_not_more_than_the_folder_may_hold(session: Session) -> None:
    session.write("large", bytes(3 << 20))  # more than one call may print
    assert session.snapshot(["large"])["large"].content == bytes(3 << 20)
    assert session.run(["rm", "-f", "large"]).ending is Ending.EXITED
    session.python("for name in 'ab': open(name, 'wb').truncate(3 << 20)")  # no room is taken
    with pytest.raises(FileRefused, match=r"limit (file_bytes|memory)|memory_limit"):
        session.snapshot()
    assert session.run(["rm", "-f", "a", "b"]).ending is Ending.EXITED
    assert list(session.snapshot()) == ["kept.txt"]
