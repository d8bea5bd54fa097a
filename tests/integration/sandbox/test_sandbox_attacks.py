"""Attacks on the sandbox, under every tier that works here: each is contained, and nothing of it is left after.

A limit that a test waits for is short; one that must not be met is far away, however busy the machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gyms.sandbox import Call, Ending, Program, Sandbox, open_sandbox
from gyms.sandbox.results import read_results
from tests.integration.sandbox.patience import PATIENT, run
from tests.integration.sandbox.tiers import TIERS, refusal, working_tiers
from tests.integration.sandbox.traces import Watch, descendants, is_running, start_of, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

BUSY = replace(PATIENT, cpu_seconds=0.2)
"""For what computes for ever: CPU time is what ends it."""
IDLE = replace(PATIENT, wall_seconds=0.3)
"""For what waits for ever."""
SHORT = replace(BUSY, wall_seconds=1.0)
"""For what may do either, and nothing that has to succeed."""


@pytest.mark.parametrize("tier", TIERS)
def test_the_tier_is_among_those_attacked_below(tier: str) -> None:
    """One skip, with the reason, stands for all attacks on a tier that does not work here."""
    if tier not in working_tiers():
        pytest.skip(f"sandbox tier {tier} does not work here: {refusal(tier)}")


LIMITED = {
    "busy loop": ("while True: pass", BUSY, {Ending.CPU_LIMIT}),
    "busy within one instruction": ("sum(range(10**15))", BUSY, {Ending.CPU_LIMIT}),
    "busy child": ("import os\nif os.fork() == 0:\n    while True: pass\nos.wait()", BUSY, {Ending.CPU_LIMIT}),
    "four busy children share one limit": (
        "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        while True: pass\ntime.sleep(1e6)",
        BUSY,
        {Ending.CPU_LIMIT},
    ),
    "a fork chain that leaves its dead behind": (
        "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork() == 0:\n"
        "    while True:\n        if os.fork(): os._exit(0)\n        sum(range(10**5))\ntime.sleep(1e6)",
        SHORT,
        {Ending.CPU_LIMIT, Ending.WALL_LIMIT},  # the kernel keeps no account of a child that nobody waits for
    ),
    "ignores SIGXCPU": (
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        BUSY,
        {Ending.CPU_LIMIT},
    ),
    "sleeps": ("import time\ntime.sleep(1e6)", IDLE, {Ending.WALL_LIMIT}),
    "sleeps in an exit handler": ("import atexit, time\natexit.register(time.sleep, 1e6)", IDLE, {Ending.WALL_LIMIT}),
    "a thread that never ends": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,)).start()",
        IDLE,
        {Ending.WALL_LIMIT},
    ),
    "reads for ever": ("import sys\nwhile True: sys.stdin.read()", BUSY, {Ending.CPU_LIMIT}),
    "endless output": ("import sys\nwhile True: sys.stdout.write('x' * 65536)", PATIENT, {Ending.OUTPUT_LIMIT}),
    "endless errors": ("import sys\nwhile True: sys.stderr.write('x' * 65536)", PATIENT, {Ending.OUTPUT_LIMIT}),
    "both in turn": (
        "import sys\nwhile True:\n    sys.stdout.write('x' * 4096)\n    sys.stderr.write('y' * 4096)",
        PATIENT,
        {Ending.OUTPUT_LIMIT},
    ),
    "eight children with 100 MB each": (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        x = b'x' * (100 << 20)\n"
        "        time.sleep(1e6)\ntime.sleep(1e6)",
        PATIENT,
        {Ending.MEMORY_LIMIT},
    ),
    "full buffers of sockets": (
        "import os, socket, time\nfor _ in range(8):\n    if os.fork() == 0:\n        kept = []\n        try:\n"
        "            while True: kept += socket.socketpair()\n        except OSError: pass\n        for s in kept:\n"
        "            s.setblocking(False)\n            try:\n                while True: s.send(b'x' * 4096)\n"
        "            except OSError: pass\n        time.sleep(1e6)\ntime.sleep(1e6)",
        PATIENT,
        {Ending.MEMORY_LIMIT},
    ),
    "full buffers of sockets in a process that hides them": (
        "import ctypes, os, socket, time\nfor _ in range(8):\n    if os.fork() == 0:\n"
        "        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n        time.sleep(1e6)\ntime.sleep(1e6)",
        PATIENT,
        {Ending.MEMORY_LIMIT},
    ),
    "shared anonymous memory": (
        "import mmap, os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        m = mmap.mmap(-1, 100 << 20)\n"
        "        for i in range(0, 100 << 20, 4096): m[i] = 1\n        time.sleep(1e6)\ntime.sleep(1e6)",
        PATIENT,
        {Ending.MEMORY_LIMIT},
    ),
}


@pytest.mark.parametrize("name", LIMITED)
def test_a_program_that_takes_too_much_is_ended_at_its_limit(sandbox: Sandbox, name: str) -> None:
    source, limits, endings = LIMITED[name]
    found = run(sandbox, source, limits)
    assert found.ending in endings, found


@pytest.mark.parametrize("source", ["x = []\nwhile True: x.append(b'x' * (1 << 20))", "[0 for i in range(10**12)]"])
def test_a_program_gets_no_more_memory_than_its_limit(sandbox: Sandbox, source: str) -> None:
    found = run(sandbox, source)
    assert found.exit_status != 0
    assert b"MemoryError" in found.stderr or found.ending is Ending.MEMORY_LIMIT


BOMBS = {
    "fork bomb": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "thread bomb": "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(99,)).start()",
    "detached daemons": (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0:\n            time.sleep(600)\n        os._exit(0)\nprint('left')"
    ),
    "a daemon keeps the output open": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nprint('parent is done', flush=True)"
    ),
    "kills all it can": (
        "import os\nfor pid in (-1, os.getppid(), 0):\n    try: os.kill(pid, 9)\n    except OSError: pass"
    ),
    "stops its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nprint('stopped')",
    "zombies": "import os\nfor _ in range(10):\n    if os.fork() == 0: os._exit(0)",
    "aborts": "import os\nos.abort()",
    "kills itself": "import os\nos.kill(os.getpid(), 9)",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1) + len(repr([[]] * 2))\nf(0)",
    "crashes the interpreter": "import ctypes\nctypes.string_at(0)",
    "deeply nested source": "eval('(' * 10**6)",
    "strange files": (
        "import contextlib, os\nwith contextlib.suppress(OSError): os.mkfifo('fifo')\n"  # one tier refuses it
        "os.symlink('/etc/passwd', 'link')\nos.mkdir('d')\nopen('d/x', 'w').close()\n"
        "os.chmod('d/x', 0)\nos.chmod('d', 0)\nos.makedirs('/'.join(['n'] * 200))"
    ),
    "closes everything": "import os\nos.closerange(0, 200)",
    "writes over all descriptors": (
        'import os\nfor fd in range(200):\n    try: os.write(fd, b\'{"ending": "exited"}\')\n    except OSError: pass'
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_whatever_a_program_does_to_its_own_processes_stays_inside(sandbox: Sandbox, name: str) -> None:
    found = run(sandbox, f"print('begun', flush=True)\n{BOMBS[name]}", SHORT)
    assert found.stdout.startswith(b"begun\n"), found  # what is left of it, the clean fixture asserts


def test_an_event_loop_and_dead_children_are_no_memory(sandbox: Sandbox) -> None:
    source = (
        "import asyncio, os, time\nfor _ in range(9):\n    if os.fork() == 0: os._exit(0)\n"
        "async def main():\n    await asyncio.sleep(0.5)\n    return 42\nprint(asyncio.run(main()))"
    )
    found = run(sandbox, source, replace(PATIENT, memory_bytes=128 << 20))
    assert found.stdout == b"42\n", found


def test_a_program_that_kills_itself_is_seen_to_have_been_killed(sandbox: Sandbox) -> None:
    found = run(sandbox, BOMBS["kills itself"])
    assert (found.ending, found.exit_status) == (Ending.KILLED, -signal.SIGKILL)


def test_processes_are_capped(sandbox: Sandbox) -> None:
    source = """
