"""The same run with this project and with TRL's GRPOTrainer: seconds a step, tokens a second, peak memory, and time to
the same held-out accuracy.

Same machine, model, warm start, tasks, verifier, samples a step, response budget, learning rate and schedule. The warm
start is made once, by this project's supervised phase, and both begin with its fp32 weights. TRL gets an environment of
its own, built by this script from the same index as ours, with the same torch and transformers; it generates with
transformers in BF16 (vLLM inside TRL needs a GPU) and trains fp32 weights under BF16 autocast. What differs is what is
compared: INT4 rollouts in vLLM, a learner that computes a prompt once for its siblings, K1.5's loss, which
learns from the groups whose siblings differ and, beside them, from curated answers (PTX).

Evaluations, and what is loaded before the first step, take no part in either time. One run of each after the other, on
quiet cores; medians over steps, without the first, which starts things.

    python -m benchmarks.vs_trl --folder FOLDER [--config configs/smollm2_cpu.toml] [--steps 20] [--eval-every 5]
                                [--seeds 0 1 2] [--json] [key.path=value ...]

FOLDER keeps the environment, the warm start and both logs. What is there is not made again, if it was made with the
same settings; a run, if it was also made by the same commit, without changes to it, on the same machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine
from configs.load import load_config

__all__ = ["compare", "measured", "spent_to", "watched"]

ROOT = Path(__file__).parents[1]
TRL = "trl>=1.0"
MICROBATCH = 32
"""Completions that TRL trains at once: of 8, 16, 32 and 64 the fastest on 2 cores."""


def watched(command: Sequence[str]) -> tuple[int, int]:
    """Run a command; its exit status, and the largest memory of it and all its descendants together, in bytes.

    Memory is what each process has for itself, and the most that one of them shares, twice a second. Their proportional
    sizes would be exact, but to add one up the kernel walks all pages, and the step that is measured waits for it.
    """
    import psutil

    process = psutil.Popen(command, cwd=ROOT)
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.5):
            own, shared = 0, 0
            for one in [process, *process.children(recursive=True)]:
                try:
                    memory = one.memory_info()
                except psutil.Error:
                    continue
                own, shared = own + memory.rss - memory.shared, max(shared, memory.shared)
            peak = max(peak, own + shared)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return process.wait(), peak
    finally:
        done.set()
        watcher.join()


def measured(command: Sequence[str], note: Path, *, out: Path, job: Mapping[str, Any], here: Mapping[str, str]) -> int:
    """Run a command that makes `out`, unless the note says that this very command made it here; `watched`'s bytes.

    Args:
        command: with its arguments.
        note: is written when it ends.
        out: a file or a folder; what an earlier command made there is removed.
        job: what else it depends on.
        here: what `machine()` says.

    Raises:
        SystemExit: it failed.
    """
    facts = json.dumps({"command": list(command), "job": job, "machine": here})
    is_known = not here["commit"].endswith(("-dirty", "unknown"))
    stored = json.loads(note.read_text()) if note.is_file() else {}
    if not is_known or stored.get("facts") != facts:
        note.unlink(missing_ok=True)
        shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        status, peak = watched(command)
        if status:
            raise SystemExit(f"it ended with status {status}: {' '.join(command)}")
        stored = {"facts": facts, "peak_bytes": peak}
        note.write_text(json.dumps(stored))
    return stored["peak_bytes"]


def environment(folder: Path) -> Path:
    """TRL's own interpreter, built once."""
    python = folder / "trl" / "bin" / "python"
    if not (folder / "trl" / ".built").is_file():
        print("building TRL's environment", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder / "trl"], check=True)
        same = [
            f"{name}=={version(name).split('+')[0]}" for name in ("torch", "transformers", "accelerate", "datasets")
        ]
        install = [python, "-m", "pip", "-q", "--disable-pip-version-check", "install"]
        subprocess.run([*install, TRL, *same, "--editable", ROOT], check=True)
        (folder / "trl" / ".built").touch()
    return python


