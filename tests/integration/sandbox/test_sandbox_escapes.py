"""What a program in the sandbox may see and reach of what is outside, under every tier that works here: nothing.

That it is clean afterwards is asked of each test, as of the attacks in
tests/integration/sandbox/test_sandbox_attacks.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from gyms.sandbox import Ending, Sandbox
from tests.integration.sandbox.patience import run

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

ESCAPES = {
    "shadow": "open('/etc/shadow').read()",
    "passwd": "open('/etc/passwd').read()",
    "the project": f"import os; os.listdir({str(Path(__file__).parents[3])!r})",
    "root's folder": "import os; os.chdir('/root'); assert os.listdir() not in ([], ['.pyenv']); open('.bashrc')",
    "installed packages": "import pydantic",
    "this project's own code": "import gyms.code.builtin",
    "core pattern": "open('/proc/sys/kernel/core_pattern', 'w')",
    "a setting of the kernel": "open('/proc/sys/vm/drop_caches', 'w')",
    "sysrq": "open('/proc/sysrq-trigger', 'w')",
    "the interpreter's library": "import os; open(os.__file__, 'a')",
    "a start-up file": "import os; open(os.path.dirname(os.__file__) + '/sitecustomize.py', 'w')",
    "the root folder": "open('/x', 'w')",
    "the device folder": "open('/dev/x', 'w')",
    "a program beside the interpreter": "open('/usr/bin/x', 'w')",
    "init's memory": "import os; open(f'/proc/{INIT}/mem', 'rb')",
    "init's environment": "import os; assert open(f'/proc/{INIT}/environ').read().strip(chr(0)); ",
    "init's descriptors": "import os; assert os.listdir(f'/proc/{INIT}/fd')",
    "internet socket": "import socket; socket.socket()",
    "unix socket": "import socket; socket.socket(socket.AF_UNIX)",
    "netlink socket": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "vsock": "import socket; socket.socket(40, socket.SOCK_STREAM)",
    "raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW)",
    "name look-up": "import socket; socket.getaddrinfo('example.com', 80)",
    "internet socket pair": "import socket; socket.socketpair(socket.AF_INET)",
    "chroot": "import os; os.chroot('/tmp')",
    "becoming root": "import os; os.setuid(0); assert os.getuid() == 0",
    "device node": "import os, stat; os.mknod('dev', stat.S_IFBLK | 0o600, os.makedev(254, 0))",
    "limits of init": "import os, resource; resource.prlimit(INIT, resource.RLIMIT_CPU, (0, 0))",
    "raising its own limit": "import resource; resource.setrlimit(resource.RLIMIT_CPU, (999, 999))",
    "scheduling": "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))",
}


RAW_CALLS = {
    "unshare": (272, 0x10000000),
    "setns": (308, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "clone with a new user namespace": (56, 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": (435, 0, 0),
    "io_uring_setup": (425, 8, 0),
    "bpf": (321, 0, 0, 0),
    "userfaultfd": (323, 1),
    "keyctl": (250, 0, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "ptrace": (101, 0, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "personality": (135, 0x0040000),
    "memfd_create": (319, 0, 0),
    "shmget": (29, 0, 4096, 0o1600),
    "clock_settime": (227, 0, 0),
    "open_by_handle_at": (304, -100, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "sendmsg": (46, 0, 0, 0),
    "sendmmsg": (307, 0, 0, 0, 0),
    "setsockopt": (54, 0, 0, 0, 0, 0),
    "x32 getpid": (0x40000000 | 39,),
}


REFUSALS = re.compile(
    rb"(PermissionError|FileNotFoundError|NotADirectoryError|ModuleNotFoundError|OSError|AssertionError|"
    rb"ProcessLookupError|socket.gaierror|KILLED|ValueError: not allowed to raise maximum limit)"
)
"""How an attempt ends that was kept from what it wanted, rather than broken in another way."""


def each(attempts: dict[str, str]) -> str:
    """A program that tries each in a child of its own and tells what became of it; INIT is the process above it."""
    return f"""
import json, os, traceback
INIT = os.getppid()
for name, attempt in {attempts!r}.items():
    if os.fork() == 0:
        try:
            exec(attempt, {{'INIT': INIT}})
            became = 'REACHED'
        except BaseException as error:
            became = traceback.format_exception_only(error)[-1]
        os.write(1, json.dumps([name, became]).encode() + b'\\n')
        os._exit(0)
    if os.WIFSIGNALED(status := os.wait()[1]):
        os.write(1, json.dumps([name, f'KILLED {{status}}']).encode() + b'\\n')
