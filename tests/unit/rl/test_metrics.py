"""The numbers of a step, by hand, and their names against the documentation."""

from __future__ import annotations

import importlib
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from configs.load import load_config
from gyms.api import Call, Status, Turn
from gyms.response import Response
from reward.calibration import Calibration, CriticGate
from reward.control import CONTROL_FLAG
from reward.critic_report import CriticReport
from reward.rules import TruncationRule
from rl.accuracy import eval_metrics
from rl.batch import learning_batch
from rl.metric_table import METRICS, SECTIONS, main, metric_of
from rl.metric_table import PHASES as PHASES_OF_A_STEP
from rl.metrics import fault_causes, step_metrics
from rl.mismatch import LogprobGap
from rl.partial import PartialGroup
from rl.shaping import Shaping
from rl.thinking import Thinking
from rl.update import UpdateMetrics
from rollout.types import FinishReason, PlayedTurn

GAP = LogprobGap(num=9, mean=0.02, stderr=0.01, max=0.5, median=0.015, p90=0.1, p99=0.3, p999=0.4, kl_k3=0.001)
DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
PHASES = {"rollout": 2.0, "old_logprobs": 0.5, "update": 1.0, "save": 0.25, "eval": 3.0}


def update(**changes) -> UpdateMetrics:
    facts = {
        "policy_loss": 0.5,
        "ptx_loss": 2.0,
        "grad_norm": 1.0,
        "learning_rate": 1e-4,
        "update_size": 1e-3,
        "log_ratio_mean": 0.0,
        "log_ratio_std": 0.0,
        "clipped_frac": 0.0,
        "weight_sum": 8.0,
        "weight_square_sum": 8.0,
        "num_dropped": 2,
        "num_tokens": 10,
        "num_samples": 4,
        "seconds": 1.0,
        "num_threads": 2,
    }
    return UpdateMetrics(**facts | changes)


@pytest.fixture
def groups(group, scored):
    mask = TruncationRule(rule="mask")
    return [
        group(
            0,
            scored(1.0, components={"correct": 1.0, "brief": 0.5}, logprobs=(-1.0, -2.0, -3.0)),
            scored(0.0, components={"correct": 0.0}, token_ids=(4,), logprobs=(-4.0,)),
        ),
        group(1, scored(1.0), scored(1.0), gym="words"),
        group(2, scored(status=Status.VERIFIER_ERROR, detail="hung"), scored(0.5), gym="words"),
        group(3, scored(status=Status.TRUNCATED, truncation=mask), scored(status=Status.NO_ANSWER), gym="words"),
    ]


def batch_of(groups, **changes):
    return learning_batch(groups, **{"step": 3, "seed": 0, "num_minibatches": 1, "drop_zero_spread": True} | changes)


def row_of(groups, **changes):
    facts = {
        "step": 3,
        "temperature": 0.9,
        "weight_version": 4,
        "batch": batch_of(groups),
        "updates": [update(), update(grad_norm=3.0, log_ratio_std=0.5)],
        "gap": GAP,
        "phases": PHASES,
        "sync_seconds": 0.5,
        "stall_seconds": 0.125,
        "num_weight_bytes": 1000,
        "code_flip_frac": 0.0625,
    }
    return step_metrics(**facts | changes)


def test_rewards_are_means_over_what_was_not_masked(groups):
    row = row_of(groups)
    assert row["reward/mean"] == pytest.approx((1 + 0 + 1 + 1 + 0.5 + 0) / 6)
    assert row["reward/sums/mean"] == 0.5
    assert row["reward/words/mean"] == pytest.approx(2.5 / 4)
    assert row["reward/sums/correct"] == 0.5 and row["reward/sums/brief"] == 0.5
    assert row["reward/spread_frac"] == 0.25  # of the first group alone


def test_tokens_are_told_per_right_answer_of_each_gym_and_not_where_none_is_right(groups, group):
    row = row_of([*groups, group(4, 0.5, 0.0, gym="graded")])
    assert row["reward/sums/tokens_per_right"] == (3 + 1) / 1  # one right, one wrong
    assert row["reward/words/tokens_per_right"] == (3 + 3 + 3 + 3) / 2  # masked and truncated ones are left out
    assert row["reward/graded/tokens_per_right"] is None


