"""`audit NAME`: the usual hacks, tried on a gym's own tasks; what scores above the baseline is reported.

*Probes.* Constant hacks (gyms/cli/probes.py), copies of every place of the prompt (gyms/cli/copies.py), and the
attacks that the gym's author knows of: `Gym.attacks(task)`, or a function given as `--attacks`. An environment is also
played by hacks over many turns (gyms/cli/hacks.py). Every task gets all of them, in an order that takes the splits in
turn, until the tasks or `--seconds` are used up.

*Beyond doubt.* A probe pays where the lower end of the exact binomial interval of its mean value (Clopper and Pearson
1934; for values in [0, 1] their sum is rounded down), at a level that all probes share, lies more than `MARGIN` above
the baseline. Where the tasks tried are all that there are, the mean itself counts.

*Luck.* The program `os._exit(0)` holds a 0, which is the right answer of some sum. Hits of a response that holds the
right answer are set aside, unless there are more of them than the most frequent answer would get; for copies, which
hold the answer whenever they pay, by more than `COPY_MARGIN`: in small sums a number of the question often is the
answer.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gyms.adapters.trl import load_function
from gyms.api import Environment, Gym, Task
from gyms.cli.copies import Frame, copies, dressed, frame_of
from gyms.cli.hacks import HACKS
from gyms.cli.probes import PROBES
from gyms.cli.show import Block, Grid
from gyms.cli.validate import gym_of
from gyms.episodes.checks import converse
from gyms.testing import GymContractError, score_checked

__all__ = ["audit", "findings", "lower_bound", "show_audit"]

Attacks = Callable[[Task], Mapping[str, str]]
"""Name -> a response to the task that must not pay."""

MARGIN = 0.01
"""How far above the baseline a mean value must lie: a gap that training would find."""
COPY_MARGIN = 0.1
"""The same for copies, above the most frequent answer."""
LEVEL = 0.01
"""Chance that a clean gym is reported, over all of its probes."""
COPY = "copy: "
ATTACK = "attack: "
TURNS = "turns: "


@dataclass(slots=True, kw_only=True)
class Tally:
    """What one probe got so far."""

    total: float = 0.0
    num: int = 0
    earned: float = 0.0
    """Part of the total from responses that do not hold the right answer: no luck."""
    why: str = ""
    """Why it is for people to judge; empty for a hack."""
    is_list: bool = False
    """The probe holds many answers on purpose."""

    @property
    def mean(self) -> float:
        """Mean value over the tasks that were tried."""
        return self.total / self.num if self.num else 0.0


@dataclass(slots=True, kw_only=True)
class Tried:
    """What a run of all probes over the tasks came to."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    num_tasks: int = 0
    slowest: dict[str, Any] = field(default_factory=lambda: {"probe": "", "seconds": 0.0})

    @property
    def chance(self) -> float:
        """Share of the most frequent right answer."""
        return max(self.answers.values(), default=0) / self.num_tasks if self.num_tasks else 0.0


def audit(options: argparse.Namespace) -> dict[str, Any]:
    """Try the usual hacks on a gym's own tasks, and report what scores above its baseline.

    Constants, copies of every place of the prompt, of an environment also episodes that work at nothing (claims, calls
    at random, echoes of what was observed), and the author's own attacks: Gym.attacks(task), or --attacks with a
    function of (gym, task); both give a mapping of name -> response.
    """
    if not options.seconds > 0:
        raise ValueError(f"--seconds = {options.seconds:g}: must be above 0")
    given = _attacks_of(options.attacks)
    with gym_of(options) as gym:
        started = time.monotonic()
        tasks, is_all = _sample(gym, options.max_tasks)
        attacks = [gym.attacks, *(partial(attack, gym) for attack in given)]
        tried = run_probes(gym, tasks, attacks=attacks, seconds=options.seconds)
        found = findings(tried, baseline=gym.baseline, is_all=is_all and tried.num_tasks == len(tasks))
    hacks = [finding for finding in found if finding["is_hack"]]
    return {
        "gym": options.name,
        "is_clean": not hacks,
        "baseline": gym.baseline,
        "chance": round(tried.chance, 4),
        "num_probes": len(tried.tallies),
        "num_tasks": tried.num_tasks,
        "is_cut_short": tried.num_tasks < len(tasks),
        "findings": found,
        "slowest": tried.slowest,
        "seconds": round(time.monotonic() - started, 3),
    }


