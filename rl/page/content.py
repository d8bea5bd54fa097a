"""From run folders to all that a page holds, as plain data: curves, facts of every run, settings, samples in parts.

Files are read one step at a time. `--follow` keeps what a file of samples became, and reads only what is new.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl.page.bands import accuracy_band
from rl.page.charts import SECTIONS, figures_of
from rl.page.chunks import Part, index_of, parts_of, spaced
from rl.page.folder import RunRecord, labels_of, read_run
from rl.page.stored import number, of_policy, read_samples, step_of
from rl.page.summary import StepSummary, groups_of, summary_of
from rl.page.vocabulary import open_tokenizer, pieces_of

__all__ = ["Content", "RunSamples", "Source"]

MAX_ROLLOUT_BYTES = 800_000_000
"""Of one run's files of samples; of larger ones a fraction is shown. A page has about a sixth of it."""
FRACTION = 0.9
"""Fractions that are shown are powers of it, so that a run that grows is not read anew at every step."""
PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSamples:
    """One run's samples, as the page holds them."""

    index: Mapping[str, Any]
    parts: tuple[Part, ...]
    vocabulary: Mapping[int, str]
    """Text of every token id in the parts; empty without a tokenizer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """All that a page shows."""

    title: str
    facts: Mapping[str, Any]
    """`runs`, `sections`, `figures`: plain data."""
    samples: tuple[RunSamples, ...]
    """Of each run."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What a file of samples became."""

    summary: StepSummary | None
    parts: Sequence[Part]
    num_bad: int


@dataclass(slots=True)
class Source:
    """Reads runs again and again, and what has not changed only once.

    Args:
        paths: run folders, each once.
        max_samples: of each run.
        say: gets a line now and then while a long reading goes on.
        keeps: whether what was read is kept for the next time.
    """

    paths: Sequence[Path]
    max_samples: int
    say: Callable[[str], None] = lambda text: None
    keeps: bool = False
    _counted: dict[Path, tuple[tuple[int, int], int]] = field(default_factory=dict)
    _known: dict[Path, tuple[tuple[object, ...], _Step]] = field(default_factory=dict)

    def state(self) -> tuple[object, ...]:
        """Differs whenever a page made now would."""
        names = ("config.json", "metrics.jsonl", "evals.jsonl", "final.json", "error.log")
        files = [path / name for path in self.paths for name in names]
        files += [file for path in self.paths for file in sorted((path / "rollouts").glob("step_*.jsonl"))]
        return tuple((str(file), *_stamp(file)) for file in files)

    def read(self) -> Content:
        """The page's content as the folders are now.

        Raises:
            NotARun: a path is no run folder, or given twice.
        """
        labels = labels_of(self.paths)
        runs = [read_run(path) for path in self.paths]
        told, samples, summaries = [], [], []
        for label, run in zip(labels, runs, strict=True):
            stored, summary, notes = self._samples(run, label)
            samples.append(stored)
            summaries.append(summary)
            told.append(_facts(label, run, notes))
        figures = [figure.facts() for figure in figures_of(runs, summaries)]
        facts = {"runs": told, "sections": dict(SECTIONS), "figures": figures}
        return Content(title=", ".join(labels), facts=facts, samples=tuple(samples))

    def _samples(self, run: RunRecord, label: str) -> tuple[RunSamples, dict[int, StepSummary], list[str]]:
        keep_frac, notes = self._keep_frac(run.rollouts)
        parts: list[Part] = []
        summaries: dict[int, StepSummary] = {}
        num_bad, said = 0, time.monotonic()
        for n, file in enumerate(run.rollouts):
            if time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                self.say(f"{label}: {n} of {len(run.rollouts)} steps read")
            step = self._step(file, keep_frac, run.config)
            num_bad += step.num_bad
            if step.summary is not None:
                summaries[step.summary.step] = step.summary
            parts += step.parts
        if num_bad:
            notes.append(f"{num_bad} lines in rollouts/ could not be read and were left out.")
        ids = frozenset[int]().union(*(part.ids for part in parts))
        tokenizer = open_tokenizer(run) if ids else None
        if ids and tokenizer is None:
            notes.append("Tokens cannot be coloured: no tokenizer.json in export/, base/ or model.path.")
        vocabulary = {} if tokenizer is None else pieces_of(tokenizer, ids)
        return RunSamples(index=index_of(parts), parts=tuple(parts), vocabulary=vocabulary), summaries, notes

    def _step(self, file: Path, keep_frac: float, config: Mapping[str, Any]) -> _Step:
        stamp = (*_stamp(file), keep_frac)
        if file in self._known and self._known[file][0] == stamp:
            return self._known[file][1]
        samples, num_bad = read_samples(file)
        groups = spaced(list(groups_of(samples)), keep_frac)
        step = _Step(summary_of(samples) if samples else None, parts_of(groups, config), num_bad)
        if self.keeps:
            self._known[file] = (stamp, step)
        return step

    def _num_samples(self, file: Path) -> int:
        stamp = _stamp(file)
        if self._counted.get(file, (None, 0))[0] != stamp:
            with file.open("rb") as stream:
                num = sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
            self._counted[file] = (stamp, num)
        return self._counted[file][1]

    def _keep_frac(self, files: Sequence[Path]) -> tuple[float, list[str]]:
        """Which fraction of the groups is shown, and a note where it is not all."""
        num = sum(self._num_samples(file) for file in files)
        size = sum(file.stat().st_size for file in files)
        wanted = min(self.max_samples / max(num, 1), MAX_ROLLOUT_BYTES / max(size, 1))
        if wanted >= 1.0:
            return 1.0, []
        frac = FRACTION ** math.ceil(math.log(wanted) / math.log(FRACTION))
        return frac, [
            f"About {round(num * frac):,} of {num:,} samples are shown: evenly spaced groups, the same ones "
            "every time. Curves count all of them, and all are in rollouts/."
        ]


