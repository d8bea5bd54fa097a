"""How hard each training task is for a model: `python -m rl.difficulty MODEL CONFIG.toml --output rates.jsonl`.

Kimi K1.5 (section 2.1) takes a task's difficulty from the pass rate of ten samples at a fairly high temperature, and
leaves out what is too easy. This draws them with the engines, gyms and scorer of a run and writes a line a task
(`rl.rates`), which `rollout.prompts.rates` reads: to begin with, and to leave out tasks by `min_rate` and `max_rate`.

A sample is a function of (model, config, task, k), and lines are written as tasks are done: a command that was stopped
goes on where it was. Exit codes as those of `rl.evaluate`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.load import load_config
from configs.schema import Config
from gyms.api import Gym
from gyms.extras import EXTRAS, check_installed
from gyms.mixture import Draw, Fits, GymEntry
from gyms.permutation import permute
from rl.cli import last_words, quiet
from rl.rates import problem_of
from rl.toggle import right_lengths

__all__ = ["Job", "main", "rate_row", "settings_and_weights", "train_draws"]

CHUNK = 32
"""Tasks that are asked together, and lost together in a kill."""

MODEL_FILES = (
    *("*.safetensors", "*.json", "*.jinja", "additional_chat_templates/*.jinja"),
    *("*.model", "*.txt", "*.tiktoken", "*.py"),  # vocabularies, and tokenizers that are code
)
"""What of a model's folder decides its answers."""

DESCRIPTION = """\
Estimate how often a model, BF16 or packed INT4, solves each training task of a config's gyms, and write a line a task:
success rates for rollout.prompts.rates (prioritised sampling, curriculum, leaving out what is too easy or too hard)."""

EPILOG = """\
examples:
  python -m rl.difficulty models/smollm2-135m-instruct configs/smollm2_cpu.toml --output rates.jsonl
  python -m rl.difficulty runs/mine/export mine.toml --samples 16 --max-tasks 2000 --output rates.jsonl
  python -m rl.train mine.toml rollout.prompts.rates=rates.jsonl rollout.prompts.max_rate=0.9

The same command again goes on with the tasks that the file lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be measured, as the command line says it."""

    model: str
    output: Path
    num_samples: int
    """Responses a task."""
    temperature: float
    settings_and_weights: str
    """A digest of what else the rates depend on."""
    max_tasks: int | None
    """Most tasks a gym; None: all."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the lines of one file have in common."""
        names = ("model", "num_samples", "temperature", "settings_and_weights")
        return {name: getattr(self, name) for name in names}


def settings_and_weights(config: Config, model: str, *, but_for: Path | None = None) -> str:
    """A digest of what rates depend on: settings, files and folders that the gyms' arguments name, and the model's
    weights, tokenizer, template and configuration; files by name, size and time.

    Args:
        but_for: a file that is left out: the one that is being written.
    """
    folder = Path(model).expanduser()
    settings = config.model_dump(mode="json", include={"gyms", "model", "persona", "seed"})
    files = sorted({file for pattern in MODEL_FILES for file in folder.glob(pattern)})
    given = [file for gym in settings["gyms"] for text in _texts(gym["args"]) for file in _files_at(text)]
    files += [file for file in given if but_for is None or file != but_for.absolute()]
    listed = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([settings, listed], sort_keys=True).encode()).hexdigest()[:16]


def _files_at(text: str) -> list[Path]:
    """The file that a text names, or all of a folder, unless that is one in which the command runs."""
    try:
        path = Path(text).expanduser().absolute()
        if path.is_file():
            return [path]
        if not path.is_dir() or Path.cwd().is_relative_to(path.resolve()):
            return []
        return sorted(file for file in path.rglob("*") if file.is_file())
    except (OSError, ValueError, RuntimeError):  # too long for a name, a NUL in it, or a home of nobody
        return []


def _texts(data: Any) -> list[str]:
    """The texts in plain data."""
    parts = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [data] if isinstance(data, str) else [text for part in parts for text in _texts(part)]


def train_draws(entries: Sequence[GymEntry], *, max_tasks: int | None, seed: int, fits: Fits) -> Iterator[Draw]:
    """The training tasks of all gyms, gym after gym: all that can be asked, or the first of a keyed order."""
    for entry in entries:
        tasks = entry.gym.tasks("train")
        size = len(tasks)
        for i in range(min(size, max_tasks or size)):
            place = i if max_tasks is None or max_tasks >= size else permute(i, size, f"difficulty {seed} {entry.name}")
            if fits(entry.name, task := tasks[place]):
                yield entry.draw(place, task, place=place)


def rate_row(group: Any, job: Job, *, gym: Gym) -> dict[str, Any] | None:
    """The line of a task of this gym; None where no sample could be scored through faults of ours."""
    counted = [s for s in group.samples if not s.score.status.is_masked]
    if not counted:
        return None
    values = [s.score.value or 0.0 for s in counted]
    return {
        "gym": group.draw.gym,
        "task": group.draw.task.id,
        "problem": problem_of(gym, group.draw.task),
        "rate": min(max(sum(values) / len(values), 0.0), 1.0),
        "right_lengths": sorted(right_lengths(group)),
        "num_scored": len(values),
        "tokens_mean": sum(s.sample.num_sampled for s in counted) / len(counted),
        "truncated_frac": sum(s.sample.is_truncated for s in counted) / len(counted),
        **job.facts,
    }