def test_only_our_own_faults_are_in_the_masked_fraction(groups):
    row = row_of(groups)
    assert row["faults/masked_frac"] == 1 / 8
    assert row["rollout/truncated_frac"] == 1 / 8
    assert fault_causes(groups) == ["verifier_error: hung"]


def test_responses_that_were_stopped_in_a_loop_are_counted_among_the_truncated_and_apart(group, scored):
    cut, loop = scored(status=Status.TRUNCATED), scored(status=Status.TRUNCATED)
    loop = replace(loop, sample=replace(loop.sample, finish_reason=FinishReason.REPETITION))
    row = row_of([group(0, cut, loop, scored(1.0), scored(0.0))])
    assert row["rollout/truncated_frac"] == 2 / 4 and row["rollout/repetition_frac"] == 1 / 4
    assert row["faults/masked_frac"] == 0.0


def test_answers_without_a_word_are_counted_among_those_that_a_model_gave(group, scored):
    calls = tuple(Call(id=text or "", tool="t", arguments={}, heard=text) for text in (None, "", " ", "No.", "8"))
    one = scored(1.0)
    asked = replace(one, sample=replace(one.sample, turns=(PlayedTurn(turn=Turn(text="", calls=calls)),)))
    assert row_of([group(0, asked, 0.0)])["rollout/silent_answers_frac"] == 2 / 4
    assert row_of([group(0, 1.0, 0.0)])["rollout/silent_answers_frac"] is None


def test_responses_that_broke_their_verifier_are_counted_apart(group, scored):
    broken = scored(status=Status.CRASHED, flags=frozenset({CONTROL_FLAG}))
    row = row_of([group(0, broken, scored(status=Status.CRASHED), scored(1.0), scored(0.0))])
    assert row["faults/broke_verifier_frac"] == 1 / 4 and row["faults/masked_frac"] == 0.0


def test_lengths_speed_and_surprise(groups):
    row = row_of(groups)
    assert row["rollout/num_samples"] == 8 and row["rollout/num_tokens"] == 3 + 1 + 6 * 3
    assert row["rollout/length_mean"] == 22 / 8 and row["rollout/tokens_per_second"] == 11.0
    assert row["rollout/surprise_mean"] == pytest.approx((1 + 2 + 3 + 4 + 18 * 0.5) / 22)


def test_learner_metrics_are_means_over_the_updates_and_samples_are_summed(groups):
    row = row_of(groups)
    assert row["learner/grad_norm"] == 2.0 and row["learner/log_ratio_std"] == 0.25
    assert row["learner/num_samples"] == 8 and row["learner/learning_rate"] == 1e-4
    assert row["learner/num_threads"] == 2


def test_times_and_bytes_are_passed_on(groups):
    row = row_of(groups)
    assert {key: row[key] for key in row if key.startswith(("phase/", "weights/"))} == {
        "phase/rollout_seconds": 2.0,
        "phase/old_logprobs_seconds": 0.5,
        "phase/update_seconds": 1.0,
        "phase/save_seconds": 0.25,
        "phase/eval_seconds": 3.0,
        "weights/sync_seconds": 0.5,
        "weights/swap_stall_seconds": 0.125,
        "weights/num_bytes": 1000,
        "weights/code_flip_frac": 0.0625,
    }


def test_the_gap_between_learner_and_engine_is_in_the_row_with_its_tail(groups):
    row = row_of(groups)
    assert (row["rollout/logprob_gap_mean"], row["rollout/logprob_gap_p99"]) == (0.02, 0.3)
    assert (row["rollout/logprob_gap_max"], row["rollout/logprob_gap_kl_k3"]) == (0.5, 0.001)


def test_weights_are_counted_over_the_tokens_of_all_updates(groups):
    one = update(weight_sum=2.0, weight_square_sum=4.0, num_dropped=3, num_tokens=4)
    other = update(weight_sum=2.0, weight_square_sum=4.0, num_dropped=0, num_tokens=1)
    row = row_of(groups, updates=[one, other])
    assert row["learner/weight_ess"] == pytest.approx(16 / (5 * 8)) and row["learner/weight_dropped_frac"] == 3 / 5


