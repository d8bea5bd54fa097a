"""What isolation this machine allows, tried out rather than looked up, as plain data for `python -m gyms doctor`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gyms.sandbox.inside import landlock, seccomp
from gyms.sandbox.open import TIERS, has_handles, open_tier
from gyms.sandbox.places import candidates, check_temporary_folder
from gyms.sandbox.program import Ending, Limits, Program, SandboxError
from gyms.sandbox.view import test_libraries, tool

__all__ = ["Probe", "probe_all"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One mechanism: whether it works here, and why not or how."""

    name: str
    is_available: bool
    reason: str


def probe_all() -> list[Probe]:
    """Every tier, tried with a program, strongest first; then the mechanisms and toolchains they are made of."""
    tiers = [_tier(name) for name in TIERS]
    chosen = next((probe.name for probe in tiers if probe.is_available), "none")
    auto = Probe("auto", chosen != "none", f"chooses {chosen}")
    insecure = Probe("insecure", True, "limits alone, no isolation; used only with allow_insecure=True")
    return [auto, *tiers, insecure, *_mechanisms(), *_toolchains()]


def _tier(name: str) -> Probe:
    try:
        sandbox = open_tier(name)  # type: ignore[arg-type]
    except (SandboxError, OSError) as error:
        return Probe(name, False, str(error))
    try:
        run = sandbox.run(Program(source="print(6 * 7)", limits=Limits(wall_seconds=60.0)))
    except SandboxError as error:
        return Probe(name, False, str(error))
    finally:
        sandbox.close()
    if run.ending is Ending.EXITED and run.stdout == b"42\n":
        return Probe(name, True, f"ran a program in {1000 * run.wall_seconds:.0f} ms")
    return Probe(name, False, f"a probe program ended with {run.ending}: {run.stderr.decode(errors='replace')[-200:]}")


def _mechanisms() -> list[Probe]:
    version = landlock.abi()
    cap = _text("/proc/sys/user/max_user_namespaces")
    refused = _text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    machine = os.uname().machine
    place = check_temporary_folder()
    return [
        Probe(
            "root", os.geteuid() == 0, "programs run as a user of their own" if os.geteuid() == 0 else "a plain user"
        ),
        Probe(
            "user_namespaces",
            cap not in ("", "0") and not refused,
            "AppArmor refuses them to plain users" if refused else f"at most {cap or 'none'} for each user",
        ),
        Probe("seccomp", seccomp.is_supported() and _has_seccomp(), f"filter for {machine}"),
        Probe("landlock_abi", version > 0, f"version {version}" if version else "not in this kernel, or switched off"),
        Probe("temporary_folder", not place, place or f"programs may work in {candidates()[0]}"),
        Probe("pidfd", has_handles(), "processes are killed by handle, never by number"),
    ]


def _toolchains() -> list[Probe]:
    found = []
    for name, language in (("g++", "cpp"), ("node", "javascript")):
        path = tool(name)
        found.append(Probe(f"language_{language}", bool(path), path or f"{name} is not installed"))
    has_pytest = bool(test_libraries())
    found.append(Probe("language_python", True, "always"))
    found.append(Probe("pytest", has_pytest, "tests as pytest source" if has_pytest else "pytest is not installed"))
    return found


def _has_seccomp() -> bool:
    return "Seccomp:" in _text("/proc/self/status")


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
