"""Episodes in killable workers: none is lost with its worker, and a turn that breaks one costs that one alone."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gyms.api import Call, Reply, Score, Status, Task, Turn, message
from gyms.children import children_of
from gyms.load import GymSpec, load_gym
from reward.control import CONTROL_FLAG
from reward.scorer import Scorer
from reward.seat import REPLAY_DIFFERS
from tests.contract.reward.processes import children, wait_until

FILE = Path(__file__).parent / "bad_environments.py"
TASK = Task(id="t", prompt=(message("user", "?"),))
_names = itertools.count()


def spec(class_name: str, name: str | None = None) -> GymSpec:
    return GymSpec(name=name or class_name, reference=f"{FILE}:{class_name}")


def task(**data: Any) -> Task:
    return Task(id="t", prompt=(message("user", "?"),), data=data)


@pytest.fixture(scope="module")
def shared(others: frozenset[int]) -> Iterator[Scorer]:
    specs = [spec(name) for name in ("Obedient", "Impatient", "Thrifty", "Undeclared", "RunsCode")]
    specs.append(GymSpec(name="sums", reference="gyms.arithmetic.gym:Arithmetic"))
    with Scorer(specs, num_workers=1) as scorer:
        yield scorer


def kill_workers(others: frozenset[int]) -> None:
    """Kill the workers of this module's scorer, as the kernel would; returns when they are gone."""
    for keeper in children() - others:
        for worker in children_of(keeper):
            os.kill(worker, signal.SIGKILL)
    wait_until(lambda: all(not children_of(keeper) for keeper in children() - others))


async def played(
    scorer: Scorer,
    texts: Sequence[str],
    asked: Task = TASK,
    gym: str = "Obedient",
    before: Callable[[int], None] = lambda place: None,
) -> tuple[list[Reply], Score]:
    """An episode that says these texts; `before` is called before each turn, and before the score."""
    name = f"e{next(_names)}"
    await scorer.open_episode(name, gym, asked, seed=3)
    try:
        replies = []
        for place, text in enumerate(texts):
            before(place)
            replies.append(await scorer.step(name, place, Turn(text=text)))
        before(len(texts))
        return replies, await scorer.score_episode(name)
    finally:
        await scorer.close_episode(name)


def play(scorer: Scorer, texts: Sequence[str], *args: Any, **kwargs: Any) -> tuple[list[Reply], Score]:
    return asyncio.run(played(scorer, texts, *args, **kwargs))


def answers(*texts: str) -> list[Reply]:
    """What `Doing` answers to these turns."""
    return [
        Reply(messages=(message("user", f"{n + 1} {' '.join(texts[: n + 1])}"),), is_done=text == "done")
        for n, text in enumerate(texts)
    ]


def test_an_episode_is_answered_turn_by_turn_and_scored(shared: Scorer) -> None:
    replies, score = play(shared, ["a", "well", "done"])
    assert replies == answers("a", "well", "done")
    assert score == Score(status=Status.OK, value=1.0, answer="a well done")
    assert score.seconds > 0.0


def test_a_worker_that_is_killed_at_any_turn_is_replaced_by_replay(shared: Scorer, others: frozenset[int]) -> None:
    texts = ["a", "b", "well", "c", "done"]
    for victim in range(len(texts) + 1):

        def kill(place: int, victim: int = victim) -> None:
            if place == victim:
                kill_workers(others)

        replies, score = play(shared, texts, before=kill)
        assert replies == answers(*texts)
        assert score == Score(status=Status.OK, value=1.0, answer=" ".join(texts))


def test_what_a_model_said_in_a_turn_comes_back_with_it_where_the_worker_dies(
    shared: Scorer, others: frozenset[int]
) -> None:
    args = {"user": "model", "dialects": False, "num_train": 20, "num_heldout": 20}
    asked = next(t for t in load_gym("tools", "tools", args, config_key="gyms.0").tasks("train") if t.data["withheld"])
    shared.add_gym(GymSpec(name="tools", reference="tools", args=args))
    question = Call(id="call_0", tool="ask_user", arguments={"question": "Which?"}, heard="Guess what.")

    async def scenario() -> tuple[Reply, Score]:
        await shared.open_episode("asks", "tools", asked, seed=0)
        reply = await shared.step("asks", 0, Turn(text="", calls=(question,)))
        kill_workers(others)
        await shared.step("asks", 1, Turn(text="Done."))
        score = await shared.score_episode("asks")
        await shared.close_episode("asks")
        return reply, score

    reply, score = asyncio.run(scenario())
    assert reply.messages[0]["content"] == "Guess what."
    assert score.status is Status.OK and score.components["num_questions"] == 1.0


