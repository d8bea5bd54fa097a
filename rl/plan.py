"""`k2rl plan CONFIG`: memory of each phase, packed bytes, swap and step time on GPUs, from a model's config alone.

First principles, with every assumption printed: a plan is as good as those. Nothing is loaded and no GPU is needed, so
a run can be sized before anything is rented. Parameters are counted from config.json: dense models, mixtures of
experts, and latent attention (MLA). What a count is made of and where bytes come from is in docs/scale.md.

Left out: network between nodes, pipeline parallelism, and what others do on the same devices.
"""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.sections import QuantConfig
from gyms.extras import check_installed
from rl.architectures import read_facts

if TYPE_CHECKING:
    from configs.schema import Config

__all__ = ["GPUS", "Gpu", "Kept", "ModelSize", "main", "model_size", "plan", "step_seconds"]

BITS_OF_A_SCALE, BITS_OF_A_CODE = 16, 4
MASTER, GRADIENT, MOMENT = 4, 4, 4
"""Bytes of a parameter that learns, in fp32: AdamW keeps two moments, Muon one."""
IMAGE_BYTES_OF_RANKS = 4
"""Of a parameter, where it is sharded: fp32 (rl/shards.py). On one GPU it has the type that is computed in."""
BASE_BYTES = 2
"""Of an INT4 matrix under LoRA, beside its image: as it was loaded (rl/lora.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A device, from its maker's data sheet."""

    memory_bytes: float
    """Device memory."""
    bytes_per_second: float
    """Of device memory."""
    flops: float
    """Dense bf16 operations a second."""
    host_bytes_per_second: float = 25e9
    """To and from pageable host memory; half of what PCIe 5 x16 gives to pinned memory."""