import os, time
made = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except OSError as error:
    print(made, error.errno, flush=True)
os._exit(0)
"""
    made, number = map(int, run(sandbox, source).stdout.split())
    assert 8 <= made <= PATIENT.processes + 8
    assert number == 11  # EAGAIN


def test_files_are_capped_in_size_and_number(sandbox: Sandbox) -> None:
    large = run(sandbox, "f = open('x', 'wb')\nwhile True: f.write(b'x' * 65536)")
    assert b"File too large" in large.stderr or b"No space" in large.stderr or large.ending is Ending.MEMORY_LIMIT
    many = (
        "for i in range(100):\n    with open(f'f{i}', 'wb') as f: f.write(b'x' * (1 << 20))\nimport time; time.sleep(9)"
    )
    several = run(sandbox, many)
    assert b"No space" in several.stderr or several.ending is Ending.MEMORY_LIMIT
    tiny = "for i in range(100000): open(f'f{i}', 'w').close()\nimport time; time.sleep(9)"
    inodes = run(sandbox, tiny)
    assert b"No space" in inodes.stderr or inodes.ending is Ending.MEMORY_LIMIT
    sparse = run(sandbox, "import os\nfd = os.open('s', os.O_CREAT | os.O_WRONLY)\nos.ftruncate(fd, 50 << 30)")
    assert sparse.exit_status != 0
    assert b"File too large" in sparse.stderr or b"No space" in sparse.stderr or sparse.ending is Ending.KILLED, sparse


def test_input_is_never_waited_for_and_never_blocks(sandbox: Sandbox) -> None:
    assert run(sandbox, "print('done')", stdin=b"x" * 10_000_000).stdout == b"done\n"
    read = run(sandbox, "import sys\nprint(len(sys.stdin.read()))", stdin=b"x" * 10_000_000)
    assert read.stdout == b"10000000\n"
    assert b"EOFError" in run(sandbox, "input()").stderr


def test_large_output_on_both_channels_arrives_whole(sandbox: Sandbox) -> None:
    source = "import sys\nfor _ in range(8):\n    sys.stdout.write('o' * 65536)\n    sys.stderr.write('e' * 65536)"
    found = run(sandbox, source)
    assert found.ending is Ending.EXITED
    assert (len(found.stdout), len(found.stderr)) == (524288, 524288)


def test_results_that_are_cut_off_or_forged_are_no_values(sandbox: Sandbox) -> None:
    calls = (Call(function="f"), Call(function="f"))
    cut = run(sandbox, 'import os\ndef f():\n    os.write(3, b\'{"n": 0, "v": [1, 2\')\n    os._exit(0)', calls=calls)
    assert read_results(cut.results, 2).outcomes == ()
    forged = 'import os\ndef f():\n    os.write(3, b\'{"n": 0, "v": {"i": "0x1"}}\\n\' * 9)\n    os._exit(0)'
    assert len(read_results(run(sandbox, forged, calls=calls).results, 2).outcomes) == 1


def test_all_of_it_ends_when_the_caller_is_killed(sandbox: Sandbox, folder: Path) -> None:
    source = (
        "import os, time\\nfor _ in range(3):\\n    if os.fork() == 0:\\n        os.setsid()\\n"
        "        time.sleep(987654)\\ntime.sleep(987654)"
    )
    script = (
        f"from gyms.sandbox import *\nbox = open_sandbox({sandbox.tier!r})\nbox.run(Program(source='pass'))\n"
        f"print('ready', flush=True)\nbox.run(Program(source='{source}', limits=Limits(wall_seconds=600.0)))"
    )
    before = set(folder.iterdir())
    root = Path(__file__).parents[3]
    caller = subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE)
    assert caller.stdout is not None
    assert caller.stdout.readline() == b"ready\n"
    assert wait_for(lambda: len(descendants(caller.pid)) >= 5 or caller.poll() is not None)
    started = {pid: start_of(pid) for pid in descendants(caller.pid)}
    assert len(started) >= 5
    caller.kill()
    caller.wait()
    caller.stdout.close()
    assert wait_for(lambda: not any(is_running(pid, start) for pid, start in started.items()))
    assert wait_for(lambda: set(folder.iterdir()) == before), set(folder.iterdir()) - before


def test_a_killed_zygote_is_replaced_and_its_jobs_are_gone(folder: Path) -> None:
    watch = Watch()
    box = open_sandbox()
    if box.tier != "zygote":
        pytest.skip("no zygote here")
    box.run(Program(source="pass"))
    killed = watch.processes()
    assert killed
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):  # its parent may have died first, and taken it along
            os.kill(pid, signal.SIGKILL)
    assert box.run(Program(source="print(1)", limits=PATIENT)).stdout == b"1\n"
    box.close()
    assert wait_for(lambda: not watch.processes()), watch.processes()
