"""What single parts of the algorithm do: the built tiny model on the real stack, one setting changed at a time.

Each variant is `configs/tiny_cpu.toml`, shortened, with a few overrides (`STUDIES`), run as a user would run it, for
several seeds. A run that is done is not run again, so the command can be stopped and goes on. What is written: a JSON
of curves and evaluations, and a plot with a panel a study, the mean over seeds and their range.

    python -m benchmarks.ablations --list
    python -m benchmarks.ablations --seeds 0,1,2 --output ablations.json --plot docs/images/ablations.svg
    python -m benchmarks.ablations --only qat,objective/grpo --steps 20

A study is about its own reference, the first of its variants. All of a study have the same number of steps and of
draws, so refills cost tokens on top, which the JSON has. Left out: fp32 against bf16 masters, since masters are always
fp32 here.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.machine import machine

__all__ = ["STUDIES", "Study", "command", "main", "plot", "summary"]

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "tiny_cpu.toml"
SHORT = (
    "rollout.prompts_per_step=64", "learner.num_minibatches=2", "warmup.num_steps=300", "warmup.until_loss=0.55",
    "eval.num_tasks=300", "eval.every=10", "checkpoint.every=20", "report.wandb=off", "report.show_samples=0",
)  # fmt: skip
"""Of tiny_cpu.toml: a quarter of the draws, so that a run takes minutes on two cores."""
SUBTRACTION = (
    '{name="minus",gym="arithmetic",share=1.0,budget=5,args={operation="sub",min_operand=10,max_operand=99,'
    'style="bare",reverse_digits=true,num_heldout=300}}'
)
ADDITION = SUBTRACTION.replace('"minus"', '"arithmetic"').replace('"sub"', '"add"').replace("share=1.0", "share=1000.0")
TWO_SKILLS = (
    f"gyms=[{ADDITION},{SUBTRACTION}]", "ptx.source={gym='arithmetic'}", "ptx.more=[{gym='minus'}]",
    "ptx.num_heldout=64",
)  # fmt: skip
"""Both are in the curated data and in the warm-up; RL asks for additions alone, but for one draw in a thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A question, and the variants that answer it."""

    title: str
    metric: str
    """Of metrics.jsonl: what the plot shows."""
    variants: Mapping[str, tuple[str, ...]]
    """Overrides by name; the first variant is what the others are compared with."""


NORMALISED = ("learner.scale_by_std=true",)
LONG = ("gyms.arithmetic.budget=12",)
STUDIES: Mapping[str, Study] = {
    "qat": Study(
        title="Training through the INT4 grid", metric="reward/mean",
        variants={"grid": (), "no grid": ("quant.fake_quantize=false", "alarm.max_gap=none")},
    ),
    "ptx": Study(
        title="PTX: loss on curated subtractions while RL adds", metric="learner/ptx_heldout_loss",
        variants={"ptx 0.1": (*TWO_SKILLS, "ptx.coef=0.1"), "ptx 0": (*TWO_SKILLS, "ptx.coef=0.0")},
    ),
    "temperature": Study(
        title="Temperature", metric="eval/arithmetic/greedy_accuracy",
        variants={
            "1.0 to 0.8": (), "1.0": ("rollout.temperature.end=1.0",),
            "1.2 to 0.6": ("rollout.temperature={start=1.2,end=0.6}",),
            "0.6": ("rollout.temperature={start=0.6,end=0.6}",),
        },
    ),
    "budget": Study(
        title="Budgets: tokens of a right answer", metric="reward/arithmetic/tokens_per_right",
        variants={
            "budget 12": LONG, "length reward": (*LONG, "reward.length.coef=0.5"),
            "toggle": (*LONG, "reward.toggle={period=5,min_mean=0.5,quantile=0.5}"),
            "ramp": (*LONG, 'reward.truncation={rule="ramp",reward=-0.5,ramp_tokens=6}'),
        },
    ),
    "optimizer": Study(
        title="Optimiser", metric="reward/mean",
        variants={
            "adamw": (), "muon": ("learner.optimizer=muon",),
            "muonclip": ("learner.optimizer=muon", "learner.qk_clip=100.0"),
            "adamw, reset": ("learner.reset_optimizer=true",),
        },
    ),
    "objective": Study(
        title="Objectives", metric="reward/mean",
        variants={
            "k2_seq": (), "k25_token": ("learner.loss=k25_token", "learner.tau=0.001"),
            "grpo": (*NORMALISED, "learner.loss=grpo", "learner.clip_low=-0.2231", "learner.clip_high=0.1823"),
            "gspo": (*NORMALISED, "learner.loss=gspo", "learner.clip_low=-3e-4", "learner.clip_high=4e-4"),
            "cispo": ("learner.loss=cispo",), "rloo": ("learner.loss=reinforce", "learner.baseline=leave_one_out"),
        },
    ),
    "sampling": Study(
        title="Sampling of prompts", metric="eval/arithmetic/greedy_accuracy",
        variants={
            "uniform": (), "prioritised": ("rollout.prompts.rule=prioritised",),
            "refills": ("rollout.prompts.max_refills=32",),
        },
    ),
    "reference": Study(
        title="Pull towards the first policy", metric="reward/mean",
        variants={"none": (), "k3, 0.05": ("learner.reference_kl={coef=0.05}",)},
    ),
}  # fmt: skip


def command(
    study: str, variant: str, *, seed: int, steps: int, folder: Path, also: Sequence[str] = ()
) -> list[str]:  # fmt: skip
    """The command line of a run.

    Args:
        also: overrides of all runs.
    """
    overrides = STUDIES[study].variants[variant]
    own = (
        f"seed={seed}",
        f"num_steps={steps}",
        f"run_dir={run_folder(folder, study, variant, seed=seed, steps=steps)}",
    )
    return [sys.executable, "-m", "rl.train", str(CONFIG), *SHORT, *overrides, *also, *own]


def run_folder(folder: Path, study: str, variant: str, *, seed: int, steps: int) -> Path:
    """Where a run lies; its name has all that tells it from others."""
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in variant)
    return folder.absolute() / f"{study}-{plain}-{steps}-{seed}"


def summary(rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """What is kept of a run.

    Args:
        rows, evals: of metrics.jsonl and evals.jsonl.
        metric: whose curve is kept beside the reward's.
    """
    return {
        "curve": _curve(rows, evals, metric),
        "reward": [row["reward/mean"] for row in rows],
        "greedy": {
            stage["stage"]: {name: gym["greedy"]["mean"] for name, gym in stage["gyms"].items()} for stage in evals
        },
        "num_tokens": sum(row["rollout/num_tokens"] for row in rows),
        "gap_max": max((row["rollout/logprob_gap_mean"] or 0.0 for row in rows), default=0.0),
    }


def _curve(rows: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]], metric: str) -> list[list[float]]:
    """[step, value]; of an accuracy from the evaluations, whose last one is in no row of metrics.jsonl."""
    if metric.startswith("eval/"):
        _, gym, name = metric.split("/")
        return [[one["step"], one["gyms"][gym][name.removesuffix("_accuracy")]["mean"]] for one in evals]
    return [[row["step"], row[metric]] for row in rows if row.get(metric) is not None]


def bands(runs: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, float, float]]:
    """(step, mean, lowest, highest) over seeds, for steps that all of them have; where one is there twice, the last."""
    curves = [dict(map(tuple, run["curve"])) for run in runs]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    found = [(step, [curve[step] for curve in curves]) for step in steps]
    return [(step, fmean(values), min(values), max(values)) for step, values in found]


def plot(results: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], file: Path) -> None:
    """A panel a study; a line a variant, with the range over its seeds.

    Args:
        results: summaries of a study's variants, one for each seed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    num_columns = min(len(results), 2)
    num_rows = math.ceil(len(results) / num_columns)
    figure, panels = pyplot.subplots(num_rows, num_columns, figsize=(6 * num_columns, 3.2 * num_rows), squeeze=False)
    for panel in panels.flat[len(results) :]:
        panel.axis("off")
    for panel, (name, variants) in zip(panels.flat, results.items(), strict=False):
        for variant, runs in variants.items():
            if found := bands(runs):
                steps, means, low, high = zip(*found, strict=True)
                panel.plot(steps, means, label=variant, marker="." if len(steps) < 15 else None)
                panel.fill_between(steps, low, high, alpha=0.15)
        panel.set_title(STUDIES[name].title, fontsize=10)
        panel.set_xlabel("step", fontsize=8)
        panel.set_ylabel(STUDIES[name].metric, fontsize=8)
        if panel.lines:
            panel.legend(fontsize=7)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def chosen(only: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(study, variant) of `STUDY` and `STUDY/VARIANT`; all where nothing is named.

    Raises:
        ValueError: there is no such study or variant.
    """
    for name in only or STUDIES:
        study, _, variant = name.partition("/")
        if study not in STUDIES or (variant and variant not in STUDIES[study].variants):
            there = list(STUDIES[study].variants) if study in STUDIES else list(STUDIES)
            raise ValueError(f"--only {name}: there is no such {'variant' if study in STUDIES else 'study'}: {there}")
        yield from ((study, each) for each in ([variant] if variant else STUDIES[study].variants))


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m benchmarks.ablations") -> int:
    """Run what is missing, then write what there is; the exit status."""
    options = _parser(prog).parse_args(arguments)
    if options.list:
        print("\n".join(f"{study}/{name}: {' '.join(o) or '(as it is)'}" for study in STUDIES
                        for name, o in STUDIES[study].variants.items()))  # fmt: skip
        return 0
    try:
        wanted = list(chosen(options.only))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    jobs = [(study, variant, seed) for seed in options.seeds for study, variant in wanted]
    results: dict[str, dict[str, list[dict[str, Any]]]] = {study: {} for study, _ in wanted}
    for number, (study, variant, seed) in enumerate(jobs, start=1):
        where = run_folder(options.folder, study, variant, seed=seed, steps=options.steps)
        if not (where / "final.json").is_file():
            print(f"{number} of {len(jobs)}: {study}/{variant}, seed {seed}", file=sys.stderr)
            line = command(
                study, variant, seed=seed, steps=options.steps, folder=options.folder, also=options.also
            )  # fmt: skip
            done = subprocess.run(
                line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            if done.returncode:
                print(f"{' '.join(line)} failed:\n{done.stdout[-2000:]}", file=sys.stderr)
                return 1
        rows, evals = (_rows(where / name) for name in ("metrics.jsonl", "evals.jsonl"))
        found = {"seed": seed, **summary(rows, evals, STUDIES[study].metric)}
        results[study].setdefault(variant, []).append(found)
    facts = {"machine": machine(), "steps": options.steps, "seeds": options.seeds, "results": results}
    options.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if options.plot is not None:
        plot(results, options.plot)
    print(_table(results))
    return 0


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _table(results: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> str:
    """Held-out greedy accuracy after RL, mean and range over seeds, in Markdown."""
    lines = ["| study | variant | greedy after RL | lowest, highest | tokens drawn |", "|---|---|---|---|---|"]
    for study, variants in results.items():
        for variant, runs in variants.items():
            found = [run["greedy"]["after RL"]["arithmetic"] for run in runs]
            tokens = fmean(run["num_tokens"] for run in runs)
            lines.append(
                f"| {study} | {variant} | {fmean(found):.3f} | {min(found):.3f}, {max(found):.3f} | {tokens:,.0f} |"
            )
    return "\n".join(lines)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="say what there is and stop")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="STUDY[/VARIANT],...")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=40, help="of each run (default: 40)")
    parser.add_argument(
        "--also", action="append", default=[], metavar="KEY=VALUE", help="an override of all runs; give --folder too"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/ablations"), help="of the runs; kept")
    parser.add_argument("--output", type=Path, default=Path("ablations.json"))
    parser.add_argument("--plot", type=Path, help="an .svg or .png")
    return parser


if __name__ == "__main__":
    sys.exit(main())