def test_a_number_without_data_is_null_and_never_left_out(groups, group, scored):
    lost = [group(0, *[scored(status=Status.CANCELLED, logprobs=None)] * 2)]
    bare = row_of(lost, updates=[], gap=None, phases=PHASES | {"rollout": 0.0}, sync_seconds=None, stall_seconds=None)
    full = row_of(groups[:1])
    assert {key for key in full if "correct" not in key and "brief" not in key} <= bare.keys()
    for key in ("reward/mean", "rollout/logprob_gap_mean", "learner/weight_ess", "learner/grad_norm"):
        assert bare[key] is None
    assert "null" in json.dumps(bare) and "NaN" not in json.dumps(bare)


def test_a_component_cannot_take_the_name_of_the_mean_reward(group, scored):
    row = row_of([group(0, scored(1.0, components={"mean": 0.25}), scored(0.0, components={"mean": 0.25}))])
    assert row["reward/sums/mean"] == 0.5


def test_every_name_of_a_row_stands_in_the_table_and_every_row_of_the_table_is_written(groups):
    full = row_of(groups, phases=dict.fromkeys(PHASES_OF_A_STEP, 1.0))
    report = CriticReport(num_pairs=1, num_first_said=1, num_longer_wins=1)
    gate = CriticGate()
    gate.update(0, Calibration(**{field.name: 1 for field in fields(Calibration)}))
    full |= eval_metrics({"gyms": {"sums": {kind: {"mean": 0.5} for kind in ("greedy", "sampled", "heavy")}}})
    full |= report.metrics() | gate.metrics() | row_of(groups, temperature=0.5)
    toggled = load_config([Path(__file__).parents[3] / "configs" / "tiny_cpu.toml"], ["reward.toggle.period=1"])
    full |= Shaping(toggled, judged=frozenset()).metrics(0, groups)
    thinking = Thinking(lambda sample: Response("1", f"hm. {sample.text}"), lambda ids: "1" * len(ids))
    full |= thinking.metrics(groups)
    assert [key for key in full if metric_of(key) is None] == []
    assert [metric.name for metric in METRICS if metric not in map(metric_of, full)] == []


def test_names_of_their_own_come_before_kinds_of_names():
    assert metric_of("reward/sums/mean").unit == "reward"
    assert metric_of("reward/a.b-c/parts/of it").name == "reward/<gym>/<component>"
    assert metric_of("reward/mean").name == "reward/mean"
    assert metric_of("phase/nap_seconds") is None and metric_of("rollout/no_such") is None


def test_every_source_exists_and_every_name_is_told_once():
    for metric in METRICS:
        module, _, path = metric.source.partition(":")
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        assert callable(found)
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert {name.partition("/")[0] for name in names} == set(SECTIONS)


def test_the_page_shows_the_table_as_it_is(tmp_path, capsys):
    assert main([str(DOCUMENT), "--check"]) == 0
    stale = tmp_path / "metrics.md"
    stale.write_text(DOCUMENT.read_text().replace("| sampling temperature |", "| heat |"))
    assert main([str(stale), "--check"]) == 1 and "is stale; run: " in capsys.readouterr().err
    assert main([str(stale)]) == 0 and stale.read_text() == DOCUMENT.read_text()
    stale.write_text("no marks")
    assert main([str(stale)]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_tokens_of_older_weights_are_stale_and_were_counted_in_their_own_step(group, scored):
    whole = group(0, 1.0)
    (new,) = whole.samples[0].sample.segments
    old = replace(new, weight_version=3, token_ids=(5, 6, 7), logprobs=(-1.0,) * 3)
    sample = replace(whole.samples[0].sample, segments=(old, new))
    spanning = replace(whole, samples=(replace(whole.samples[0], sample=sample),))
    waiting = PartialGroup(
        draw=whole.draw, step=0, siblings=((replace(sample, finish_reason=FinishReason.PAUSED), None),)
    )
    row = row_of([spanning], carried=(waiting,))
    assert row["rollout/stale_frac"] == 3 / (3 + len(new.token_ids))
    assert row["rollout/num_tokens"] == 2 * len(new.token_ids) and row["rollout/num_carried"] == 1


def test_a_gym_with_a_temperature_of_its_own_shows_it(groups):
    assert "rollout/sums/temperature" not in row_of(groups)  # 0.9, as the step's
    row = row_of(groups, temperature=1.25)
    assert (row["rollout/sums/temperature"], row["rollout/temperature"]) == (0.9, 1.25)
