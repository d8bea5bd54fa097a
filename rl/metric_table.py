"""Every number that a run writes, in one table: name, unit, meaning, and the function that computes it.

`docs/metrics.md` shows it, metrics.jsonl, wandb and TensorBoard use its names. A name with a part in angle brackets
stands for a kind: `reward/<gym>/mean` for one number a gym. A number that this table does not know fails a test, and so
does a row that nothing writes. The page is written anew with

    python -m rl.metric_table docs/metrics.md

which replaces what stands between its two marks; `--check` exits with 1 where the page is stale. Imports nothing heavy.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["METRICS", "PHASES", "PLACEHOLDERS", "Metric", "main", "metric_of", "tables"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number, or a kind of numbers."""

    name: str
    """As in metrics.jsonl; a part in angle brackets stands for many."""
    unit: str
    """What it is counted in; `fraction` is of 1, `-` has none."""
    meaning: str
    """What it is, and when it is null or absent. Markdown."""
    source: str
    """`module:function` (or `module:Class.method`) that computes it."""


def _rows(source: str, *rows: tuple[str, str, str]) -> tuple[Metric, ...]:
    return tuple(Metric(name=name, unit=unit, meaning=meaning, source=source) for name, unit, meaning in rows)


METRICS: tuple[Metric, ...] = (
    *_rows("rl.metrics:step_metrics", ("step", "-", "number of the step, from 0")),
    *_rows(
        "rl.metrics:_reward_metrics",
        ("reward/mean", "reward", "mean over the step's unmasked samples; truncated ones count with their penalty"),
        ("reward/length_mean", "reward",
         "mean part of it that the length of responses earned or lost (`reward.length`, `.toggle`, "
         "`.truncation.ramp_tokens`); 0 without"),
        ("reward/spread_frac", "fraction",
         "groups whose unmasked rewards are not all equal: those that teach something"),
        ("reward/<gym>/mean", "reward", "the same mean over one gym's samples; where the step drew from it"),
        ("reward/<gym>/tokens_per_right", "tokens",
         "tokens of the unmasked responses over the number of right ones (a score of 1); null without such"),
        ("reward/<gym>/<component>", "as the gym gives it",
         "mean of one component of the gym's scores, over the samples that have it; where any has"),
    ),
    *_rows(
        "rl.shaping:Shaping.metrics",
        ("reward/is_budgeted", "0 or 1", "the step is of a phase with budgets; where `reward.toggle` is on"),
        ("reward/over_budget_frac", "fraction",
         "unmasked responses that were right and not paid, for more tokens than their task's budget; where as above"),
    ),
    *_rows(
        "rl.thinking:Thinking.metrics",
        ("rollout/thought_tokens_mean", "tokens",
         "of the responses that mark their thoughts, up to the mark that ends them; where any does"),
        ("rollout/answer_tokens_mean", "tokens", "of the same responses, behind that mark; where any does"),
    ),
    *_rows(
        "rl.metrics:step_metrics",
        ("rollout/temperature", "-", "sampling temperature"),
        ("rollout/<gym>/temperature", "-",
         "the same of a gym that has its own (`gyms.NAME.temperature`); where it differs"),
        ("rollout/num_refills", "draws",
         "complete groups of draws that were added in the place of others without spread "
         "(`rollout.prompts.max_refills`)"),
        ("rollout/refill_tokens_frac", "fraction",
         "their part of the sampled tokens of complete groups: what refills cost"),
        ("rollout/num_ungated", "draws", "draws for which no task passed the curriculum's gate"),
        ("rollout/weight_version", "-", "version of the weights that sampled"),
        ("rollout/num_samples", "samples", "draws times siblings"),
        ("rollout/num_dropped_prompts", "tasks",
         "tasks that were drawn, could not be asked, and left their place to others (`rollout.long_prompts`)"),
        ("rollout/num_tokens", "tokens", "tokens sampled in this step or ahead of it, end tokens included"),
        ("rollout/length_mean", "tokens", "mean length of a response, observations not counted"),
        ("rollout/truncated_frac", "fraction", "responses that ran into their budget or were stopped in a loop"),
        ("rollout/repetition_frac", "fraction", "responses that were stopped in a loop (`rollout.repetition`)"),
        ("rollout/surprise_mean", "nats",
         "mean of -log p of the sampled tokens under the engine: an estimate of the entropy at the sampling "
         "temperature"),
        ("rollout/num_carried", "responses", "unfinished, to go on in the next step (`rollout.segment_tokens`)"),
        ("rollout/stale_frac", "fraction", "of the sampled tokens of complete groups, those that older weights drew"),
        ("rollout/turns_mean", "turns", "mean over episodes of many turns; null where no gym has them"),
        ("rollout/unread_calls_frac", "fraction",
         "tool calls that were not what their tool takes, or could not be read at all"),
        ("rollout/silent_answers_frac", "fraction",
         "answers without a word of those that a model gave as a persona (`persona`): it refused, had no room, was cut "
         "off in its thoughts, or was asked too much in one turn; null where none was asked"),
        ("rollout/tokens_per_second", "tokens/s",
         "`rollout/num_tokens` over `phase/rollout_seconds` or `phase/ahead_seconds`: all engines, verifiers included"),
    ),
    *_rows(
        "rl.metrics:_gap_metrics",
        ("rollout/logprob_gap_mean", "nats",
         "mean of |log p of the learner - log p of the engine| over the tokens that are learned from, before the "
         "update"),
        ("rollout/stale_gap_mean", "nats",
         "the same difference over the stale tokens: rounding and the updates since; null where there are none"),
        ("rollout/logprob_gap_stderr", "nats",
         "its standard error over tokens; what `alarm.max_gap` allows must be exceeded by three of them"),
        ("rollout/logprob_gap_median", "nats", "percentile 50 of the same"),
        ("rollout/logprob_gap_p90", "nats", "percentile 90 of the same"),
        ("rollout/logprob_gap_p99", "nats", "percentile 99 of the same"),
        ("rollout/logprob_gap_p999", "nats", "percentile 99.9 of the same"),
        ("rollout/logprob_gap_max", "nats", "the largest of the same"),
        ("rollout/logprob_gap_kl_k3", "nats/token",
         "KL of the engine from the learner, by the estimator k3: mean of w - 1 - log w, w = p of the learner over p "
         "of the engine"),
    ),
    *_rows(
        "rl.metrics:learner_metrics",
        ("learner/policy_loss", "reward x nats",
         "policy loss; mean over the step's updates, as are all `learner/` values of which nothing else is said"),
        ("learner/ptx_loss", "nats/token", "mean negative log-likelihood of the PTX batches; 0 without PTX"),
        ("learner/ptx_coef", "-", "weight of the PTX loss (`ptx.coef`, `.coef_end_frac`); 0 without"),
        ("learner/ptx_heldout_loss", "nats/token",
         "the same loss of held-out conversations (`ptx.num_heldout`), before the step's first update: it rises where "
         "the policy forgets; null where it was not measured"),
        ("learner/qk_max_logit", "-",
         "largest attention logit of the step's updates, each before it; null without `learner.qk_clip`"),
        ("learner/reference_kl", "nats/token",
         "divergence of the policy from the one that RL began with, by `learner.reference_kl.estimator`, before each "
         "update; null without"),
        ("learner/grad_norm", "-", "global gradient norm before clipping"),
        ("learner/update_size", "-",
         "norm of an update's change of the fp32 masters over their norm, estimated from 65,536 entries of each larger "
         "tensor"),
        ("learner/learning_rate", "-", "learning rate of the step"),
        ("learner/log_ratio_mean", "nats",
         "mean log-ratio: per sample for `k2_seq` and `gspo`, per token for the others; 0 at a step's first update"),
        ("learner/log_ratio_std", "nats",
         "root mean square of rho; compare `learner.tau` times it with the spread of the rewards"),
        ("learner/clipped_frac", "fraction",
         "tokens whose log-ratio is out of the bounds of the loss (`k2_seq` and `reinforce` have none)"),
        ("learner/weight_ess", "fraction",
         "effective sample size of the weights of `learner.mismatch` over the step's tokens: 1 where all are equal"),
        ("learner/weight_dropped_frac", "fraction", "tokens whose weight is 0: outside of a band"),
        ("learner/router_aux", "-",
         "load of experts times their share of the scores, which `learner.router_aux` weighs: the experts of a token "
         "where all are loaded alike, and more the less they are; null without"),
        ("learner/routing_flip_frac", "fraction",
         "(token, layer) pairs for which the learner's router would have chosen other experts than the engine, which "
         "`learner.replay_routing` replays; null without"),
        ("learner/num_samples", "samples", "samples that carried a gradient, all minibatches together"),
        ("learner/num_threads", "threads",
         "CPU threads of the learner, or of its first rank, in the last update: `rl.replay` takes as many"),
    ),
    *_rows(
        "rl.metrics:step_metrics",
        ("weights/sync_seconds", "s",
         "hand-over of the weights that sampled: pack, check, swap, all engines; null where they were served already"),
        ("weights/swap_stall_seconds", "s", "longest time that one engine could not decode during that swap"),
        ("weights/num_bytes", "bytes", "size of the packed weights"),
        ("weights/code_flip_frac", "fraction",
         "INT4 codes that the step changed: between the weights it began with and those that it made (docs/int4.md)"),
        ("faults/masked_frac", "fraction",
         "samples masked for a fault of ours; above `reward.max_masked_frac` the run stops"),
        ("faults/broke_verifier_frac", "fraction",
         "samples whose response broke the verifier while a control sample did not: scored `timeout` or `crashed`; "
         "above 0, mend the gym"),
        ("phase/<phase>_seconds", "s", "wall clock of a phase or a part of one, below; where it ran"),
    ),
    *_rows(
        "rl.accuracy:eval_metrics",
        ("eval/<gym>/greedy_accuracy", "fraction",
         "held-out accuracy at temperature 0; where an evaluation ran since the last row"),
        ("eval/<gym>/sampled_accuracy", "fraction", "held-out accuracy at `eval.temperature`; where as above"),
        ("eval/<gym>/heavy_accuracy", "fraction",
         "accuracy of one more attempt that saw the answers of `eval.heavy` sampled ones; where as above"),
    ),
    *_rows(
        "reward.critic_report:CriticReport.metrics",
        ("judge/groups", "groups", "groups that the judge ranked; all of `judge/` only where a gym is judged"),
        ("judge/pairs", "pairs", "pairs of siblings it was asked about"),
        ("judge/masked", "samples", "samples masked because the judge failed"),
        ("judge/gated", "samples", "samples masked because the gate is closed"),
        ("judge/barred", "samples", "samples worth 0: the judge takes no pair with them, by its filter or its limits"),
        ("judge/calls", "calls", "requests to the judge"),
        ("judge/retries", "calls", "of these, repetitions"),
        ("judge/prompt_tokens", "tokens", "tokens that the judge read"),
        ("judge/tokens", "tokens", "tokens that the judge wrote"),
        ("judge/seconds", "s", "time of the calls, summed though they overlap"),
        ("judge/undecided_frac", "fraction", "pairs without a verdict that could be read; where there are pairs"),
        ("judge/flip_frac", "fraction",
         "decided pairs whose two orders name different winners; where there are decided pairs"),
        ("judge/tie_frac", "fraction", "decided pairs that ended in a tie, flips included; where as above"),
        ("judge/position_bias", "-1 to 1",
         "(verdicts for the first - for the second) / both; where there are such verdicts"),
        ("judge/longer_wins_frac", "fraction",
         "pairs of unequal length with a winner that the longer answer won; where there are such pairs"),
    ),
    *_rows(
        "reward.calibration:CriticGate.metrics",
        ("judge/gate_open", "0 or 1", "1: rubric rewards count. 0: they are masked, and the console tells why"),
        ("judge/calibration_num_pairs", "pairs", "of the last calibration, as all of `judge/calibration_`"),
        ("judge/calibration_num_failed", "pairs", "pairs without a verdict in one order or both"),
        ("judge/calibration_accuracy", "fraction",
         "1 where both orders name the right answer, 0 where both name the wrong one, else 1/2"),
        ("judge/calibration_auc", "fraction", "chance that a right answer is preferred to a wrong one of any pair"),
        ("judge/calibration_flip_rate", "fraction", "pairs whose two orders name different winners"),
        ("judge/calibration_tie_rate", "fraction", "pairs that ended in a tie, flips included"),
        ("judge/calibration_position_bias", "-1 to 1", "(verdicts for the first - for the second) / both"),
        ("judge/calibration_length_bias", "-1 to 1",
         "how much more often the longer answer is preferred than it is right"),
    ),
)  # fmt: skip
"""In the page's order."""