def _facts(label: str, run: RunRecord, notes: Sequence[str]) -> dict[str, Any]:
    """One run in words and numbers: for its card, its table of evaluations and its settings."""
    model = run.config.get("model")
    model = model if isinstance(model, Mapping) else {}
    seconds = [number(row.get(f"phase/{name}_seconds")) or 0.0 for row in run.steps for name in ("generate", "learn")]
    return {
        "label": label,
        "path": str(run.path),
        "name": str(run.config.get("name", "")),
        "model": str(model.get("path") or model.get("source") or ""),
        "state": run.state,
        "error": run.error,
        "num_steps": len(run.steps),
        "planned_steps": number(run.config.get("num_steps")),
        "seconds": round(sum(seconds)),
        "last_write": round(run.last_write),
        "rewards": [number(row.get("reward/mean")) for row in run.steps],
        "evals": [_evaluation(row) for row in run.evals],
        "settings": dict(_settings(run.config)),
        "notes": [*run.notes, *notes],
    }


def _evaluation(row: Mapping[str, Any]) -> dict[str, Any]:
    gyms = {name: _accuracies(result) for name, result in row["gyms"].items() if isinstance(result, Mapping)}
    words = {key: str(row.get(key, "")) for key in ("stage", "weights")}
    return {**words, "step": step_of(row), "gyms": gyms, "is_policy": bool(of_policy([row]))}


def _accuracies(result: Mapping[str, Any]) -> dict[str, Any]:
    greedy = result.get("greedy")
    return {
        **{key: accuracy_band(result.get(key)) for key in ("greedy", "sampled", "best", "heavy")},
        "truncated": number(result.get("truncated_frac")),
        "num": number(greedy.get("num")) if isinstance(greedy, Mapping) else None,
    }


def _settings(value: Any, key: str = "") -> list[tuple[str, Any]]:
    """Every setting by its full key, lists of plain values as one; what JSON has no number for (inf, nan) as text."""
    if isinstance(value, Mapping) and value:
        return [
            pair for name, inner in value.items() for pair in _settings(inner, f"{key}.{name}" if key else str(name))
        ]
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [pair for i, item in enumerate(value) for pair in _settings(item, f"{key}.{i}")]
    return [(key, json.loads(json.dumps(value), parse_constant=str))] if key else []


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0, -1
    return found.st_mtime_ns, found.st_size