def test_a_worker_that_dies_in_the_middle_of_a_turn_is_replaced_by_replay(shared: Scorer, tmp_path: Path) -> None:
    texts = ["well", f"once {tmp_path / 'first'}", "a", f"once {tmp_path / 'second'}"]
    replies, score = play(shared, texts)
    assert (replies, score.value) == (answers(*texts), 1.0)


def test_a_worker_that_died_while_nobody_asked_is_no_attempt_of_the_next_turn(
    shared: Scorer, others: frozenset[int], tmp_path: Path
) -> None:
    texts = ["well", f"once {tmp_path / 'dies'}"]
    replies, score = play(shared, texts, before=lambda place: kill_workers(others) if place == 1 else None)
    assert (replies, score.value) == (answers(*texts), 1.0)


def test_a_turn_is_asked_once_where_nothing_dies(shared: Scorer, tmp_path: Path) -> None:
    mark = tmp_path / "steps"
    replies, _ = play(shared, [f"mark {mark}"] * 30)
    assert len(replies) == 30
    assert mark.read_text() == "x" * 30


def test_many_episodes_live_in_one_worker_and_survive_its_death(shared: Scorer, others: frozenset[int]) -> None:
    async def interleaved() -> list[Score]:
        names = [f"many{n}" for n in range(50)]
        for name in names:
            await shared.open_episode(name, "Obedient", TASK, seed=0)
        for place in range(3):
            replies = await asyncio.gather(*(shared.step(name, place, Turn(text=name)) for name in names))
            assert [reply.messages[0]["content"] for reply in replies] == [
                f"{place + 1} {' '.join([name] * (place + 1))}" for name in names
            ]
            if place == 1:
                kill_workers(others)
        scores = await asyncio.gather(*(shared.score_episode(name) for name in names))
        await asyncio.gather(*(shared.close_episode(name) for name in names))
        return list(scores)

    scores = asyncio.run(interleaved())
    assert [score.answer for score in scores] == [" ".join([f"many{n}"] * 3) for n in range(50)]
    assert len(children() - others) <= 2  # this gym's one worker, and one at rest after a control


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("exit", "its process exited with status 7"),
        ("segfault", "its process was killed by SIGSEGV"),
        ("raise", "step raised KeyError: 'lost'"),
        ("scribble", "bytes on the reply channel that are no frame"),
        ("float", "step returned float, expected gyms.api.Reply"),
        ("large", "characters, at most 1000000 are read; cap what tools say"),
        ("unscored", "score raised KeyError: 'lost'"),
        ("bad", "says the environment"),
    ],
)
def test_a_turn_that_breaks_the_environment_costs_its_episode_and_no_other(
    shared: Scorer, text: str, cause: str
) -> None:
    async def both() -> Score:
        await shared.open_episode("neighbour", "Obedient", TASK, seed=0)
        try:
            assert await shared.step("neighbour", 0, Turn(text="well")) == answers("well")[0]
            replies, score = await played(shared, ["a", text])
            assert replies[0] == answers("a")[0]
            if text not in ("unscored", "bad"):
                assert replies[1] == Reply(is_done=True)
            assert await shared.step("neighbour", 1, Turn(text="b")) == answers("well", "b")[1]
            assert (await shared.score_episode("neighbour")).value == 1.0
            return score
        finally:
            await shared.close_episode("neighbour")

    score = asyncio.run(both())
    assert score.status is Status.CRASHED and score.flags == {CONTROL_FLAG}
    assert cause in score.detail
    assert "the task's gold episode was scored well" in score.detail


