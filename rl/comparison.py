"""Models side by side on the held-out tasks of a config: engines, scorer and evaluation are those of a run.

Each model folder is served as it is, on engines of its own, one model after the other: packed INT4 or BF16, so that a
model as released, the same rounded to INT4 and the same after training stand in one table. Tasks, seeds and scores are
those of a run with this config: on a CPU a run's export gets the very numbers that its last evaluation had.

Left out: judges. As in a run's evaluations, an open-ended gym scores what code can check.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.table import Table

from configs.schema import Config
from gyms.load import GymSpec
from gyms.mixture import Draw, Fits, GymEntry, heldout
from reward.scorer import Scorer
from rl.accuracy import GymResult, evaluate, without_nan
from rl.actors import on_ray
from rl.cluster import Cluster
from rl.golds import Replayed, replay_golds
from rl.gym_checks import check_gyms
from rl.intervals import bootstrap
from rl.personas import check_endpoint
from rl.preflight import (
    AskNodes,
    available_memory,
    chat_of,
    check_context,
    check_cut,
    check_machine,
    device_for,
    is_local,
    nodes_of_cluster,
)
from rl.prompts import Askable
from rl.report import Report
from rollout.chat import ChatFormat
from rollout.engine.device import DeviceProfile
from rollout.quant.scheme import QuantScheme

__all__ = ["Contender", "Difference", "Plan", "Result", "compare", "difference", "plan", "tables", "with_differences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A model folder that can be served, and how."""

    name: str
    """As it was given."""
    folder: Path
    """The same, absolute."""
    weights: Literal["BF16", "INT4"]
    """What the engine computes with."""
    chat: ChatFormat
    """Its tokenizer and template."""
    draws: tuple[Draw, ...]
    """The tasks that it is asked, with the gyms' own budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be evaluated; everything about it was checked."""

    config: Config
    specs: tuple[GymSpec, ...]
    gyms: tuple[GymEntry, ...]
    fits: tuple[Fits, ...]
    """Of each contender: whether a task can be asked under its template."""
    contenders: tuple[Contender, ...]
    max_tokens: tuple[int | None, ...]
    """Lengths of responses; None: each gym's own budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Greedy accuracy of a model minus that of another, over the tasks that both were scored on."""

    mean: float
    low: float
    high: float
    """Ends of the 95 % interval: the bootstrap's, over tasks."""
    num: int
    """Tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a model did at a length of responses."""

    model: str
    weights: str
    budgets: Mapping[str, int]
    """Most tokens of a response, by gym."""
    gyms: Mapping[str, GymResult]
    difference: Mapping[str, Difference] = field(default_factory=dict)
    """From the first model at the same length, by gym; empty for the first model."""

    def row(self) -> dict[str, Any]:
        """As plain data; a number that could not be had is None."""
        gyms = {
            name: {
                "max_tokens": self.budgets[name],
                **found.row(),
                "difference": asdict(self.difference[name]) if name in self.difference else None,
            }
            for name, found in self.gyms.items()
        }
        return without_nan({"model": self.model, "weights": self.weights, "gyms": gyms})