GPUS: Mapping[str, Gpu] = {
    "a100": Gpu(memory_bytes=80e9, bytes_per_second=2.0e12, flops=312e12, host_bytes_per_second=12e9),
    "h100": Gpu(memory_bytes=80e9, bytes_per_second=3.35e12, flops=989e12),
    "h200": Gpu(memory_bytes=141e9, bytes_per_second=4.8e12, flops=989e12),
    "b200": Gpu(memory_bytes=180e9, bytes_per_second=8.0e12, flops=2250e12),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """Parameters by what becomes of them."""

    quantised: int
    """Of linear layers that are INT4."""
    plain: int
    """Embeddings, head, norms, routers, biases: they stay bfloat16."""
    experts: int
    """Of `quantised`, those of routed experts."""
    active: int
    """Used for a token: the output head among them, the input embedding not."""
    num_layers: int
    kv_width: int
    """Numbers of a token's KV cache in a layer."""
    tables: int
    """Of `plain`, embedding and output head."""
    edges: int
    """Inputs and outputs of all INT4 matrices, added up: an adapter of rank r has r times as many numbers."""

    @property
    def total(self) -> int:
        """All parameters."""
        return self.quantised + self.plain

    def packed_bytes(self, group_size: int, *, only_experts: bool = False) -> float:
        """Of the artefact: codes and scales, and what stays bfloat16.

        Args:
            group_size: weights that share a scale.
            only_experts: whether `quant.ignore` leaves all other layers out, as Kimi K2 Thinking does.
        """
        quantised = self.experts if only_experts else self.quantised
        return _code_bytes(quantised, group_size) + 2 * (self.total - quantised)


def _code_bytes(num_weights: int, group_size: int) -> float:
    """Of packed codes and scales."""
    return num_weights * (BITS_OF_A_CODE + BITS_OF_A_SCALE / group_size) / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a learner keeps by its settings; by default a plain one's, in bf16."""

    computing_bytes: int = 2
    """Of a number, as `learner.compute_dtype` is."""
    is_on_grid: bool = True
    """Whether INT4 matrices have packed codes (`quant.fake_quantize`)."""
    has_muon: bool = False
    """Whether INT4 matrices have one moment."""
    num_frozen: int = 0
    """Parameters that `learner.frozen` names."""
    num_frozen_int4: int = 0
    """Of them, those of INT4 matrices."""
    lora_rank: int = 0
    """Above 0, nothing but adapters is trained."""
    has_reference: bool = False
    has_average: bool = False
    is_alone: bool = False
    """Whether a setting is refused with several ranks."""

    def learner_bytes(self, size: ModelSize, *, group_size: int, num_ranks: int) -> tuple[float, float]:
        """Of all ranks together: what is kept between updates, and the gradients during one."""
        trained, matrices = size.total - self.num_frozen, size.quantised - self.num_frozen_int4
        kept = 0.0
        if self.lora_rank:
            trained, matrices = self.lora_rank * size.edges, 0
            kept += BASE_BYTES * size.quantised
        image = self.computing_bytes if num_ranks == 1 else IMAGE_BYTES_OF_RANKS
        kept += trained * (MASTER + 2 * MOMENT) - (matrices * MOMENT if self.has_muon else 0)
        kept += size.total * image + (_code_bytes(size.quantised, group_size) if self.is_on_grid else 0.0)
        kept += size.total * self.computing_bytes if self.has_reference else 0
        kept += trained * MASTER if self.has_average else 0
        return kept, float(trained * GRADIENT)


def model_size(facts: Mapping[str, Any]) -> ModelSize:
    """Count a decoder's parameters from its config.json (Llama, Qwen 2 and 3, DeepSeek V3, Kimi K2 and their kin).

    Raises:
        ValueError: a number that the count needs is missing.
    """
    facts = facts.get("text_config") or facts
    try:
        width, layers, vocabulary = facts["hidden_size"], facts["num_hidden_layers"], facts["vocab_size"]
        matrices, attention_plain, kv_width = _attention(facts)
        experts = facts.get("n_routed_experts") or facts.get("num_local_experts") or facts.get("num_experts") or 0
        dense_layers = min(layers, facts.get("first_k_dense_replace") or 0) if experts else layers
        dense = 3 * width * facts["intermediate_size"] * dense_layers if dense_layers else 0
    except KeyError as error:
        raise ValueError(f"config.json has no {error.args[0]!r}, which the count of parameters needs") from None
    sparse = layers - dense_layers
    of_expert = facts.get("moe_intermediate_size") or facts.get("intermediate_size") or 0
    per_expert, num_shared = 3 * width * of_expert, facts.get("n_shared_experts") or 0
    shared = num_shared * per_expert
    edges = layers * sum(map(sum, matrices)) + dense_layers * 3 * (width + (facts.get("intermediate_size") or 0))
    edges += sparse * 3 * (experts * (width + of_expert) + (width + num_shared * of_expert if num_shared else 0))
    tables = 1 if facts.get("tie_word_embeddings") else 2
    plain = tables * vocabulary * width + layers * (attention_plain + 2 * width) + width + sparse * width * experts
    common = layers * sum(math.prod(shape) for shape in matrices) + dense + sparse * shared
    active_experts = sparse * (facts.get("num_experts_per_tok") or 0) * per_expert
    return ModelSize(
        quantised=common + sparse * experts * per_expert,
        plain=plain,
        experts=sparse * experts * per_expert,
        active=common + active_experts + vocabulary * width,
        num_layers=layers,
        kv_width=kv_width,
        tables=tables * vocabulary * width,
        edges=edges,
    )


def _attention(facts: Mapping[str, Any]) -> tuple[list[tuple[int, int]], int, int]:
    """Of a layer: inputs and outputs of its matrices, norms and biases, numbers of a token's KV cache."""
    width, heads = facts["hidden_size"], facts["num_attention_heads"]
    if facts.get("kv_lora_rank"):
        rank, rope = facts["kv_lora_rank"], facts["qk_rope_head_dim"]
        nope, value, query_rank = facts["qk_nope_head_dim"], facts["v_head_dim"], facts.get("q_lora_rank")
        queries = heads * (nope + rope)
        query = [(width, query_rank), (query_rank, queries)] if query_rank else [(width, queries)]
        matrices = [*query, (width, rank + rope), (rank, heads * (nope + value)), (heads * value, width)]
        plain, kept = rank + (query_rank or 0), rank + rope
        if index_heads := facts.get("index_n_heads"):  # sparse attention's indexer: DeepSeek V3.2, GLM-5
            index = facts["index_head_dim"]
            matrices += [(query_rank or width, index_heads * index), (width, index), (width, index_heads)]
            plain, kept = plain + 2 * index, kept + index
        return matrices, plain, kept
    head = facts.get("head_dim") or width // heads
    kv_heads = facts.get("num_key_value_heads") or heads
    matrices = [(width, heads * head), *[(width, kv_heads * head)] * 2, (heads * head, width)]
    kind = str(facts.get("model_type", ""))
    biases = (heads + 2 * kv_heads) * head if kind in ("qwen2", "qwen2_moe") or facts.get("attention_bias") else 0
    return matrices, biases + (2 * head if kind.startswith("qwen3") else 0), 2 * kv_heads * head


def plan(
    size: ModelSize, gpu: Gpu, *, num_gpus: int, group_size: int, kv_cache_bytes: float, num_samples: int,
    num_tokens: float, max_num_seqs: int, num_sampled: float | None = None, use: float = 0.35,
    num_learner_gpus: int | None = None, is_ahead: bool = False, num_engine_gpus: int | None = None,
    num_ranks: int | None = None, kept: Kept = Kept(),
) -> dict[str, float]:  # fmt: skip
    """Bytes and seconds of one GPU and one step.

    Args:
        num_gpus: of all; learner and engines take turns on them, unless `num_learner_gpus` divides them.
        kv_cache_bytes: of an engine.
        num_samples, num_tokens: responses of a step, and the mean length of one with its prompt.
        max_num_seqs: responses that decode together on an engine.
        num_sampled: tokens of them that the policy samples; the others, prompts and what tools answer, are read. None:
            all are sampled.
        use: fraction of peak operations that learning reaches, and of peak bandwidth that decoding does.
        num_learner_gpus: of `num_gpus`, those that only learn; engines have the others, and nobody gives memory away.
        is_ahead: engines draw the next step while this one is learned.
        num_engine_gpus: of an engine (`engine.tensor_parallel`); None: as few as hold it.
        num_ranks: of the learner, each on a GPU; None: one on each of its GPUs, if it may have several.
        kept: what the learner keeps.
    """
    generate_on = num_gpus - (num_learner_gpus or 0)
    learn_on = 1 if kept.is_alone else num_ranks or num_learner_gpus or num_gpus
    packed = size.packed_bytes(group_size)
    need = max(1, -(-int(packed * 1.1 + kv_cache_bytes) // int(gpu.memory_bytes * 0.9)))
    ranks_of_engine = num_engine_gpus or 1 << (need - 1).bit_length()  # a power of two: heads are shared out among them
    num_engines = max(1, generate_on // ranks_of_engine)
    between, gradients = kept.learner_bytes(size, group_size=group_size, num_ranks=learn_on)
    leaves = between / learn_on if num_learner_gpus is None else 0.0
    gathered = 0.0 if learn_on == 1 else size.tables + 2 * (size.total - size.tables) / size.num_layers
    together = min(max_num_seqs, max(1.0, num_samples / num_engines))
    weights_read = min(packed, packed * size.active / size.total * together)
    kv_read = 2 * size.num_layers * size.kv_width * num_tokens / 2 * together
    token_seconds = (weights_read + kv_read) / ranks_of_engine / (gpu.bytes_per_second * use)
    rounds = max(1.0, num_samples / num_engines / together)
    sampled = num_tokens if num_sampled is None else min(num_sampled, num_tokens)
    token_ops_per_second = gpu.flops * use / (size.active * num_samples)
    rollout = rounds * sampled * token_seconds + 2 * (num_tokens - sampled) / (generate_on * token_ops_per_second)
    update = 8 * num_tokens / (learn_on * token_ops_per_second)
    return {
        "ranks_of_an_engine": ranks_of_engine,
        "packed_bytes": packed,
        "generating_bytes": packed * 1.1 / ranks_of_engine + kv_cache_bytes / ranks_of_engine,
        "ranks_of_the_learner": learn_on,
        "learner_bytes": between + gradients,
        "learning_bytes": (between + gradients) / learn_on + kept.computing_bytes * gathered,
        "host_bytes": leaves,
        "offload_seconds": leaves / gpu.host_bytes_per_second,
        "swap_seconds": packed / ranks_of_engine / gpu.host_bytes_per_second,
        "rollout_seconds": rollout,
        "update_seconds": update,
        "hidden_seconds": min(rollout, update) if is_ahead else 0.0,
    }


def step_seconds(found: Mapping[str, float]) -> float:
    """Of a step, from what `plan` found: its phases follow each other, but for the shorter one where that is hidden."""
    moved = found["offload_seconds"] * 2 + found["swap_seconds"]
    return moved + found["rollout_seconds"] + found["update_seconds"] - found["hidden_seconds"]


def _assumed(who: str, size: ModelSize, found: Mapping[str, float]) -> str:
    ranks, each = found["ranks_of_the_learner"], found["learner_bytes"] / size.total
    shared = "its only rank" if ranks == 1 else f"{ranks:.0f} ranks evenly, with two gathered layers and the tables"
    told = (
        f"assumptions: {who}; twice the GPUs take half the time; what the learner holds is {each:.1f} bytes a "
        f"parameter, by the config's settings, on {shared} (learner.num_ranks = {ranks:.0f}); engines get 1.1 times "
        "the packed bytes; the swap comes from pageable host memory; a sample decodes its tokens at 35% of the "
        "memory's bandwidth, all of them unless --sampled says how many; what it only reads costs 2 operations a "
        "parameter and token, learning 8 (forward, backward, the pass of old log-probabilities), at 35% of peak; "
        "attention's products with itself are not counted."
    )
    return textwrap.fill(told, 120)


def _who(num_gpus: int, num_learner_gpus: int | None, *, is_ahead: bool) -> str:
    """Who has which GPUs, and when."""
    if num_learner_gpus is None:
        return "learner and engines take turns on the same GPUs"
    when = "one step ahead: a step is the longer of both, and the swap" if is_ahead else "in turns"
    return f"{num_learner_gpus} GPUs learn and {num_gpus - num_learner_gpus} generate, {when}"


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.plan") -> int:
    """Print the plan of a config or a model's config.json; the exit status."""
    parser = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config", nargs="+", help="configs/x.toml and overrides, or a model's config.json")
    parser.add_argument("--gpus", type=int, default=1, help="number of GPUs (default 1)")
    parser.add_argument("--gpu", choices=sorted(GPUS), default="h100", help="which (default h100)")
    parser.add_argument(
        "--learner-gpus", type=int, metavar="N",
        help="of them, those that only learn, while the others draw the next step (default: with cluster.separate, the "
        "share of learner.num_ranks; else none, and all take turns)",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", type=_tokens,
        help="mean of a prompt and its response (default: half the context of a config; of a config.json 4096)",
    )  # fmt: skip
    parser.add_argument("--sampled", type=_tokens, help="how many of those the policy samples itself (default: all)")
    options = parser.parse_args(arguments)
    try:
        size, work = _read(options.config, options.gpus)
    except (OSError, ValueError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    if options.tokens:
        work["num_tokens"] = options.tokens
    if options.sampled:
        work["num_sampled"] = options.sampled
    if options.gpus < 1:
        print(f"{prog}: --gpus {options.gpus}; want 1 or more", file=sys.stderr)
        return 2
    if options.learner_gpus is not None:
        work |= {"num_learner_gpus": options.learner_gpus, "num_ranks": None, "is_ahead": True}
    learn = work["num_learner_gpus"]
    if learn is not None and not 0 < learn < options.gpus:
        told = (
            f"{learn} of {options.gpus} GPUs learn, for --learner-gpus or cluster.separate; want 1 or more, and 1 or "
            "more for engines: raise --gpus"
        )
        print(f"{prog}: {told}", file=sys.stderr)
        return 2
    found = plan(size, GPUS[options.gpu], num_gpus=options.gpus, **work)
    who = _who(options.gpus, learn, is_ahead=work["is_ahead"])
    assumed = _assumed(who, size, found)
    print("\n".join([*_table(size, found, GPUS[options.gpu], f"{options.gpus} x {options.gpu}"), assumed]))
    fits = max(found["learning_bytes"], found["generating_bytes"]) <= GPUS[options.gpu].memory_bytes
    return 0 if fits and found["ranks_of_an_engine"] <= options.gpus - (learn or 0) else 1


def _tokens(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number above 0")
    return value


def _read(given: Sequence[str], num_gpus: int) -> tuple[ModelSize, dict[str, Any]]:
    """A model's size, and what a step of its run is."""
    if given[0].endswith(".json"):
        return model_size(_facts(Path(given[0]))), {
            "group_size": 32, "kv_cache_bytes": 20e9, "num_samples": 1024, "num_tokens": 4096.0, "max_num_seqs": 256,
            "num_learner_gpus": None, "is_ahead": False, "num_engine_gpus": None,
        }  # fmt: skip
    from configs.load import load_config

    config = load_config([Path(part) for part in given if "=" not in part], [part for part in given if "=" in part])
    if config.model.path is None:
        raise ValueError('model.source = "tiny" builds a model that needs no plan; give a config with model.path')
    size, kept = _kept(config, model_size(_facts(config.model.path / "config.json")))
    rollout, each, ranks = config.rollout, config.engine.tensor_parallel, config.learner.num_ranks
    learn, bundles = -(-ranks // each), num_gpus // each  # of as many GPUs each as an engine has (rl/bundles.py)
    of_config = sum if config.cluster.separate else max
    scale = bundles / of_config((learn, config.engine.num_engines))
    learner_gpus = each * (1 if kept.is_alone else max(1, min(bundles - 1, round(scale * learn))))
    return size, {
        "group_size": config.quant.group_size,
        "kv_cache_bytes": float(config.engine.kv_cache_bytes),
        "num_samples": rollout.prompts_per_step * rollout.samples_per_prompt,
        "num_tokens": config.model.context_length / 2,
        "max_num_seqs": config.engine.max_num_seqs,
        "num_learner_gpus": learner_gpus if config.cluster.separate else None,
        "is_ahead": bool(rollout.steps_ahead),
        "num_engine_gpus": config.engine.tensor_parallel,
        "num_ranks": min(max(1, round(scale * ranks)), learner_gpus if config.cluster.separate else num_gpus),
        "kept": kept,
    }


def _kept(config: Config, size: ModelSize) -> tuple[ModelSize, Kept]:
    """What a config's learner keeps, and the model's size with its own `quant.ignore`."""
    learner, num_frozen, num_frozen_int4 = config.learner, 0, 0
    if learner.frozen or config.quant.ignore != QuantConfig().ignore:  # names, which config.json has not
        size, num_frozen, num_frozen_int4 = _named(config, size)
    has_reference, has_average = learner.reference_kl.coef > 0, learner.ema_decay is not None
    has_muon, has_adapters = learner.optimizer == "muon", learner.lora.rank > 0
    return size, Kept(
        computing_bytes=2 if learner.compute_dtype == "bfloat16" else 4,
        is_on_grid=config.quant.fake_quantize,
        has_muon=has_muon,
        num_frozen=num_frozen,
        num_frozen_int4=num_frozen_int4,
        lora_rank=learner.lora.rank,
        has_reference=has_reference,
        has_average=has_average,
        is_alone=bool(has_muon or has_adapters or learner.frozen or has_reference or has_average or learner.qk_clip),
    )


def _named(config: Config, size: ModelSize) -> tuple[ModelSize, int, int]:
    """The size as `quant.ignore` has it, what `learner.frozen` names, and what of that is INT4: of a model that
    transformers builds without weights."""
    check_installed(("torch", "transformers"), user="a plan with quant.ignore or learner.frozen")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from rl.qat import frozen_names
    from rollout.quant.scheme import QuantScheme
    from rollout.quant.views import quantized_views

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(str(config.model.path)))
    table = quantized_views(model, QuantScheme(group_size=config.quant.group_size, ignore=config.quant.ignore))
    numbers = {name: parameter.numel() for name, parameter in model.named_parameters()}
    frozen, int4 = frozen_names(model, config.learner.frozen), {entry.parameter_name for entry in table}
    num_int4 = sum(numbers[name] for name in int4)
    edges = sum(sum(matrix.shape) for entry in table for _, matrix in entry.views)
    size = replace(size, quantised=num_int4, plain=sum(numbers.values()) - num_int4, edges=edges)
    return size, sum(numbers[name] for name in frozen), sum(numbers[name] for name in int4.intersection(frozen))


def _facts(file: Path) -> Mapping[str, Any]:
    """What a model's config.json says."""
    if not file.is_file():
        raise ValueError(
            f"there is no {file}; a plan needs a model's config.json and no weights: give model.path=FOLDER, or the "
            "file itself instead of a config"
        )
    return read_facts(file)


def _table(size: ModelSize, found: Mapping[str, float], gpu: Gpu, where: str) -> list[str]:
    rows = [
        ("parameters", f"{size.total / 1e9:.2f} B, {size.active / 1e9:.2f} B active, "
         f"{size.quantised / size.total:.1%} INT4"),
        ("packed", f"{found['packed_bytes'] / 1e9:.2f} GB, an engine on {found['ranks_of_an_engine']:.0f} GPUs"),
        ("generating", f"{found['generating_bytes'] / 1e9:.1f} of {gpu.memory_bytes / 1e9:.0f} GB a GPU"),
        ("learning", f"{found['learning_bytes'] / 1e9:.1f} of {gpu.memory_bytes / 1e9:.0f} GB a GPU, and activations"),
        ("host", f"{found['host_bytes'] / 1e9:.1f} GB a GPU, and two versions of the packed weights a node"
         + (", one more a GPU until it is loaded" if found["ranks_of_an_engine"] > 1 else "")),
        ("learner to host", f"{found['offload_seconds']:.2f} s, and as long back"),
        ("swap", f"{found['swap_seconds']:.2f} s"),
        ("rollout", f"{found['rollout_seconds']:.1f} s"),
        ("update", f"{found['update_seconds']:.1f} s"),
        ("step", f"{step_seconds(found):.1f} s on {where}"),
    ]  # fmt: skip
    return [f"{name:<17}{told}" for name, told in rows]


if __name__ == "__main__":
    sys.exit(main())
