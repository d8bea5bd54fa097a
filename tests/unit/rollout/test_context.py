"""What is left out of a context at its limit, by hand."""

from __future__ import annotations

import pytest

from gyms.api import message
from rollout.context import HIDDEN, Round, rewritten

PROMPT = (1, 2)


def result(content: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": "c", "name": "t", "content": content}


ROUNDS = (
    Round(turn_ids=(10, 0), reply=(result("one"), message("user", "go on"))),
    Round(turn_ids=(11, 0), reply=(result("two"),)),
    Round(turn_ids=(12, 0), reply=(result("three"), result("four"))),
)


def spelled(reply) -> tuple[int, ...]:
    """A code for each message: the length of its content, negative for what is hidden."""
    return tuple(-1 if said["content"] == HIDDEN else 100 + len(said["content"]) for said in reply)


def after(rule: str, rounds=ROUNDS):
    return rewritten(rule, PROMPT, rounds, spelled)


def test_earlier_results_are_hidden_and_all_turns_stay() -> None:
    ids, kept = after("hide_tools")
    assert ids == (1, 2, 10, 0, -1, 105, 11, 0, -1, 12, 0, 105, 104)
    assert [r.turn_ids for r in kept] == [r.turn_ids for r in ROUNDS] and kept[2] == ROUNDS[2]


def test_the_latest_round_alone_is_kept() -> None:
    assert after("keep_last") == ((1, 2, 12, 0, 105, 104), ROUNDS[2:])


def test_all_is_discarded() -> None:
    assert after("discard_all") == (PROMPT, ())


@pytest.mark.parametrize("rule", ["hide_tools", "keep_last"])
def test_again_is_the_same_and_one_round_is_left_alone(rule: str) -> None:
    ids, kept = after(rule)
    assert after(rule, kept) == (ids, kept)
    assert after(rule, ROUNDS[2:]) == ((1, 2, 12, 0, 105, 104), ROUNDS[2:])
