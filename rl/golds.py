"""Every worked answer of a gym that runs code, scored before the run starts: what cannot score is never asked.

Published sets of programming tasks hold some whose own solution fails its tests. To a run such a task is a `bad_task`
or a reward that nothing earns, found in step 300 or never. So all golds of such a gym are run once, as the run would
score them, in workers with their sandbox; tasks whose gold falls short are left out of what is drawn, and told. Gyms
that only read text cost a sample (rl/gym_checks.py): their verifiers are functions of the text, and fail for all tasks
or for few.

*A second start runs nothing*: verdicts lie beside the runs, in `.golds/`, a line each, by a hash of the task, its
gold, the gym's settings, and the code that judged it (the gyms, the sandbox, Python). A start that was broken off goes
on where it stopped. A gold that timed out or broke its verifier is asked once more, when all others are done; should
it do so again it fails, but that verdict is not kept: another day may know better. What is our fault whatever the
answer (a gym that cannot be built, a service or a judge that failed) is no verdict, and stops the start.

*A run that goes on* leaves out what it left out when it began, whatever the machine says today: the ids are in its
checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import gyms
from configs.schema import GymConfig
from gyms.api import Gym, Score, Status, Task
from gyms.load import GymSpec
from gyms.mixture import GymEntry
from reward.process import NOT_THE_RESPONSE
from reward.scorer import Scorer
from rl.gym_checks import gym_code, runs_all_golds
from rl.prompts import Progress

__all__ = ["Replayed", "replay_golds"]

FOLDER = ".golds"
MAX_WRONG = 0.25
"""Fraction of golds that may fail: beyond it the verifier, not the rows, is at fault."""
MAX_WORKERS = 8
MAX_AHEAD = 64
"""Golds that wait for a worker."""
NUM_TOLD = 3
_ASKED_AGAIN = frozenset({Status.VERIFIER_ERROR, Status.TIMEOUT})
_NO_VERDICT = frozenset({Status.JUDGE_FAILED, Status.CANCELLED})


class Replayed(NamedTuple):
    """What became of the golds of all gyms."""

    failed: Mapping[str, frozenset[str]]
    """Gym -> ids of the tasks whose gold does not score 1."""
    notes: tuple[str, ...] = ()
    """Lines for people."""

    @classmethod
    def before(cls, fingerprint: Mapping[str, Any]) -> Replayed:
        """What a run left out when it began, by the fingerprint in its checkpoints."""
        return cls({gym: frozenset(ids) for gym, ids in fingerprint.get("golds", {}).items()})

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Its part of a run's fingerprint: the ids, where there are any."""
        return {"golds": {gym: sorted(ids) for gym, ids in sorted(self.failed.items())}} if self.failed else {}

    def is_asked(self, gym: str, task: Task) -> bool:
        """False for a task that its own worked answer fails."""
        return task.id not in self.failed.get(gym, ())


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
        if not runs_all_golds(settings[i], entry.gym):
            continue
        where = f"gyms.{i} ({entry.name})"
        path = folder / FOLDER / f"{entry.name}-{_version(entry.gym, spec)}.jsonl"
        with gym_code(i, entry.name):
            splits = {"train": entry.gym.tasks("train"), "heldout": entry.gym.tasks("heldout")}
            golds = [(t, gold) for tasks in splits.values() for t in tasks if (gold := entry.gym.gold(t)) is not None]
        verdicts = _verdicts(where, i, spec, golds, path, say)
        wrong = {task.id: why for (task, _), why in zip(golds, verdicts, strict=True) if why}
        if not wrong:
            continue
        told = ", ".join(f"{name!r} ({why})" for name, why in list(wrong.items())[:NUM_TOLD])
        told += ", ..." if len(wrong) > NUM_TOLD else ""
        empty = next((split for split, tasks in splits.items() if all(task.id in wrong for task in tasks)), None)
        if empty or len(wrong) > MAX_WRONG * len(golds):
            none = f", and no {empty} task is left" if empty else ""
            raise ValueError(
                f"{where}: {len(wrong)} of {len(golds)} gold answers fail{none}: {told}; run `python -m gyms validate "
                f'{spec.reference}` and mend the gym, or set gyms.{i}.golds = "sample"'
            )
        failed[entry.name] = frozenset(wrong)
        notes.append(f"{where}: {len(wrong)} of {len(golds)} gold answers fail; these tasks are not asked: {told}")
    return Replayed(failed, tuple(notes))


def _verdicts(
    where: str, index: int, spec: GymSpec, golds: Sequence[tuple[Task, str]], path: Path, say: Callable[[str], None]
) -> list[str]:
    """Why each gold fails, empty where it scores 1: from the file, or else by running it."""
    keys = [_key(task, gold) for task, gold in golds]
    known = _read(path)
    missing = {key: pair for key, pair in zip(keys, golds, strict=True) if key not in known}
    if missing:
        progress = Progress(say, f"{where}, gold answers that are run", len(missing))
        with _opened(path, where) as file:
            file.write("\n")  # behind a line that was cut short
            for key, score in _run(spec, missing):
                if score.status in _NO_VERDICT or NOT_THE_RESPONSE in score.flags:
                    raise ValueError(
                        f"{where}: the gold answer of task {missing[key][0].id!r} could not be scored: {score.status}: "
                        f'{score.detail}; start again, or set gyms.{index}.golds = "sample"'
                    )
                known[key] = _why(score)
                progress.advance(1)
                if score.status not in _ASKED_AGAIN:
                    file.write(json.dumps({"key": key, "why": known[key]}) + "\n")
                    file.flush()
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


def _run(spec: GymSpec, missing: Mapping[str, tuple[Task, str]]) -> Iterator[tuple[str, Score]]:
    """Keys and scores, with a bounded number under way; last those that were asked twice."""
    again: list[str] = []
    with Scorer([spec], num_workers=min(MAX_WORKERS, len(os.sched_getaffinity(0)))) as scorer:
        for key, score in _scored(scorer, spec.name, missing):
            if score.status in _ASKED_AGAIN:
                again.append(key)
            else:
                yield key, score
        for key in again:
            yield from _scored(scorer, spec.name, {key: missing[key]}, asked="again")


def _scored(
    scorer: Scorer, name: str, golds: Mapping[str, tuple[Task, str]], *, asked: str = "first"
) -> Iterator[tuple[str, Score]]:
    """`asked` is part of the requests' ids: what was asked by an id is not run once more, but remembered."""
    waiting: deque[tuple[str, Future[list[Score]]]] = deque()
    for key, (task, gold) in golds.items():
        waiting.append((key, scorer.submit(f"gold/{asked}/{task.id}", name, task, gold)))
        if len(waiting) >= MAX_AHEAD:
            first, scores = waiting.popleft()
            yield first, scores.result()[0]
    for key, scores in waiting:
        yield key, scores.result()[0]


def _why(score: Score) -> str:
    """Why a gold fails; empty where it scores 1."""
    if score.status is Status.OK and score.value == 1.0:
        return ""
    failed = next((case for case in score.cases if not case.passed), None)
    reason = score.detail or (f"{failed.id}: {failed.reason}" if failed is not None else f"scores {score.value}")
    return f"{score.status}: {reason}"[:200]


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
