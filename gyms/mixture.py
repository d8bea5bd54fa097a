"""Which tasks a step draws: a pure function of (seed, step), with shares that are exact over time.

*Gym of a draw.* Draws are numbered through the whole run: step s holds draws s * num to (s + 1) * num - 1. Shares
become whole weights, and draw number g belongs to slot g mod (sum of weights) of a fixed pattern, made by smooth
weighted round-robin: each slot goes to the gym that is furthest behind its share, the first listed on a tie. After
every whole pattern the counts match the shares exactly; in between no gym strays by more than the number of gyms.

*Task of a draw.* The n-th draw of a gym takes place n mod len(tasks) of epoch n div len(tasks), under a permutation
keyed by (seed, gym, epoch): every task once per epoch, in a new order each time, with nothing stored.

*A task that cannot be asked* (a prompt that is too long: the caller's `fits` says) leaves its place to another: the
first one that fits along a second permutation, from the same place on. So the replacement too is a function of (seed,
draw), whatever was looked at before; it may come twice in an epoch. Held out, the next task of the order takes its
place.

So a resumed run needs the step number and nothing else. The price: the number of draws a step must stay the same within
a run, and a gym whose split changes size under a running experiment changes its order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice

from gyms.api import Gym, Split, Task, Tool
from gyms.permutation import MAX_CANDIDATES, candidates, permute

__all__ = [
    "Draw", "EpisodeLimits", "Fits", "GymEntry", "check_disjoint", "draws", "epoch_candidates", "heldout", "turn_of",
]  # fmt: skip

MAX_PATTERN = 100_000
"""Longest pattern of shares, in draws."""

Fits = Callable[[str, Task], bool]
"""Whether a task of the gym of that name can be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeLimits:
    """How long an episode of many turns may get."""

    max_turns: int
    """Most turns of the policy, > 0."""
    max_tokens: int
    """Most tokens behind the prompt, observations included, > 0."""
    context: str = "fail"
    """What is left out of the context at its limit (rollout/context.py)."""
    max_context: int | None = None
    """Most tokens of a context behind the prompt, the next turn's budget included; None: `max_tokens`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GymEntry:
    """One gym of the mixture, built."""

    name: str
    """Its name in the run."""
    gym: Gym
    """The gym."""
    share: float
    """Share of the draws relative to the other shares, > 0."""
    budget: int
    """Most tokens of one response, or of one turn."""
    limits: EpisodeLimits | None = None
    """Of a gym of many turns."""

    def draw(
        self, index: int, task: Task, *, place: int | None = None, num_dropped: int = 0, is_ungated: bool = False
    ) -> Draw:
        """A task of this gym, drawn."""
        return Draw(
            index=index, gym=self.name, task=task, budget=self.budget, place=place, num_dropped=num_dropped,
            is_ungated=is_ungated, tools=tuple(self.gym.tools(task)), limits=self.limits,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One task of one step, with where it comes from and how long an answer may be.

    Example:
        Draw(index=37, gym="sums", task=Task(id="add/3/4", prompt=(message("user", "What is 3 + 4?"),)), budget=24)
    """

    index: int
    """Number of the draw: through the whole run for train draws, within the sample for held-out ones; below 0 for those
    that a step adds, -1, -2, ..."""
    gym: str
    """Name of the gym."""
    task: Task
    """The problem."""
    budget: int
    """Most tokens of one response, or of one turn."""
    place: int | None = None
    """Place of the task among its gym's train tasks; None for held-out ones."""
    num_dropped: int = 0
    """Tasks that stood in its place and could not be asked."""
    is_ungated: bool = False
    """No task passed the curriculum's gate, so this one was taken without it."""
    tools: tuple[Tool, ...] = ()
    """What the model may call."""
    limits: EpisodeLimits | None = None
    """Of a task of many turns; None: its first response ends it."""


def _any_task(gym: str, task: Task) -> bool:
    return True


def draws(seed: int, step: int, num: int, entries: Sequence[GymEntry], *, fits: Fits = _any_task) -> tuple[Draw, ...]:
    """The `num` train draws of a step, in draw order; `num` must be the same at every step of a run.

    Args:
        fits: a pure function; where it says no, another task of the gym takes the place.

    Raises:
        ValueError: a gym has no train tasks, or none that fits.
    """
    shares = tuple(entry.share for entry in entries)
    train = {entry.name: entry.gym.tasks("train") for entry in entries}
    empty = [name for name, tasks in train.items() if not len(tasks)]
    if empty:
        raise ValueError(f"gym {empty[0]!r} has no train tasks; remove it from gyms or give it data")
    return tuple(_draw(seed, index, entries, shares, train, fits) for index in range(step * num, (step + 1) * num))


