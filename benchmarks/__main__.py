"""Every benchmark, one after the other, into one JSON file and one page.

    python -m benchmarks                    all of them on quiet cores: an hour; docs/benchmarks.json and .md
    python -m benchmarks --quick            each as small as it goes, in some minutes: that the code works, no figures
    python -m benchmarks --only swap step   some, beside what the file already holds

Each runs in a process of its own (`python -m benchmarks.NAME --json`), and its figures stand in the page with their
goal, machine, load and command. A benchmark that fails is told and skipped; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BENCHMARKS", "Benchmark", "Figure", "main", "page"]

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "benchmarks.json", ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number that the page shows."""

    path: str
    """Where it stands in the benchmark's JSON, keys with dots between them."""
    meaning: str
    low: float | None = None
    """Goal: at least."""
    high: float | None = None
    """Goal: at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A module of this folder, and what of it is shown."""

    module: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = ()
    """Arguments of the quick mode; None: it has none, being minutes long whatever is asked."""
    figures: tuple[Figure, ...]


BUT_THE_FIRST_IN_BF16 = r'quant.ignore=["lm_head", "re:.*embed.*", "re:.*norm.*", "re:.*layers\\.[1-9].*"]'
"""A run without any INT4 layer is refused; one of thirty is next to none."""


def _step(what: str, *settings: str, rollout: str = "the rollout", quick: tuple[str, ...] | None = None) -> Benchmark:
    """A step of configs/smollm2_cpu.toml with some settings, and its parts."""
    return Benchmark(
        module="step", full=("--steps", "6", *settings), quick=quick,
        figures=(
            Figure(path="step_seconds", meaning=f"{what}, seconds"),
            Figure(path="rollout_seconds", meaning=f"of it {rollout}"),
            Figure(path="update_seconds", meaning="of it the update"),
            Figure(path="tokens_per_second", meaning="sampled tokens a second while drawn"),
            Figure(path="over_limit", meaning="the step over its matrix products at this machine's fastest", high=2.0),
            Figure(path="idle_share", meaning="of the step, what no part of it accounts for", high=0.02),
            Figure(path="peak_gib", meaning="memory of all processes, GiB"),
        ),
    )  # fmt: skip


