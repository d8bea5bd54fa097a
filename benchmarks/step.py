"""A run's step, part by part, and how it grows: with the model, the samples, the length and the number of engines.

    python -m benchmarks.step [CONFIG] [--steps 6] [key.path=value ...] [--json]
    python -m benchmarks.step --growth [--plot FILE] [--json]

The first runs a config for some steps and takes medians of its metrics without the first step, which starts things:

    step       from the samples of one step in the run folder to those of the next
    rollout    from the first request to the last score; update, old_logprobs, pack, swap
    idle       of the step, what none of these is: hand-over of turns, bookkeeping between them
    tokens/s   sampled tokens over the rollout's seconds
    limit      what the step's matrix products alone would take (`benchmarks.limit`)
    peak       memory of the run's processes together (`benchmarks.vs_trl.watched`)

The second does that for a small model that is built (configs/tiny_cpu.toml), along four axes, each with all else as in
the middle. `growth` is the cost at the largest value over that at the smallest, over how much its cause grew: at most 1
where nothing grows faster than that. An untrained model ends where chance has it, so the cause is what was sampled, not
what was asked for: the tokens of a step, times the value where that is the model or the engines (of memory, the value).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.limit import fastest_product, limit_seconds
from benchmarks.machine import machine
from benchmarks.vs_trl import watched

__all__ = ["AXES", "figures", "growth", "growth_of", "medians", "steps_seconds"]

QUIET = (
    "eval.every=0", "eval.num_tasks=1", "eval.num_untrained_tasks=1", "eval.compare_unquantised=false",
    "checkpoint.every=0", "report.wandb=off", "report.show_samples=0", "learner.drop_zero_spread=false",
)  # fmt: skip
"""Nothing but steps; a step that learns from all groups, so that its cost does not depend on luck."""

GROWN = "configs/tiny_cpu.toml"
MIDDLE = (
    "warmup.num_steps=0", "rollout.prompts_per_step=32", "learner.num_minibatches=1", "engine.max_num_seqs=128",
    "model.tiny.hidden_size=128", "model.tiny.num_layers=4", "gyms.0.budget=32", "cluster.cpus_per_bundle=1",
)  # fmt: skip
AXES: Mapping[str, Mapping[float, tuple[str, ...]]] = {
    "parameters": {  # of the layers, relative to the smallest: hidden^2 * layers
        1: ("model.tiny.hidden_size=128", "model.tiny.intermediate_size=256", "model.tiny.num_layers=4"),
        4: ("model.tiny.hidden_size=256", "model.tiny.intermediate_size=512", "model.tiny.num_layers=4"),
        16: ("model.tiny.hidden_size=512", "model.tiny.intermediate_size=1024", "model.tiny.num_layers=4"),
    },
    "samples": {n: (f"rollout.prompts_per_step={n // 4}",) for n in (64, 128, 256)},
    "length": {n: (f"gyms.0.budget={n}",) for n in (16, 32, 64)},
    "engines": {1: (), 2: ("engine.num_engines=2",)},
}
"""Axis -> value -> settings; samples come four to a prompt."""
OF_TOKENS = ("samples", "length")
"""Axes whose value says how much is sampled."""


def figures(command_line: Sequence[str]) -> dict[str, float]:
    """Run `python -m rl.train` with these arguments in a folder of its own; the medians of its steps.

    Raises:
        RuntimeError: the run failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        status, peak = watched([sys.executable, "-m", "rl.train", *command_line, *QUIET, f"run_dir={run}"])
        if status:
            raise RuntimeError(f"the run ended with status {status}: rl.train {' '.join(command_line)}")
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][1:]
        found = medians(rows, seconds=steps_seconds(run, [row["step"] for row in rows])) | {"peak_gib": peak / 2**30}
        limit = limit_seconds(run, [row["step"] for row in rows], speed=fastest_product())
    return found | {"limit_seconds": limit, "over_limit": found["step_seconds"] / limit}


def steps_seconds(run: Path, steps: Sequence[int]) -> list[float]:
    """By the clock, from when the samples of the step before were written to when those of each step were."""

    def written(step: int) -> float:
        return (run / "rollouts" / f"step_{step:06d}.jsonl").stat().st_mtime

    return [written(step) - written(step - 1) for step in steps]


