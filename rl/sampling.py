"""Which tasks a step asks: uniformly, or more of what the policy fails at, within a curriculum, and in place of others.

A gym's share of the draws stays exact whatever is chosen (gyms/mixture.py); this file chooses the task. It is a pure
function of (seed, step, success rates when it is drawn), and of a refill also of the groups that it replaces:
the rates are in `RunState`, so a resumed run asks the same.

*Prioritised* (Kimi K1.5, section 2.3.4): a task comes with a probability in proportion to 1 - s, s its success rate.
Places are drawn uniformly, and each is kept with probability max(1 - s, floor): rejection gives the very proportion
and needs no list, so a gym may have 10^15 tasks. A task that was never asked has weight 1. K1.5 publishes neither
window nor floor: s moves by `memory`, and the floor brings solved tasks back, so that what is forgotten is found.
Within a step no task comes twice.

*Curriculum* (the same section: easy to hard): a gate looks at the task's success rate, or at a number that its gym put
into `data["difficulty"]`. *Refills* (DAPO, arXiv 2503.14476, section 3.2): a group whose rewards are all equal teaches
nothing; a task of the same gym, chosen by the same rules, takes its place (`rl.refill`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from configs.prompts import GateConfig, PromptsConfig
from gyms.api import Task
from gyms.mixture import Draw, Fits, GymEntry, epoch_candidates, turn_of
from gyms.permutation import MAX_CANDIDATES, candidates
from rl.batch import Group

__all__ = ["PromptSampler", "Rates", "passes", "uniform_number", "with_groups"]

Rates = dict[str, dict[str, float]]
"""Success rates in [0, 1] by gym and task id; what is not there is unknown."""
Known = Mapping[str, Mapping[str, float]]


def with_groups(rates: Known, groups: Sequence[Group], *, memory: float) -> Rates:
    """The rates after a step: s <- mean of the siblings' score values, or memory * s + (1 - memory) * that mean.

    Faults of the model and truncated responses count 0; samples that failed through our own fault do not count.
    """
    found = {gym: dict(known) for gym, known in rates.items()}
    for group in groups:
        values = [s.score.value or 0.0 for s in group.samples if not s.score.status.is_masked]
        if values:
            mean = min(max(sum(values) / len(values), 0.0), 1.0)
            known = found.setdefault(group.draw.gym, {})
            before = known.get(group.draw.task.id)
            known[group.draw.task.id] = mean if before is None else memory * before + (1.0 - memory) * mean
    return found


def passes(gate: GateConfig, task: Task, rate: float | None) -> bool:
    """Whether a stage of the curriculum lets a task through; an unknown rate passes, an unknown difficulty does not."""
    if rate is not None and not gate.min_rate <= rate <= gate.max_rate:
        return False
    if gate.min_difficulty is None and gate.max_difficulty is None:
        return True
    difficulty = task.data.get("difficulty")
    if isinstance(difficulty, bool) or not isinstance(difficulty, int | float):
        return False
    low, high = gate.min_difficulty, gate.max_difficulty
    return (low is None or low <= difficulty) and (high is None or difficulty <= high)


def uniform_number(*key: int | str) -> float:
    """A number in [0, 1) that is a function of its key."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