def done_before(job: Job) -> set[tuple[str, str]]:
    """Gym and id of the tasks that the output has.

    Raises:
        ValueError: it holds something else, or what another model or other settings did.
    """
    if not job.output.exists():
        return set()
    found = set()
    content = job.output.read_bytes()
    lines = content.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):  # a kill cut it off: that task is done again
        os.truncate(job.output, len(content) - len(lines.pop()))
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            found.add((row["gym"], row["task"]))
            facts = {key: row[key] for key in job.facts}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"--output {job.output}, line {number}, is no line of this command: {error!r}") from error
        if facts != job.facts:
            raise ValueError(f"--output {job.output} holds what {facts} did, now it is {job.facts}; give another file")
    return found


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.difficulty") -> int:
    """Parse, check, sample, write; returns the exit code."""
    options = _parser(prog).parse_intermixed_args(arguments)
    overrides = [item for item in options.items if "=" in item and not Path(item).exists()]
    files = [Path(item) for item in options.items if item.endswith(".toml") and item not in overrides]
    models = [item for item in options.items if item not in overrides and not item.endswith(".toml")]
    try:
        if len(models) != 1 or not files:
            raise ValueError(f"wanted one model folder and a config, got {' '.join(options.items)}; {prog} --help")
        config = load_config(files, [*overrides, "report.wandb=off"])
        job = Job(
            model=models[0], output=options.output, num_samples=options.samples, max_tasks=options.max_tasks,
            temperature=options.temperature or config.rollout.temperature.start,
            settings_and_weights=settings_and_weights(config, models[0], but_for=options.output),
        )  # fmt: skip
        known = done_before(job)
        quiet()
        check_installed(EXTRAS, user="an estimate", extra="cpu")
        from rl.comparison import plan

        chosen = plan(config, models, ())
    except (OSError, ValueError) as error:
        print(f"not started: {error}", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_measure(chosen, job, known))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    except Exception as error:  # the process ends here: the reason is the last line
        print(f"estimate failed: {type(error).__name__}: {last_words(error)}", file=sys.stderr)
        return 1


async def _measure(chosen: Any, job: Job, known: set[tuple[str, str]]) -> int:
    from rich.console import Console

    from reward.rules import TruncationRule, check_masked_rate
    from reward.scorer import Scorer
    from rl.cluster import Cluster
    from rl.collect import collect
    from rl.console import view_of
    from rl.metrics import fault_causes
    from rl.report import Report

    config, one, gyms = chosen.config, chosen.contenders[0], {entry.name: entry.gym for entry in chosen.gyms}
    wanted = train_draws(chosen.gyms, max_tasks=job.max_tasks, seed=config.seed, fits=chosen.fits[0])
    draws = [draw for draw in wanted if (draw.gym, draw.task.id) not in known]
    report = Report(config, Path.cwd(), view_of("auto", Console(stderr=True, soft_wrap=True, highlight=False)))
    job.output.parent.mkdir(parents=True, exist_ok=True)
    num_lost = 0
    with Scorer(chosen.specs, num_workers=config.reward.num_workers) as scorer, job.output.open("a") as lines:
        cluster = Cluster(config, model_folder=one.folder, initial_int4=None, chat=one.chat)
        async with cluster, cluster.serving(one.folder, quantised=one.weights == "INT4") as policy:
            with report.progress(f"{one.name}: difficulty", len(draws), "tasks") as advance:
                for first in range(0, len(draws), CHUNK):
                    found = await collect(
                        policy, scorer, draws[first : first + CHUNK], samples_per_prompt=job.num_samples,
                        temperature=job.temperature, seed=config.seed, key="difficulty", truncation=TruncationRule(),
                        minimum=lambda gym: 0.0, on_group=lambda group: advance(1),
                    )  # fmt: skip
                    causes, num = fault_causes(found.groups), len(found.groups) * job.num_samples
                    check_masked_rate(len(causes), num, config.reward.max_masked_frac, causes)
                    rows = [rate_row(group, job, gym=gyms[group.draw.gym]) for group in found.groups]
                    num_lost += rows.count(None)
                    lines.writelines(json.dumps(row) + "\n" for row in rows if row is not None)
                    lines.flush()
    print(_summary(job, len(known), len(draws), num_lost))
    return 0


def _summary(job: Job, num_known: int, num_new: int, num_lost: int) -> str:
    """What the file holds, in lines for people: tasks by tenths of their rate, gym by gym."""
    rates: dict[str, list[float]] = {}
    for line in job.output.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rates.setdefault(row["gym"], []).append(row["rate"])
    text = [f"{job.output}: {num_known + num_new - num_lost} tasks, {num_new} of them asked now"]
    text += [f"{num_lost} could not be scored through faults of the pipeline"] if num_lost else []
    for gym, found in rates.items():
        never, always = sum(rate == 0 for rate in found), sum(rate == 1 for rate in found)
        text.append(
            f"{gym}: mean rate {sum(found) / len(found):.3f}; never solved {never}, always {always}, between "
            f"{len(found) - never - always} of {len(found)}"
        )
    return "\n".join(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number above 0")
    return int(text)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value <= 4.0:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number above 0, at most 4")
    return value


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "items", nargs="+", metavar="MODEL | CONFIG.toml | key.path=value", help="folder, files and overrides"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON lines; is gone on with")
    parser.add_argument("--samples", type=_positive, default=10, metavar="N", help="responses a task (default: 10)")
    parser.add_argument("--max-tasks", type=_positive, metavar="N", help="most tasks a gym, chosen by the seed")
    parser.add_argument(
        "--temperature", type=_temperature, metavar="T", help="default: rollout.temperature.start of the config"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
