"""Rows of samples: what they say, and that a step's update can be had back from them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.api import CaseResult, Status
from rl.batch import learning_batch
from rl.sample_rows import minibatches_of, sample_rows
from rollout.routing import Routing
from rollout.types import Segment

ROUTING = Routing.of(np.arange(20).reshape(5, 2, 2))
DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_a_row_says_what_was_asked_answered_scored_and_by_which_policy(group, scored):
    one = scored(
        1.0, text="3", token_ids=(5, 0), logprobs=(-0.5, -0.25), answer="3", flags=frozenset({"b", "a"}), detail="d",
        cases=(CaseResult(id="add(1, 2)", passed=False, reason="got 4", seconds=0.5),), provenance={"tier": "zygote"},
    )  # fmt: skip
    (row,) = sample_rows(3, [group(17, one)])
    assert json.loads(json.dumps(row)) == {
        "step": 3,
        "draw": 17,
        "k": 0,
        "gym": "sums",
        "task": "sums/1",
        "place": None,
        "prompt": [{"role": "user", "content": "1+2="}],
        "response": "3",
        "reward": 1.0,
        "length_reward": 0.0,
        "is_masked": False,
        "status": "ok",
        "value": 1.0,
        "components": {},
        "answer": "3",
        "flags": ["a", "b"],
        "detail": "d",
        "cases": [{"id": "add(1, 2)", "passed": False, "reason": "got 4"}],
        "provenance": {"tier": "zygote"},
        "finish_reason": "stop",
        "num_tokens": 2,
        "prompt_ids": [1, 2],
        "token_ids": [5, 0],
        "logprobs": [-0.5, -0.25],
        "temperature": 0.9,
        "weight_version": 4,
        "segments": [{"num_tokens": 2, "is_sampled": True, "temperature": 0.9, "weight_version": 4}],
        "context": None,
        "episode": None,
        "minibatch": None,
        "advantage": None,
        "old_logprobs": None,
    }


def test_every_column_is_documented(group):
    (row,) = sample_rows(0, [group(0, 1.0)])
    text = DOCUMENT.read_text(encoding="utf-8")
    part = text[text.index("## rollouts/") : text.index("## evals.jsonl")]
    assert set(row) == set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE))


rewards = st.lists(st.lists(st.sampled_from([None, 0.0, 0.25, 1.0]), min_size=3, max_size=3), min_size=4, max_size=4)


@given(rewards, st.sampled_from([1, 2, 4]), st.booleans(), st.integers(0, 99))
@settings(deadline=None)
def test_the_minibatches_of_a_step_come_back_from_its_rows_to_the_last_digit(
    group, scored, rewards, num_minibatches, drop_zero_spread, step
):
    segments = (
        Segment(token_ids=(5, 6), logprobs=(-1.1, -2.3), weight_version=1, temperature=1.0),
        Segment(token_ids=(7,), logprobs=(0.0,), weight_version=1, temperature=1.0, is_sampled=False),
        Segment(token_ids=(8,), logprobs=(-0.7,), weight_version=2, temperature=0.7, routing=ROUTING),
    )
    groups = [
        group(
            40 + i,
            *[
                scored(status=Status.CANCELLED) if v is None else scored(v, segments=segments if k else None)
                for k, v in enumerate(row)
            ],
        )
        for i, row in enumerate(rewards)
    ]
    batch = learning_batch(
        groups, step=step, seed=0, num_minibatches=num_minibatches, drop_zero_spread=drop_zero_spread
    )
    old = {
        s.number: tuple(-s.number - t / 3 for t in range(len(s.token_ids)))
        for m in batch.minibatches
        for s in m.samples
    }
    rows = json.loads(json.dumps(sample_rows(step, groups, batch=batch, old_logprobs=old)))
    assert minibatches_of(rows, num_minibatches=num_minibatches) == tuple(
        dataclasses.replace(m, samples=tuple(dataclasses.replace(s, old_logprobs=old[s.number]) for s in m.samples))
        for m in batch.minibatches
    )


def test_masked_samples_have_no_advantage_and_dropped_ones_no_old_log_probabilities(group, scored):
    groups = [group(0, 1.0, 0.5, scored(status=Status.JUDGE_FAILED)), group(1, 1.0, 1.0, 1.0)]
    batch = learning_batch(groups, step=0, seed=0, num_minibatches=2, drop_zero_spread=True)
    rows = sample_rows(0, groups, batch=batch, old_logprobs={0: (-1.0,) * 3, 1: (-2.0,) * 3})
    assert [row["advantage"] for row in rows] == [0.25, -0.25, None, 0.0, 0.0, 0.0]
    assert [row["old_logprobs"] for row in rows] == [[-1.0] * 3, [-2.0] * 3, None, None, None, None]
    assert {row["minibatch"] for row in rows[:3]} | {row["minibatch"] for row in rows[3:]} == {0, 1}


def test_rows_of_a_step_that_was_not_finished_are_refused(group):
    with pytest.raises(ValueError, match="do not say what the update made of the samples"):
        minibatches_of(sample_rows(0, [group(0, 1.0, 0.0)]), num_minibatches=1)


def test_minibatches_without_a_group_come_back_too_as_curated_conversations_are_learned_from_in_them(group):
    groups = [group(0, 1.0, 0.0)]
    batch = learning_batch(groups, step=0, seed=0, num_minibatches=3, drop_zero_spread=True)
    old = {0: (-1.0,) * 3, 1: (-2.0,) * 3}
    rows = sample_rows(0, groups, batch=batch, old_logprobs=old)
    found = minibatches_of(rows, num_minibatches=3)
    assert [(one.index, len(one.samples)) for one in found] == [(0, 2), (1, 0), (2, 0)]
    assert [(one.index, one.samples) for one in minibatches_of([], num_minibatches=2)] == [(0, ()), (1, ())]
