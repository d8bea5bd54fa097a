"""What `check_gym` asks of an environment beyond what it asks of every gym: whole episodes.

It looks for the bugs that environments have: gold turns that do not score, a score for doing nothing or for repeating
the prompt, replies that depend on another episode, the clock or the order of a set, a step that raises on what no
author thought of, calls that are left without an answer, and what an episode leaves behind when it is closed.

*What is left behind* is counted over several episodes, because others live in this process too: threads, child
processes, descriptors and temporary files that grow by one an episode or faster are the environment's.
"""

from __future__ import annotations

import gc
import os
import random
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gyms.api import Environment, Episode, Reply, Score, Status, Task, Tool, Turn
from gyms.children import children_of
from gyms.contract import calling, checked_score, name_of, require, told, within_limits
from gyms.episodes.arguments import check_tools, read_call
from gyms.episodes.episode import unanswered
from gyms.episodes.random_turns import random_turns

__all__ = ["Played", "check_episodes", "converse", "play", "some_episodes"]

GOLD_SEEDS = (0, 1, 2)
NUM_REPLAYED = 20
"""Random episodes that are played again, beside each other."""
NUM_CLOSED = 8
"""Episodes that are played to see what they leave."""
_NUM_IDLE_TURNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What became of an episode."""

    replies: tuple[Reply, ...]
    """One for each turn that was played; fewer than the turns where the episode was done before."""
    score: Score


def check_episodes(env: Environment, tasks: Sequence[Task], *, num_random: int) -> None:
    """Raise GymContractError where an environment breaks the contract on one of these tasks.

    Args:
        num_random: episodes of random turns, over all tasks.
    """
    name = name_of(env)
    is_count = isinstance(env.max_turns, int) and env.max_turns >= 1
    require(is_count, f"{name}.max_turns is {env.max_turns!r}, expected a whole number of at least 1")
    golds = {task.id: gold for task in tasks if (gold := _gold_turns(env, task)) is not None}
    for task in tasks:
        _check_tools(env, task, golds.get(task.id, ()))
        _check_gold(env, task, golds.get(task.id))
    _check_idle(env, tasks)
    for number in range(num_random):
        task = tasks[number % len(tasks)]
        play(env, task, _drawn(env, task, golds, number), seed=number)
    _check_replay(env, tasks, golds)
    _check_nothing_is_left(env, tasks, golds)


def play(env: Environment, task: Task, turns: Sequence[Turn], *, seed: int = 0) -> Played:
    """An episode of these turns, started and closed here; GymContractError where a call breaks the contract."""
    return converse(env, task, lambda replies: turns[len(replies)] if len(replies) < len(turns) else None, seed=seed)


def converse(
    env: Environment, task: Task, policy: Callable[[Sequence[Reply]], Turn | None], *, seed: int = 0
) -> Played:
    """An episode of what `policy` says to the replies so far, until it says None; otherwise as `play`."""
    with _started(env, task, seed) as episode:
        replies: list[Reply] = []
        while len(replies) < env.max_turns and not (replies and replies[-1].is_done):
            turn = policy(replies)
            if turn is None:
                break
            replies.append(_step(env, task, episode, turn, len(replies) + 1))
        return Played(replies=tuple(replies), score=_score(env, task, episode, len(replies)))


def some_episodes(env: Environment, task: Task, *, num: int) -> list[list[Turn]]:
    """Turns of so many episodes of a task: the gold ones, where they are known, then drawn ones."""
    gold = _gold_turns(env, task)
    golds = {} if gold is None else {task.id: gold}
    return [*map(list, golds.values()), *(_drawn(env, task, golds, number) for number in range(num))][:num]


def _gold_turns(env: Environment, task: Task) -> tuple[Turn, ...] | None:
    with calling(env, f"gold_turns({task.id!r})"):
        gold = env.gold_turns(task)
    return None if gold is None else tuple(gold)


def _check_tools(env: Environment, task: Task, gold: Sequence[Turn]) -> None:
    name = name_of(env)
    with calling(env, f"tools({task.id!r})"):
        tools, again = list(env.tools(task)), list(env.tools(task))
        check_tools(tools)
    require(tools == again, f"{name}: tools({task.id!r}) differs between two reads")
    for made in (made for turn in gold for made in turn.calls):
        read = read_call(tools, call_id=made.id, tool=made.tool, arguments=made.arguments or {})
        require(
            made.arguments is not None and read.arguments == made.arguments,
            f"{name}: gold_turns({task.id!r}) calls {made.tool!r} with {made.arguments!r:.200}: "
            f"{read.problem or 'not what a host would read'}",
        )


def _check_gold(env: Environment, task: Task, gold: Sequence[Turn] | None) -> None:
    if gold is None:
        return
    name = name_of(env)
    require(len(gold) <= env.max_turns, f"{name}: gold_turns({task.id!r}) has {len(gold)} of {env.max_turns} turns")
    for seed in GOLD_SEEDS:
        played = play(env, task, gold, seed=seed)
        score = played.score
        require(
            score.status is Status.OK and score.value == 1.0,
            f"{name}: the gold episode of task {task.id!r} with seed {seed} must score 1.0, got {told(score)}; its "
            f"last reply was {played.replies[-1] if played.replies else None!r:.300}",
        )


def _check_idle(env: Environment, tasks: Sequence[Task]) -> None:
    """Doing nothing, and saying again what was said, is worth no more than the baseline."""
    doings = {
        "an episode without a turn": lambda task: (),
        "empty turns": lambda task: (Turn(text=""),) * _NUM_IDLE_TURNS,
        "an echo of the prompt": lambda task: (_echo(task),) * _NUM_IDLE_TURNS,
        "turns that were cut off": lambda task: (Turn(text="", is_truncated=True),) * _NUM_IDLE_TURNS,
    }
    for what, turns_of in doings.items():
        values = [play(env, task, turns_of(task)).score.value or 0.0 for task in tasks]
        mean = sum(values) / len(values)
        require(
            mean <= env.baseline,
            f"{name_of(env)}: {what} scores {mean:.3f} on average over {len(tasks)} tasks, above the declared baseline "
            f"{env.baseline}",
        )


def _echo(task: Task) -> Turn:
    return Turn(text="\n".join(said["content"] for said in task.prompt))


def _drawn(env: Environment, task: Task, golds: dict[str, tuple[Turn, ...]], number: int) -> list[Turn]:
    """Random turns, in part behind the first turns of the gold episode."""
    draw = random.Random(f"random turns {number}")
    gold = golds.get(task.id, ())
    turns = random_turns(draw, _tools(env, task), gold)
    return [*gold[: draw.randint(0, len(gold))], *turns] if draw.random() < 0.5 else turns


def _tools(env: Environment, task: Task) -> list[Tool]:
    with calling(env, f"tools({task.id!r})"):
        return list(env.tools(task))


def _check_replay(env: Environment, tasks: Sequence[Task], golds: dict[str, tuple[Turn, ...]]) -> None:
    """The same turns give the same replies and score, also while other episodes live beside it."""
    for number in range(NUM_REPLAYED):
        task, other = tasks[number % len(tasks)], tasks[(number + 1) % len(tasks)]
        turns = list(golds.get(task.id, ())) if number < 2 else _drawn(env, task, golds, number)
        first = play(env, task, turns, seed=number)
        with (
            _started(env, task, number) as again,
            _started(env, task, number + 1) as twin,
            _started(env, other, number + 1) as stranger,
        ):
            beside = [(task, twin, list(turns)), (other, stranger, _drawn(env, other, golds, number + 1))]
            for place, reply in enumerate(first.replies):
                for its_task, episode, its_turns in beside:
                    if its_turns and _step(env, its_task, episode, its_turns.pop(0), place + 1).is_done:
                        its_turns.clear()
                same = _step(env, task, again, turns[place], place + 1)
                require(
                    same == reply,
                    f"{name_of(env)}: turn {place + 1} of an episode of task {task.id!r} is answered differently when "
                    f"it is replayed: {reply!r:.300} at first, then {same!r:.300}; an episode must be a function of "
                    f"(task, seed, turns)",
                )
            score = _score(env, task, again, len(first.replies))
        require(
            score == first.score,
            f"{name_of(env)}: an episode of task {task.id!r} scores differently when it is replayed: "
            f"{told(first.score)} at first, then {told(score)}",
        )


def _check_nothing_is_left(env: Environment, tasks: Sequence[Task], golds: dict[str, tuple[Turn, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, _temporary_files_in(folder):
        folders = [Path(folder), *([env.services.scratch] if env.services.scratch else [])]
        play(env, tasks[0], golds.get(tasks[0].id, ()))  # what is opened once and kept for all episodes
        before = _held(folders)
        for number in range(NUM_CLOSED):
            task = tasks[number % len(tasks)]
            play(env, task, golds.get(task.id) or _drawn(env, task, golds, number), seed=number)
        gc.collect()
        for what, count in _held(folders).items():
            num_left = count - before[what]
            require(
                num_left < NUM_CLOSED,
                f"{name_of(env)}: {NUM_CLOSED} closed episodes left {num_left} {what}; give back in Episode.close what "
                f"the episode holds",
            )


def _held(folders: Sequence[Path]) -> dict[str, int]:
    """How much of each kind this process holds."""
    return {
        "threads": threading.active_count(),
        "child processes": len(children_of(os.getpid())),
        "open descriptors": len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0,  # noqa: PTH208
        "temporary files": sum(1 for folder in folders for file in folder.rglob("*")),
    }


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _started(env: Environment, task: Task, seed: int) -> Iterator[Episode]:
    """An episode, closed on every way out."""
    what = f"start({task.id!r}, seed={seed})"
    episode = within_limits(env, partial(env.start, task, seed), what)
    require(isinstance(episode, Episode), f"{name_of(env)}: {what} gave {type(episode).__name__}, expected an Episode")
    try:
        yield episode
    finally:
        with calling(env, f"close of an episode of task {task.id!r}"):
            episode.close()


def _step(env: Environment, task: Task, episode: Episode, turn: Turn, number: int) -> Reply:
    what = f"step of turn {number} of task {task.id!r}, {turn!r:.200}"
    reply = within_limits(env, partial(episode.step, turn), what)
    require(isinstance(reply, Reply), f"{name_of(env)}: {what} gave {type(reply).__name__}, expected gyms.api.Reply")
    problem = unanswered(turn, reply)
    require(not problem, f"{name_of(env)}: {what}: {problem}")
    return reply


def _score(env: Environment, task: Task, episode: Episode, num_turns: int) -> Score:
    what = f"score of an episode of task {task.id!r} after {num_turns} turns"
    score = checked_score(env, task, episode.score, what)
    again = checked_score(env, task, episode.score, what)
    require(score == again, f"{name_of(env)}: {what} changes when it is asked twice: {told(score)}, then {told(again)}")
    return score
