"""Which curves the page shows, from which numbers, in which words. Pure: plain figures, drawn by the browser.

The table below is the list to change. A colour means a run in every chart of lines, a dash another number of the same
run; a stack has a chart for each run. A figure without data is left out; numbers of metrics.jsonl that no figure names
come last, a small chart each, so that nothing a run records is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gyms.api import Status
from rl.page.bands import Band, accuracy_band
from rl.page.folder import RunRecord
from rl.page.stored import number, of_policy, step_of
from rl.page.summary import GATE_CLOSED, StepSummary
from rl.step_times import own_seconds

__all__ = ["SECTIONS", "Figure", "Series", "figures_of"]

Dash = Literal["solid", "dash", "dot", "dashdot", "points"]

SECTIONS: Mapping[str, str] = {
    "learning": "Does it learn?",
    "writing": "What does it write?",
    "health": "Is it healthy?",
    "judge": "Can the judge be trusted?",
    "time": "Where does the time go?",
    "schedule": "What was set?",
    "other": "Every other number",
}

PLAIN: Sequence[tuple[str, str, str, str, Mapping[str, tuple[str, Dash]], str]] = (
    ("learning", "Groups that teach", "fraction of groups", "Siblings whose rewards are not all equal.",
     {"reward/spread_frac": ("", "solid")}, ""),
    ("learning", "Reward for length", "reward", "Part of the mean reward that the length of responses earned.",
     {"reward/length_mean": ("", "solid")}, "nonzero"),
    ("writing", "Surprise", "nats per token", "Mean -log p of the sampled tokens: an estimate of the entropy.",
     {"rollout/surprise_mean": ("", "solid")}, ""),
    ("health", "Log-probability gap", "nats, log scale", "Learner against engine, over the tokens learned from.",
     {"rollout/logprob_gap_mean": ("mean", "solid"), "rollout/logprob_gap_p99": ("99 %", "dash"),
      "rollout/logprob_gap_max": ("largest", "dot")}, "log"),
    ("writing", "Turns", "turns an episode", "", {"rollout/turns_mean": ("", "solid")}, "zero"),
    ("writing", "Unreadable tool calls", "fraction of calls", "Not what their tool takes, or not to be read at all.",
     {"rollout/unread_calls_frac": ("", "solid")}, "zero"),
    ("health", "PTX loss", "nats per token", "Negative log-likelihood of the curated conversations.",
     {"learner/ptx_loss": ("", "solid")}, "nonzero"),
    ("health", "Gradient norm", "before clipping", "A step that stands out deserves a look at its samples.",
     {"learner/grad_norm": ("", "solid")}, ""),
    ("health", "Policy loss", "reward x nats", "Its level says little; a jump says much.",
     {"learner/policy_loss": ("", "solid")}, ""),
    ("health", "Log-ratio", "nats", "How far updates move the policy from the one that sampled.",
     {"learner/log_ratio_std": ("root mean square", "solid"), "learner/log_ratio_mean": ("mean", "dash")}, "nonzero"),
    ("health", "INT4 codes that flip", "fraction of codes", "Changed by the step, as the engines see it.",
     {"weights/code_flip_frac": ("", "solid")}, ""),
    ("health", "Stale tokens", "fraction", "Sampled by older weights: responses that several steps share.",
     {"rollout/stale_frac": ("", "solid")}, "nonzero"),
    ("judge", "Calibration", "fraction of known pairs", "Right verdicts on pairs with a known winner.",
     {"judge/calibration_accuracy": ("right", "solid"), "judge/calibration_flip_rate": ("flips", "dot")},
     ""),
    ("judge", "Gate", "1 open, 0 closed", "Closed: verdicts do not count, and judged samples are masked.",
     {"judge/gate_open": ("", "solid")}, "step"),
    ("judge", "Verdicts in training", "fraction of pairs", "Flips went by position; undecided ones have no verdict.",
     {"judge/flip_frac": ("flips", "solid"), "judge/tie_frac": ("ties", "dash"),
      "judge/undecided_frac": ("undecided", "dot")}, ""),
    ("judge", "Won by the longer answer", "fraction of decided pairs", "Far above one half: the judge pays for length.",
     {"judge/longer_wins_frac": ("", "solid")}, ""),
    ("time", "Pack and swap", "seconds", "Hand-over of new weights, and how long an engine stood still for it.",
     {"weights/sync_seconds": ("pack, check, swap", "solid"), "weights/swap_stall_seconds": ("engine stall", "dash")},
     ""),
    ("time", "Decoding", "tokens per second", "All engines, verifiers' time included.",
     {"rollout/tokens_per_second": ("", "solid")}, ""),
    ("schedule", "Learning rate", "", "", {"learner/learning_rate": ("", "solid")}, ""),
    ("schedule", "Sampling temperature", "", "", {"rollout/temperature": ("", "solid")}, ""),
)  # fmt: skip
"""Section, title, unit, caption, metrics with their label and dash, axis; `nonzero`: left out where all is 0, as it is
without PTX or with one update a step."""

PHASES = {
    "rollout": "rollout",
    "eval": "evaluation",
    "calibrate": "calibration",
    "start": "engines: start",
    "generate": "engines: the rest",
    "old_logprobs": "old log-probs",
    "update": "update",
    "pack": "pack",
    "learn": "learner: the rest",
    "save": "checkpoint",
}
"""In the order of the stack, with the words of the legend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One curve, or one colour of a stack."""

    run: int
    name: str
    """What the number is, where a figure shows several; else empty."""
    x: Sequence[float]
    """Steps."""
    y: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    dash: Dash = "solid"
    """`points`: marks that no line connects."""
    words: Sequence[str] | None = None
    """What a point is called, where it has a name."""
    hatched: bool = False
    """Of a stack: drawn with lines across its colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One chart."""

    section: str
    title: str
    unit: str
    caption: str
    series: Sequence[Series]
    kind: Literal["lines", "stack"] = "lines"
    axis: str = ""
    """`log`, `rate` (0 to 1), `zero` (from 0), `step` (changes at once), or nothing."""
    band: str = ""
    """What a shaded area is, in words."""

    def facts(self) -> dict[str, Any]:
        """As plain data, numbers to six digits."""
        facts = asdict(self)
        for series in facts["series"]:
            for name in ("x", "y", "low", "high"):
                series[name] = None if series[name] is None else [_rounded(value) for value in series[name]]
        return facts


def figures_of(runs: Sequence[RunRecord], summaries: Sequence[Mapping[int, StepSummary]]) -> list[Figure]:
    """All figures that have data, by section."""
    figures = [*_heldout(runs), *_rewards(runs, summaries), *_written(runs, summaries), *_faults(runs, summaries)]
    figures += [*_phases(runs), *_plain(runs)]
    used = {name for *_, metrics, _ in PLAIN for name in metrics} | {"step"}
    figures += _others(runs, used)
    order = list(SECTIONS)
    return sorted((f for f in figures if f.series), key=lambda figure: order.index(figure.section))


def _heldout(runs: Sequence[RunRecord]) -> Iterable[Figure]:
    gyms = _names(name for run in runs for row in run.evals for name in row["gyms"])
    kinds: tuple[tuple[str, str, Dash], ...] = (
        ("greedy", "greedy", "solid"), ("sampled", "sampled", "dash"), ("best", "best of k", "dot"),
        ("heavy", "heavy", "dashdot"),
    )  # fmt: skip
    for gym in gyms:
        series = []
        for r, run in enumerate(runs):
            rows = [row for row in run.evals if isinstance(row["gyms"].get(gym), dict)]
            last = {step_of(row): row for row in of_policy(rows)}  # of several stages at a step the line takes the last
            trained, others = list(last.values()), [row for row in rows if last.get(step_of(row)) is not row]
            for key, name, dash in kinds:
                series += _accuracies(r, name, trained, gym, key, dash)
            series += _accuracies(r, "greedy, other stages", others, gym, "greedy", "points")
        yield Figure(
            section="learning", title=f"Held-out accuracy: {gym}", unit="fraction right", series=series, axis="rate",
            caption="The same unseen tasks every time.", band="95 % interval over tasks",
        )  # fmt: skip


def _accuracies(
    run: int, name: str, rows: Sequence[Mapping[str, Any]], gym: str, key: str, dash: Dash
) -> Iterable[Series]:
    found = [(row, band) for row in rows if (band := accuracy_band(row["gyms"][gym].get(key))) is not None]
    if found:
        words = [str(row.get("stage", "")) for row, _ in found]
        yield _banded(run, name, [(step_of(row) or 0, band) for row, band in found], dash=dash, words=words)


def _rewards(runs: Sequence[RunRecord], summaries: Sequence[Mapping[int, StepSummary]]) -> Iterable[Figure]:
    gyms = _names(gym for summary in summaries for step in summary.values() for gym in step.rewards)
    if len(gyms) > 1:
        series = [s for r, run in enumerate(runs) for s in _metric(r, run, "reward/mean", "", "solid")]
        caption = "Mean over the step's unmasked samples, whatever their gym."
        yield Figure(section="learning", title="Reward: all gyms", unit="reward", caption=caption, series=series)
    for gym in gyms:
        series = []
        for r, summary in enumerate(summaries):
            points = [(step, s.rewards.get(gym)) for step, s in sorted(summary.items())]
            series += [_banded(r, "", points)] if any(band for _, band in points) else []
        yield Figure(
            section="learning", title=f"Reward: {gym}", unit="reward", series=series,
            caption="Mean over the step's unmasked samples.", band="95 % band over prompts",
        )  # fmt: skip


def _written(runs: Sequence[RunRecord], summaries: Sequence[Mapping[int, StepSummary]]) -> Iterable[Figure]:
    lengths = [_banded(r, "", [(n, s.length) for n, s in sorted(of.items())]) for r, of in enumerate(summaries) if of]
    yield Figure(
        section="writing", title="Response length", unit="tokens", series=lengths, axis="zero",
        caption="Mean of the step's responses.", band="from the 10th to the 90th percentile",
    )  # fmt: skip
    series = [s for r, run in enumerate(runs) for s in _metric(r, run, "rollout/truncated_frac", "", "solid")]
    yield Figure(
        section="writing", title="Truncated", unit="fraction of responses", series=series, axis="zero",
        caption="Responses that ran into their budget.",
    )  # fmt: skip


def _plain(runs: Sequence[RunRecord]) -> Iterable[Figure]:
    for section, title, unit, caption, metrics, axis in PLAIN:
        series = [
            found
            for r, run in enumerate(runs)
            for metric, (name, dash) in metrics.items()
            for found in _metric(r, run, metric, name, dash)
        ]
        if axis != "nonzero" or any(value for one in series for value in one.y):
            yield Figure(section=section, title=title, unit=unit, caption=caption, series=series, axis=axis)


def _faults(runs: Sequence[RunRecord], summaries: Sequence[Mapping[int, StepSummary]]) -> Iterable[Figure]:
    causes = {cause for summary in summaries for step in summary.values() for cause in step.causes}
    ordered = sorted(causes, key=lambda cause: (_is_ours(cause), cause))
    for r, summary in enumerate(summaries):
        steps = sorted(summary)
        shares = {cause: [summary[step].causes.get(cause, 0.0) for step in steps] for cause in ordered}
        series = [
            Series(run=r, name=cause, x=steps, y=share, hatched=_is_ours(cause))
            for cause, share in shares.items()
            if any(share)
        ]
        yield Figure(
            section="health", title="Faults and masks", unit="fraction of samples", series=series, kind="stack",
            caption="Solid: the model's, scored. Hatched: ours, masked and left out of learning.",
        )  # fmt: skip


def _is_ours(cause: str) -> bool:
    """Whether it masks a sample; a status of another version is taken for the model's."""
    return cause == GATE_CLOSED or (cause in set(Status) and Status(cause).is_masked)


