"""An environment behind a server, in a worker: what the server fails at is never held against the model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from gyms.api import Score, Status, Turn
from gyms.load import GymSpec, load_gym
from reward.control import CONTROL_FLAG
from reward.scorer import Scorer
from tests.answering import answering, said


def test_a_server_that_is_too_busy_to_judge_costs_no_reward_though_earlier_episodes_replay(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"responses_create_params": {"input": "hi"}}) + "\n")
    right = said({"reward": 1.0})

    def by_load(handler, body) -> None:
        is_long = "much" in json.dumps(body["response"]["output"])
        (said("busy", status=503) if is_long else right)(handler, body)

    with answering(seed_session=said({}), verify=by_load) as server:
        args = {"url": server.url, "rows": str(file), "heldout_fraction": 0.5}
        gym = load_gym("n", "nemo_gym", args)
        (task,) = [*gym.tasks("train"), *gym.tasks("heldout")]

        async def played(scorer: Scorer, text: str) -> Score:
            await scorer.open_episode(text, "n", task, seed=0)
            try:
                await scorer.step(text, 0, Turn(text=text))
                return await scorer.score_episode(text)
            finally:
                await scorer.close_episode(text)

        with Scorer([GymSpec(name="n", reference="nemo_gym", args=args)]) as scorer:
            assert asyncio.run(played(scorer, "little")).value == 1.0
            score = asyncio.run(played(scorer, "much"))
            assert score.status is Status.VERIFIER_ERROR and CONTROL_FLAG not in score.flags
            assert "ServiceFailed" in score.detail and "status 503" in score.detail
            assert scorer.tally["n"] == {"ok": 1, "verifier_error": 1}
