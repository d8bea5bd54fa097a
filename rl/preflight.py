"""Everything that can be checked before anything starts: paths, shapes, budgets, gyms, data, memory (`--dry-run`).

Each check raises one ValueError that names the config key, what was given and what to do. The checks read headers and
configs, build the model on the meta device, and score a few gold answers; no weights are loaded, no actor is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from configs.schema import Config
from gyms.api import Gym, Score, Status, Task
from gyms.fingerprint import ask_another_process, gym_fingerprint
from gyms.load import GymSpec, load_gym
from gyms.mixture import GymEntry, check_disjoint
from reward.scorer import Scorer
from rl.checkpoint import Checkpoint
from rl.judging import Judging
from rl.machine import check_languages, check_programs, check_ray_folder
from rl.objective import check_objective
from rl.prompts import Askable, check_conversations, check_prompts
from rl.ptx import PtxData, load_conversations
from rl.resume import check_draws_so_far, check_fingerprint, resumed
from rl.run_folder import RunFolder
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat
from rollout.engine.compat import check_version

__all__ = [
    "Checked",
    "available_memory",
    "check",
    "check_context",
    "check_gyms",
    "check_machine",
    "is_local",
    "is_ray_job",
    "resolve_run_folder",
]

_NUM_GOLDS = 8
"""Tasks of each split whose gold answer is scored."""
_MAX_WRONG_GOLDS = 0.25
"""Fraction of those that may fail."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the checks had to build anyway, handed to the run."""

    config: Config
    folder: RunFolder
    model_folder: Path
    chat: ChatFormat
    gyms: tuple[GymEntry, ...]
    specs: tuple[GymSpec, ...]
    ptx: PtxData | None
    num_parameters: int
    fingerprint: dict[str, Any]
    """What must be the same when a run goes on: chat template and gyms' tasks."""
    askable: Askable
    """Which tasks can be asked."""
    checkpoint: Checkpoint | None
    """Where the run goes on from; None where it begins."""
    notes: tuple[str, ...]
    """What people should know and what is no reason to stop, a line each."""


def check(config: Config, *, say: Callable[[str], None] = lambda text: None) -> Checked:
    """Check a config against this machine, its model, its gyms and its data.

    Args:
        say: takes lines on how far a long check is.

    Raises:
        ValueError: the first thing that is wrong.
    """
    folder = resolve_run_folder(config)
    goes_on = resumed(config, folder)
    check_machine(config)
    gyms, specs = check_gyms(config)
    foreign = [s for s, e in zip(specs, gyms, strict=True) if not type(e.gym).__module__.startswith("gyms.")]
    model_folder = prepare_model_folder(config, folder)
    num_parameters = check_model(config, model_folder)
    chat = ChatFormat(model_folder, use_template=config.model.chat_template, system_prompt=config.model.system_prompt)
    chat.check()
    fingerprint = {"chat_template": chat.template_hash, "gyms": {e.name: gym_fingerprint(e.gym) for e in gyms}}
    check_same_everywhere(foreign, fingerprint["gyms"])
    checkpoint = None
    if goes_on is not None:
        old, checkpoint = goes_on
        check_fingerprint(checkpoint, fingerprint)
        check_draws_so_far(old, config, checkpoint, folder.rows(folder.metrics), gyms)
    check_memory(config, num_parameters)
    Judging(config, gyms, chat)  # refuses what does not go together
    check_objective(config)
    askable = Askable(chat, max_tokens=config.rollout.max_prompt_tokens, rule=config.rollout.long_prompts)
    notes: list[str] = []
    for i, entry in enumerate(gyms):
        with _gym_code(i, entry.name):
            notes += check_prompts(config, gyms, i, askable, say)
    ptx = load_ptx(config, gyms, chat)
    if ptx is not None:
        notes += check_conversations(config, ptx, say)
    return Checked(
        config=config,
        folder=folder,
        model_folder=model_folder,
        chat=chat,
        gyms=gyms,
        specs=specs,
        ptx=ptx,
        num_parameters=num_parameters,
        fingerprint=fingerprint,
        askable=askable,
        checkpoint=checkpoint,
        notes=tuple(notes),
    )