def heldout(entries: Sequence[GymEntry], num: int, seed: int, *, fits: Fits = _any_task) -> tuple[Draw, ...]:
    """The fixed sample of `num` held-out tasks of *each* gym (all that fit where it has fewer), gym after gym."""
    found: list[Draw] = []
    for entry in entries:
        tasks = entry.gym.tasks("heldout")
        size = len(tasks)
        shuffled = (
            tasks[permute(place, size, f"heldout {seed} {entry.name}")]
            for place in range(min(size, num + MAX_CANDIDATES))
        )
        for task in islice((task for task in shuffled if fits(entry.name, task)), num):
            found.append(entry.draw(len(found), task))
    return tuple(found)


def check_disjoint(gym: Gym, *, name: str = "", max_tasks: int = 20_000) -> None:
    """ValueError with an example where train and held-out share a problem.

    Compares fingerprints. A split of more than `max_tasks` is sampled evenly, so there an overlap of a few tasks can
    stay unseen; a gym with larger splits must prove disjointness by construction, as `arithmetic` does.
    """
    held = {gym.fingerprint(task): task.id for task in _sampled(gym, "heldout", max_tasks)}
    for task in _sampled(gym, "train", max_tasks):
        problem = gym.fingerprint(task)
        if problem in held:
            raise ValueError(
                f"gym {name or type(gym).__name__!r}: train task {task.id!r} and held-out task {held[problem]!r} are "
                f"the same problem ({_shortened(problem)!r}); split the data so that no problem is in both"
            )


@lru_cache(maxsize=16)
def share_pattern(shares: tuple[float, ...]) -> tuple[tuple[int, int], ...]:
    """For each slot of the pattern, the gym that it belongs to and how many slots that gym had before.

    Example:
        [gym for gym, _ in share_pattern((2.0, 1.0))] == [0, 1, 0]
    """
    weights = _whole_weights(shares)
    total = sum(weights)
    counts = [0] * len(weights)
    slots = []
    for slot in range(total):
        gym = max(range(len(weights)), key=lambda i: ((slot + 1) * weights[i] - counts[i] * total, -i))
        slots.append((gym, counts[gym]))
        counts[gym] += 1
    return tuple(slots)


def turn_of(index: int, shares: tuple[float, ...]) -> tuple[int, int]:
    """Which gym a draw belongs to, and how many draws that gym had before, through the whole run."""
    pattern = share_pattern(shares)
    rounds, slot = divmod(index, len(pattern))
    gym, num_before = pattern[slot]
    return gym, rounds * _whole_weights(shares)[gym] + num_before


def epoch_candidates(seed: int, gym: str, number: int, size: int) -> Iterator[int]:
    """The place of the task that draw `number` of a gym takes, of `size`; then what may stand in for it."""
    epoch, place = divmod(number, size)
    return candidates(place, size, f"train {seed} {epoch} {gym}")


def _draw(
    seed: int,
    index: int,
    entries: Sequence[GymEntry],
    shares: tuple[float, ...],
    train: dict[str, Sequence[Task]],
    fits: Fits,
) -> Draw:
    gym, number = turn_of(index, shares)
    entry = entries[gym]
    tasks = train[entry.name]
    for num_dropped, chosen in enumerate(epoch_candidates(seed, entry.name, number, len(tasks))):
        if fits(entry.name, task := tasks[chosen]):
            return entry.draw(index, task, place=chosen, num_dropped=num_dropped)
    raise ValueError(
        f"gym {entry.name!r}: of {min(len(tasks), MAX_CANDIDATES)} train tasks, drawn one after the other, none has a "
        "prompt that can be used"
    )


@lru_cache(maxsize=16)
def _whole_weights(shares: tuple[float, ...]) -> tuple[int, ...]:
    """The smallest whole numbers in the same proportion; decimals are taken as they are written (0.1 is 1/10)."""
    if not shares:
        raise ValueError("gyms is empty: a mixture needs at least one gym")
    bad = [share for share in shares if not (math.isfinite(share) and share > 0)]
    if bad:
        raise ValueError(f"gyms.*.share must be a finite number above 0, got {bad[0]!r}")
    exact = [Fraction(str(share)) for share in shares]
    denominator = math.lcm(*(share.denominator for share in exact))
    whole = [int(share * denominator) for share in exact]
    divisor = math.gcd(*whole)
    weights = tuple(weight // divisor for weight in whole)
    if sum(weights) > MAX_PATTERN:
        raise ValueError(
            f"gyms.*.share = {list(shares)} would repeat only after {sum(weights)} draws (at most {MAX_PATTERN}); "
            f"write the shares with fewer digits, or as whole numbers: 1 and 2 instead of 0.333333 and 0.666667"
        )
    return weights


def _sampled(gym: Gym, split: Split, max_tasks: int) -> Iterator[Task]:
    """Tasks one by one: all of them together may not fit into memory."""
    tasks = gym.tasks(split)
    size = len(tasks)
    for place in range(min(size, max_tasks)):
        yield tasks[place * max(size, max_tasks) // max_tasks]


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
