"""The contract that every gym keeps, as one call for a plug-in author's own tests: `check_gym(MyGym(...))`.

It looks for the bugs that real gyms had: a gold answer that does not score, a verifier that pays for an echo or for
nothing, one that raises on odd strings, a score that changes from call to call, tasks that differ between reads or
cannot be pickled, held-out problems among the train tasks, gold answers that stand in the prompt. Of an environment
it plays whole episodes besides (gyms/episodes/checks.py).

It runs in the caller's process, without deadlines: a gym that hangs, hangs here, under the author's debugger. The
scorer's workers are what protects a run (reward/scorer.py). Large splits are sampled evenly.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice

from gyms.api import API_VERSION, Environment, Gym, Score, Split, Status, Task
from gyms.contract import GymContractError, calling, name_of, require, score_checked, told, verifying
from gyms.episodes.checks import check_episodes
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


def check_gym(gym: Gym, *, max_tasks: int = 50, num_episodes: int = 1000) -> None:
    """Raise GymContractError where a gym breaks the contract; `max_tasks` of each split are looked at.

    Args:
        num_episodes: random episodes that an environment must survive.

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
    if isinstance(gym, Environment):
        check_episodes(gym, tasks, num_random=num_episodes)
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
    require(gym.api_version == API_VERSION, f"{name}.api_version is {gym.api_version!r}, expected {API_VERSION}")
    for field in ("baseline", "minimum"):
        value = getattr(gym, field)
        is_number = isinstance(value, int | float)
        require(is_number and 0.0 <= value <= 1.0, f"{name}.{field} is {value!r}, expected a number in [0, 1]")
    try:
        check_needs(gym.needs)
    except ValueError as error:
        raise GymContractError(f"{name} declares {error}") from None
    is_named = isinstance(gym.components, Mapping) and all(
        isinstance(part, str) and isinstance(meaning, str) for part, meaning in gym.components.items()
    )
    require(is_named, f"{name}.components is {gym.components!r:.200}, expected name -> one line of meaning")


def _sample(gym: Gym, split: Split, max_tasks: int) -> list[Task]:
    with calling(gym, f"tasks({split!r})"):
        tasks, again = gym.tasks(split), gym.tasks(split)
        size = len(tasks)
    require(size > 0, f"{name_of(gym)}: tasks({split!r}) is empty; both splits need at least one task")
    places = sorted({i * size // max_tasks for i in range(max_tasks)}) if size > max_tasks else list(range(size))
    with calling(gym, f"tasks({split!r})[i]"):
        for i in places:
            require(tasks[i] == again[i], f"{name_of(gym)}: tasks({split!r})[{i}] differs between two reads")
        return [tasks[i] for i in places]


def _check_tasks(gym: Gym, tasks: list[Task]) -> None:
    for task in tasks:
        require(isinstance(task, Task), f"{name_of(gym)}: a task is {type(task).__name__}, expected gyms.api.Task")
        well_formed = bool(task.prompt) and all(
            set(m) == {"role", "content"} and all(isinstance(text, str) for text in m.values()) for m in task.prompt
        )
        require(well_formed, f"{name_of(gym)}: the prompt of {task.id!r} is not messages of role and content")
        with calling(gym, f"pickling task {task.id!r}"):
            copy = pickle.loads(pickle.dumps(task))
        require(copy == task, f"{name_of(gym)}: task {task.id!r} changes when it is pickled")
    ids = [task.id for task in tasks]
    doubled = sorted({task_id for task_id in ids if ids.count(task_id) > 1})
    require(not doubled, f"{name_of(gym)}: the task id {doubled[:1]} is used more than once")


def _check_gold(gym: Gym, tasks: list[Task]) -> None:
    for task in tasks:
        gold = _gold(gym, task)
        if gold is not None:
            score = score_checked(gym, task, gold)
            require(
                score.status is Status.OK and score.value == 1.0,
                f"{name_of(gym)}: the gold response of task {task.id!r} must score 1.0, got {told(score)} for "
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
        require(not long_leak, f"{name_of(gym)}: the prompt of task {task.id!r} holds its gold response {gold!r:.200}")
        leaks += is_there
    is_rule = len(golds) >= 5 and leaks > 0.9 * len(golds)
    require(not is_rule, f"{name_of(gym)}: {leaks} of {len(golds)} prompts hold their own gold response")


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
        require(
            mean <= gym.baseline,
            f"{name_of(gym)}: {what} scores {mean:.3f} on average over {len(tasks)} tasks, above the declared baseline "
            f"{gym.baseline}; make the verifier stricter, or declare the higher baseline",
        )


def _check_determinism(gym: Gym, tasks: list[Task]) -> None:
    for task in tasks:
        for response in islice(filter(None, (_gold(gym, task), "I do not know. 7")), 2):
            first = score_checked(gym, task, response)
            for repeat in range(1, NUM_REPEATS):
                again = score_checked(gym, task, response)
                require(
                    again == first,
                    f"{name_of(gym)}: scoring task {task.id!r} is not deterministic: {told(first)} at first, "
                    f"{told(again)} at repeat {repeat}, for {response!r:.200}",
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
            with verifying(gym, f"{call} of task {task.id!r}"):
                scores = list(run())
            require(
                len(scores) == len(responses) and all(isinstance(score, Score) for score in scores),
                f"{name_of(gym)}: {call} gave {len(scores)} results, expected {len(responses)} of Score",
            )
            is_same = call == "score_group" or [s.value for s in scores] == [s.value for s in singles]
            require(is_same, f"{name_of(gym)}: {call} of task {task.id!r} differs from score of each response")


def _constant(text: str, task: Task) -> str:
    return text


def _gold(gym: Gym, task: Task) -> str | None:
    with calling(gym, f"gold({task.id!r})"):
        return gym.gold(task)