def _phases(runs: Sequence[RunRecord]) -> Iterable[Figure]:
    for r, run in enumerate(runs):
        split = [(step_of(row) or 0, own_seconds(row)) for row in run.steps]
        series = [
            Series(run=r, name=words, x=[step for step, _ in split], y=[own.get(phase, 0.0) for _, own in split])
            for phase, words in PHASES.items()
            if any(own.get(phase, 0.0) > 0 for _, own in split)
        ]
        yield Figure(
            section="time", title="Seconds per step", unit="seconds", series=series, kind="stack",
            caption="Wall clock by phase. Step 0 holds the warm-up and the first evaluations.",
        )  # fmt: skip


def _others(runs: Sequence[RunRecord], used: set[str]) -> list[Figure]:
    names = _names(
        name for run in runs for row in run.steps for name, value in row.items() if number(value) is not None
    )
    shown = used | {f"phase/{name}_seconds" for name in PHASES} | {"rollout/length_mean", "rollout/truncated_frac"}
    left = [name for name in names if name not in shown and not _is_drawn_from_samples(name)]
    return [
        Figure(
            section="other", title=name, unit="", caption="",
            series=[s for r, run in enumerate(runs) for s in _metric(r, run, name, "", "solid")],
        )
        for name in sorted(left)
    ]  # fmt: skip


def _is_drawn_from_samples(name: str) -> bool:
    return name.startswith("eval/") or (name.startswith("reward/") and name.endswith("/mean"))


def _metric(run: int, record: RunRecord, metric: str, name: str, dash: Dash) -> Iterable[Series]:
    points = [(step_of(row) or 0, number(row.get(metric))) for row in record.steps]
    if any(value is not None for _, value in points):
        yield Series(run=run, name=name, x=[x for x, _ in points], y=[y for _, y in points], dash=dash)


def _banded(
    run: int,
    name: str,
    points: Sequence[tuple[int, Band | None]],
    *,
    dash: Dash = "solid",
    words: Sequence[str] | None = None,
) -> Series:
    none = (None, None, None)
    values, lows, highs = zip(*(band or none for _, band in points), strict=True)
    return Series(
        run=run, name=name, x=[x for x, _ in points], y=list(values), low=list(lows), high=list(highs), dash=dash,
        words=words,
    )  # fmt: skip


def _names(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else float(f"{value:.6g}")