def is_ray_job() -> bool:
    """Whether this process was started by `ray job submit`, in a copy of the working directory."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def check_machine(config: Config) -> None:
    """vLLM's version; and where Ray starts here, its folder and the programs that its workers need."""
    check_version()
    if is_local(config):
        check_ray_folder(os.environ, pid=os.getpid())
        check_programs(on_cpu=not torch.cuda.is_available())


def is_local(config: Config) -> bool:
    """Whether Ray is started for this command, on this machine."""
    return not (config.cluster.address or os.environ.get("RAY_ADDRESS") or is_ray_job())


def resolve_run_folder(config: Config) -> RunFolder:
    """The absolute run folder."""
    path = config.run_dir or Path("runs") / config.name
    if not path.is_absolute():
        if is_ray_job():
            raise ValueError(
                f"run_dir = {path} is relative; under `ray job submit` the working directory is a temporary copy, so "
                "give an absolute path that every node sees, e.g. run_dir=/data/runs/mine"
            )
        path = Path.cwd() / path
    return RunFolder(path)


# -- gyms -------------------------------------------------------------------------------------------------------------


def check_gyms(config: Config) -> tuple[tuple[GymEntry, ...], tuple[GymSpec, ...]]:
    """Load every gym, score a gold answer, and see that train and held-out tasks do not overlap."""
    entries, specs = [], []
    for i, settings in enumerate(config.gyms):
        gym = load_gym(settings.name, settings.gym, settings.args, config_key=f"gyms.{i}")
        with _gym_code(i, settings.name):
            for split in ("train", "heldout"):
                if not len(gym.tasks(split)):
                    raise ValueError(f"gyms.{i} ({settings.name}) has no {split} tasks; check gyms.{i}.args")
            check_languages(f"gyms.{i} ({settings.name})", gym)
            spec = GymSpec(name=settings.name, reference=settings.gym, args=settings.args)
            check_gold(gym, i, spec)
            check_disjoint(gym, name=settings.name)
        entries.append(GymEntry(name=settings.name, gym=gym, share=settings.share, budget=settings.budget))
        specs.append(spec)
    return tuple(entries), tuple(specs)


