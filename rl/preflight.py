"""Everything that can be checked before anything starts: paths, shapes, budgets, gyms, data, memory (`--dry-run`).

Each check raises one ValueError that names the config key, what was given and what to do. The checks read headers and
configs, build the model on the meta device, and score a few gold answers; no weights are loaded, no actor is started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from configs.schema import Config
from gyms.api import Task
from gyms.fingerprint import gym_fingerprint
from gyms.load import GymSpec
from gyms.mixture import GymEntry
from rl.architectures import check_architecture, check_tensor_parallel, read_facts
from rl.bundles import Node, bundle_of, device_of
from rl.checkpoint import Checkpoint
from rl.curated import Curated, Source, split
from rl.golds import Replayed, replay_golds
from rl.gym_checks import check_gyms, check_same_everywhere, gym_code
from rl.judging import Judging
from rl.machine import check_programs, check_ray_folder
from rl.objective import check_objective
from rl.overlap import check_overlap, digest, file_texts
from rl.personas import check_endpoint
from rl.prompts import Askable, check_conversations, check_prompts
from rl.ptx import PtxData, load_conversations
from rl.qat import frozen_names
from rl.rates import Known, check_problems, in_range, read_rates
from rl.resume import check_draws_so_far, check_fingerprint, resumed
from rl.routing import check_replay
from rl.run_folder import RunFolder
from rl.sampling import PromptSampler
from rl.thinking import Thinking
from rl.tiny_model import build_tiny_model
from rl.toggle import Budgets
from rollout.chat import ChatFormat
from rollout.engine.compat import check_version
from rollout.engine.device import DeviceProfile, this_device
from rollout.quant.scheme import QuantScheme
from rollout.template import notes_on

__all__ = [
    "Checked",
    "available_memory",
    "check",
    "check_context",
    "check_cut",
    "check_gyms",
    "check_machine",
    "is_local",
    "is_ray_job",
    "resolve_run_folder",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the checks had to build anyway, handed to the run."""

    config: Config
    folder: RunFolder
    model_folder: Path
    chat: ChatFormat
    gyms: tuple[GymEntry, ...]
    specs: tuple[GymSpec, ...]
    ptx: Curated | None
    num_parameters: int
    fingerprint: dict[str, Any]
    """What must be the same when a run goes on: chat template, tokenizer and gyms' tasks."""
    golds: Replayed
    """Which tasks' worked answers fail, so that they are not asked."""
    askable: Askable
    """Which tasks have prompts that can be asked."""
    sampler: PromptSampler
    """Which of them a step asks."""
    token_budgets: Budgets
    """Of tasks, for `reward.toggle`, from `rollout.prompts.rates`."""
    thinking: Thinking
    """Where thoughts end in this model's responses."""
    checkpoint: Checkpoint | None
    """Where the run goes on from; None where it begins."""
    notes: tuple[str, ...]
    """What people should know and what is no reason to stop, a line each."""

    def fits(self, gym: str, task: Task) -> bool:
        """Whether a held-out task is asked."""
        return self.golds.is_asked(gym, task) and self.askable.fits(gym, task)


AskNodes = Callable[[Config], Sequence[Node]]
"""What the nodes have of the cluster that a run will join."""


def nodes_of_cluster(config: Config) -> Sequence[Node]:
    """Ask the cluster."""
    from rl.actors import nodes_of_running_cluster  # Ray, which a run on this machine needs later

    return nodes_of_running_cluster(config)


