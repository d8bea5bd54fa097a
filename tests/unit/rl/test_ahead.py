"""One step off: what is drawn while the learner learns, who waits for it, and how a checkpoint holds it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from configs.schema import Config
from rl.ahead import Ahead, Drawn, as_carried
from rl.cluster import Cluster
from rl.collect import Collected
from rl.faults import ActorLost
from rl.partial import PartialGroup
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
        ahead.begin(draw())
        return [nothing, await ahead.settled(), await ahead.settled(), await ahead.take(), await ahead.take()]

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

        ahead.begin(fails())
        with pytest.raises(ActorLost, match="engine 0 died"):
            await ahead.settled()
        await ahead.forget()
        ahead.begin(hangs())
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

        cluster.draw_ahead(draw)
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


def test_a_lost_engine_rewinds_since_the_weights_that_drew_ahead_are_gone(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> bool:
        await generate(cluster, 0)
        here.running["engine 1"].failure = ActorLost("died")
        return await cluster.start_anew()

    assert on_a_cluster(tmp_path, work, steps_ahead=1) and not on_a_cluster(tmp_path, work)


def test_groups_that_were_drawn_ahead_come_back_from_a_checkpoint_and_are_neither_drawn_nor_scored_again() -> None:
    scorer = Scorer()
    for changes in ({}, {"grouped": frozenset({"g"})}):
        first, _ = step(3, scorer, new=(0, 1), segment_tokens=None, **changes)
        held = as_carried(Drawn(step=3, collected=first, seconds=1.0))
        kept = json.loads(json.dumps([group.state_dict() for group in held]))
        scorer.seen.clear()
        carried = tuple(PartialGroup.from_state(one, [ENTRY]) for one in kept)
        again, policy = step(3, scorer, carried, segment_tokens=None, **changes)
        assert again == first and len(first.groups) == 2
        assert policy.requests == [] and scorer.seen == []


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
