"""The contract that every gym keeps, as one call for a plug-in author's own tests: `check_gym(MyGym(...))`.

It looks for the bugs that real gyms had: a gold answer that does not score, a verifier that pays for an echo or for
nothing, one that raises on odd strings, a score that changes from call to call, tasks that differ between reads or
cannot be pickled, held-out problems among the train tasks, gold answers that stand in the prompt.

It runs in the caller's process, without deadlines: a gym that hangs, hangs here, under the author's debugger. The
scorer's workers are what protects a run (reward/scorer.py). Large splits are sampled evenly.
"""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

from gyms.api import API_VERSION, Gym, Score, Split, Status, Task
from gyms.declared import UndeclaredNeed, watched
from gyms.load import check_needs
from gyms.mixture import check_disjoint
from gyms.opening import open_gym

__all__ = ["GARBAGE", "ODD_RESPONSES", "GymContractError", "check_gym", "open_gym", "score_checked"]

ODD_RESPONSES = (
    "",
    " \n\t",
    "\x00",
    "\ud800 lone surrogate",
    "\u202e txet werbeH \u05e2\u05d1\u05e8\u05d9\u05ea",
    "\U0001f600" * 50,
    "9" * 5000,
    "-" * 1000 + "1e999999999",
    "((((" * 2000,
    "\\boxed{" * 500,
    "None nan inf NULL <|im_end|> {{7*7}} '; DROP TABLE",
    "x" * 1_000_000,
    "1 " * 100_000,
)
"""Strings that a verifier must answer with a Score, whatever it is."""

GARBAGE = (
    "",
    " ",
    "I do not know.",
    "yes",
    "lorem ipsum dolor sit amet",
    "\U0001f600\U0001f600",
    "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "None",
    "<answer></answer>",
    "\\boxed{}",
)
"""Responses whose mean value may not exceed the gym's `baseline`, each by itself."""

NUM_REPEATS = 20
MIN_LEAK_CHARS = 16
"""A gold response of this length does not stand in a prompt by accident."""


class GymContractError(AssertionError):
    """A gym breaks the contract of gyms/api.py; the message names gym, task and what broke."""


def check_gym(gym: Gym, *, max_tasks: int = 50) -> None:
    """Raise GymContractError where a gym breaks the contract; `max_tasks` of each split are looked at.

    Example:
        check_gym(open_gym("word_gym.py"))
    """
    _check_declarations(gym)
    train, held = _sample(gym, "train", max_tasks), _sample(gym, "heldout", max_tasks)
    tasks = [*train, *held]
    _check_tasks(gym, tasks)
    try:
        check_disjoint(gym)
    except ValueError as error:
        raise GymContractError(str(error)) from error
    _check_gold(gym, tasks)
    _check_no_leak(gym, tasks)
    _check_baseline(gym, tasks)
    _check_determinism(gym, tasks[:3])
    _check_groups(gym, tasks[:2])
    for task in tasks[:2]:
        for response in ODD_RESPONSES:
            score_checked(gym, task, response)


def _check_declarations(gym: Gym) -> None:
    name = type(gym).__name__
    _require(gym.api_version == API_VERSION, f"{name}.api_version is {gym.api_version!r}, expected {API_VERSION}")
    for field in ("baseline", "minimum"):
        value = getattr(gym, field)
        _require(0.0 <= value <= 1.0, f"{name}.{field} is {value!r}, expected a number in [0, 1]")
    try:
        check_needs(gym.needs)
    except ValueError as error:
        raise GymContractError(f"{name} declares {error}") from None
    is_named = isinstance(gym.components, Mapping) and all(
        isinstance(part, str) and isinstance(meaning, str) for part, meaning in gym.components.items()
    )
    _require(is_named, f"{name}.components is {gym.components!r:.200}, expected name -> one line of meaning")