class PromptSampler:
    """Chooses the draws of a run's steps.

    Args:
        settings: `rollout.prompts`.
        entries: the gyms.
        seed: of the run.
        num: draws of a step.
        fits: whether a task can be asked at all.
        known: success rates to begin with; those of the run take their place as they come.
    """

    def __init__(
        self, settings: PromptsConfig, entries: Sequence[GymEntry], *, seed: int, num: int, fits: Fits, known: Known
    ) -> None:
        self._settings = settings
        self._entries = {entry.name: entry for entry in entries}
        self._shares = tuple(entry.share for entry in entries)
        self._names = [entry.name for entry in entries]
        self._train: dict[str, Sequence[Task]] = {}
        self._seed, self._num, self._fits, self._known = seed, num, fits, known

    def _look(self) -> None:
        """At the tasks as they are now: a gym's may grow between steps (the critic's do)."""
        self._train = {name: entry.gym.tasks("train") for name, entry in self._entries.items()}

    def draws(self, step: int, rates: Known) -> tuple[Draw, ...]:
        """The draws of a step, in order.

        Raises:
            ValueError: a gym has no train task that can be asked.
        """
        self._look()
        found: list[Draw] = []
        for index in range(step * self._num, (step + 1) * self._num):
            gym, number = turn_of(index, self._shares)
            name = self._names[gym]
            places = epoch_candidates(self._seed, name, number, self._size(name))
            found.append(self._chosen(name, index, places, step, rates, found))
        return tuple(found)

    def refill(self, step: int, rates: Known, asked: Sequence[Draw], replaced: Sequence[Draw]) -> tuple[Draw, ...]:
        """A draw of the same gym for each of those replaced; none repeats what the step asked already.

        Args:
            asked: all draws of the step so far, earlier refills included.
        """
        self._look()
        found: list[Draw] = []
        number = sum(draw.index < 0 for draw in asked)
        for old in replaced:
            number += 1
            key = f"refill {self._seed} {step} {old.gym}"
            places = candidates((number - 1) % self._size(old.gym), self._size(old.gym), key)
            index = -(step * self._settings.max_refills + number)  # through the whole run, as those of a step are
            found.append(self._chosen(old.gym, index, places, step, rates, [*asked, *found]))
        return tuple(found)

    def _size(self, gym: str) -> int:
        if not (size := len(self._train[gym])):
            raise ValueError(f"gym {gym!r} has no train tasks; remove it from gyms or give it data")
        return size

    def _chosen(
        self, gym: str, index: int, places: Iterator[int], step: int, rates: Known, asked: Sequence[Draw]
    ) -> Draw:
        """The first place whose task passes; else the first that can be asked at all, by preference one that is new."""
        if self._settings.rule == "prioritised":
            places = self._prioritised(gym, index, step, rates)
        gate = self._settings.gate_at(step)
        is_repeatable = self._settings.rule == "uniform" and index >= 0  # an epoch shows each task once by itself
        taken = frozenset() if is_repeatable else {draw.place for draw in asked if draw.gym == gym}
        entry, num_unfit, second = self._entries[gym], 0, None
        for place in islice(places, MAX_CANDIDATES + 1):
            task = self._train[gym][place]
            if not self._fits(gym, task):
                num_unfit += 1
            elif place not in taken and (gate is None or passes(gate, task, self._rate(gym, task, rates))):
                return entry.draw(index, task, place=place, num_dropped=num_unfit)
            elif second is None or (second.place in taken and place not in taken):
                second = entry.draw(index, task, place=place, num_dropped=num_unfit, is_ungated=gate is not None)
        if second is not None:
            return second
        raise ValueError(
            f"gym {gym!r}: of {min(self._size(gym), MAX_CANDIDATES)} train tasks, drawn one after the other, none can "
            "be asked"
        )

    def _prioritised(self, gym: str, index: int, step: int, rates: Known) -> Iterator[int]:
        """Places with a probability in proportion to their weights, one after the other; then any."""
        size, key = self._size(gym), (self._seed, "prioritised", step, index, gym)
        for attempt in range(MAX_CANDIDATES):
            place = int(uniform_number(*key, attempt, "place") * size)
            rate = self._rate(gym, self._train[gym][place], rates)
            weight = 1.0 if rate is None else max(1.0 - rate, self._settings.floor)
            if uniform_number(*key, attempt, "kept") < weight:
                yield place
        yield from candidates(0, size, "/".join(map(str, key)))

    def _rate(self, gym: str, task: Task, rates: Known) -> float | None:
        own = rates.get(gym, {}).get(task.id)
        return self._known.get(gym, {}).get(task.id) if own is None else own