def warm_start(folder: Path, config_file: str, overrides: Sequence[str]) -> Path:
    """A model folder with the weights, in fp32, that the config's supervised phase ends in."""
    model, run, note = folder / "warm", folder / "warm_run", folder / "warm.json"
    facts = json.dumps({"config": Path(config_file).read_text(), "overrides": list(overrides)})
    if not note.is_file() or note.read_text() != facts:
        print("warm start", file=sys.stderr)
        note.unlink(missing_ok=True)
        for old in (model, run):
            shutil.rmtree(old, ignore_errors=True)
        short = ("num_steps=1", "learner.lr=0", "checkpoint.every=1", "eval.num_tasks=1", "eval.num_untrained_tasks=1",
                 "eval.compare_unquantised=false", "report.wandb=off", f"run_dir={run}")  # fmt: skip
        subprocess.run([sys.executable, "-m", "rl.train", config_file, *overrides, *short], cwd=ROOT, check=True)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = load_config([Path(config_file)], overrides).model.path
        saved = torch.load(run / "checkpoints" / "step_000001" / "learner.pt", weights_only=True)
        trained = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        with torch.no_grad():
            for name, parameter in trained.named_parameters():
                parameter.copy_(saved["masters"][name])
        AutoTokenizer.from_pretrained(source).save_pretrained(model)
        trained.save_pretrained(model)
        note.write_text(facts)
    return model