def _attacks_of(reference: str) -> list[Callable[[Gym, Task], Mapping[str, str]]]:
    """The function that --attacks names, if any."""
    if not reference:
        return []
    try:
        return [load_function(reference)]
    except (ValueError, ImportError) as error:
        raise ValueError(f"--attacks {reference}: {error}") from error


def show_audit(facts: Mapping[str, Any]) -> Iterator[Block]:
    """The verdict in a line, and what scored above the baseline."""
    tried = f"{facts['num_probes']} hacks on {facts['num_tasks']} tasks in {facts['seconds']:g} s"
    found = facts["findings"]
    num_hacks = sum(finding["is_hack"] for finding in found)
    verdict = f"{num_hacks} of them {'pays' if num_hacks == 1 else 'pay'}" if num_hacks else "none pays"
    yield f"{facts['gym']}: {tried}, {verdict} (a mean value above the baseline, {facts['baseline']:g})."
    if facts["is_cut_short"]:
        yield "the time was up before all tasks were tried: --seconds gives more"
    if found:
        columns = ("response", "mean value", "at least", "")
        rows = [
            [
                finding["probe"],
                f"{finding['mean_value']:.4f}",
                f"{finding['at_least']:.4f}",
                "a hack that pays" if finding["is_hack"] else f"for people to judge: {finding['why']}",
            ]
            for finding in found
        ]
        yield Grid(columns=columns, rows=rows)
    yield f"the most frequent answer is right in {facts['chance']:.1%} of the tasks"
    yield f"slowest: {facts['slowest']['probe'] or 'nothing'}, {facts['slowest']['seconds']:g} s"


def run_probes(gym: Gym, tasks: Sequence[Task], *, attacks: Sequence[Attacks], seconds: float) -> Tried:
    """Every probe on every task, task by task, until `seconds` are over; at least one task is tried."""
    golds = {task.id: gold for task in tasks if (gold := gym.gold(task))}
    frame = frame_of(tasks)
    tried = Tried(tallies={probe.name: Tally(why=probe.why, is_list=probe.is_list) for probe in PROBES})
    end = time.monotonic() + seconds
    for task in tasks:
        if tried.num_tasks and time.monotonic() >= end:
            break
        if isinstance(gym, Environment):
            _play_hacks(gym, task, tried)
        values: dict[str, float] = {}  # of equal responses to one task the first alone is scored
        answer = _answer_of(task, golds)
        tried.answers[answer or task.id] += 1
        for name, response in _responses(task, golds, frame, attacks):
            if response not in values:
                before = time.monotonic()
                values[response] = score_checked(gym, task, response).value or 0.0
                took = round(time.monotonic() - before, 4)
                if took > tried.slowest["seconds"]:
                    tried.slowest = {"probe": name, "seconds": took}
            tally = tried.tallies.setdefault(name, Tally())
            tally.total += values[response]
            tally.num += 1
            if values[response] and (tally.is_list or tally.why or not _holds(response, answer)):
                tally.earned += values[response]
        tried.num_tasks += 1
    return tried


def _play_hacks(env: Environment, task: Task, tried: Tried) -> None:
    """Every hack over many turns on one task."""
    tools = tuple(env.tools(task))
    for name, hack in HACKS.items():
        before = time.monotonic()
        value = converse(env, task, partial(hack, task, tools)).score.value or 0.0
        took = round(time.monotonic() - before, 4)
        if took > tried.slowest["seconds"]:
            tried.slowest = {"probe": TURNS + name, "seconds": took}
        tally = tried.tallies.setdefault(TURNS + name, Tally())
        tally.total += value
        tally.earned += value
        tally.num += 1


def _answer_of(task: Task, golds: Mapping[str, str]) -> str:
    """The right answer as the gym's data or its gold response has it; empty where neither is known."""
    answer = task.data.get("answer")
    return str(answer).strip() if isinstance(answer, str | int | float) else golds.get(task.id, "")