def plan(
    config: Config, models: Sequence[str], max_tokens: Sequence[int], *, nodes: AskNodes = nodes_of_cluster
) -> Plan:
    """Check machine, gyms, models, prompts and lengths before anything starts.

    Args:
        config: of a run; what it says of learning is not looked at.
        models: folders.
        max_tokens: lengths of responses; none: each gym's own budget.
        nodes: of a cluster that the engines will join.

    Raises:
        ValueError: the first thing that is wrong.
    """
    config = _without_learner(config)
    check_machine(config)
    check_endpoint(config)
    longest = max([*max_tokens, *([] if max_tokens else [gym.longest for gym in config.gyms])])
    need = config.rollout.max_prompt_tokens + longest
    if need > config.model.context_length:
        raise ValueError(
            f"--max-tokens {longest} and rollout.max_prompt_tokens = {config.rollout.max_prompt_tokens} need {need} "
            f"tokens, but model.context_length is {config.model.context_length}; add model.context_length={need}"
        )
    folders = [(name, *_model_folder(name)) for name in models]
    device = device_for(config, nodes)
    entries, specs = check_gyms(config)
    for _, folder, _ in folders:
        check_context(config, folder)
        if config.engine.tensor_parallel > 1:
            _check_cut(config, folder, device)
        _check_memory(config, folder)
    chats = [chat_of(config, folder, entries) for _, folder, _ in folders]
    beside = (config.run_dir or Path("runs") / config.name).absolute().parent
    golds = replay_golds(config.gyms, entries, specs, folder=beside, say=lambda text: print(text, file=sys.stderr))
    by_name = {entry.name: entry.gym for entry in entries}
    contenders: list[Contender] = []
    fits: list[Fits] = []
    for (name, folder, weights), chat in zip(folders, chats, strict=True):
        fits.append(_fits(golds, Askable.of(config, chat, by_name)))
        chosen = heldout(entries, config.eval.num_tasks, config.seed, fits=fits[-1])
        if missing := by_name.keys() - {draw.gym for draw in chosen}:
            raise ValueError(
                f"no held-out task of {', '.join(sorted(missing))} can be asked of {name} (its chat template, "
                f"rollout.max_prompt_tokens = {config.rollout.max_prompt_tokens}); leave out the gym or the model"
            )
        contenders.append(Contender(name=name, folder=folder, weights=weights, chat=chat, draws=chosen))
    return Plan(
        config=config, specs=specs, gyms=tuple(entries), fits=tuple(fits), contenders=tuple(contenders),
        max_tokens=tuple(max_tokens) or (None,),
    )  # fmt: skip


def _without_learner(config: Config) -> Config:
    """As many bundles as engines: nobody learns who would need one too, or be told of experts."""
    learner = config.learner.model_copy(update={"num_ranks": 1, "replay_routing": False, "router_aux": 0.0})
    cluster = config.cluster.model_copy(update={"separate": False})
    return config.model_copy(update={"learner": learner, "cluster": cluster})


def _fits(golds: Replayed, askable: Askable) -> Fits:
    """Which held-out tasks are asked: those of a run that begins today."""
    return lambda gym, task: golds.is_asked(gym, task) and askable.fits(gym, task)


def _model_folder(name: str) -> tuple[Path, Literal["BF16", "INT4"]]:
    """The folder and what an engine would compute with."""
    folder = Path(name).expanduser().absolute()
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        inside = next((part for part in ("export", "base") if (folder / part / "config.json").is_file()), None)
        hint = f"; the run folder's model is {name}/{inside}" if inside else ""
        raise ValueError(f"{name} is no model folder (config.json, *.safetensors){hint}")
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("quantization_config")
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'} is not JSON: {error}") from error
    if found is None:
        return folder, "BF16"
    if found.get("format") == "pack-quantized":
        return folder, "INT4"
    raise ValueError(
        f"{name} is quantised by {found.get('quant_method')!r} (format {found.get('format')!r}); wanted BF16 or FP32 "
        "weights, or INT4 in the pack-quantized format of compressed-tensors"
    )


def _check_cut(config: Config, folder: Path, device: DeviceProfile) -> None:
    """An engine's processes can share this model among them."""
    from transformers import AutoConfig, AutoModelForCausalLM

    facts = AutoConfig.from_pretrained(str(folder))
    packed = getattr(facts, "quantization_config", None)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(facts)
    scheme = None if packed is None else QuantScheme.from_config(packed)
    check_cut(model, scheme, config.engine.tensor_parallel, device)


def _check_memory(config: Config, folder: Path) -> None:
    """Weights as loaded and as the kernel wants them, and the KV cache, for each engine; 2 GiB for processes."""
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    need = config.engine.num_engines * (config.engine.kv_cache_bytes + 2 * size) + (2 << 30)
    if is_local(config) and need > (free := available_memory()):
        raise ValueError(
            f"serving {folder} needs about {need / 2**30:.1f} GiB of memory, but {free / 2**30:.1f} GiB are free; "
            "lower engine.kv_cache_bytes or engine.num_engines"
        )


