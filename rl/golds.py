"""Every worked answer of a gym that runs code, scored before the run starts: what cannot score is never asked.

Published sets of programming tasks hold some whose own solution fails its tests. To a run such a task is a `bad_task`
or a reward that nothing earns, found in step 300 or never. So all golds of such a gym are run once, as the run would
score them, in workers with their sandbox; tasks whose gold falls short are left out of what is drawn, and told. Gyms
that only read text cost a sample (rl/gym_checks.py): their verifiers are functions of the text, and fail for all tasks
or for few.

*A second start runs nothing*: verdicts lie beside the runs, in `.golds/`, a line each, by a hash of the task, its
gold, the gym's settings, and the code that judged it (the gyms, the sandbox, Python). A start that was broken off goes
on where it stopped. Verdicts that are faults of ours are no verdicts: they are not kept, and stop the start.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, TextIO

import gyms
from configs.schema import GymConfig
from gyms.api import Environment, Gym, Score, Status, Task
from gyms.load import GymSpec
from gyms.mixture import GymEntry
from reward.scorer import Scorer
from rl.prompts import Progress

__all__ = ["Replayed", "replay_golds"]

FOLDER = ".golds"
MAX_WRONG = 0.25
"""Fraction of golds that may fail: beyond it the verifier, not the rows, is at fault."""
MAX_WORKERS = 8
MAX_AHEAD = 64
"""Golds that wait for a worker."""
NUM_TOLD = 3
_OURS = frozenset({Status.VERIFIER_ERROR, Status.JUDGE_FAILED, Status.CANCELLED})


class Replayed(NamedTuple):
    """What became of the golds of all gyms."""

    failed: Mapping[str, frozenset[str]]
    """Gym -> ids of the tasks whose gold does not score 1."""
    notes: tuple[str, ...]
    """Lines for people."""

    def is_asked(self, gym: str, task: Task) -> bool:
        """False for a task that its own worked answer fails."""
        return task.id not in self.failed.get(gym, ())

    @property
    def digest(self) -> str:
        """A hash of what is left out: a run that goes on leaves out the same."""
        content = json.dumps({gym: sorted(ids) for gym, ids in self.failed.items()}, sort_keys=True)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def replay_golds(
    settings: Sequence[GymConfig],
    entries: Sequence[GymEntry],
    specs: Sequence[GymSpec],
    *,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
) -> Replayed:
    """Score the golds of all gyms of which `gyms.N.golds` asks that.

    Args:
        settings: the config's `gyms`.
        folder: where runs lie; verdicts are kept in its `.golds`.

    Raises:
        ValueError: over a quarter of a gym's golds fail, or one could not be scored for a fault of ours.
    """
    failed: dict[str, frozenset[str]] = {}
    notes: list[str] = []
    for i, (entry, spec) in enumerate(zip(entries, specs, strict=True)):
        if not _is_asked(settings[i].golds, entry.gym):
            continue
        where = f"gyms.{i} ({entry.name})"
        path = folder / FOLDER / f"{entry.name}-{_version(entry.gym, spec)}.jsonl"
        tasks = [task for split in ("train", "heldout") for task in entry.gym.tasks(split)]
        golds = [(task, gold) for task in tasks if (gold := entry.gym.gold(task)) is not None]
        verdicts = _verdicts(where, spec, golds, path, say)
        wrong = {task.id: why for (task, _), why in zip(golds, verdicts, strict=True) if why}
        if not wrong:
            continue
        told = ", ".join(f"{name!r} ({why})" for name, why in list(wrong.items())[:NUM_TOLD])
        told += ", ..." if len(wrong) > NUM_TOLD else ""
        if len(wrong) > MAX_WRONG * len(golds):
            raise ValueError(
                f"{where}: {len(wrong)} of {len(golds)} gold answers fail: {told}; run `python -m gyms validate "
                f'{spec.reference}` and mend the gym, or set gyms.{i}.golds = "sample"'
            )
        failed[entry.name] = frozenset(wrong)
        notes.append(f"{where}: {len(wrong)} of {len(golds)} gold answers fail; these tasks are not drawn: {told}")
    return Replayed(failed, tuple(notes))


def _is_asked(setting: str, gym: Gym) -> bool:
    """`auto` asks it of what runs submitted code; an environment's golds are episodes, of which a sample is played."""
    if isinstance(gym, Environment):
        return False
    return setting == "all" or (setting == "auto" and gym.needs.sandbox)


