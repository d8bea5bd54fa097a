"""A judge's accuracy on known pairs, by hand and by brute force; the gate; agreement with people."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.critic.pool import KnownPair, critic_form, tasks_of
from gyms.critic.prompt import default_labels
from gyms.critic.verdict import Outcome
from reward.agreement import agreement
from reward.calibration import Calibration, CriticGate, VerifiedPair, auc, calibrate, summarise, verified_pairs
from reward.critic_report import Match
from reward.judges.api import Comparison, JudgeFailed, Pair
from reward.judges.baselines import first, longer, random
from reward.judges.prompted import PromptedJudge, PromptSettings
from tests.unit.reward.scripted_judges import Scripted, Table

F, S, T = Outcome.FIRST, Outcome.SECOND, Outcome.TIE
FAILED = JudgeFailed("timeout", "late")


def match(forward: Outcome | JudgeFailed, backward: Outcome | JudgeFailed, lengths: tuple[int, int] = (1, 1)) -> Match:
    """Both told of (right, wrong)."""

    def side(said: Outcome | JudgeFailed) -> Comparison | JudgeFailed:
        return said if isinstance(said, JudgeFailed) else Comparison(outcome=said)

    other = backward if isinstance(backward, JudgeFailed) else backward.swapped
    return Match(first=0, second=1, forward=side(forward), backward=side(other), num_chars=lengths)


def test_the_figures_by_hand() -> None:
    """Two right, one wrong, one flip, one half tie, one failure."""
    found = summarise([match(F, F), match(F, F), match(S, S), match(F, S), match(F, T), match(F, FAILED)])
    assert (found.num_pairs, found.num_failed) == (6, 1)
    assert found.accuracy == pytest.approx((1 + 1 + 0 + 0.5 + 0.5) / 5)
    assert found.flip_rate == pytest.approx(1 / 5) and found.tie_rate == pytest.approx(2 / 5)
    # Said of places: first, second | first, second | second, first | first, first | first, tie.
    assert found.position_bias == pytest.approx((6 - 3) / 9)
    assert found.length_bias is None


def test_position_bias_is_plus_one_for_a_judge_that_says_first() -> None:
    assert summarise([match(F, S)] * 3).position_bias == 1.0
    assert summarise([match(S, F)] * 3).position_bias == -1.0
    assert summarise([match(F, F)] * 3).position_bias == 0.0


def test_length_bias_is_what_goes_beyond_being_right() -> None:
    longer_is_right, longer_is_wrong = (9, 1), (1, 9)
    honest = [match(F, F, longer_is_right), match(F, F, longer_is_wrong)]
    assert summarise(honest).length_bias == 0.0
    biased = [match(F, F, longer_is_right), match(S, S, longer_is_wrong)]
    assert summarise(biased).length_bias == pytest.approx(0.5)


SHARES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(SHARES, SHARES)
def test_auc_is_the_share_of_pairs_in_order(positives: list[float], negatives: list[float]) -> None:
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p, n in itertools.product(positives, negatives)]
    assert auc(positives, negatives) == pytest.approx(sum(wins) / len(wins))


def pairs(num: int) -> list[VerifiedPair]:
    return [VerifiedPair(id=str(i), question=f"{i} + {i}?", right=str(2 * i), wrong=str(2 * i + 1)) for i in range(num)]


def test_a_perfect_a_blind_and_a_failing_judge() -> None:
    def knows(pair: Pair) -> Outcome:
        answer = str(2 * int(pair.question.split()[0]))
        return F if pair.first == answer else S

    perfect = asyncio.run(calibrate(Table(knows), pairs(30)))
    assert (perfect.accuracy, perfect.auc, perfect.flip_rate) == (1.0, 1.0, 0.0)
    blind = asyncio.run(calibrate(first(), pairs(30)))
    assert (blind.accuracy, blind.auc, blind.flip_rate, blind.position_bias) == (0.5, 0.5, 1.0, 1.0)
    broken = asyncio.run(calibrate(Table(lambda pair: FAILED), pairs(30)))
    assert (broken.num_failed, broken.accuracy) == (30, None)


def test_calibration_asks_which_answer_is_right_in_both_orders() -> None:
    judge = Scripted(lambda request: "A")
    asked = PromptedJudge(judge, PromptSettings(style="short", max_tokens=2, allow_tie=False))
    found = asyncio.run(calibrate(asked, pairs(3), key="s4"))
    assert len(judge.requests) == 6 and found.accuracy == 0.5
    assert all("Which answer is right?" in request.messages[0]["content"] for request in judge.requests)


def test_an_engine_fault_leaves_calibration_as_it_is() -> None:
    judge = PromptedJudge(Scripted(lambda request: KeyError("engine")), PromptSettings())
    with pytest.raises(KeyError, match="engine"):
        asyncio.run(calibrate(judge, pairs(3)))


def test_known_pairs_become_verified_ones() -> None:
    known = [KnownPair(id=str(i), problem="p", question="q", right="r", wrong="w") for i in range(3)]
    assert verified_pairs(known, max_pairs=2) == [
        VerifiedPair(id=str(i), question="q", right="r", wrong="w") for i in (1, 2)
    ]


@pytest.mark.parametrize(
    ("found", "is_open", "reason"),
    [
        (Calibration(num_pairs=50, num_failed=0, accuracy=0.8, flip_rate=0.1), True, ""),
        (Calibration(num_pairs=50, num_failed=0, accuracy=0.59, flip_rate=0.1), False, "accuracy 0.590 is below 0.6"),
        (Calibration(num_pairs=50, num_failed=31, accuracy=1.0, flip_rate=0.0), False, "19 decided pairs"),
        (Calibration(num_pairs=50, num_failed=50), False, "0 decided pairs"),
        (Calibration(num_pairs=50, num_failed=0, accuracy=0.8, flip_rate=0.6), False, "flip rate 0.600 is above 0.5"),
    ],
)
def test_the_gate_opens_for_a_judge_that_is_right_often_enough(found: Calibration, is_open: bool, reason: str) -> None:
    gate = CriticGate(max_flip_rate=0.5)
    assert not gate.is_open and "not calibrated" in gate.reason
    gate.update(3, found)
    assert gate.is_open is is_open and reason in gate.reason
    copy = CriticGate(max_flip_rate=0.5)
    copy.load_state_dict(json.loads(json.dumps(gate.state_dict())))
    assert copy.state_dict() == gate.state_dict() and copy.metrics() == gate.metrics()
    assert gate.metrics()["judge/gate_open"] == float(is_open)


def test_agreement_by_hand() -> None:
    labels = [F, F, S, T, T, S]
    matches = [
        match(F, F, (2, 1)),
        match(F, S, (1, 2)),
        match(F, F, (2, 1)),
        match(F, S),
        match(S, S),
        match(S, FAILED),
    ]
    found = agreement(labels, matches)
    assert (found.num_pairs, found.num_failed) == (6, 1)
    assert found.agreement == pytest.approx(2 / 5)
    assert found.agreement_preferred == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.agreement_one_order == pytest.approx(2 / 5)
    assert found.confusion == ((1, 0, 1), (1, 0, 0), (0, 1, 1))
    chance = (2 * 2 + 1 * 1 + 2 * 2) / 25
    assert found.kappa == pytest.approx((2 / 5 - chance) / (1 - chance))
    assert (found.human_tie_rate, found.judge_tie_rate) == (pytest.approx(2 / 5), pytest.approx(2 / 5))
    assert found.longer_rate == 1.0 and found.human_longer_rate == pytest.approx(1 / 3)


def test_a_perfect_judge_has_kappa_one_and_a_constant_one_zero() -> None:
    labels = [F, S, T, F]
    assert agreement(labels, [match(label, label) for label in labels]).kappa == pytest.approx(1.0)
    assert agreement(labels, [match(T, T)] * 4).kappa == pytest.approx(0.0)
    assert agreement([T, T], [match(T, T)] * 2).kappa is None


def test_baselines_are_functions_of_the_texts() -> None:
    pair = Pair(key="k", question="q", first="long answer", second="short")
    swapped = Pair(key="k2", question="q", first="short", second="long answer")
    assert asyncio.run(longer().compare(pair)).outcome is F and asyncio.run(longer().compare(swapped)).outcome is S
    coin = [asyncio.run(random(seed).compare(pair)).outcome for seed in range(40)]
    assert set(coin) == {F, S} and coin == [asyncio.run(random(seed).compare(pair)).outcome for seed in range(40)]


@pytest.mark.parametrize("style", ["full", "short", "bare", "quote"])
def test_a_critic_is_calibrated_on_the_prompts_that_it_was_trained_on(style: Any) -> None:
    known = KnownPair(id="p", problem="p", question="17+25=", right="42", wrong="24")
    judge = Scripted(lambda request: JudgeFailed("refused", "no"))
    asyncio.run(calibrate(PromptedJudge(judge, PromptSettings(style=style)), verified_pairs([known])))
    trained = tasks_of(known, style=style)

    def without_code(messages: Any) -> list[str]:
        return [re.sub(r"[0-9a-f]{6,12}(?=\b)", "", m["content"]) for m in messages]

    assert [without_code(r.messages) for r in judge.requests] == [without_code(t.prompt) for t in trained]
    form = critic_form(style, ("42", "24") if style == "quote" else default_labels(style))
    assert judge.requests[0].schema == form.schema() and judge.requests[0].choices == (
        () if form.is_json else form.choices
    )