def test_what_a_neighbour_spoilt_is_held_against_nobody(shared: Scorer) -> None:
    async def both() -> Score:
        await shared.open_episode("spoiler", "Obedient", TASK, seed=0)
        try:
            await shared.step("spoiler", 0, Turn(text="spoil"))
            replies, score = await played(shared, ["well", "fragile"])
            assert replies == answers("well", "fragile")
            assert await shared.step("spoiler", 1, Turn(text="a")) == answers("spoil", "a")[1]
            return score
        finally:
            await shared.close_episode("spoiler")

    assert asyncio.run(both()).value == 1.0
    assert play(shared, ["fragile", "well"])[1].value == 1.0  # spoilt again by the replay


@pytest.mark.parametrize(
    ("gym", "text", "limit"),
    [("Impatient", "hang", "needs.wall_seconds"), ("Thrifty", "spin", "needs.cpu_seconds")],
)
def test_a_turn_that_hangs_ends_its_episode_as_a_timeout(shared: Scorer, gym: str, text: str, limit: str) -> None:
    replies, score = play(shared, ["a", text], gym=gym)
    assert replies == [*answers("a"), Reply(is_done=True)]
    assert score.status is Status.TIMEOUT and score.flags == {CONTROL_FLAG}
    assert "hung in step" in score.detail and limit in score.detail
    assert play(shared, ["well"], gym=gym)[1].value == 1.0


@pytest.mark.parametrize("gold", [["a", "exit"], ["a"], ["well", "unscored"]])
def test_the_environment_is_to_blame_where_the_gold_episode_fails_too(shared: Scorer, gold: list[str]) -> None:
    _, score = play(shared, ["a", "exit"], task(gold=gold))
    assert score.status is Status.VERIFIER_ERROR and CONTROL_FLAG not in score.flags
    assert "the task's gold episode" in score.detail


def test_without_gold_turns_an_earlier_episode_is_the_control() -> None:
    with Scorer([spec("Obedient")]) as fresh:
        first = play(fresh, ["exit"], task(gold=None))[1]
        assert first.status is Status.VERIFIER_ERROR and "there is no control" in first.detail
        assert play(fresh, ["a", "well"], task(gold=None, n=1))[1].value == 1.0
        assert play(fresh, ["exit"], task(gold=None, n=2))[1].status is Status.CRASHED
        bad = play(fresh, ["bad"], task(gold=None, n=3))[1]
        assert bad.status is Status.BAD_TASK  # another task says nothing of this one
        assert fresh.tally["Obedient"] == {
            "verifier_error": 1,
            "ok": 1,
            "crashed": 1,
            "bad_task": 1,
            CONTROL_FLAG: 1,
        }


def test_an_environment_that_answers_a_replay_otherwise_is_to_blame_unless_it_runs_code(
    shared: Scorer, others: frozenset[int]
) -> None:
    """Code may ask the clock, and a mask would pay for it: what was answered stands, and the episode goes on."""
    for gym, status in (("Obedient", Status.VERIFIER_ERROR), ("RunsCode", Status.OK)):
        replies, score = play(
            shared, ["pid", "well", "well"], TASK, gym, lambda place: kill_workers(others) if place == 2 else None
        )
        assert score.status is status and REPLAY_DIFFERS in score.flags
        if status is Status.OK:
            assert replies[2] == answers("pid", "well", "well")[2] and score.value == 1.0
        else:
            assert replies[2] == Reply(is_done=True)
            assert "turn 0 was answered differently when it was replayed" in score.detail


def test_a_turn_that_was_answered_and_breaks_when_it_is_replayed_is_not_held_against_the_model(
    shared: Scorer, others: frozenset[int], tmp_path: Path
) -> None:
    _, score = play(
        shared,
        ["well", f"later {tmp_path / 'here'}", "a"],
        before=lambda place: kill_workers(others) if place == 2 else None,
    )
    assert score.status is Status.VERIFIER_ERROR and CONTROL_FLAG not in score.flags
    assert "its process exited with status 3" in score.detail