def ours(folder: Path, model: Path, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """A run of this project; its steps and evaluations."""
    run = folder / f"ours_{seed}"
    command = [
        sys.executable, "-m", "rl.train", options.config, *options.overrides, f"model.path={model}",
        "warmup.num_steps=0", f"num_steps={options.steps}", f"eval.every={options.eval_every}", f"seed={seed}",
        "eval.compare_unquantised=false", "checkpoint.every=0", "report.wandb=off", f"run_dir={run}",
        "rollout.temperature.end=1.0",
    ]  # fmt: skip
    warm = {"warm": (folder / "warm.json").read_text()}
    peak = measured(command, folder / f"ours_{seed}.note", out=run, job=warm, here=machine())
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evals = [json.loads(line) for line in (run / "evals.jsonl").read_text().splitlines()]
    (gym,) = evals[0]["gyms"]
    return {
        "seconds": [
            row["phase/generate_seconds"]
            + row["phase/learn_seconds"]
            - row.get("phase/eval_seconds", 0.0)
            - (0.0 if number else row["phase/start_seconds"])
            for number, row in enumerate(steps)
        ],
        "tokens": [row["rollout/num_tokens"] for row in steps],
        "accuracy": {row["step"]: row["gyms"][gym]["greedy"]["mean"] for row in evals},
        "peak_bytes": peak,
    }


def trl(folder: Path, python: Path, model: Path, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """A run of TRL; its steps and evaluations."""
    config = load_config([Path(options.config)], options.overrides)
    (gym,) = config.gyms
    out = folder / f"trl_{seed}.jsonl"
    job = {
        "model": str(model), "gym": gym.name, "args": gym.args, "num_steps": options.steps, "seed": seed,
        "num_prompts": config.rollout.prompts_per_step, "samples_per_prompt": config.rollout.samples_per_prompt,
        "budget": gym.budget, "temperature": config.rollout.temperature.start, "lr": config.learner.lr,
        "lr_ramp_steps": config.learner.lr_ramp_steps, "microbatch": MICROBATCH, "num_eval": config.eval.num_tasks,
        "eval_every": options.eval_every, "out": str(out), "scratch": str(folder / "trl_scratch"),
        "system_prompt": config.model.system_prompt,
    }  # fmt: skip
    job_file = folder / f"trl_{seed}.json"
    job_file.write_text(json.dumps(job))
    command = [str(python), "benchmarks/trl_run.py", str(job_file)]
    warm = {"warm": (folder / "warm.json").read_text()}
    peak = measured(command, folder / f"trl_{seed}.note", out=out, job=job | warm, here=machine())
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    num_samples = job["num_prompts"] * job["samples_per_prompt"]
    lengths = [
        row["logs"]["completions/mean_length"] for row in rows if "completions/mean_length" in row.get("logs", {})
    ]
    return {
        "seconds": [row["seconds"] for row in rows if "seconds" in row],
        "tokens": [length * num_samples for length in lengths],
        "accuracy": {row["step"]: row["accuracy"] for row in rows if "accuracy" in row},
        "peak_bytes": peak,
    }


def spent_to(run: dict[str, Any], what: str, accuracy: float) -> float | None:
    """`seconds` or `tokens` of steps until an evaluation found at least this accuracy; None where none did.

    Before the first step there is nothing to pay, and both look at the warm start otherwise (ours: fewer tasks).
    """
    for step, found in sorted(run["accuracy"].items()):
        if step and found >= accuracy:
            return sum(run[what][:step])
    return None


def compare(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """What the table shows, of (ours, TRL) for each seed; ratios are ours over TRL's."""
    found: dict[str, Any] = {}
    for number, name in enumerate(("ours", "trl")):
        runs = [pair[number] for pair in pairs]
        seconds = [value for run in runs for value in run["seconds"][1:]]
        tokens = [value for run in runs for value in run["tokens"][1:]]
        found[name] = {
            "step_seconds": median(seconds), "tokens_per_second": sum(tokens) / sum(seconds),
            "peak_gib": max(run["peak_bytes"] for run in runs) / 2**30,
            "accuracy": [run["accuracy"] for run in runs],
        }  # fmt: skip
    found["step_ratio"] = found["ours"]["step_seconds"] / found["trl"]["step_seconds"]
    both = [min(max(found for step, found in run["accuracy"].items() if step) for run in pair) for pair in pairs]
    to = [
        {"accuracy": level, **{f"{name}_{what}": spent_to(run, what, level) for what in ("seconds", "tokens")
                               for name, run in (("ours", a), ("trl", b))}}
        for (a, b), level in zip(pairs, both, strict=True)
    ]  # fmt: skip
    for what, key in (("seconds", "to_accuracy_ratio"), ("tokens", "to_accuracy_tokens_ratio")):
        spent = [sum(row[f"{name}_{what}"] for row in to) for name in ("ours", "trl")]
        found[key] = spent[0] / spent[1]
    return found | {"to_same_accuracy": to}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for the environment, the warm start and the logs")
    parser.add_argument("--config", default="configs/smollm2_cpu.toml", help="of one gym")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--eval-every", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    options = parser.parse_intermixed_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    python = environment(folder)
    model = warm_start(folder, options.config, options.overrides)
    started = time.time()
    pairs = [(ours(folder, model, options, seed), trl(folder, python, model, options, seed)) for seed in options.seeds]
    found = compare(pairs) | {"wall_seconds": time.time() - started}
    told = [str(python), "-c", "from importlib.metadata import version; print(version('trl'))"]
    facts = machine() | {"trl": subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()}
    if options.json:
        print(json.dumps({"machine": facts, **found}))
        return
    for name in ("ours", "trl"):
        one = found[name]
        print(f"{name:5} {one['step_seconds']:8.2f} s a step  {one['tokens_per_second']:7.1f} response tokens/s  "
              f"{one['peak_gib']:5.2f} GiB at most  accuracy by step {one['accuracy']}")  # fmt: skip
    print(f"ours / TRL: {found['step_ratio']:.3f} in seconds a step")
    for row in found["to_same_accuracy"]:
        print(f"to {row['accuracy']:.3f}: ours {row['ours_seconds']}, TRL {row['trl_seconds']} s")
    print(", ".join(f"{key} {value}" for key, value in facts.items()))


if __name__ == "__main__":
    main()