async def compare(chosen: Plan, report: Report) -> list[Result]:
    """Every model at every length, in the order given."""
    config, results = chosen.config, []
    with on_ray(config), Scorer(chosen.specs, num_workers=config.reward.num_workers) as scorer:
        for one in chosen.contenders:
            report.say(f"{one.name}: starting {config.engine.num_engines} engines on its {one.weights} weights")
            cluster = Cluster(config, model_folder=one.folder, initial_int4=None, chat=one.chat)
            async with cluster, cluster.serving(one.folder, quantised=one.weights == "INT4") as policy:
                for length in chosen.max_tokens:
                    draws = [replace(draw, budget=length or draw.budget) for draw in one.draws]
                    what = f"{one.name} ({one.weights}{f', at most {length} tokens' if length else ''})"
                    num = (1 + config.eval.samples_per_task + bool(config.eval.heavy)) * len(draws)
                    with report.progress(what, num, "responses") as advance:
                        found = await evaluate(
                            policy,
                            scorer,
                            draws,
                            temperature=config.eval.temperature,
                            seed=config.seed,
                            samples_per_task=config.eval.samples_per_task,
                            heavy=config.eval.heavy,
                            on_group=lambda group, advance=advance: advance(len(group.samples)),
                        )
                    budgets = {draw.gym: draw.budget for draw in draws}
                    results.append(Result(model=one.name, weights=one.weights, budgets=budgets, gyms=found))
    return with_differences(results, num_lengths=len(chosen.max_tokens))


def with_differences(results: Sequence[Result], *, num_lengths: int) -> list[Result]:
    """Results model by model, each at all lengths, compared with the first model's at the same length, task by task.

    Two models that answer the same tasks differ by much less chance than their intervals suggest.
    """
    compared = list(results[:num_lengths])
    for place, result in enumerate(results[num_lengths:]):
        first = results[place % num_lengths]
        differences = {
            name: difference(first.gyms[name].greedy_values, found.greedy_values) for name, found in result.gyms.items()
        }
        compared.append(replace(result, difference=differences))
    return compared


def difference(first: Mapping[str, float], other: Mapping[str, float]) -> Difference:
    """Mean of other minus first over the tasks of both; NaN where they share none."""
    found = [other[task] - value for task, value in first.items() if task in other]
    if not found:
        return Difference(mean=math.nan, low=math.nan, high=math.nan, num=0)
    low, high = bootstrap(found)
    return Difference(mean=math.fsum(found) / len(found), low=low, high=high, num=len(found))


def tables(results: Sequence[Result], *, samples_per_task: int, temperature: float, heavy: int = 0) -> list[Table]:
    """A table a gym: a row for each model and length; accuracies with their 95 % intervals."""
    hot = f"{'sampled' if samples_per_task == 1 else f'avg@{samples_per_task}'}, T = {temperature:g}"
    best = [f"pass@{samples_per_task}"] if samples_per_task > 1 else []
    last = [f"heavy of {heavy}"] if heavy else []
    found = []
    for name in results[0].gyms if results else ():
        table = Table(title=f"held-out {name}, mean [95 % interval]", title_justify="left")
        several = ["to the first"] if any(result.difference for result in results) else []
        columns = (
            "model",
            "weights",
            "max tokens",
            "n",
            "greedy",
            *several,
            hot,
            *best,
            *last,
            "tokens",
            "truncated",
            "masked",
        )
        for column in columns:
            table.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
        for result in results:
            one = result.gyms[name]
            accuracies = [
                f"{a.mean:.3f} [{a.low:.3f}, {a.high:.3f}]"
                for a in (one.greedy, one.sampled, one.best if best else None, one.heavy if last else None)
                if a is not None
            ]
            to_first = result.difference.get(name)
            told = "-" if to_first is None else f"{to_first.mean:+.3f} [{to_first.low:+.3f}, {to_first.high:+.3f}]"
            table.add_row(
                result.model, result.weights, str(result.budgets[name]), str(one.greedy.num),
                accuracies[0], *([told] if several else []), *accuracies[1:],
                f"{one.length_mean:.1f}", f"{one.truncated_frac:.3f}", f"{one.masked_frac:.3f}",
            )  # fmt: skip
        found.append(table)
    return found