PHASES: Mapping[str, str] = {
    "generate": "the engines' turn: start of the engines where needed, swap, evaluation, rollout",
    "start": "within it: engines that were missing read the model and begin; in a run's first step, and after a loss",
    "rollout": "within it: from the first request to the last score; of what was drawn ahead, the wait for its end",
    "ahead": "beside the learner's turn before: from the first request to the last score of this step's samples",
    "eval": "within it: an evaluation",
    "calibrate": "within it: the judge on pairs with a known winner",
    "learn": "the learner's turn",
    "old_logprobs": "within it: log pi_old of all minibatches but the first; none with one minibatch",
    "update": "within it: the optimiser updates",
    "pack": "within it: packing and publishing",
    "save": "a checkpoint that is waited for (`checkpoint.meanwhile`); after a step's row, so in the next one",
}
"""What `phase/<phase>_seconds` covers."""

SECTIONS: Mapping[str, str] = {
    "step": "",
    "reward": "Rewards, as they enter the group mean",
    "rollout": "Sampling",
    "learner": "The update",
    "weights": "The hand-over",
    "faults": "Faults",
    "phase": "Time",
    "eval": "Held-out accuracy",
    "judge": "The critic",
}
"""Headings by the first part of a name."""
PIPE = r"\|"
"""A pipe in a cell of a Markdown table."""
BEGIN, END = "<!-- begin: python -m rl.metric_table docs/metrics.md -->\n", "<!-- end -->\n"
PLACEHOLDERS = {"<gym>": r"[^/]+", "<component>": r".+", "<phase>": "(?:" + "|".join(PHASES) + ")"}
"""What may stand in the place of angle brackets, as a regular expression."""


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], Metric], ...]:
    found = []
    for metric in sorted(METRICS, key=lambda one: one.name.count("<")):  # a name of its own before a kind
        pattern = re.escape(metric.name)
        for key, value in PLACEHOLDERS.items():
            pattern = pattern.replace(re.escape(key), value)
        found.append((re.compile(pattern), metric))
    return tuple(found)