BENCHMARKS: Mapping[str, Benchmark] = {
    "step": _step(
        "a step of configs/smollm2_cpu.toml that learns from all groups",
        quick=("configs/tiny_cpu.toml", "--steps", "2", "warmup.num_steps=0", "rollout.prompts_per_step=8"),
    ),
    "step_int4_kernel": _step("a step whose INT4 layers go through vLLM's kernel for CPUs", "engine.bf16_copy=false"),
    "step_bf16": _step("a step with all layers but the first in BF16", BUT_THE_FIRST_IN_BF16),
    "step_ahead": _step(
        "a step drawn ahead, half of the cores each", "cluster.separate=true", "rollout.steps_ahead=1",
        rollout="the wait for its samples",
    ),
    "growth": Benchmark(
        module="step", full=("--growth", "--steps", "4", "--plot", "docs/images/growth.svg"), quick=None,
        figures=tuple(
            Figure(path=f"{axis}.growth.{key}", high=1.0, meaning=f"{what} against {axis}: cost over cause")
            for axis in ("parameters", "samples", "length", "engines")
            for key, what in (("step_seconds", "seconds of a step"), ("peak_gib", "memory"))
        ),
    ),
    "vs_trl": Benchmark(
        module="vs_trl", quick=None,
        full=("--folder", "runs/vs_trl", "--steps", "8", "--eval-every", "4", "--seeds", "0", "1", "2"),
        figures=(
            Figure(path="step_ratio", meaning="seconds of a step over those of TRL's GRPOTrainer", high=0.25),
            Figure(path="ours.step_seconds", meaning="seconds of a step"),
            Figure(path="trl.step_seconds", meaning="TRL's"),
            Figure(path="ours.tokens_per_second", meaning="response tokens a second of whole steps"),
            Figure(path="trl.tokens_per_second", meaning="TRL's"),
            Figure(path="ours.peak_gib", meaning="memory of all processes, GiB"),
            Figure(path="trl.peak_gib", meaning="TRL's"),
            Figure(path="to_accuracy_ratio", high=0.25,
                   meaning="seconds of all steps to the same held-out accuracy, over TRL's; models are loaded before"),
            Figure(path="to_accuracy_tokens_ratio", meaning="sampled tokens to it, over TRL's"),
        ),
    ),
    "swap": Benchmark(
        module="swap", full=("--rounds", "9"), quick=("--rounds", "1", "--part", "quantise"),
        figures=(
            Figure(path="swap.copied_stall_over_copy", meaning="engine stall of a swap over a plain copy", high=2.0),
            Figure(path="handover.handover_seconds", meaning="update done to first decoded token, seconds", high=0.25),
            Figure(path="handover.with_copy_handover_seconds", meaning="the same with engine.bf16_copy"),
            Figure(path="quantise.copy_bf16_over_quantise_and_pack", low=0.25,
                   meaning="quantise and pack, as a share of the speed of copying the BF16 weights"),
            Figure(path="qat.int4_over_bf16", meaning="an update through the grid over one without it", high=1.05),
        ),
    ),
    "logprob_gap": Benchmark(
        module="logprob_gap", quick=None,
        figures=(
            Figure(path="matched_to_bf16", meaning="log-prob gap of INT4 over that of BF16 serving", high=1.05),
            Figure(path="untrained_to_bf16", meaning="the same without fake-quant: the control", low=8.0),
        ),
    ),
    "long_responses": Benchmark(
        module="long_responses", quick=("--lengths", "64", "128", "256"),
        figures=(
            Figure(path="fits.peak_mib.b", meaning="peak memory of an update, MiB per 1,024 tokens of a response"),
            Figure(path="fits.peak_mib.off_percent", meaning="how far memory is from a line, %", high=5.0),
        ),
    ),
    "heavy_tail": Benchmark(
        module="heavy_tail", quick=None,
        figures=tuple(
            Figure(path=f"{run}.{key}", meaning=f"{name}: {what}")
            for run, name in (("whole", "whole responses"), ("partial", "partial rollouts"))
            for key, what in (
                ("median_rollout_seconds", "seconds of a rollout"), ("longest_rollout_seconds", "of the longest"),
                ("step_seconds_per_1000_tokens", "seconds of steps for 1,000 tokens"),
                ("before.mean", "held-out accuracy before RL"), ("after.mean", "and after"),
            )
        ),
    ),
    "episodes": Benchmark(
        module="episodes", quick=("--episodes", "20"),
        figures=(
            Figure(path="beside_turns_per_s", meaning="turns a second of 500 episodes side by side"),
            Figure(path="long_first_ms", meaning="milliseconds of a turn, first 50 of 300"),
            Figure(path="long_last_ms", meaning="last 50"),
            Figure(path="replay_s", meaning="seconds to bring back an episode of 300 turns"),
            Figure(path="idle_kib", meaning="KiB of an open episode"),
        ),
    ),
    "math_scoring": Benchmark(
        module="math_scoring", quick=("--rounds", "1"),
        figures=(
            *(Figure(path=f"{name}_ratio", meaning=f"{name}: scores a second over Math-Verify's", low=1.0)
              for name in ("gsm8k", "fractions", "surds", "symbolic", "sets", "intervals", "matrices", "text", "long")),
            Figure(path="gsm8k_ours_per_s", meaning="gsm8k: scores a second"),
            Figure(path="tower_worst_ms", meaning="milliseconds to refuse a tower of powers, at worst"),
        ),
    ),
    "sandbox": Benchmark(
        module="sandbox", quick=("--runs", "5", "--rounds", "1"),
        figures=(
            Figure(path="sandbox_runs_per_second", meaning="sandboxed programs a second"),
            Figure(path="bare_runs_per_second", meaning="bare interpreters a second"),
            Figure(path="sandbox_to_bare", meaning="the first over the second"),
        ),
    ),
}  # fmt: skip
"""In the order in which they run. `formats`, `lora` and `ablations` have pages of their own."""


