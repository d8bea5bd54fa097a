"""`doctor`: what works on this machine, and why the rest does not."""

from __future__ import annotations

import argparse
import importlib
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gyms.api import API_VERSION
from gyms.plugins import distribution_of, gym_names

__all__ = ["doctor"]

_TOOLCHAINS = {
    "cpp": ("g++", "clang++"),
    "javascript": ("node",),
    "bubblewrap": ("bwrap",),
}
_PACKAGES = ("reasoning-gym", "sympy", "langdetect", "emoji", "syllapy", "datasets", "math-verify", "verifiers", "trl")


def doctor(options: argparse.Namespace) -> dict[str, Any]:
    """What works on this machine: the sandbox's tiers and why one is refused, toolchains, plug-ins, libraries."""
    return {
        "python": f"{sys.version.split()[0]} on {platform.platform()}",
        "api_version": API_VERSION,
        "sandbox": _sandbox_tiers(),
        "toolchains": {language: _toolchain(names) for language, names in _TOOLCHAINS.items()},
        "plugins": {
            name: " AND ".join(distribution_of(entry) for entry in entries) for name, entries in gym_names().items()
        },
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _sandbox_tiers() -> dict[str, Any]:
    try:
        probes = importlib.import_module("gyms.sandbox.doctor").probe_all()
    except ImportError as error:
        return {"none": {"is_available": False, "reason": str(error)}}
    return {probe.name: {"is_available": probe.is_available, "reason": probe.reason} for probe in probes}


def _toolchain(names: tuple[str, ...]) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    return found or f"missing: none of {', '.join(names)} is on PATH"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