def check(
    config: Config, *, say: Callable[[str], None] = lambda text: None, nodes: AskNodes = nodes_of_cluster
) -> Checked:
    """Check a config against this machine, its cluster, its model, its gyms and its data.

    Args:
        say: takes lines on how far a long check is.
        nodes: of a cluster that the run will join.

    Raises:
        ValueError: the first thing that is wrong.
    """
    folder = resolve_run_folder(config)
    goes_on = resumed(config, folder)
    check_machine(config)
    device = device_for(config, nodes)
    gyms, specs = check_gyms(config)
    foreign = [s for s, e in zip(specs, gyms, strict=True) if not type(e.gym).__module__.startswith("gyms.")]
    model_folder = prepare_model_folder(config, folder)
    num_parameters = check_model(config, model_folder, device)
    chat = chat_of(config, model_folder, gyms)
    wanted = config.rollout.prompts
    known = Known() if wanted.rates is None else read_rates(wanted.rates, [entry.name for entry in gyms])
    check_problems(known, gyms)
    benchmarks = file_texts(config.overlap.files)
    fingerprint = fingerprint_of(config, chat, gyms, known, benchmarks)
    check_same_everywhere(foreign, fingerprint["gyms"])
    checkpoint, golds = None, None
    if goes_on is not None:
        old, checkpoint = goes_on
        golds = Replayed.before(checkpoint.fingerprint)
        check_fingerprint(checkpoint, golds.fingerprint | fingerprint)
        check_draws_so_far(old, config, checkpoint, folder.rows(folder.metrics), gyms)
    check_memory(config, num_parameters)
    Judging(config, gyms, chat)  # refuses what does not go together
    check_endpoint(config)
    check_objective(config)
    if golds is None:  # minutes, perhaps: behind what is checked at once
        golds = replay_golds(config.gyms, gyms, specs, folder=folder.path.parent, say=say)
    by_name = {entry.name: entry.gym for entry in gyms}
    askable = Askable.of(config, chat, by_name)
    notes = [*(notes_on(chat.tokenizer) if chat.use_template else ()), *golds.notes]
    for i, entry in enumerate(gyms):
        with gym_code(i, entry.name):
            notes += check_prompts(config, gyms, i, askable, say)
    overlaps, told = check_overlap(config.overlap, gyms, benchmarks)
    notes += told

    def fits(gym: str, task: Task) -> bool:
        is_clean = config.overlap.rule != "drop" or overlaps[gym].where(task) is None
        in_rates = in_range(known.rates, gym, task, low=wanted.min_rate, high=wanted.max_rate)
        return in_rates and is_clean and golds.is_asked(gym, task) and askable.fits(gym, task)

    sampler = PromptSampler(
        wanted, gyms, seed=config.seed, num=config.rollout.prompts_per_step, fits=fits, known=known.rates
    )  # fmt: skip
    sampler.draws(0, {})  # there is something to draw
    ptx = load_ptx(config, gyms, chat, golds)
    if ptx is not None:
        for source in ptx.sources:
            notes += check_conversations(config, source.data, say)
    return Checked(
        config=config,
        folder=folder,
        model_folder=model_folder,
        chat=chat,
        gyms=gyms,
        specs=specs,
        ptx=ptx,
        num_parameters=num_parameters,
        fingerprint=golds.fingerprint | fingerprint,
        golds=golds,
        askable=askable,
        sampler=sampler,
        token_budgets=known.budgets(config.reward.toggle.quantile),
        thinking=Thinking(chat.read_response, chat.decode),
        checkpoint=checkpoint,
        notes=tuple(notes),
    )


def fingerprint_of(
    config: Config, chat: ChatFormat, gyms: Sequence[GymEntry], known: Known, benchmarks: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """What decides which tasks are asked and how, besides the settings."""
    found: dict[str, Any] = {
        **chat.fingerprint,
        "gyms": {entry.name: gym_fingerprint(entry.gym) for entry in gyms},
    }
    if known.rates:
        found["rates"] = known.digest
    if benchmarks and config.overlap.rule == "drop":
        found["overlap"] = digest(benchmarks)
    return found


def is_ray_job() -> bool:
    """Whether this process was started by `ray job submit`, in a copy of the working directory."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def check_machine(config: Config) -> None:
    """vLLM's version; and where Ray starts here, its folder and the programs that its workers need."""
    check_version()
    if is_local(config):
        check_ray_folder(os.environ, pid=os.getpid())
        check_programs(on_cpu=not torch.cuda.is_available())


def device_for(config: Config, nodes: AskNodes) -> DeviceProfile:
    """What the engines will run on: this machine, or the nodes of a cluster, whose head may have no GPU.

    Raises:
        ValueError: there is no such cluster, or it, or this machine, has no room for as many engines and ranks.
    """
    if is_local(config):
        num_gpus = torch.cuda.device_count()
        machine = {"CPU": os.cpu_count() or 1, **({"GPU": num_gpus} if num_gpus else {})}
        bundle_of(config, [machine], whose="this machine")
        return this_device()
    found = nodes(config)
    bundle_of(config, found)
    return device_of(found)


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
                "give an absolute path on the node that the job's driver is on, e.g. run_dir=/data/runs/mine"
            )
        path = Path.cwd() / path
    return RunFolder(path)


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
    if "quantization_config" in read_facts(path / "config.json"):
        raise ValueError(
            f"model.path = {path} is quantised already; QAT starts from continuous weights (docs/int4.md): give the "
            "BF16 model that it was made from"
        )
    return path