@contextlib.contextmanager
def _gym_code(index: int, name: str) -> Iterator[None]:
    """Around calls into a plug-in: whatever it raises becomes a ValueError that names the gym."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(
            f"gyms.{index} ({name}) raised {type(error).__name__}: {error}; run `python -m gyms validate {name}` and "
            "mend the gym"
        ) from error


def check_gold(gym: Gym, index: int, spec: GymSpec) -> None:
    """Worked answers score 1: the first of each split, and most of a sample; else the verifier teaches nonsense.

    Scored here, but for gyms that run submitted code: those get a worker with its sandbox, as in the run. Published
    sets hold some tasks whose own solution fails; where few of the sample are such, they are logged.
    """
    name = spec.name
    tasks = [task for split in ("train", "heldout") for task in _spread(gym.tasks(split), _NUM_GOLDS)]
    firsts = {gym.tasks(split)[0].id for split in ("train", "heldout")}
    golds = [(task, answer) for task in tasks if (answer := gym.gold(task)) is not None]
    scores = _score_in_worker(spec, golds) if gym.needs.sandbox else [gym.score(task, answer) for task, answer in golds]
    wrong = [
        (task, answer, score)
        for (task, answer), score in zip(golds, scores, strict=True)
        if score.status is not Status.OK or score.value != 1.0
    ]
    if not wrong:
        return
    task, answer, score = min(wrong, key=lambda found: found[0].id not in firsts)
    told = (
        f"gyms.{index} ({name}): the gold answer {answer!r:.300} of task {task.id!r} scores {score.value} "
        f"({score.status})"
    )
    if task.id in firsts or len(wrong) > _MAX_WRONG_GOLDS * len(golds):
        many = f" and {len(wrong)} of {len(golds)} sampled gold answers fail" if len(wrong) > 1 else ""
        raise ValueError(f"{told}{many}; run `python -m gyms validate {name}` and mend the gym")
    _log.warning("%s; %d of %d sampled: such tasks teach nothing, drop their rows", told, len(wrong), len(golds))


def _spread(tasks: Sequence[Task], num: int) -> list[Task]:
    """Up to so many tasks, the first one and others evenly spaced."""
    return [tasks[i * len(tasks) // num] for i in range(num)] if len(tasks) > num else list(tasks)


def _score_in_worker(spec: GymSpec, pairs: Sequence[tuple[Task, str]]) -> list[Score]:
    async def score_all() -> list[Score]:
        return [await scorer.score(f"gold/{i}", spec.name, *pair) for i, pair in enumerate(pairs)]

    with Scorer([spec]) as scorer:
        return asyncio.run(score_all())


def check_same_everywhere(specs: Sequence[GymSpec], here: Mapping[str, Any]) -> None:
    """Another process finds the same tasks in these gyms, of which `here` are the fingerprints in this one."""
    there = ask_another_process(specs) if specs else {}
    for spec in specs:
        if there.get(spec.name) != here[spec.name]:
            what = "differ in another process" if spec.name in there else "cannot be built in another process"
            raise ValueError(
                f"the tasks of gym {spec.name!r} ({spec.reference}) {what}; a gym's tasks must be the same in every "
                "process, or its run cannot go on after a stop: sort what comes from a set, seed what is drawn"
            )


# -- model ------------------------------------------------------------------------------------------------------------


def prepare_model_folder(config: Config, folder: RunFolder) -> Path:
    """Where the policy before training lies; the tiny model is built there if it is missing."""
    if config.model.source == "tiny":
        context = config.model.context_length
        build_tiny_model(folder.base, config.model.tiny, context_length=context, seed=config.seed)
        return folder.base
    path = config.model.path
    assert path is not None
    if not (path / "config.json").is_file():
        raise ValueError(
            f"model.path = {path} is no Hugging Face folder (no config.json); `python -m rl.prepare smollm2 --output "
            f"{path}` makes one to begin with"
        )
    if not list(path.glob("*.safetensors")):
        raise ValueError(f"model.path = {path} has no *.safetensors weights")
    try:
        facts = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path / 'config.json'} is not JSON: {error}") from error
    if "quantization_config" in facts:
        raise ValueError(
            f"model.path = {path} is quantised already; QAT starts from continuous weights (docs/int4.md): give the "
            "BF16 model that it was made from"
        )
    return path


def check_model(config: Config, model_folder: Path) -> int:
    """Shapes against the grid and the engine, context against the model; returns the number of parameters."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from rollout.quant.scheme import QuantScheme
    from rollout.quant.views import check_shapes, quantized_views

    check_context(config, model_folder)
    whole = AutoConfig.from_pretrained(str(model_folder))
    facts = whole.get_text_config()  # where a model of several kinds of input keeps those of its language model
    window = getattr(facts, "sliding_window", None)
    layers = getattr(facts, "layer_types", None) or ("sliding_attention",)
    if window is not None and "sliding_attention" in layers and window < config.model.context_length:
        raise ValueError(
            f"the model attends over a sliding window of {window} tokens, less than model.context_length = "
            f"{config.model.context_length}; the learner's tree mask would replace the window: lower the context"
        )
    for key in ("attn_logit_softcapping", "final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap"):
        if getattr(facts, key, None) is not None:
            raise ValueError(
                f"{model_folder}/config.json sets {key} = {getattr(facts, key):g}: models with soft-capped logits "
                "(as Gemma 2) cannot be trained here; give another model.path"
            )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(whole)
    scheme = QuantScheme(group_size=config.quant.group_size, ignore=config.quant.ignore)
    check_shapes(quantized_views(model, scheme), config.quant.group_size)
    return sum(parameter.numel() for parameter in model.parameters())


