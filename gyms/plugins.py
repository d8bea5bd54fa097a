"""Which gyms and commands installed packages offer: names, read from their metadata without importing anything.

A checkout of this project also reads its own `pyproject.toml`, in place of what its installation recorded: a gym that
was added since the last `pip install -e .` is found, one that was removed is not.
"""

from __future__ import annotations

import re
import sys
import tomllib
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path

__all__ = [
    "COMMAND_GROUP",
    "ENTRY_POINT_GROUP",
    "distribution_of",
    "entry_in",
    "entry_points_of",
    "gym_names",
    "is_legal_name",
]

ENTRY_POINT_GROUP = "reward_gyms"
"""Entry-point group in which packages offer gyms."""
COMMAND_GROUP = "gyms_commands"
"""Entry-point group of further commands of `python -m gyms`; each is a function that adds one to the parser."""

_LEGAL_NAME = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
_PROJECT = "k2rl"
_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def is_legal_name(name: str) -> bool:
    """Lower-case ASCII letters, digits, `_`, `-` and `.`, beginning with a letter, at most 100 characters."""
    return len(name) <= 100 and _LEGAL_NAME.fullmatch(name) is not None


def gym_names() -> dict[str, tuple[EntryPoint, ...]]:
    """Installed gyms by name, sorted, without importing any; a name with several entries is a collision."""
    found: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points_of(ENTRY_POINT_GROUP):
        found.setdefault(entry_point.name, []).append(entry_point)
    return {name: tuple(found[name]) for name in sorted(found)}


def entry_points_of(group: str) -> tuple[EntryPoint, ...]:
    """All entry points of a group, those of this checkout from its own pyproject.toml."""
    return _entries(group, tuple((folder, _changed(folder)) for folder in sys.path))


def _changed(folder: str) -> int:
    """When something was last put into a folder of `sys.path`, or taken out of it; 0 where there is no such folder."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=8)
def _entries(group: str, path: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """The same, read once until a package is installed or removed: a file for each there is, 5 ms in all."""
    own, installed = _own_entries(), entry_points(group=group)
    if own is None:
        return tuple(installed)
    dist = next((entry.dist for entry in installed if _is_of(entry, _PROJECT)), None) or _Checkout()
    others = (entry for entry in installed if not _is_of(entry, _PROJECT))
    ours = (_with_dist(EntryPoint(name, value, group), dist) for name, value in own.get(group, {}).items())
    return (*others, *ours)


def entry_in(package: str, name: str) -> EntryPoint | None:
    """The gym `name` that the distribution `package` offers, or None; how `package:name` is read."""
    for entry in gym_names().get(name, ()):
        if _is_of(entry, package):
            return entry
    return None


def distribution_of(entry_point: EntryPoint) -> str:
    """Name and version of the package that offers an entry point."""
    dist = entry_point.dist
    return "an unknown distribution" if dist is None else f"{dist.name} {dist.version}"


def _is_of(entry: EntryPoint, package: str) -> bool:
    return entry.dist is not None and _normal(entry.dist.name) == _normal(package)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@lru_cache(maxsize=1)
def _own_entries() -> dict[str, dict[str, str]] | None:
    """Group -> name -> value of this checkout's pyproject.toml; None where this is not a checkout."""
    try:
        project = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return None
    return project.get("entry-points", {}) if project.get("name") == _PROJECT else None


def _with_dist(entry: EntryPoint, dist: Distribution) -> EntryPoint:
    vars(entry).update(dist=dist)  # as importlib.metadata does; an EntryPoint refuses plain assignment
    return entry


class _Checkout(Distribution):
    """This project where it was never installed."""

    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: {_PROJECT}\nVersion: 0\n" if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        return _PYPROJECT.parent / str(path)