def medians(rows: Sequence[Mapping[str, Any]], *, seconds: Sequence[float]) -> dict[str, float]:
    """The figures of a step, of rows of metrics.jsonl and the seconds of their steps."""

    def of(key: str) -> float:
        return median([row[key] for row in rows])

    named = ("rollout", "old_logprobs", "update", "pack")
    rows = [{"phase/old_logprobs_seconds": 0.0, **row} for row in rows]  # none with one minibatch
    parts = [{part: row[f"phase/{part}_seconds"] for part in named} for row in rows]
    for row, one in zip(rows, parts, strict=True):
        one["swap"] = max((row["weights/sync_seconds"] or 0.0) - one["pack"], 0.0)
    found = {f"{part}_seconds": median(one[part] for one in parts) for part in (*named, "swap")}
    return found | {
        "step_seconds": median(seconds),
        "idle_share": median(1.0 - sum(one.values()) / whole for one, whole in zip(parts, seconds, strict=True)),
        "num_tokens": of("rollout/num_tokens"),
        "tokens_per_second": of("rollout/tokens_per_second"),
        "stall_seconds": of("weights/swap_stall_seconds"),
    }


def growth(steps: int) -> dict[str, Any]:
    """Every axis: its values with the figures of a step, and how step and memory grow."""
    found: dict[str, Any] = {}
    for axis, values in AXES.items():
        rows = []
        for value, settings in values.items():
            print(f"{axis} = {value}", file=sys.stderr)
            rows.append({"value": value, **figures([GROWN, *MIDDLE, *settings, f"num_steps={steps}"])})
        found[axis] = {"rows": rows, "growth": growth_of(axis, rows[0], rows[-1])}
    return found


def growth_of(axis: str, first: Mapping[str, float], last: Mapping[str, float]) -> dict[str, float]:
    """How seconds of a step and memory grew from one row of an axis to another, over how much their cause grew."""
    value, tokens = (last[key] / first[key] for key in ("value", "num_tokens"))
    causes = {"step_seconds": tokens, "peak_gib": tokens}
    if axis not in OF_TOKENS:
        causes = {"step_seconds": tokens * value, "peak_gib": value}
    return {key: last[key] / first[key] / cause for key, cause in causes.items()}


def plot(found: Mapping[str, Any], file: Path) -> None:
    """A panel an axis: seconds of a step by part, and memory."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(3.4 * len(found), 3.2))
    for panel, (axis, facts) in zip(panels, found.items(), strict=True):
        values = [row["value"] for row in facts["rows"]]
        for part in ("step", "rollout", "update"):
            panel.plot(values, [row[f"{part}_seconds"] for row in facts["rows"]], marker=".", label=part)
        panel.set(xlabel=axis, ylabel="seconds", xscale="log", yscale="log", xticks=values, xticklabels=values)
        panel.minorticks_off()
        beside = panel.twinx()
        beside.plot(values, [row["peak_gib"] for row in facts["rows"]], "k:", label="memory")
        beside.set(ylabel="GiB", ylim=(0, None))
    panels[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("arguments", nargs="*", metavar="CONFIG | key.path=value", help="default: smollm2_cpu.toml")
    parser.add_argument("--steps", type=int, default=6, help="of a run, the first of which does not count (6)")
    parser.add_argument("--growth", action="store_true", help="the four axes instead of one config")
    parser.add_argument("--plot", type=Path, help="of --growth: an SVG or PNG file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m benchmarks.step") -> None:
    options = _parser(prog).parse_intermixed_args(arguments)
    if options.growth:
        found = growth(options.steps)
        if options.plot:
            plot(found, options.plot)
    else:
        files = [item for item in options.arguments if item.endswith(".toml")] or ["configs/smollm2_cpu.toml"]
        settings = [item for item in options.arguments if not item.endswith(".toml")]
        found = figures([*files, *settings, f"num_steps={options.steps}"])
    if options.json:
        print(json.dumps({"machine": machine(), **found}))
        return
    print(json.dumps(found, indent=1))
    print(", ".join(f"{key} {value}" for key, value in machine().items()), f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