def test_an_episode_goes_on_from_its_history(shared: Scorer) -> None:
    turns = [Turn(text=text) for text in ("a", "well")]

    async def resumed(history: Sequence[tuple[Turn, Reply]]) -> tuple[Reply, Score]:
        await shared.open_episode("resumed", "Obedient", TASK, seed=3, history=history)
        try:
            return await shared.step("resumed", 2, Turn(text="b")), await shared.score_episode("resumed")
        finally:
            await shared.close_episode("resumed")

    reply, score = asyncio.run(resumed(list(zip(turns, answers("a", "well"), strict=True))))
    assert reply == answers("a", "well", "b")[2] and score.answer == "a well b"
    reply, score = asyncio.run(resumed(list(zip(turns, answers("a", "other"), strict=True))))
    assert reply == Reply(is_done=True) and REPLAY_DIFFERS in score.flags


def test_asking_again_is_safe_and_a_turn_out_of_order_is_refused(shared: Scorer) -> None:
    async def ask() -> None:
        await shared.open_episode("again", "Obedient", TASK, seed=0)
        await shared.open_episode("again", "Obedient", TASK, seed=0)
        with pytest.raises(ValueError, match="'again' is open with another task, gym or seed"):
            await shared.open_episode("again", "Obedient", TASK, seed=1)
        first = await shared.step("again", 0, Turn(text="a"))
        assert await shared.step("again", 0, Turn(text="a")) == first
        with pytest.raises(ValueError, match="its turn 0 was another one"):
            await shared.step("again", 0, Turn(text="b"))
        with pytest.raises(ValueError, match="turn 2 is not its next, after 1 turns"):
            await shared.step("again", 2, Turn(text="b"))
        assert (await shared.step("again", 1, Turn(text="done"))).is_done
        with pytest.raises(ValueError, match="turn 2 is not its next"):
            await shared.step("again", 2, Turn(text="b"))
        await shared.close_episode("again")
        await shared.close_episode("again")
        with pytest.raises(ValueError, match="there is no open episode 'again'"):
            await shared.step("again", 0, Turn(text="a"))
        with pytest.raises(ValueError, match="the scorer has no gym 'other'"):
            await shared.open_episode("again", "other", TASK, seed=0)

    asyncio.run(ask())


def test_an_episode_that_cannot_be_started_has_a_score_too(shared: Scorer) -> None:
    for start, cause in (("raises", "start raised KeyError"), ("nothing", "start returned NoneType")):
        replies, score = play(shared, ["a"], task(start=start))
        assert replies == [Reply(is_done=True)]
        assert score.status is Status.VERIFIER_ERROR and cause in score.detail


def test_a_task_that_cannot_travel_has_a_score_too(shared: Scorer) -> None:
    replies, score = play(shared, ["a"], task(verifier=lambda: None))
    assert replies == [Reply(is_done=True)]
    assert score.status is Status.VERIFIER_ERROR and "the task cannot be pickled" in score.detail


def test_what_is_not_declared_is_no_fault_of_the_model(shared: Scorer) -> None:
    _, score = play(shared, ["children"], gym="Undeclared")
    assert score.status is Status.VERIFIER_ERROR and "Needs(processes=True)" in score.detail
    assert play(shared, ["well"], gym="Undeclared")[1].value == 1.0


@pytest.mark.parametrize("text", ["unserved", "unjudged"])
def test_a_service_that_fails_is_masked_though_a_control_sample_works(shared: Scorer, text: str) -> None:
    before = dict(shared.tally.get("Obedient", {}))
    assert play(shared, ["well"])[1].value == 1.0
    _, score = play(shared, ["well", text])  # its gold episode would score 1.0
    assert score.status is Status.VERIFIER_ERROR and score.status.is_masked and CONTROL_FLAG not in score.flags
    assert "raised ServiceFailed: status 503" in score.detail
    counted = {name: num - before.get(name, 0) for name, num in shared.tally["Obedient"].items()}
    assert {name: num for name, num in counted.items() if num} == {"ok": 1, "verifier_error": 1}


def test_a_service_that_fails_once_costs_nothing(shared: Scorer, tmp_path: Path) -> None:
    texts = ["well", f"unserved {tmp_path / 'here'}", "done"]
    replies, score = play(shared, texts)
    assert replies == answers(*texts) and score.value == 1.0