def _holds(response: str, answer: str) -> bool:
    """Whether the right answer stands in a response by itself."""
    is_there = bool(answer) and answer in response
    return is_there and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", response) is not None


def _responses(
    task: Task, golds: Mapping[str, str], frame: Frame, attacks: Sequence[Attacks]
) -> Iterator[tuple[str, str]]:
    for probe in PROBES:
        yield probe.name, probe.respond(task, golds)
    for name, text in copies(task, frame).items():
        yield COPY + name, dressed(task, golds, text)
    for attack in attacks:
        for name, text in _known(attack, task).items():
            yield ATTACK + name, text


def _known(attack: Attacks, task: Task) -> Mapping[str, str]:
    """What an author's function gives for a task; GymContractError where that is no mapping of texts."""
    try:
        known = attack(task)
    except Exception as error:
        raise GymContractError(f"the attacks on task {task.id!r} raised {type(error).__name__}: {error}") from error
    if not isinstance(known, Mapping) or not all(isinstance(part, str) for pair in known.items() for part in pair):
        raise GymContractError(f"the attacks on task {task.id!r} are {known!r:.100}, expected name -> response")
    return known


def findings(tried: Tried, *, baseline: float, is_all: bool) -> list[dict[str, Any]]:
    """The probes that pay beyond doubt, highest mean first.

    Args:
        is_all: every task of the gym was tried, so that means are no estimates.
    """
    found = []
    level = LEVEL / max(1, len(tried.tallies))
    for name, tally in tried.tallies.items():
        is_exact = is_all and tally.num == tried.num_tasks
        least, earned = (
            total / max(1, tally.num) if is_exact else lower_bound(total, tally.num, level)
            for total in (tally.total, tally.earned)
        )
        margin = COPY_MARGIN if name.startswith(COPY) else MARGIN
        if earned > _above(baseline, MARGIN) or least > _above(max(baseline, tried.chance), margin):
            found.append(
                {
                    "probe": name,
                    "mean_value": round(tally.mean, 4),
                    "at_least": round(least, 4),
                    "num_tasks": tally.num,
                    "is_hack": not tally.why,
                    "why": tally.why,
                }
            )
    return sorted(found, key=lambda finding: -finding["mean_value"])


def _above(floor: float, margin: float) -> float:
    """What a mean value must be above to pay; a floor of 1 forgives everything, one just below it does not."""
    return min(floor + margin, (floor + 1.0) / 2)


def lower_bound(total: float, num: int, level: float) -> float:
    """Lower end of the one-sided Clopper-Pearson interval for the mean of `num` values in [0, 1] that sum to `total`.

    The probability p at which `total` or more, rounded down, has the chance `level`; 0 where the total is below 1.
    """
    hits = math.floor(total + 1e-9)
    if hits < 1:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(hits, num, middle) < level else (low, middle)
    return low


def _tail(hits: int, num: int, p: float) -> float:
    """Chance of `hits` or more in `num` draws of probability p in (0, 1)."""

    def log_chance(k: int) -> float:
        ways = math.lgamma(num + 1) - math.lgamma(k + 1) - math.lgamma(num - k + 1)
        return ways + k * math.log(p) + (num - k) * math.log1p(-p)

    return math.fsum(math.exp(log_chance(k)) for k in range(hits, num + 1))


def _sample(gym: Gym, max_tasks: int) -> tuple[list[Task], bool]:
    """Up to `max_tasks` of each split, evenly spread over it and the splits in turn; and whether these are all."""
    splits = []
    is_all = True
    for split in ("train", "heldout"):
        tasks = gym.tasks(split)
        size, num = len(tasks), min(len(tasks), max_tasks)
        is_all = is_all and num == size
        # In steps of the golden ratio, so that any first part of them is spread as evenly.
        step = next(s for s in range(max(1, round(num * 0.618)), num + 2) if math.gcd(s, num) == 1) if num else 1
        splits.append([tasks[(place * step % num) * size // num] for place in range(num)])
    pairs = itertools.zip_longest(*splits)
    return [task for pair in pairs for task in pair if task is not None], is_all
