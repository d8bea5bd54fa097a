"""One step off: what is drawn while the learner learns, who waits for it, and how a checkpoint holds it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from configs.schema import Config
from rl.ahead import Ahead, Drawn, Held
from rl.cluster import Cluster
from rl.collect import Collected
from rl.faults import ActorLost
from rollout.engine.device import CUDA
from tests.unit.rl.small_cluster import NUM_ENGINES, InThisProcess, generate, on_a_cluster
from tests.unit.rl.test_partial import ENTRY, Scorer, step


def drawn(number: int = 1) -> Drawn:
    return Drawn(step=number, collected=Collected(groups=()), seconds=2.0)


def test_what_was_drawn_is_told_as_often_as_asked_and_taken_once() -> None:
    async def work() -> list[Drawn | None]:
        ahead = Ahead()

        async def draw() -> Drawn:
            await asyncio.sleep(0)
            return drawn()

        nothing = await ahead.settled()
        ahead.begin(1, draw())
        assert ahead.is_undrawn and ahead.step == 1
        told = [nothing, await ahead.settled(), await ahead.settled()]
        assert not ahead.is_undrawn and ahead.step == 1
        return [*told, await ahead.take(), await ahead.take()]

    assert asyncio.run(work()) == [None, drawn(), drawn(), drawn(), None]


def test_what_the_drawing_came_to_is_raised_where_it_is_waited_for_and_can_be_forgotten() -> None:
    async def work() -> None:
        ahead, began = Ahead(), asyncio.Event()

        async def fails() -> Drawn:
            raise ActorLost("engine 0 died")

        async def hangs() -> Drawn:
            began.set()
            await asyncio.Event().wait()
            raise AssertionError("nobody wakes it")

        ahead.begin(1, fails())
        with pytest.raises(ActorLost, match="engine 0 died"):
            await ahead.settled()
        assert ahead.is_undrawn
        await ahead.forget()
        ahead.begin(1, hangs())
        await began.wait()
        await ahead.forget()
        assert await ahead.take() is None

    asyncio.run(work())


def test_engines_keep_the_weights_that_draw_ahead_until_all_is_drawn_and_the_learner_learns_meanwhile(
    tmp_path: Path,
) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        may_end = asyncio.Event()

        async def draw(policy: object) -> Drawn:
            await may_end.wait()
            return drawn()

        cluster.draw_ahead(1, draw)
        async with cluster.learning() as learner:
            await learner.update(None, None, lr=0.0)
            weights = await learner.publish(1)

        async def turn() -> None:
            async with cluster.generating(weights):
                assert here.versions() == [1] * NUM_ENGINES

        waiting = asyncio.create_task(turn())
        for _ in range(20):
            await asyncio.sleep(0)
        assert here.versions() == [0] * NUM_ENGINES and not waiting.done()
        may_end.set()
        await waiting
        assert await cluster.ahead.take() == drawn()

    on_a_cluster(tmp_path, work, steps_ahead=1, device=CUDA)  # GPUs of their own: nobody sleeps


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_lost_engine_rewinds_where_the_draw_was_not_complete_since_the_weights_for_it_are_gone(
    tmp_path: Path, is_complete: bool
) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> tuple[bool, Drawn | None]:
        await generate(cluster, 0)

        async def draw(policy: object) -> Drawn:
            if not is_complete:
                raise ActorLost("engine 1.finished: the process died")
            return drawn()

        cluster.draw_ahead(1, draw)
        while cluster.ahead.is_undrawn == is_complete:
            await asyncio.sleep(0)
        cluster.place.step = 1  # step 0 is done
        here.running["engine 1"].failure = ActorLost("died")
        is_rewound = await cluster.start_anew()
        return is_rewound, await cluster.ahead.take()

    assert on_a_cluster(tmp_path, work, steps_ahead=1) == ((False, drawn()) if is_complete else (True, None))


def test_groups_that_were_drawn_ahead_come_back_from_a_checkpoint_and_are_neither_drawn_nor_scored_again(
    tmp_path: Path,
) -> None:
    scorer = Scorer()
    for changes in ({}, {"grouped": frozenset({"g"})}):
        first, _ = step(3, scorer, new=(0, 1), segment_tokens=None, **changes)
        held = Held.of(Drawn(step=3, collected=first, seconds=1.5))
        held.write(tmp_path)
        read = Held.read(tmp_path, json.loads(json.dumps(held.facts())), [ENTRY])
        assert read == held and read.seconds == 1.5
        scorer.seen.clear()
        again, policy = step(3, scorer, read.groups, segment_tokens=None, **changes)
        assert again == first and len(first.groups) == 2
        assert policy.requests == [] and scorer.seen == []
        with pytest.raises(ValueError, match=r"ahead\.jsonl is not what it was written with"):
            Held.read(tmp_path, {**held.facts(), "digest": "0"}, [ENTRY])


def config(**sections: object) -> Config:
    return Config.model_validate({"model": {"source": "tiny"}, "gyms": [{"name": "arithmetic"}], **sections})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({}, "set cluster.separate = true"),
        ({"cluster": {"separate": True}, "rollout": {"segment_tokens": 4}}, "together with rollout.segment_tokens"),
        ({"cluster": {"separate": True}, "rollout": {"stale_tokens": "mask"}}, "nothing would be learned from"),
        ({"cluster": {"separate": True}, "reward": {"toggle": {"period": 2}}}, "together with reward.toggle.period"),
    ],
)
def test_what_does_not_go_together_is_refused(sections: dict[str, dict[str, object]], message: str) -> None:
    rollout = {"steps_ahead": 1, **sections.get("rollout", {})}
    with pytest.raises(ValueError, match=message):
        config(**(sections | {"rollout": rollout}))