def _verdicts(
    where: str, spec: GymSpec, golds: Sequence[tuple[Task, str]], path: Path, say: Callable[[str], None]
) -> list[str]:
    """Why each gold fails, empty where it scores 1: from the file, or else by running it."""
    keys = [_key(task, gold) for task, gold in golds]
    known = _read(path)
    missing = {key: pair for key, pair in zip(keys, golds, strict=True) if key not in known}
    if missing:
        progress = Progress(say, f"{where}, gold answers that are run", len(missing))
        with _opened(path, where) as file:
            file.write("\n")  # behind a line that was cut short
            for key, why in _run(where, spec, missing):
                known[key] = why
                file.write(json.dumps({"key": key, "why": why}) + "\n")
                file.flush()
                progress.advance(1)
    return [known[key] for key in keys]


def _opened(path: Path, where: str) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"{where}: verdicts on gold answers cannot be kept in {path.parent} ({error.strerror}), beside the run "
            "folder; set run_dir to where files can be written"
        ) from None


def _run(where: str, spec: GymSpec, missing: Mapping[str, tuple[Task, str]]) -> Iterable[tuple[str, str]]:
    """Keys and verdicts in order, with a bounded number under way."""
    with Scorer([spec], num_workers=min(MAX_WORKERS, len(os.sched_getaffinity(0)))) as scorer:
        waiting: list[tuple[str, Future[list[Score]]]] = []
        for key, (task, gold) in missing.items():
            waiting.append((key, scorer.submit(f"gold/{task.id}", spec.name, task, gold)))
            if len(waiting) >= MAX_AHEAD:
                yield _verdict(where, *waiting.pop(0))
        for one in waiting:
            yield _verdict(where, *one)


def _verdict(where: str, key: str, scored: Future[list[Score]]) -> tuple[str, str]:
    (score,) = scored.result()
    if score.status in _OURS:
        raise ValueError(f"{where}: a gold answer could not be scored: {score.status}: {score.detail}; start again")
    if score.status is Status.OK and score.value == 1.0:
        return key, ""
    failed = next((case for case in score.cases if not case.passed), None)
    reason = score.detail or (f"{failed.id}: {failed.reason}" if failed is not None else f"scores {score.value}")
    return key, f"{score.status}: {reason}"[:200]


def _read(path: Path) -> dict[str, str]:
    """The verdicts of a file; a line that was cut short is none."""
    known: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            known[row["key"]] = row["why"]
        except (ValueError, KeyError, TypeError):
            continue
    return known


def _key(task: Task, gold: str) -> str:
    content = json.dumps([list(task.prompt), dict(task.data), gold], sort_keys=True, default=repr)
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _version(gym: Gym, spec: GymSpec) -> str:
    """A hash of what judges: all code of the room `gyms`, the gym's own module, its settings, and Python."""
    found = hashlib.blake2b(f"{sys.version} {platform.release()} {spec.reference}".encode(), digest_size=8)
    found.update(json.dumps(dict(spec.args), sort_keys=True, default=repr).encode())
    own = getattr(sys.modules.get(type(gym).__module__), "__file__", None)
    for path in [*sorted(Path(str(gyms.__file__)).parent.rglob("*.py")), *([Path(own)] if own else [])]:
        found.update(path.read_bytes())
    return found.hexdigest()