def run(name: str, *, is_quick: bool) -> dict[str, Any] | None:
    """The figures of one benchmark with its command and load; None where it failed."""
    benchmark = BENCHMARKS[name]
    arguments = (benchmark.quick or ()) if is_quick else benchmark.full
    command = ["-m", f"benchmarks.{benchmark.module}", *arguments, "--json"]
    load, started = os.getloadavg()[0], time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - started
    found = figures_in(done.stdout.decode(errors="replace"))
    if done.returncode or found is None:
        why = f"failed with status {done.returncode}" if done.returncode else "its last line is no JSON object"
        print(f"{name}: {why}", file=sys.stderr)
        return None
    print(f"{name}: {seconds:.0f} s", file=sys.stderr)
    facts = {"command": f"python {' '.join(command)}", "load": load, "seconds": seconds}
    return {**found, **facts}


def figures_in(printed: str) -> dict[str, Any] | None:
    """The JSON object in the last line of what a benchmark printed; None where there is none."""
    try:
        found = json.loads(next(reversed(printed.strip().splitlines()), ""))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def value_at(found: Mapping[str, Any], path: str) -> float | None:
    """What stands at a path; None where nothing does."""
    here: Any = found
    for key in path.split("."):
        if not isinstance(here, Mapping) or key not in here:
            return None
        here = here[key]
    return here


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/benchmarks.md, from what docs/benchmarks.json holds."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks` from `docs/benchmarks.json`, which holds all figures. Medians, or what",
        "a benchmark's `--help` says; a goal that was not reached is told. Load is that of the minute before a",
        "benchmark began, with what ran then: in a row of benchmarks the one before it.",
    ]
    for name, found in results.items():
        shown = [(f, value_at(found, f.path)) for f in BENCHMARKS[name].figures]
        lines += ["", f"## {name}", "", f"`{found['command']}`, load {found['load']:.1f}, {found['seconds']:.0f} s"]
        facts = found.get("machine") or {}
        lines += [", ".join(f"{key} {value}" for key, value in facts.items())] if facts else []
        rows = [(figure, value) for figure, value in shown if value is not None]
        if rows:
            lines += ["", "| figure | found | goal | reached |", "|---|--:|---|---|"]
        for figure, value in rows:
            limits = (("at least", figure.low), ("at most", figure.high))
            goals = [f"{sign} {goal:g}" for sign, goal in limits if goal is not None]
            met = (figure.low is None or value >= figure.low) and (figure.high is None or value <= figure.high)
            reached = "" if not goals else "yes" if met else "**no**"
            lines.append(f"| {figure.meaning} | {value:.3g} | {', '.join(goals)} | {reached} |")
        if plot := re.search(r"--plot docs/(\S+)", found["command"]):
            lines += ["", f"![{name}, a panel an axis]({plot[1]})"]
    return "\n".join(lines) + "\n"


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small, into a temporary folder: does the code work?")
    parser.add_argument("--only", nargs="+", choices=tuple(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS))
    return parser


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m benchmarks") -> int:
    """Run what was asked for; the exit status."""
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    if options.quick and (long := [name for name in options.only or () if BENCHMARKS[name].quick is None]):
        parser.error(f"--quick: {', '.join(long)} takes minutes however small; leave out --quick")
    chosen = options.only or [name for name, one in BENCHMARKS.items() if not (options.quick and one.quick is None)]
    folder = Path(tempfile.mkdtemp()) if options.quick else RESULTS.parent
    results_file, page_file = folder / RESULTS.name, folder / PAGE.name
    results = json.loads(results_file.read_text()) if results_file.is_file() else {}
    has_failed = False
    for name in chosen:
        found = run(name, is_quick=options.quick)
        has_failed |= found is None
        if found is not None:
            results[name] = found
            results_file.write_text(json.dumps(results, indent=1) + "\n")
            page_file.write_text(page({key: results[key] for key in BENCHMARKS if key in results}))
    print(page_file)
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