def test_a_call_without_an_answer_is_noticed(shared: Scorer) -> None:
    async def ask() -> Score:
        await shared.open_episode("silent", "Obedient", TASK, seed=0)
        call = Call(id="call_0", tool="x", arguments={})
        assert (await shared.step("silent", 0, Turn(text="silent", calls=(call,)))).is_done
        score = await shared.score_episode("silent")
        await shared.close_episode("silent")
        return score

    assert "the reply leaves the call 'call_0' without an answer" in asyncio.run(ask()).detail


def test_a_gym_of_one_turn_is_leased_like_any_other(shared: Scorer) -> None:
    sum_ = Task(id="s", prompt=(message("user", "What is 17 + 25?"),), data={"answer": "42", "operands": (17, 25)})
    replies, score = play(shared, ["42"], sum_, gym="sums")
    assert replies == [Reply(is_done=True)] and score.value == 1.0


def test_a_whole_episode_is_scored_by_replay(shared: Scorer) -> None:
    turns = [Turn(text=text) for text in ("a", "well", "done", "never")]
    score = shared.submit_episode("r", "Obedient", TASK, turns, seed=3).result(120.0)
    assert score == Score(status=Status.OK, value=1.0, answer="a well done")
    broken = shared.submit_episode("r", "Obedient", TASK, [Turn(text="exit")], seed=3).result(120.0)
    assert broken.status is Status.CRASHED


@pytest.mark.parametrize("text", ["unclosed", "unending"])
def test_an_episode_that_cannot_be_closed_keeps_its_score_and_harms_no_other(shared: Scorer, text: str) -> None:
    assert play(shared, ["well", text], gym="Impatient")[1].value == 1.0
    assert play(shared, ["well"], gym="Impatient")[1].value == 1.0


def test_episodes_are_closed_one_by_one_and_with_the_scorer(tmp_path: Path, nothing_left: None) -> None:
    mark = tmp_path / "closed"

    async def leave_two_open(scorer: Scorer) -> None:
        for name in ("one", "two", "three"):
            await scorer.open_episode(name, "Obedient", task(mark=str(mark)), seed=0)
            await scorer.step(name, 0, Turn(text=name))
        await scorer.step("three", 1, Turn(text="children"))
        await scorer.close_episode("one")
        assert mark.read_text() == "one\n"

    with Scorer([spec("Obedient")]) as scorer:
        asyncio.run(leave_two_open(scorer))
    assert sorted(mark.read_text().splitlines()) == ["one", "three children", "two"]
    with pytest.raises(RuntimeError, match="the scorer is closed"):
        asyncio.run(scorer.step("two", 1, Turn(text="a")))


def test_closing_the_scorer_ends_a_turn_that_runs(tmp_path: Path, nothing_left: None) -> None:
    async def run() -> tuple[Reply, Score]:
        scorer = Scorer([spec("Obedient")])
        await scorer.open_episode("busy", "Obedient", TASK, seed=0)
        await scorer.step("busy", 0, Turn(text="a"))
        turn = asyncio.create_task(scorer.step("busy", 1, Turn(text="hang")))
        score = asyncio.create_task(scorer.score_episode("busy"))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(scorer.close)
        return await turn, await score

    reply, score = asyncio.run(run())
    assert reply.is_done and score.status is Status.CANCELLED


def test_a_cancelled_turn_is_finished_and_its_episode_goes_on_or_is_closed(
    shared: Scorer, tmp_path: Path, others: frozenset[int]
) -> None:
    go, text = tmp_path / "go", f"wait {tmp_path / 'go'}"

    async def run() -> None:
        await shared.open_episode("slow", "Obedient", TASK, seed=0)
        turn = asyncio.create_task(shared.step("slow", 0, Turn(text=text)))
        await asyncio.sleep(0.3)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        go.touch()
        assert await shared.step("slow", 0, Turn(text=text)) == answers(text)[0]
        closing = asyncio.create_task(shared.close_episode("slow"))
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)

    asyncio.run(run())
    assert play(shared, ["well"])[1].value == 1.0
    with pytest.raises(ValueError, match="no open episode 'slow'"):
        asyncio.run(shared.step("slow", 1, Turn(text="a")))