def check_model(config: Config, model_folder: Path, device: DeviceProfile) -> int:
    """Shapes against the grid and the engine, context against the model; returns the number of parameters.

    Args:
        device: what engines run on.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    from rollout.quant.views import check_ignored, check_shapes, quantized_views

    check_context(config, model_folder)
    whole = AutoConfig.from_pretrained(str(model_folder))
    facts = whole.get_text_config()  # where a model of several kinds of input keeps those of its language model
    on_cpu = device.name == "cpu"
    check_architecture(facts, context_length=config.model.context_length, model_folder=model_folder, on_cpu=on_cpu)
    if config.engine.bf16_copy and not on_cpu:
        raise ValueError("engine.bf16_copy = true is for engines on CPUs, and these run on GPUs: leave it out")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(whole)
    scheme = QuantScheme(group_size=config.quant.group_size, ignore=config.quant.ignore)
    check_ignored(model, scheme)
    check_shapes(quantized_views(model, scheme), config.quant.group_size, device.kernel)
    check_cut(model, scheme, config.engine.tensor_parallel, device)
    frozen_names(model, config.learner.frozen)
    if config.learner.replay_routing:
        check_replay(model, on_cpu=on_cpu)
    return sum(parameter.numel() for parameter in model.parameters())


def check_cut(model: Any, scheme: QuantScheme | None, size: int, device: DeviceProfile) -> None:
    """An engine's processes can share the model's matrices among them.

    Args:
        model: on the meta device.
        scheme: of the packed weights that are served; None: BF16 is, whose slices no kernel restricts.
        size: `engine.tensor_parallel`.
        device: what engines run on.
    """
    from rollout.quant.slices import check_slices
    from rollout.quant.views import quantized_views

    if size > 1:
        plan = check_tensor_parallel(model.config.get_text_config(), size)
        if scheme is not None:
            check_slices(quantized_views(model, scheme), scheme.group_size, device.kernel, plan=plan, size=size)


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


def chat_of(config: Config, model_folder: Path, gyms: Sequence[GymEntry]) -> ChatFormat:
    """How this model's prompts are rendered; its template can do what the gyms ask of it."""
    chat = ChatFormat(
        model_folder,
        use_template=config.model.chat_template,
        system_prompt=config.model.system_prompt,
        tool_format=config.model.tool_format,
        thoughts=config.model.thoughts,
        keeps_thoughts=config.model.earlier_thoughts == "keep",
    )
    chat.check()
    if any(entry.limits for entry in gyms):
        chat.check_turns()
    return chat


def load_ptx(config: Config, gyms: tuple[GymEntry, ...], chat: ChatFormat, golds: Replayed) -> Curated | None:
    """The curated conversations, if any are used; no worked answer that fails is among them."""
    ptx = config.ptx
    if not ptx.sources or not (ptx.coef > 0 or config.warmup.num_steps or ptx.num_heldout):
        return None
    by_name = {entry.name: entry.gym for entry in gyms}
    limit = min(config.model.context_length, config.learner.max_microbatch_tokens)
    found = []
    for source in ptx.sources:
        conversations = load_conversations(
            gyms={name: by_name[name] for name in source.gyms},
            jsonl=source.jsonl,
            dataset=source.dataset,
            split=source.split,
            max_examples=source.max_examples,
            seed=config.seed,
            tool_format=chat.tool_format,
            left_out=golds.failed,
        )
        train, heldout = split(conversations, num_heldout=ptx.num_heldout, seed=config.seed)
        found.append(
            Source(
                data=PtxData(train, chat, max_tokens=limit, rule=ptx.long_conversations),
                weight=source.weight,
                heldout=PtxData(heldout, chat, max_tokens=limit) if heldout else None,
            )
        )
    return Curated(found)


# -- memory -----------------------------------------------------------------------------------------------------------


def check_memory(config: Config, num_parameters: int) -> None:
    """Rough need of one node against what is free; only for runs on this machine.

    Masters, gradients and two moments in fp32 (16 bytes), the computing copy (2 or 4), its packed codes (0.6) and three
    packed versions (0.6 each, or 2 for what stays BF16): each taken as 1; a reference, an average; what engines serve
    and make of the next version, also as BF16 copies (2 each); the KV cache; 2 GiB for processes and activations. Of
    several ranks the image is fp32 (4 more), and each reads the whole model at the start. LoRA needs most when it
    begins: masters (4), base (2), image, codes. Each process of an engine of several holds a whole packed version (1).
    """
    if not is_local(config):
        return
    computing = 2 if config.learner.compute_dtype == "bfloat16" else 4
    kept = (computing if config.learner.reference_kl.coef else 0) + (4 if config.learner.ema_decay else 0)
    each = 7 + computing if config.learner.lora.rank else 17 + computing + kept
    learner, num_ranks = num_parameters * each, config.learner.num_ranks
    if num_ranks > 1:
        learner = num_parameters * max(21 + computing, 4 * num_ranks + 8)
    held = num_parameters * size if (size := config.engine.tensor_parallel) > 1 else 0
    served = num_parameters * (6 if config.engine.bf16_copy else 2)
    engines = config.engine.num_engines * (config.engine.kv_cache_bytes + served + held)
    need = learner + engines + num_parameters * 3 + (2 << 30)
    free = available_memory()
    if need > free:
        raise ValueError(
            f"this run needs about {need / 2**30:.1f} GiB of memory (learner {learner / 2**30:.1f}, engines "
            f"{engines / 2**30:.1f}), but {free / 2**30:.1f} GiB are free; use a smaller model, lower "
            f"engine.kv_cache_bytes{', engine.tensor_parallel' if held else ''} or engine.num_engines"
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
    """What control groups, version 2 or 1, leave to this container, inactive cached files with it; else endless."""
    free = [sys.maxsize]
    v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    for limit, used, cached in (("memory.max", "memory.current", "inactive_file"), v1):
        for folder in (root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory"):
            if (folder / limit).is_file() and (folder / used).is_file():
                most = (folder / limit).read_text().strip()
                if most != "max":
                    stat = folder / "memory.stat"  # not every emulated kernel has it
                    facts = dict(line.split() for line in stat.read_text().splitlines()) if stat.is_file() else {}
                    free.append(max(int(most) - int((folder / used).read_text()) + int(facts.get(cached, 0)), 0))
    return free