"""


def test_nothing_outside_can_be_reached(sandbox: Sandbox) -> None:
    found = run(sandbox, each({**ESCAPES, "its own folder": "import os; os.listdir('.')"}))
    assert found.ending is Ending.EXITED and not found.stderr, found
    told = list(map(json.loads, found.stdout.splitlines()))
    became = dict(reversed(told))  # the first that each said
    assert became.pop("its own folder") == "REACHED", "what is not refused says so"
    assert became.keys() == ESCAPES.keys()
    assert {name: told for name, told in became.items() if not REFUSALS.match(told.encode())} == {}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
def test_dangerous_system_calls_are_refused(sandbox: Sandbox) -> None:
    """Each in a child of its own, of which one that is killed for its call is killed alone."""
    source = f"""
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
for name, call in {RAW_CALLS}.items():
    child = os.fork()
    if child == 0:
        result = libc.syscall(*map(ctypes.c_long, call))
        os._exit(0 if result == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS) else 1)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) not in (0, -{int(signal.SIGSYS)}):
        print(name)
print('tried')
"""
    found = run(sandbox, source)
    assert found.stdout == b"tried\n", found


def test_nothing_is_inherited(sandbox: Sandbox) -> None:
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    os.environ["SECRET_TOKEN"] = "hunter2"
    try:
        source = """
import os
open_fds = []
for fd in range(3, 1000):
    try:
        os.fstat(fd)
        open_fds.append(fd)
    except OSError:
        pass
print(open_fds, dict(os.environ))
"""
        found = run(sandbox, source)
    finally:
        os.close(secret)
        del os.environ["SECRET_TOKEN"]
    assert found.stdout == b"[3] {}\n"  # 3 is the result channel


def test_process_listings_show_the_program_alone_and_no_argument(sandbox: Sandbox) -> None:
    source = """
import os
for name in sorted(os.listdir('/proc')) if os.path.isdir('/proc') else []:
    if name.isdigit():
        print(name, open(f'/proc/{name}/cmdline', 'rb').read().strip(b'\\0'))
"""
    found = run(sandbox, source)
    lines = found.stdout.decode().splitlines()
    assert len(lines) <= 2
    assert found.exit_status == 0 or REFUSALS.match(found.stderr.splitlines()[-1]), found
    assert all("/" not in line and "import" not in line for line in lines), lines


MARK = "trace-of-the-first"
NEXT = bytes(byte + 1 for byte in MARK.encode())
LOOK = f"""
import os, json, builtins
found = [n for n in os.listdir('.')] + [n for n in dir(builtins) if 'trace' in n]
print(found, json.dumps(1))
# Every byte that is read is moved by one, so that no copy of what is looked for comes to be by looking.
one_up = bytes((byte + 1) % 256 for byte in range(256))
try:
    maps = open('/proc/self/maps').read()
except OSError:
    maps = ''
print('BLIND' if not maps else '', end='')
with open('/proc/self/mem', 'rb') if maps else open('/dev/null', 'rb') as memory:
    for line in maps.splitlines():
        span, mode = line.split()[:2]
        if mode.startswith('rw'):
            low, high = (int(x, 16) for x in span.split('-'))
            try:
                memory.seek(low)
                if {NEXT!r} in memory.read(high - low).translate(one_up):
                    print('SEEN')
                    break
            except OSError:
                pass
"""


def test_the_next_program_finds_nothing_of_the_last(sandbox: Sandbox) -> None:
    leave = f"""
import builtins, json, sys
mark = {MARK!r}
open(mark, 'w').write(mark)
builtins.{MARK.replace("-", "_")} = mark
sys.modules['json'].dumps = None
print(mark)
"""
    assert run(sandbox, leave).stdout.decode() == f"{MARK}\n"
    assert run(sandbox, LOOK).stdout in (b"[] 1\n", b"[] 1\nBLIND")


def test_a_trace_in_memory_would_be_seen(sandbox: Sandbox) -> None:
    """Control of the test above: the same look, by a program that holds the mark itself."""
    assert run(sandbox, f"mark = {MARK!r}\n{LOOK}").stdout in (b"[] 1\nSEEN\n", b"[] 1\nBLIND")