def metric_of(key: str) -> Metric | None:
    """The table's row for a key of metrics.jsonl; None where it has none."""
    return next((metric for pattern, metric in _patterns() if pattern.fullmatch(key)), None)


def tables() -> str:
    """What stands between the page's marks: a table for each first part of the names, and that of the phases."""
    text = ""
    for section, title in SECTIONS.items():
        rows = [metric for metric in METRICS if metric.name.partition("/")[0] == section]
        heading = f"\n### `{section}/`: {title[0].lower()}{title[1:]}\n" if title else ""
        text += heading + "\n| name | unit | meaning | computed by |\n|---|---|---|---|\n"
        text += "".join(
            f"| `{row.name}` | {row.unit} | {row.meaning.replace('|', PIPE)} | `{row.source}` |\n" for row in rows
        )
        if section == "phase":
            text += "\n| phase | what it covers |\n|---|---|\n"
            text += "".join(f"| `{name}` | {meaning} |\n" for name, meaning in PHASES.items())
    return text + "\n"


def _renewed(page: str) -> str:
    """The page with today's tables.

    Raises:
        ValueError: its marks are missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"wanted the lines {BEGIN.strip()!r} and {END.strip()!r}, around what is generated")
    return before + BEGIN + tables() + END + after


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.metric_table") -> int:
    """Write the page's tables anew, or with `--check` compare; the exit status."""
    parser = argparse.ArgumentParser(prog=prog, description="The tables of docs/metrics.md, from the table in code")
    parser.add_argument("page", type=Path, metavar="PAGE", help="docs/metrics.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where PAGE is stale")
    options = parser.parse_args(arguments)
    try:
        old = options.page.read_text(encoding="utf-8")
        new = _renewed(old)
    except (OSError, ValueError) as error:
        print(f"{options.page}: {error}", file=sys.stderr)
        return 2
    if options.check and old != new:
        print(f"{options.page} is stale; run: {prog} {options.page}", file=sys.stderr)
        return 1
    if not options.check:
        options.page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
