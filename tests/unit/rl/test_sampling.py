"""Which tasks a step asks: a function of (seed, step, success rates), in the proportions that it promises."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from configs.prompts import GateConfig, PromptsConfig
from gyms.api import Status
from gyms.mixture import GymEntry, draws
from rl.sampling import PromptSampler, passes, uniform_number, with_groups
from tests.unit.rl.listed import ListedGym, entry, task

SIX = [task(f"t{i}") for i in range(6)]
PRIORITISED = PromptsConfig(rule="prioritised")


def sampler(entries, settings=PRIORITISED, *, num=1, seed=0, fits=lambda gym, task: True, known=None) -> PromptSampler:
    return PromptSampler(settings, entries, seed=seed, num=num, fits=fits, known=known or {})


def names(found) -> list[str]:
    return [draw.task.id for draw in found]


def test_uniform_draws_are_those_of_the_mixture():
    entries = [entry("a", SIX), entry("b", [task("u"), task("v")], share=0.5)]
    one = sampler(entries, PromptsConfig(), num=5, seed=3)
    for step in range(4):
        assert one.draws(step, {}) == draws(3, step, 5, entries)


def test_tasks_come_in_proportion_to_how_often_they_fail():
    entries, rates = [entry("a", SIX[:4])], {"a": {"t0": 0.0, "t1": 0.5, "t2": 0.75, "t3": 1.0}}
    num, weights = 4000, {"t0": 1.0, "t1": 0.5, "t2": 0.25, "t3": 0.05}
    counts = Counter(names(d for step in range(num) for d in sampler(entries).draws(step, rates)))
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(counts[name] - num * share) < 4 * math.sqrt(num * share * (1 - share))  # 4 standard deviations


def test_what_is_unknown_has_the_weight_of_what_always_fails_and_a_file_stands_in_for_the_run():
    entries, num = [entry("a", SIX[:3])], 3000
    one = sampler(entries, known={"a": {"t0": 0.5, "t1": 0.0}})
    counts = Counter(names(d for step in range(num) for d in one.draws(step, {"a": {"t1": 0.5}})))
    for name, share in {"t0": 0.25, "t1": 0.25, "t2": 0.5}.items():
        assert abs(counts[name] - num * share) < 4 * math.sqrt(num * share * (1 - share))


def test_draws_are_a_function_of_seed_step_and_rates():
    entries, rates = [entry("a", SIX)], {"a": {"t0": 0.9}}
    found = [sampler(entries, num=3).draws(step, rates) for step in range(20)]
    again = json.loads(json.dumps(rates))  # as a checkpoint keeps them
    assert [sampler(entries, num=3).draws(step, again) for step in reversed(range(20))] == found[::-1]
    assert [sampler(entries, num=3, seed=1).draws(step, rates) for step in range(20)] != found
    assert [sampler(entries, num=3).draws(step, {"a": {"t1": 0.9}}) for step in range(20)] != found


def test_a_step_asks_no_task_twice_while_there_are_others_and_keeps_the_shares_of_gyms():
    entries = [entry("a", SIX, share=2.0), entry("b", [task("u"), task("v")])]
    rates = {"a": {f"t{i}": 1.0 for i in range(5)}}  # t5 alone fails
    for step in range(30):
        found = sampler(entries, num=6).draws(step, rates)
        assert Counter(draw.gym for draw in found) == {"a": 4, "b": 2}
        assert len(set(names(found))) == 6
    few = sampler([entry("a", SIX[:2])], num=3).draws(0, {})
    assert set(names(few)) == {"t0", "t1"} and len(few) == 3


def test_tasks_that_a_gym_gets_during_the_run_are_asked():
    class Growing(ListedGym):
        def tasks(self, split):
            return list(self.pool)

    for settings in (PromptsConfig(max_refills=2), PromptsConfig(rule="prioritised", max_refills=2)):
        gym = Growing(())
        gym.pool = SIX[:2]
        one = sampler([GymEntry(name="a", gym=gym, share=1.0, budget=8)], settings, num=2)
        asked = one.draws(0, {})
        assert set(names(asked)) == {"t0", "t1"}
        gym.pool = SIX
        assert set(names(one.refill(0, {}, asked, asked))) <= {"t2", "t3", "t4", "t5"}
        assert {name for step in range(1, 9) for name in names(one.draws(step, {}))} == set(names_of(SIX))


def test_a_gate_looks_at_the_rate_of_the_run_or_at_the_difficulty_that_the_gym_gives():
    easy = GateConfig(min_rate=0.5)
    assert passes(easy, SIX[0], 0.5) and passes(easy, SIX[0], None) and not passes(easy, SIX[0], 0.49)
    level = GateConfig(min_difficulty=2, max_difficulty=3)
    assert [passes(level, task("x", difficulty=d), None) for d in (1, 2, 3, 4)] == [False, True, True, False]
    assert not passes(level, SIX[0], None) and not passes(level, task("x", difficulty=True), None)


@pytest.mark.parametrize("rule", ["uniform", "prioritised"])
def test_a_curriculum_goes_from_stage_to_stage(rule):
    levels = [entry("a", [task(f"l{i}", difficulty=i) for i in range(8)])]
    gates = (GateConfig(from_step=2, max_difficulty=3), GateConfig(from_step=5, min_difficulty=6))
    one = sampler(levels, PromptsConfig(rule=rule, gates=gates), num=2)
    seen = [{d.task.data["difficulty"] for d in one.draws(step, {})} for step in range(40)]
    assert set().union(*seen[:2]) - {0, 1, 2, 3}
    assert set().union(*seen[2:5]) <= {0, 1, 2, 3}
    assert set().union(*seen[5:]) == {6, 7}
    assert not any(d.is_ungated for step in range(10) for d in one.draws(step, {}))


def test_where_no_task_passes_the_gate_one_is_asked_all_the_same_and_counted():
    gates = (GateConfig(max_rate=0.5),)
    for rule in ("uniform", "prioritised"):
        one = sampler([entry("a", SIX)], PromptsConfig(rule=rule, gates=gates), num=2)
        found = one.draws(1, {"a": dict.fromkeys(names_of(SIX), 0.9)})
        assert [draw.is_ungated for draw in found] == [True, True]
        some = one.draws(1, {"a": dict.fromkeys(names_of(SIX[1:]), 0.9)})
        assert [(d.task.id, d.is_ungated) for d in some if not d.is_ungated][:1] == [("t0", False)]


def names_of(tasks) -> list[str]:
    return [one.id for one in tasks]


def test_a_task_that_cannot_be_asked_never_comes_and_none_at_all_is_an_error():
    for settings in (PromptsConfig(), PRIORITISED):
        one = sampler([entry("a", SIX)], settings, num=2, fits=lambda gym, task: task.id in ("t3", "t4"))
        found = [draw for step in range(12) for draw in one.draws(step, {})]
        assert set(names(found)) == {"t3", "t4"}
        assert sum(draw.num_dropped for draw in found) > 0
        with pytest.raises(ValueError, match="none can be asked"):
            sampler([entry("a", SIX)], settings, fits=lambda gym, task: False).draws(0, {})


def test_refills_are_of_the_gyms_that_they_replace_and_repeat_nothing_of_their_step():
    entries = [entry("a", SIX), entry("b", [task(f"u{i}") for i in range(6)])]
    for rule in ("uniform", "prioritised"):
        one = sampler(entries, PromptsConfig(rule=rule, max_refills=4), num=4)
        asked = one.draws(7, {})
        first = one.refill(7, {}, asked, [asked[0], asked[1]])
        second = one.refill(7, {}, [*asked, *first], [first[0], first[0]])
        assert [d.gym for d in (*first, *second)] == [asked[0].gym, asked[1].gym] + [first[0].gym] * 2
        assert [d.index for d in (*first, *second)] == [-(7 * 4 + i) for i in (1, 2, 3, 4)]
        everything = names([*asked, *first, *second])
        assert len(set(everything)) == len(everything)
        assert one.refill(7, {}, asked, [asked[0], asked[1]]) == first
        assert one.refill(8, {}, one.draws(8, {}), [asked[0], asked[1]]) != first


def test_success_rates_move_by_what_the_siblings_scored(group, scored):
    first = with_groups({}, [group(0, 1.0, 0.0, 0.0, 0.0)], memory=0.5)
    assert first == {"sums": {"sums/1": 0.25}}
    second = with_groups(first, [group(0, 1.0, 1.0, scored(status=Status.VERIFIER_ERROR))], memory=0.75)
    assert second == {"sums": {"sums/1": 0.75 * 0.25 + 0.25 * 1.0}}
    assert first == {"sums": {"sums/1": 0.25}}  # a step that is done again begins with the old ones
    assert with_groups(second, [group(0, scored(status=Status.JUDGE_FAILED))], memory=0.5) == second
    truncated = [group(0, scored(status=Status.TRUNCATED), 1.0, task=task("t"))]
    assert with_groups({}, truncated, memory=0.0) == {"sums": {"t": 0.5}}


def test_uniform_numbers_are_uniform():
    found = [uniform_number(0, "x", i) for i in range(2000)]
    assert all(0 <= x < 1 for x in found)
    assert abs(sum(found) / 2000 - 0.5) < 4 / math.sqrt(12 * 2000)
