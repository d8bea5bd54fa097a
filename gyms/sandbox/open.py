"""Chooses the strongest isolation that works here, by trying it: a tier is used where a probe program ran under it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Literal

from gyms.sandbox.forkserver import ForkServer, Profile
from gyms.sandbox.inside import landlock, seccomp
from gyms.sandbox.program import Sandbox, SandboxError
from gyms.sandbox.programs import ProgramSandbox
from gyms.sandbox.view import Interpreter, interpreters, is_readable_by_others, readable_paths, view

__all__ = ["TIERS", "Tier", "open_sandbox", "open_tier"]

Tier = Literal["zygote", "bwrap", "landlock", "insecure"]
TIERS: tuple[Tier, ...] = ("zygote", "bwrap", "landlock")
"""Strongest first; `insecure` is never chosen."""
_FIRST_UID, _NUM_UIDS = 60_500, 4_500
_slots = itertools.count()


def open_sandbox(tier: Tier | Literal["auto"] = "auto", *, allow_insecure: bool = False) -> Sandbox:
    """A sandbox of the strongest tier that works here, or of the named one.

    Raises SandboxError with every tier's reason where none works, ValueError where the tier is unknown or is
    `insecure` without `allow_insecure`. With `allow_insecure`, `auto` falls back to it.

    Example:
        sandbox = open_sandbox()
        sandbox.run(Program(source="print(6 * 7)")).stdout
    """
    if tier not in ("auto", "insecure", *TIERS):
        raise ValueError(f"tier = {tier!r}: expected auto, insecure or one of {', '.join(TIERS)}")
    if tier == "insecure" and not allow_insecure:
        raise ValueError("tier = 'insecure' runs submitted code with this user's rights; it needs allow_insecure=True")
    tried = list(TIERS) if tier == "auto" else [tier]
    if tier == "auto" and allow_insecure:
        tried.append("insecure")
    reasons = []
    for name in tried:
        try:
            return open_tier(name)
        except SandboxError as error:
            reasons.append(f"{name}: {error}")
    raise SandboxError(
        f"no isolation works here. {'; '.join(reasons)}. `python -m gyms doctor` tells more; docs/sandbox.md says what "
        f"a container must allow"
    )


def open_tier(tier: Tier) -> Sandbox:
    """A sandbox of exactly this tier; SandboxError with the reason where it does not work here."""
    if not has_handles():
        raise SandboxError("needs Linux 5.3 or newer, and a container that allows pidfd_open")
    if tier != "insecure" and not seccomp.is_supported():
        raise SandboxError(f"system-call numbers of {os.uname().machine} are not known here")
    try:
        return _opened(tier)
    except OSError as error:  # no /proc, no room for processes, descriptors or files, calls that a container refuses
        raise SandboxError(f"{error}") from error


def has_handles() -> bool:
    """Whether this kernel gives handles on processes: they are killed by these, never by number."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _opened(tier: Tier) -> Sandbox:
    if tier == "bwrap":
        from gyms.sandbox.bwrap import BubblewrapRunner

        uid = _slot_uid()
        runner = BubblewrapRunner(_interpreter(needs_others=uid != 0), uid)
        runner.start()
        return ProgramSandbox(runner)
    server = _fork_server(tier)
    server.start()
    return ProgramSandbox(server)


def _fork_server(tier: Tier) -> ForkServer:
    uid = _slot_uid()
    if tier == "zygote":
        interpreter = _interpreter(needs_others=False)
        profile = Profile(
            tier=tier, has_namespaces=True, has_seccomp=True, is_init_one=True, uid=uid, view=view(interpreter)
        )
        return ForkServer(interpreter, profile)
    interpreter = _interpreter(needs_others=uid != 0)
    rules: dict[str, list[str]] = {}
    if tier == "landlock":
        if not landlock.abi():
            raise SandboxError("this kernel has no Landlock, or it is switched off")
        rules = {"readable": readable_paths(interpreter), "writable": ["/dev/null", "/dev/zero", "/dev/full"]}
    profile = Profile(
        tier=tier, has_namespaces=False, has_seccomp=tier == "landlock", is_init_one=False, landlock=rules, uid=uid
    )
    return ForkServer(interpreter, profile)


def _slot_uid() -> int:
    """Where we are root: a user of this sandbox's own, so that its processes are told apart. Otherwise 0.

    Also 0 for the root of a container that has a single user: it is a plain user to the kernel.
    """
    if os.geteuid() != 0:
        return 0
    uid = _FIRST_UID + (os.getpid() * 31 + next(_slots)) % _NUM_UIDS
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    if any(first <= uid < first + number for first, _, number in ranges):
        return uid
    if any(first == 0 and outside != 0 for first, outside, _ in ranges):
        return 0
    raise SandboxError("this process is root and has no other user to become; run it as a plain user")


def _interpreter(*, needs_others: bool) -> Interpreter:
    """The first interpreter that the jobs' user can read."""
    for interpreter in interpreters():
        if not needs_others or all(map(is_readable_by_others, (interpreter.executable, interpreter.stdlib))):
            return interpreter
    raise SandboxError("no Python interpreter can be read without root's rights; install the system's python3")
