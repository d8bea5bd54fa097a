"""Why a response ended, in vLLM's words and in ours."""

from __future__ import annotations

import pytest

from rollout.engine.requests import finish_reason
from rollout.engine.states import EngineBroken
from rollout.types import FinishReason


@pytest.mark.parametrize("meant", [FinishReason.STOP, FinishReason.LENGTH, FinishReason.REPETITION])
def test_an_end_token_a_spent_budget_and_a_loop_are_answers(meant):
    assert finish_reason("s0/d1/k2", meant.value) is meant


@pytest.mark.parametrize("told", ["abort", "error", "paused", "", None, "STOP"])
def test_whatever_else_ends_a_request_is_no_answer_of_the_policy(told):
    with pytest.raises(EngineBroken, match=rf"request 's0/d1/k2' with finish_reason {told!r}"):
        finish_reason("s0/d1/k2", told)
