"""Ray nodes on one machine that share no network: a namespace each, joined by a bridge in the head's.

Every node has a network stack, ports and a folder for Ray's and for temporary files of its own, so what passes between
two of them passes through a link, whose bytes the kernel counts, and which can be cut. All but the head have an empty
file system where a run folder is to be; they share the machine's other files, as nodes share a mounted disk.
Needs root, and a kernel that lets it make namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.integration.harness import PATIENCE, ROOT, Runs

RAY = str(Path(sys.executable).with_name("ray"))
PORT = 6379
IPV4, IPV6 = "10.77.0.", "fd77::"


def why_not() -> str | None:
    """Why nodes cannot be made here; None where they can."""
    if shutil.which("ip") is None:
        return "ip is not installed (Debian: iproute2)"
    name = f"k2probe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network namespaces cannot be made here: {made.stderr.strip()}"
    link = subprocess.run(
        ["ip", "-n", name, "link", "add", "b0", "type", "bridge"], capture_output=True, text=True, check=False
    )
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return f"there is no bridge in a namespace here: {link.stderr.strip()}" if link.returncode else None


class Nodes:
    """A head without CPUs, and nodes that are added and killed. A context manager: leaving it ends them all.

    Args:
        folder: for logs and Ray's token.
        hidden: the folder in it that nodes do not see, but for the head.
        network: what addresses begin with; no link has one of another kind.
    """

    def __init__(self, folder: Path, *, hidden: str, network: str = IPV4) -> None:
        self.folder = folder
        self._network = network
        self._hidden = folder / hidden
        self._prefix = f"k2{os.getpid()}n"
        self._temp = Path(f"/tmp/{self._prefix}")  # short: Ray's sockets lie in it
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = Runs().environment() | {
            "RAY_AUTH_MODE": "token", "HOME": str(folder), "RAY_ADDRESS": self._ray_address,
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        }  # fmt: skip

    def __enter__(self) -> Nodes:
        subprocess.run([RAY, "get-auth-token", "--generate"], env=self.environment, check=True, capture_output=True)
        self._temp.mkdir()
        self._hidden.mkdir()
        self._namespace("head")
        self._ip("head", "link add bridge type bridge")
        self._give_address("head", "bridge")
        self._ip("head", "link set bridge up")
        self._ray("head", "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false")
        return self

    def __exit__(self, *error: object) -> None:
        for name in [*reversed(self._started)]:
            self.kill(name)
        shutil.rmtree(self._temp, ignore_errors=True)

    def address(self, name: str) -> str:
        return f"{self._network}{1 if name == 'head' else 2 + 'abcdefgh'.index(name)}"

    @property
    def _ray_address(self) -> str:
        host = self.address("head")
        return f"[{host}]:{PORT}" if ":" in host else f"{host}:{PORT}"

    def _give_address(self, name: str, device: str) -> None:
        bits, now = ("64", " nodad") if ":" in self._network else ("24", "")
        self._ip(name, f"addr add {self.address(name)}/{bits} dev {device}{now}")

    def add(self, name: str, *, num_cpus: int) -> None:
        """A node, by one letter; returns when the head knows it."""
        self._namespace(name)
        end = f"{self._prefix}{name}"
        subprocess.run(["ip", "link", "add", f"{end}h", "type", "veth", "peer", "name", f"{end}e"], check=True)
        subprocess.run(["ip", "link", "set", f"{end}h", "netns", self._named("head")], check=True)
        subprocess.run(["ip", "link", "set", f"{end}e", "netns", self._named(name)], check=True)
        self._ip("head", f"link set {end}h master bridge up")
        self._ip(name, f"link set {end}e name eth0")
        self._give_address(name, "eth0")
        self._ip(name, "link set eth0 up")
        self._ray(name, f"--address={self.environment['RAY_ADDRESS']}", f"--num-cpus={num_cpus}")

    def kill(self, name: str) -> None:
        """Every process of a node, at once, as when its machine loses power; its namespace goes too."""
        self._kill_all(name)
        self._started.pop(name).wait(timeout=PATIENCE)
        subprocess.run(["ip", "netns", "del", self._named(name)], check=True)

    def cut(self, name: str) -> None:
        """The link of a node, whose processes live on."""
        self._ip("head", f"link set {self._prefix}{name}h down")

    def mend(self, name: str) -> None:
        self._ip("head", f"link set {self._prefix}{name}h up")

    def files(self, name: str) -> list[str]:
        """What processes of a node have made where the hidden folder is."""
        there = Path(f"/proc/{self._started[name].pid}/root{self._hidden}")
        return sorted(str(file.relative_to(there)) for file in there.rglob("*"))

    def pids(self, name: str) -> list[int]:
        """The processes of a node."""
        done = subprocess.run(["ip", "netns", "pids", self._named(name)], capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    def actors(self, name: str) -> list[str]:
        """Titles of a run's actors on a node: `ray::Learner`, `ray::EngineProcess`; or of others in their place."""
        found = []
        for pid in self.pids(name):
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
                if title.startswith(("ray::Learner", "ray::EngineProcess", "ray::FarLearner")):
                    found.append(title.split(".")[0])
        return sorted(found)

    def received(self, name: str) -> int:
        """Bytes that came to a node over its link; of the head, those for itself."""
        device = "bridge" if name == "head" else "eth0"
        return int(self._output(name, f"cat /sys/class/net/{device}/statistics/rx_bytes"))

    def command(self, name: str, words: Sequence[str]) -> list[str]:
        """Run something on a node."""
        return ["ip", "netns", "exec", self._named(name), *words]

    def start(self, name: str, words: Sequence[str], **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(name, words), cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, **options,  # type: ignore[call-overload]
        )  # fmt: skip

    # -- parts --------------------------------------------------------------------------------------------------------

    def _named(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _namespace(self, name: str) -> None:
        subprocess.run(["ip", "netns", "add", self._named(name)], check=True)
        self._ip(name, "link set lo up")

    def _ip(self, name: str, words: str) -> None:
        subprocess.run(["ip", "-n", self._named(name), *words.split()], check=True)

    def _output(self, name: str, words: str) -> str:
        return subprocess.run(self.command(name, words.split()), capture_output=True, text=True, check=True).stdout

    def _ray(self, name: str, *options: str) -> None:
        """`ray start` in a namespace, with folders that no other node sees."""
        start = [
            RAY, "start", "--block", f"--node-ip-address={self.address(name)}", "--disable-usage-stats",
            f"--object-store-memory={150 << 20}", *([f"--temp-dir={self._temp}"] if name == "head" else []), *options,
        ]  # fmt: skip
        own = "".join(f"mount -t tmpfs none {folder} && " for folder in (self._temp, self._hidden))
        own += f"export TMPDIR={self._temp} && "
        words = self.command(name, ["sh", "-c", f'{own if name != "head" else ""}exec "$@"', "sh", *start])
        log = self.folder / f"{name}.log"
        deadline = time.monotonic() + PATIENCE
        while True:  # Ray gives a node 30 s to register, which a busy machine may not have for it
            with log.open("wb") as file:
                process = self._started[name] = subprocess.Popen(
                    words, env=self.environment, stdout=file, stderr=file, start_new_session=True
                )
            while process.poll() is None and "Ray runtime started" not in log.read_text():
                time.sleep(0.2)
            if process.poll() is None:
                return
            assert "timed out during startup" in log.read_text() and time.monotonic() < deadline, log.read_text()
            self._kill_all(name)

    def _kill_all(self, name: str) -> None:
        for pid in self.pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def nodes(folder: Path, *, hidden: str, network: str = IPV4, **num_cpus: int) -> Iterator[Nodes]:
    """A head, and nodes with so many CPUs each."""
    with Nodes(folder, hidden=hidden, network=network) as made:
        for name, num in num_cpus.items():
            made.add(name, num_cpus=num)
        yield made
