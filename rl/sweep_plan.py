"""Which runs a sweep is: every file with every combination of the values that were listed. Pure functions.

`seed=0,1` is two values; a comma inside brackets, braces or quotes belongs to a value, so `learner.betas=[0.9,0.95]` is
one. A run is called as its config, with what was varied behind it: `grpo-seed1`, `grpo-lr0.0003-seed1`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.load import ConfigError, load_config
from configs.schema import Config

__all__ = ["SweepRun", "plan", "values_of"]

_OPEN, _CLOSE = "[{(", "]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """One run of a sweep."""

    file: Path
    overrides: tuple[str, ...]
    """What its command says beside the file; name and run_dir come last."""
    varied: tuple[tuple[str, str], ...]
    """Key and value of what was listed with several values."""
    config: Config

    @property
    def folder(self) -> Path:
        """The run folder, absolute."""
        assert self.config.run_dir is not None
        return self.config.run_dir

    @property
    def label(self) -> str:
        """The run without its seed: what runs of several seeds have in common."""
        others = [(key, value) for key, value in self.varied if key != "seed"]
        return _name(self.file.stem, others)


def plan(files: Sequence[Path], overrides: Sequence[str], *, output: Path) -> list[SweepRun]:
    """The runs of a sweep, file by file.

    Args:
        files: each a run; what is common to them is their `base`.
        overrides: `key.path=value[,value...]`.
        output: folder of the run folders.

    Raises:
        ConfigError: a run's config is not right (it is named), a key is given twice, or two runs would share a folder.
    """
    axes = [(key, values_of(text)) for key, _, text in (item.partition("=") for item in overrides)]
    if reserved := {key for key, _ in axes} & {"name", "run_dir"}:
        raise ConfigError(f"{min(reserved)} cannot be set in a sweep: each run has its own; --output is where they lie")
    keys = [key for key, _ in axes]
    if doubled := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(f"{doubled[0]} is given twice: list all its values once, {doubled[0]}=value,value")
    found: list[SweepRun] = []
    for file in files:
        for chosen in itertools.product(*(values for _, values in axes)):
            given = [f"{key}={value}" for (key, _), value in zip(axes, chosen, strict=True)]
            varied = tuple((key, value) for (key, values), value in zip(axes, chosen, strict=True) if len(values) > 1)
            name = _name(file.stem, varied)
            own = (*given, f"name={name}", f"run_dir={output.absolute() / name}")
            try:
                config = load_config([file], own)
            except ConfigError as error:
                raise ConfigError(*(f"{file}: {problem}" for problem in error.problems)) from error
            found.append(SweepRun(file=file, overrides=own, varied=varied, config=config))
    names = [run.config.name for run in found]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two runs would be called {doubled[0]}: give files other names, or list each value once")
    return found


def values_of(text: str) -> list[str]:
    """The values of a list `a,b,c`, split at the commas that stand outside of brackets, braces and quotes."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        else:
            depth += (char in _OPEN) - (char in _CLOSE)
        if char == "," and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _name(stem: str, varied: Sequence[tuple[str, str]]) -> str:
    words = [stem, *(key.rpartition(".")[2] + value for key, value in varied)]
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", word).strip("_") for word in words)