def _sample(gym: Gym, split: Split, max_tasks: int) -> list[Task]:
    with _call(gym, f"tasks({split!r})"):
        tasks, again = gym.tasks(split), gym.tasks(split)
        size = len(tasks)
    _require(size > 0, f"{_name(gym)}: tasks({split!r}) is empty; both splits need at least one task")
    places = sorted({i * size // max_tasks for i in range(max_tasks)}) if size > max_tasks else list(range(size))
    with _call(gym, f"tasks({split!r})[i]"):
        for i in places:
            _require(tasks[i] == again[i], f"{_name(gym)}: tasks({split!r})[{i}] differs between two reads")
        return [tasks[i] for i in places]


def _check_tasks(gym: Gym, tasks: list[Task]) -> None:
    for task in tasks:
        _require(isinstance(task, Task), f"{_name(gym)}: a task is {type(task).__name__}, expected gyms.api.Task")
        well_formed = bool(task.prompt) and all(
            set(m) == {"role", "content"} and all(isinstance(text, str) for text in m.values()) for m in task.prompt
        )
        _require(well_formed, f"{_name(gym)}: the prompt of {task.id!r} is not messages of role and content")
        with _call(gym, f"pickling task {task.id!r}"):
            copy = pickle.loads(pickle.dumps(task))
        _require(copy == task, f"{_name(gym)}: task {task.id!r} changes when it is pickled")
    ids = [task.id for task in tasks]
    doubled = sorted({task_id for task_id in ids if ids.count(task_id) > 1})
    _require(not doubled, f"{_name(gym)}: the task id {doubled[:1]} is used more than once")


def _check_gold(gym: Gym, tasks: list[Task]) -> None:
    for task in tasks:
        gold = _gold(gym, task)
        if gold is not None:
            score = score_checked(gym, task, gold)
            _require(
                score.status is Status.OK and score.value == 1.0,
                f"{_name(gym)}: the gold response of task {task.id!r} must score 1.0, got {_told(score)} for "
                f"{gold!r:.200}",
            )


def _check_no_leak(gym: Gym, tasks: list[Task]) -> None:
    """A long gold response in its own prompt is a leak; a short one only if it is there in nearly every task.

    Not where the prompt shows the answers to choose from, which a task lists as `data["labels"]`.
    """
    golds = [(task, gold) for task in tasks if (gold := _gold(gym, task)) and not _is_choice(task, gold)]
    leaks = 0
    for task, gold in golds:
        prompt = "\n".join(m["content"] for m in task.prompt)
        is_there = re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", prompt) is not None
        long_leak = is_there and len(gold) >= MIN_LEAK_CHARS
        _require(not long_leak, f"{_name(gym)}: the prompt of task {task.id!r} holds its gold response {gold!r:.200}")
        leaks += is_there
    is_rule = len(golds) >= 5 and leaks > 0.9 * len(golds)
    _require(not is_rule, f"{_name(gym)}: {leaks} of {len(golds)} prompts hold their own gold response")


def _is_choice(task: Task, gold: str) -> bool:
    labels, prompt = task.data.get("labels", ()), "\n".join(m["content"] for m in task.prompt)
    return len(labels) > 1 and gold in labels and all(str(label) in prompt for label in labels)


def _check_baseline(gym: Gym, tasks: list[Task]) -> None:
    responders: dict[str, Callable[[Task], str]] = {
        "an echo of the prompt": lambda task: "\n".join(m["content"] for m in task.prompt),
        "an echo of the last message": lambda task: task.prompt[-1]["content"],
    }
    for text in GARBAGE:
        responders[f"the constant response {text!r:.60}"] = partial(_constant, text)
    for what, respond in responders.items():
        values = [score_checked(gym, task, respond(task)).value or 0.0 for task in tasks]
        mean = sum(values) / len(values)
        _require(
            mean <= gym.baseline,
            f"{_name(gym)}: {what} scores {mean:.3f} on average over {len(tasks)} tasks, above the declared baseline "
            f"{gym.baseline}; make the verifier stricter, or declare the higher baseline",
        )


def _check_determinism(gym: Gym, tasks: list[Task]) -> None:
    for task in tasks:
        for response in islice(filter(None, (_gold(gym, task), "I do not know. 7")), 2):
            first = score_checked(gym, task, response)
            for repeat in range(1, NUM_REPEATS):
                again = score_checked(gym, task, response)
                _require(
                    again == first,
                    f"{_name(gym)}: scoring task {task.id!r} is not deterministic: {_told(first)} at first, "
                    f"{_told(again)} at repeat {repeat}, for {response!r:.200}",
                )


def _check_groups(gym: Gym, tasks: list[Task]) -> None:
    """As many scores as responses, in their order, from score_batch and score_group."""
    for task in tasks:
        responses = [_gold(gym, task) or "1", "", "I do not know."]
        calls: dict[str, Callable[[], Sequence[Score]]] = {
            "score_batch": partial(gym.score_batch, [(task, response) for response in responses]),
            "score_group": partial(gym.score_group, task, responses),
        }
        singles = [score_checked(gym, task, response) for response in responses]
        for call, run in calls.items():
            with _score_call(gym, f"{call} of task {task.id!r}"):
                scores = list(run())
            _require(
                len(scores) == len(responses) and all(isinstance(score, Score) for score in scores),
                f"{_name(gym)}: {call} gave {len(scores)} results, expected {len(responses)} of Score",
            )
            is_same = call == "score_group" or [s.value for s in scores] == [s.value for s in singles]
            _require(is_same, f"{_name(gym)}: {call} of task {task.id!r} differs from score of each response")


def _constant(text: str, task: Task) -> str:
    return text


def _gold(gym: Gym, task: Task) -> str | None:
    with _call(gym, f"gold({task.id!r})"):
        return gym.gold(task)


def score_checked(gym: Gym, task: Task, response: str) -> Score:
    """The gym's score; GymContractError where it is not one that a gym may give, or took longer than it declares."""
    before = time.monotonic()
    with _score_call(gym, f"score({task.id!r}, {response!r:.60})"):
        score = gym.score(task, response)
    seconds = time.monotonic() - before
    _require(isinstance(score, Score), f"{_name(gym)}: score returned {type(score).__name__}, expected gyms.api.Score")
    _require(
        seconds <= gym.needs.wall_seconds,
        f"{_name(gym)}: score({task.id!r}, {response!r:.60}) took {seconds:.1f} s, more than needs.wall_seconds = "
        f"{gym.needs.wall_seconds:g}",
    )
    undeclared = sorted(set(score.components) - set(gym.components)) if gym.components else []
    _require(
        not undeclared, f"{_name(gym)}: score gave the component {undeclared[:1]}, which {_name(gym)}.components lacks"
    )
    _require(
        score.status not in (Status.TRUNCATED, Status.CANCELLED),
        f"{_name(gym)}: score returned the status {score.status}, which only the pipeline may give",
    )
    fault = score.status.is_masked
    _require(not fault, f"{_name(gym)}: task {task.id!r} with {response!r:.60} is {_told(score)}, a fault of the gym")
    return score


@contextmanager
def _call(gym: Gym, what: str) -> Iterator[None]:
    """Around one plug-in call: what it raises becomes a GymContractError that names the call."""
    try:
        yield
    except GymContractError:
        raise
    except Exception as error:
        raise GymContractError(f"{_name(gym)}: {what} raised {type(error).__name__}: {error}") from error


@contextmanager
def _score_call(gym: Gym, what: str) -> Iterator[None]:
    """Around one call of the verifier, which may only do what the gym declares."""
    with _call(gym, what), watched(gym.needs, only_this_thread=True) as watch:
        yield
        if watch.refusal:
            raise UndeclaredNeed(watch.refusal)


def _require(is_kept: bool, message: str) -> None:
    if not is_kept:
        raise GymContractError(message)


def _name(gym: Gym) -> str:
    return type(gym).__name__


def _told(score: Score) -> str:
    return f"{score.status} with value {score.value}" + (f" ({score.detail})" if score.detail else "")
