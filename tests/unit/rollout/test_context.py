"""What is left out of a context at its limit, by hand."""

from __future__ import annotations

import pytest

from gyms.api import message
from rollout.context import HIDDEN, Round, rewritten


def result(content: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": "c", "name": "t", "content": content}


ROUNDS = (
    Round(turn_ids=(10, 0), reply=(result("one"), message("user", "go on"))),
    Round(turn_ids=(11, 0), reply=(result("two"),)),
    Round(turn_ids=(12, 0), reply=(result("three"), result("four"))),
)


def test_earlier_results_are_hidden_and_all_turns_stay() -> None:
    kept = rewritten("hide_tools", ROUNDS)
    assert [r.turn_ids for r in kept] == [r.turn_ids for r in ROUNDS] and kept[2] == ROUNDS[2]
    assert kept[0].reply == (result(HIDDEN), message("user", "go on")) and kept[1].reply == (result(HIDDEN),)


def test_the_latest_round_alone_is_kept() -> None:
    assert rewritten("keep_last", ROUNDS) == ROUNDS[2:]


def test_all_is_discarded() -> None:
    assert rewritten("discard_all", ROUNDS) == ()


@pytest.mark.parametrize("rule", ["hide_tools", "keep_last"])
def test_again_is_the_same_and_one_round_is_left_alone(rule: str) -> None:
    kept = rewritten(rule, ROUNDS)
    assert rewritten(rule, kept) == kept
    assert rewritten(rule, ROUNDS[2:]) == ROUNDS[2:]