def check_context(config: Config, model_folder: Path) -> None:
    """The model knows as many positions as the engines are to serve."""
    from transformers import AutoConfig

    facts = AutoConfig.from_pretrained(str(model_folder)).get_text_config()
    limit = getattr(facts, "max_position_embeddings", None)
    if limit is not None and config.model.context_length > limit:
        raise ValueError(
            f"model.context_length = {config.model.context_length} exceeds what the model knows "
            f"(max_position_embeddings = {limit} in {model_folder}/config.json); lower it"
        )


def load_ptx(config: Config, gyms: tuple[GymEntry, ...], chat: ChatFormat) -> PtxData | None:
    """The curated conversations, if any are used."""
    source = config.ptx.source
    if not source.is_set or not (config.ptx.coef > 0 or config.warmup.num_steps):
        return None
    by_name = {entry.name: entry.gym for entry in gyms}
    conversations = load_conversations(
        gyms={name: by_name[name] for name in source.gyms},
        jsonl=source.jsonl,
        dataset=source.dataset,
        split=source.split,
        max_examples=source.max_examples,
        seed=config.seed,
    )
    limit = min(config.model.context_length, config.learner.max_microbatch_tokens)
    return PtxData(conversations, chat, max_tokens=limit, rule=config.ptx.long_conversations)


# -- memory -----------------------------------------------------------------------------------------------------------


def check_memory(config: Config, num_parameters: int) -> None:
    """Rough need of one node against what is free; only for runs on this machine.

    Masters, gradients and two moments in fp32 (16 bytes), the computing copy (2 or 4), three packed versions (0.6 each,
    or 2 for what stays BF16: taken as 1), the KV cache, 2 GiB for processes and activations.
    """
    if not is_local(config):
        return
    computing = 2 if config.learner.compute_dtype == "bfloat16" else 4
    learner = num_parameters * (16 + computing)
    engines = config.engine.num_engines * (config.engine.kv_cache_bytes + num_parameters * 2)
    need = learner + engines + num_parameters * 3 + (2 << 30)
    free = available_memory()
    if need > free:
        raise ValueError(
            f"this run needs about {need / 2**30:.1f} GiB of memory (learner {learner / 2**30:.1f}, engines "
            f"{engines / 2**30:.1f}), but {free / 2**30:.1f} GiB are free; use a smaller model, lower "
            "engine.kv_cache_bytes or engine.num_engines"
        )
    store = config.cluster.object_store_bytes
    if store < 2 * num_parameters:  # INT4 takes 0.56 bytes a weight; embeddings stay at 2
        raise ValueError(
            f"cluster.object_store_bytes = {store} cannot hold two packed versions of {num_parameters} parameters; "
            f"set it to at least {4 * num_parameters}"
        )
    shm = os.statvfs("/dev/shm")
    if shm.f_bavail * shm.f_frsize < store:
        raise ValueError(
            f"/dev/shm has {shm.f_bavail * shm.f_frsize >> 20} MiB free, less than cluster.object_store_bytes = "
            f"{store >> 20} MiB; enlarge the mount (docker: --shm-size) or lower the setting"
        )


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that this machine, or the container this process is in, can give without swapping."""
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return min(int(line.split()[1]) * 1024, *_container_memory(root))
    raise RuntimeError("/proc/meminfo has no MemAvailable")


def _container_memory(root: Path) -> list[int]:
    """What control groups, version 2 or 1, leave to this container; endless where none has a limit."""
    free = [sys.maxsize]
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        for folder in (root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory"):
            if (folder / limit).is_file() and (folder / used).is_file():
                most = (folder / limit).read_text().strip()
                if most != "max":
                    free.append(max(int(most) - int((folder / used).read_text()), 0))
    return free
