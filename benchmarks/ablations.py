"""What single parts of the algorithm do: the built tiny model on the real stack, one setting changed at a time.

Each variant is `configs/tiny_cpu.toml`, shortened, with a few overrides (`STUDIES`), run as a user would run it, for
several seeds. What came out of a run is a row of the output file, written when it ends; a run whose row is there is not
run again, and one that several studies name (the reference of most) is run once. So the command can be stopped and
goes on, and more seeds or studies can be added later.

    python -m benchmarks.ablations --list
    python -m benchmarks.ablations --only qat,objective/grpo --steps 20 --seeds 0,1      into ablations.json
    python -m benchmarks.ablations --write                    docs/ablations.json, and page and plot from it
    python -m benchmarks.ablations --write --table            the same from what there is, without a run

A study is about its own reference, the first of its variants; seeds are paired, since a seed gives the same built model
and the same order of tasks. All runs have the same number of steps and of draws, so refills cost tokens on top, which
the rows have.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.machine import machine

__all__ = ["STUDIES", "Job", "Study", "main", "plot", "summary", "table"]

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "tiny_cpu.toml"
RESULTS, PAGE, PLOT = (ROOT / "docs" / name for name in ("ablations.json", "ablations.md", "images/ablations.svg"))
STEPS = 40
MARK_START, MARK_END = "<!-- results: python -m benchmarks.ablations --write --table -->", "<!-- end of results -->"
Row = Mapping[str, Any]
NOTHING = "Nothing yet: no run is stored."
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which colour-blind people can tell apart."""
Results = dict[str, dict[str, list[dict[str, Any]]]]
"""Rows by study and variant."""
SHORT = (
    "rollout.prompts_per_step=64", "learner.num_minibatches=2", "warmup.num_steps=300", "warmup.until_loss=0.55",
    "eval.num_tasks=300", "eval.every=10", "checkpoint.every=1000", "report.wandb=off", "report.show_samples=0",
    "cluster.cpus_per_bundle=1",
)  # fmt: skip
"""Of tiny_cpu.toml: a quarter of the draws, and one thread, so that other work fits beside a run of minutes."""
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
    "masters": Study(
        title="Masters that the optimiser updates", metric="reward/mean",
        variants={"fp32": (), "bf16": ("quant.bf16_masters=true",)},
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
            "muon x 3": ("learner.optimizer=muon", "learner.lr=9e-4", "warmup.lr=6e-3"),
            "muon x 10": ("learner.optimizer=muon", "learner.lr=3e-3", "warmup.lr=2e-2"),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: a variant, a seed, a length."""

    study: str
    variant: str
    seed: int
    steps: int
    also: tuple[str, ...] = ()
    """Overrides of all runs."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What makes the variant."""
        return STUDIES[self.study].variants[self.variant]

    @property
    def key(self) -> dict[str, Any]:
        """What tells its row from others; equal for variants that are the same run."""
        return {"overrides": list(self.overrides), "also": list(self.also), "steps": self.steps, "seed": self.seed}

    def folder(self, root: Path) -> Path:
        """Where it runs, called as the first variant that is the same run."""
        study, variant = next((s, v) for s in STUDIES for v, o in STUDIES[s].variants.items() if o == self.overrides)
        words = (study, variant, str(self.steps), str(self.seed), *self.also)
        return root.absolute() / "-".join("".join(c if c.isalnum() or c in "._-" else "_" for c in w) for w in words)

    def command(self, root: Path) -> list[str]:
        """Its command line."""
        own = (f"seed={self.seed}", f"num_steps={self.steps}", f"run_dir={self.folder(root)}")
        return [sys.executable, "-m", "rl.train", str(CONFIG), *SHORT, *self.overrides, *self.also, *own]


def summary(rows: Sequence[Row], evals: Sequence[Row]) -> dict[str, Any]:
    """What is kept of a run: the curve of every study's metric that it has, and what the table shows.

    Args:
        rows, evals: of metrics.jsonl and evals.jsonl.
    """
    metrics = dict.fromkeys(study.metric for study in STUDIES.values())
    gaps = [row["rollout/logprob_gap_mean"] for row in rows if row["rollout/logprob_gap_mean"] is not None]
    return {
        "curves": {metric: curve for metric in metrics if (curve := _curve(rows, evals, metric))},
        "greedy": {
            stage["stage"]: {name: gym["greedy"]["mean"] for name, gym in stage["gyms"].items()} for stage in evals
        },
        "num_tokens": sum(row["rollout/num_tokens"] for row in rows),
        "gap": round(fmean(gaps), 5) if gaps else None,
    }


def _curve(rows: Sequence[Row], evals: Sequence[Row], metric: str) -> list[list[float]]:
    """[step, value]; of an accuracy from the evaluations, whose last one is in no row of metrics.jsonl."""
    if metric.startswith("eval/"):
        _, gym, name = metric.split("/")
        return [[one["step"], one["gyms"][gym][name.removesuffix("_accuracy")]["mean"]] for one in evals]
    return [[row["step"], round(row[metric], 5)] for row in rows if row.get(metric) is not None]


def grouped(facts: Row, *, also: Sequence[str] = ()) -> Results:
    """The rows of each study by variant, of the length that the facts name; a study with one variant is left out."""
    found: Results = {}
    for name, study in STUDIES.items():
        variants = {
            variant: sorted(
                (row for row in facts["runs"]
                 if (row["overrides"], row["also"], row["steps"]) == (list(overrides), list(also), facts["steps"])),
                key=lambda row: row["seed"],
            )
            for variant, overrides in study.variants.items()
        }  # fmt: skip
        there = {variant: rows for variant, rows in variants.items() if rows}
        if len(there) > 1 and next(iter(study.variants)) in there:
            found[name] = there
    return found


def bands(curves: Sequence[Sequence[Sequence[float]]]) -> list[tuple[float, float, float, float]]:
    """(step, mean, lowest, highest) over seeds, for steps that all of them have; where one is there twice, the last."""
    found = [{point[0]: point[1] for point in curve} for curve in curves]
    steps = sorted(set.intersection(*map(set, found))) if found else []
    values = [(step, [curve[step] for curve in found]) for step in steps]
    return [(step, fmean(each), min(each), max(each)) for step, each in values]


def told(values: Sequence[float], *, digits: int = 3) -> str:
    """The mean and its standard error over seeds; of one seed the value alone."""
    mean = f"{fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} +- {stdev(values) / math.sqrt(len(values)):.{digits}f}"


def table(results: Results) -> str:
    """What came out, in Markdown: means and standard errors over seeds; differences are paired by seed."""
    lines = [
        "| study | variant | seeds | greedy after RL | less the first's | the study's curve, at its end | gap |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, variants in results.items():
        metric = STUDIES[name].metric
        first = {row["seed"]: _accuracy(row) for row in next(iter(variants.values()))}
        for number, (variant, rows) in enumerate(variants.items()):
            pairs = [_accuracy(row) - first[row["seed"]] for row in rows if row["seed"] in first]
            ends = [fmean(value for _, value in row["curves"][metric][-_window(metric) :]) for row in rows]
            gaps = [row["gap"] for row in rows if row["gap"] is not None]
            cells = (
                f"`{name}`" if not number else "", variant, str(len(rows)), told([_accuracy(row) for row in rows]),
                told(pairs) if number and pairs else "", told(ends), told(gaps, digits=4) if gaps else "",
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _accuracy(row: Row) -> float:
    return row["greedy"]["after RL"]["arithmetic"]


def _window(metric: str) -> int:
    """Last points that are averaged: evaluations are few, and each is of many tasks."""
    return 1 if metric.startswith("eval/") else 5


def page(text: str, facts: Row) -> str:
    """The page with the table, between its marks, written anew from the facts."""
    before, rest = text.split(MARK_START)
    _, after = rest.split(MARK_END)
    if not facts["runs"]:
        return f"{before}{MARK_START}\n\n{NOTHING}\n\n{MARK_END}{after}"
    of_rows = [row.get("machine", facts["machine"]) for row in facts["runs"]]
    others = [one for number, one in enumerate(of_rows) if one != facts["machine"] and one not in of_rows[:number]]
    lines = [f"Found on: {_told_machine(facts['machine'])}."]
    lines += [f"{of_rows.count(one)} of {len(of_rows)} runs on: {_told_machine(one)}." for one in others]
    body = f"{table(grouped(facts))}\n{facts['steps']} steps each. {' '.join(lines)}\n"
    return f"{before}{MARK_START}\n\n{body}\n{MARK_END}{after}"


def _told_machine(facts: Row) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def plot(results: Results, file: Path) -> None:
    """A panel a study; a line a variant, with the range over its seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "ablations"}  # letters stay letters; the same file again
    from matplotlib import pyplot

    num_columns = min(len(results), 2)
    num_rows = math.ceil(len(results) / num_columns)
    figure, panels = pyplot.subplots(num_rows, num_columns, figsize=(6 * num_columns, 3.2 * num_rows), squeeze=False)
    for panel in panels.flat[len(results) :]:
        panel.axis("off")
    for panel, (name, variants) in zip(panels.flat, results.items(), strict=False):
        metric = STUDIES[name].metric
        panel.set_prop_cycle(color=COLOURS)
        for variant, rows in variants.items():
            if found := bands([row["curves"].get(metric, []) for row in rows]):
                steps, means, low, high = zip(*found, strict=True)
                label = f"{variant} ({len(rows)} seed{'s' if len(rows) > 1 else ''})"
                panel.plot(steps, means, label=label, marker="." if len(steps) < 15 else None)
                panel.fill_between(steps, low, high, alpha=0.15)
        panel.set_title(STUDIES[name].title, fontsize=10)
        panel.set_xlabel("step", fontsize=8)
        panel.set_ylabel(metric, fontsize=8)
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
    """Run what is missing, row by row; then show what there is. The exit status."""
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
    output = RESULTS if options.write else options.output
    stored = json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {}
    steps = options.steps or stored.get("steps", STEPS)
    facts = {
        "machine": stored.get("machine") or machine(),
        "steps": steps,
        "runs": stored.get("runs", []),
    }
    also = tuple(options.also)
    jobs = [Job(study=s, variant=v, seed=n, steps=steps, also=also) for n in options.seeds for s, v in wanted]
    status = 0 if options.table else _run_missing(jobs, facts, folder=options.folder, output=output)
    results = grouped(facts, also=also)
    file = PLOT if options.write else options.plot
    if file is not None and results:
        plot(results, file)
    if options.write:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), facts), encoding="utf-8")
    print(table(results))
    return status


def _run_missing(jobs: Sequence[Job], facts: dict[str, Any], *, folder: Path, output: Path) -> int:
    """Run the jobs without a row, and write their rows; 1 where one fails, which ends it."""
    root = folder / machine()["commit"]  # what older code left there is none of these runs
    for number, job in enumerate(jobs, start=1):
        if any(all(row[name] == value for name, value in job.key.items()) for row in facts["runs"]):
            continue
        print(f"{number} of {len(jobs)}: {job.study}/{job.variant}, seed {job.seed}", file=sys.stderr, flush=True)
        where, line, started = job.folder(root), job.command(root), time.monotonic()
        if not (where / "final.json").is_file():
            done = subprocess.run(
                line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            if done.returncode:
                print(f"{' '.join(line)} failed:\n{done.stdout[-2000:]}", file=sys.stderr)
                return 1
        rows, evals = (_rows(where / name) for name in ("metrics.jsonl", "evals.jsonl"))
        seconds = round(time.monotonic() - started)
        facts["runs"].append({**job.key, "seconds": seconds, **summary(rows, evals), "machine": machine()})
        write(facts, output)
    return 0


def write(facts: Row, file: Path) -> None:
    """JSON with a run a line, so that a diff shows which came."""
    runs = ",\n".join(json.dumps(row) for row in facts["runs"])
    head = json.dumps({key: value for key, value in facts.items() if key != "runs"})
    file.write_text(f'{head[:-1]}, "runs": [\n{runs}\n]}}\n', encoding="utf-8")


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="say what there is and stop")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="STUDY[/VARIANT],...")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help=f"of each run (those of the output file, else {STEPS})")
    parser.add_argument("--also", action="append", default=[], metavar="KEY=VALUE", help="an override of all runs")
    parser.add_argument("--table", action="store_true", help="run nothing: show what there is")
    parser.add_argument("--folder", type=Path, default=Path("runs/ablations"), help="of the runs, by commit; kept")
    parser.add_argument("--output", type=Path, default=Path("ablations.json"), help="a row a run (ablations.json)")
    parser.add_argument("--plot", type=Path, help="an .svg or .png")
    parser.add_argument("--write", action="store_true", help="docs/ablations.json, docs/ablations.md and its plot")
    return parser


if __name__ == "__main__":
    sys.exit(main())
