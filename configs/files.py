"""TOML files of a run, put together: `base`, merging, and where each setting stands.

A file may begin with `base = "other.toml"`, a path from its own folder: it then says only what is different. Bases may
have bases; a circle is refused. A file with a base is a run of its own, so where it gives no `name` it is called as the
file. Where several files make a config, what is wrong with a setting is told with the file that it stands in.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

__all__ = ["ConfigError", "layers", "merged", "placed"]

COMMAND_LINE = "the command line"
_FIRST_KEY = re.compile(r"[A-Za-z_][\w.]*")


class ConfigError(ValueError):
    """A config that cannot be used. `problems` holds one line each; the message is those lines."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def layers(file: Path, above: Sequence[Path] = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A file's tables and those of its bases, the deepest base first, without the key `base`.

    Args:
        file: a TOML file.
        above: the files that named it, first to last.

    Raises:
        ConfigError: a file cannot be read, `base` is no path, or the bases go round in a circle.
    """
    if os.path.abspath(file) in map(os.path.abspath, above):  # noqa: PTH100  resolves .. and takes any name
        raise ConfigError(f"base goes round in a circle: {' -> '.join(map(str, [*above, file]))}")
    try:
        data = _read_toml(file)
    except ConfigError as error:
        raise ConfigError(*error.problems[:-1], error.problems[-1] + _named_by(above)) from error
    if "base" not in data:
        yield file, data
        return
    base = data.pop("base")
    if not isinstance(base, str) or not base:
        raise ConfigError(f'{file}: base: got {base!r}, wanted the path of a file, as in base = "base.toml"')
    yield from layers(file.parent / Path(base).expanduser(), [*above, file])
    yield file, {"name": file.stem, **data}


def merged(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with `new` laid over it: tables merge, anything else (lists of tables too) is replaced as a whole."""
    both = {**old, **new}
    for name in old.keys() & new.keys():
        if isinstance(old[name], dict) and isinstance(new[name], dict):
            both[name] = merged(old[name], new[name])
    return both


def placed(problem: str, files: Sequence[tuple[Path, Mapping[str, Any]]], overrides: Sequence[str]) -> str:
    """A problem, with the place of the setting that it begins with, where more than one file could be meant."""
    found = _FIRST_KEY.match(problem)
    if found is None or len(files) < 2:
        return problem
    key = found[0].rstrip(".").split(".")
    for override in overrides:
        name = override.partition("=")[0].split(".")
        if name == key[: len(name)]:
            return f"{problem} (set on {COMMAND_LINE})"
    for file, data in reversed(files):
        if _holds(data, key):
            return f"{problem} (set in {file})"
    return problem


def _holds(data: Any, key: Sequence[str]) -> bool:
    """Whether a file sets this setting, or the list or table of free keys around it."""
    for name in key:
        if not isinstance(data, dict):
            return True
        if name not in data:
            return False
        data = data[name]
    return True


def _named_by(above: Sequence[Path]) -> str:
    return f" (the base of {above[-1]})" if above else ""


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        text = file.read_bytes().decode()
    except FileNotFoundError as error:
        raise ConfigError(f"{file} does not exist{_nearest_file(file)}") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{file} is a folder; give files of it, as in {file / '*.toml'}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ConfigError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return tomllib.loads(text)
    except ValueError as error:
        where = str(error).replace("at end of document", f"at line {text.count(chr(10)) + 1}, the end of the file")
        raise ConfigError(f"{file}: {where}") from error


def _nearest_file(file: Path) -> str:
    """What to say of a missing file: the TOML file beside it, or in configs/, whose name is most like it."""
    there = sorted({*file.absolute().parent.glob("*.toml"), *Path(__file__).parent.glob("*.toml")})
    if not there:
        return ""
    nearest = max(there, key=lambda other: SequenceMatcher(None, file.stem, other.stem).ratio())
    return f"; the nearest is {nearest.relative_to(Path.cwd()) if nearest.is_relative_to(Path.cwd()) else nearest}"
