"""Why a response ended, in vLLM's words and in ours."""

from __future__ import annotations

import pytest

from rollout.engine.requests import finish_reason
from rollout.engine.states import EngineBroken
from rollout.types import FinishReason


@pytest.mark.parametrize(("told", "meant"), [("stop", FinishReason.STOP), ("length", FinishReason.LENGTH)])
def test_an_end_token_and_a_spent_budget_are_answers(told, meant):
    assert finish_reason("s0/d1/k2", told) is meant


@pytest.mark.parametrize("told", ["abort", "error", "repetition", "", None, "STOP"])
def test_whatever_else_ends_a_request_is_no_answer_of_the_policy(told):
    with pytest.raises(EngineBroken, match=rf"request 's0/d1/k2' with finish_reason {told!r}"):
        finish_reason("s0/d1/k2", told)
