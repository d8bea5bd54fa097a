"""What is proven of an architecture: seven statements about a learner and a real engine that hold one set of weights.

    loads       preflight takes it, and its INT4 export loads in vLLM
    law         every weight that the engine applies, read back through its kernels, is the learner's, bit for bit
    gap         mean |log p of the learner - of the engine| is that of the same weights served in BF16 (at most 1.25
                times; 2 after an update); without fake-quant in the learner it is a multiple (the control)
    learns      an update raises the advantage-weighted log-probability, and flips codes
    swap        the new weights obey the law and the gap; going back gives the old log-probabilities to the last bit
    batch       a sample does not depend on what is drawn beside it
    ends        a response ends at any of the model's end tokens

`python -m tests.families.proof NAME FILE` proves one and writes what was found as JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rl.batch import LearningSample, Minibatch
from rl.learner import Learner
from rollout.chat import ChatFormat
from rollout.engine.engine import EngineSettings
from rollout.quant.grid import dequantize
from rollout.quant.pack import unpack_int4
from rollout.quant.scheme import DEFAULT_IGNORE, QuantScheme
from rollout.types import FinishReason, Sample, SampleRequest
from rollout.weights.changes import code_flip_frac
from rollout.weights.contract import WeightArtefact
from rollout.weights.receiver import tensors
from tests.families.engine_process import EngineProcess
from tests.families.shapes import CONTEXT, FAMILIES, Family, build
from tests.integration.harness import new_learner

__all__ = ["MAX_GAP_RATIO", "MIN_CONTROL_RATIO", "check", "prove"]

NUM_PROMPTS, SIBLINGS, BUDGET = 16, 4, 24
MAX_GAP_RATIO = 1.25
"""Of the matched gap to that of BF16: both are means over some 1,500 tokens of rounding noise of one size."""
MAX_GAP_RATIO_AFTER = 2.0
"""The same after an update, whose own gap to BF16 is not measured: with experts it is dominated by few tokens, which
rounding sends to another expert, and it moves with the weights."""
MIN_CONTROL_RATIO = 2.0
"""Of the gap of a learner without fake-quant to that of BF16, at the least: else the gap would show nothing."""

Logprobs = list[tuple[float, ...]]


def check(family: Family, found: dict[str, Any]) -> list[str]:
    """What does not hold of a family that is to be trained; empty: everything does."""
    problems = [f"law: {text}" for text in (*found["law"], *found["law_after_update"])]
    floor = found["gap_bf16"]
    for key, most in (("gap", MAX_GAP_RATIO), ("gap_after_update", MAX_GAP_RATIO_AFTER)):
        if found[key] > most * floor:
            problems.append(f"{key} {found[key]:.4f} is {found[key] / floor:.2f} times that of BF16")
    if found["gap_without_fake_quant"] < MIN_CONTROL_RATIO * floor:
        problems.append(f"the control: without fake-quant the gap is only {found['gap_without_fake_quant']:.4f}")
    if not found["objective_gain"] > 0:
        problems.append(f"an update changed its objective by {found['objective_gain']:.3g}")
    if not found["code_flip_frac"] > 0:
        problems.append("an update flipped no code")
    if not found["is_swap_back_exact"]:
        problems.append("going back to the first weights gave other log-probabilities")
    if not found["is_batch_invariant"] and family.batch_dependence is None:
        problems.append("samples depend on their neighbours in the batch")
    if found["ends"] != found["ends_wanted"]:
        problems.append(f"responses ended at {found['ends']}; the model's end tokens are {found['ends_wanted']}")
    return problems


def prove(family: Family, scratch: Path) -> dict[str, Any]:
    """Everything above about one family, as plain numbers; `check` judges them."""
    started = time.perf_counter()
    source, int4, bf16 = scratch / "model", scratch / "int4", scratch / "bf16"
    build(family, source)
    scheme = QuantScheme(ignore=(*DEFAULT_IGNORE, *family.ignore))
    learner = new_learner(source, scheme=scheme, compute_dtype="bfloat16", tau=0.0)
    learner.export(int4)
    learner.model.save_pretrained(bf16)
    for file in source.glob("tokenizer*"):
        shutil.copyfile(file, bf16 / file.name)
    with EngineProcess() as engine:
        ends = ChatFormat(source, use_template=False).end_token_ids
        is_copied = engine.start(_settings(int4, ends))
        found = _with_int4(learner, engine, ends)
        engine.start(_settings(bf16, ends, quantised=False))
        served_bf16 = engine.call("prompt_logprobs", found.sequences)
    without = new_learner(source, scheme=scheme, compute_dtype="bfloat16", fake_quantize=False)
    return found.facts | {
        "num_parameters": sum(parameter.numel() for parameter in learner.model.parameters()),
        "num_int4": sum(entry.parameter.numel() for entry in learner.masters.views),
        "is_copied": is_copied,
        "gap_bf16": gap(found.trained, served_bf16, found.starts),
        "gap_without_fake_quant": gap(without.sequence_logprobs(found.sequences), found.served, found.starts),
        "seconds": time.perf_counter() - started,
    }


class _Found(NamedTuple):
    """What a learner and an INT4 engine gave together."""

    sequences: list[tuple[int, ...]]
    starts: list[int]  # where the responses begin
    served: Logprobs
    trained: Logprobs
    facts: dict[str, Any]


def _with_int4(learner: Learner, engine: EngineProcess, ends: tuple[int, ...]) -> _Found:
    """Serve, sample, compare; update, swap, compare; go back, compare."""
    first = learner.publish(0)
    _serve(engine, first)
    law = list(violations(learner, first, engine))
    requests = _requests()
    samples = _draw(engine, requests)
    alone = [_draw(engine, [request])[request.id] for request in requests[::13]]
    sequences = [request.prompt_ids + samples[request.id].token_ids for request in requests]
    starts = [len(request.prompt_ids) for request in requests]
    served, trained = engine.call("prompt_logprobs", sequences), learner.sequence_logprobs(sequences)
    update = learner.update(_minibatch(requests, samples), (), lr=3e-3)
    second = learner.publish(1)
    _serve(engine, second)
    law_after = list(violations(learner, second, engine))
    served_after, trained_after = engine.call("prompt_logprobs", sequences), learner.sequence_logprobs(sequences)
    _serve(engine, first)
    facts = {
        "law": law,
        "law_after_update": law_after,
        "gap": gap(trained, served, starts),
        "gap_after_update": gap(trained_after, served_after, starts),
        "num_tokens": sum(len(s) - a for s, a in zip(sequences, starts, strict=True)),
        "objective_gain": _objective(trained_after, starts) - _objective(trained, starts),
        "grad_norm": update.grad_norm,
        "code_flip_frac": code_flip_frac(first, second),
        "is_swap_back_exact": engine.call("prompt_logprobs", sequences) == served,
        "is_batch_invariant": all(sample == samples[sample.id] for sample in alone),
        "ends": sorted({s.token_ids[-1] for s in samples.values() if s.finish_reason == FinishReason.STOP}),
        "ends_wanted": sorted(ends),
    }
    return _Found(sequences, starts, served, trained, facts)


# -- the law ----------------------------------------------------------------------------------------------------------

_ALIASES = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
"""What Mixtral's checkpoint calls the matrices of an expert."""


def violations(learner: Learner, artefact: WeightArtefact, engine: EngineProcess) -> Iterator[str]:
    """Where learner, artefact and engine do not hold the same weights."""
    published = dequantised(artefact)
    for entry in learner.masters.views:
        for name, view in entry.views:
            if not torch.equal(view.to(torch.bfloat16), published[f"{name}.weight"]):
                yield f"{name}: what is published is not what the learner computes with"
    applied: dict[str, torch.Tensor] = engine.call("on_worker", "k2rl_effective_weights")
    fused: dict[str, list[str]] = engine.call("on_worker", "k2rl_fused_layers")
    seen: set[str] = set()
    for name, weight in applied.items():
        if name.endswith((".W_UK_T", ".W_UV")):  # copies of one matrix that latent attention is decoded with
            if not torch.equal(weight, _absorbed(name, weight.shape[0], learner, published)):
                yield f"{name}: the engine decodes with other weights"
            continue
        parts = list(_sources(name, fused, published))
        if not parts:
            yield f"{name}: the engine has it and the artefact has not"
            continue
        seen.update(parts)
        wanted = torch.cat([published[part] for part in parts]) if weight.ndim else published[parts[0]]
        if not torch.equal(weight[: len(wanted)].to(wanted.dtype), wanted):
            yield f"{name}: the engine applies other weights"
    for name in sorted(published.keys() - seen):
        yield f"{name}: it was published and the engine applies it nowhere"


def dequantised(artefact: WeightArtefact) -> dict[str, torch.Tensor]:
    """The weights that an artefact means, by checkpoint name."""
    packed = dict(tensors(artefact))
    found = {}
    for name, tensor in packed.items():
        if name.endswith(".weight_packed"):
            module = name.removesuffix("_packed")
            found[module] = dequantize(unpack_int4(tensor.clone()), packed[f"{module}_scale"].clone())
        elif not name.endswith((".weight_scale", ".weight_shape")):
            found[name] = tensor.clone()
    return found


def _absorbed(name: str, num_heads: int, learner: Learner, published: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the engine makes of `kv_b_proj`, [heads * (nope + v), rank], for one of its two halves."""
    attention, _, half = name.replace(".mla_attn", "").rpartition(".")
    kv_b = published[f"{attention}.kv_b_proj.weight"]
    nope = learner.model.config.qk_nope_head_dim
    keys, values = kv_b.view(num_heads, -1, kv_b.shape[1]).split([nope, kv_b.shape[0] // num_heads - nope], dim=1)
    return keys if half == "W_UK_T" else values.transpose(1, 2)


def _sources(name: str, fused: dict[str, list[str]], published: dict[str, torch.Tensor]) -> list[str]:
    """Checkpoint names of what a tensor of the engine is made of."""
    module, _, attribute = name.replace(".routed_experts.", ".").rpartition(".")
    parent, _, last = module.rpartition(".")
    for parts in (fused.get(last, [last]), [last], [_ALIASES.get(last, last)]):
        names = [f"{parent}.{part}.{attribute}" if parent else f"{part}.{attribute}" for part in parts]
        if all(part in published for part in names):
            return names
    tied = {"lm_head.weight": "model.embed_tokens.weight"}
    return [tied[name]] if tied.get(name) in published and name not in published else []


# -- samples ----------------------------------------------------------------------------------------------------------


def gap(ours: Logprobs, theirs: Logprobs, starts: Sequence[int]) -> float:
    """Mean absolute difference over response tokens; entry i of a sequence belongs to token i + 1."""
    found = [
        abs(a - b)
        for mine, other, start in zip(ours, theirs, starts, strict=True)
        for a, b in zip(mine[start - 1 :], other[start - 1 :], strict=True)
    ]
    return sum(found) / len(found)


def _settings(folder: Path, ends: tuple[int, ...], *, quantised: bool = True) -> EngineSettings:
    return EngineSettings(
        model_folder=folder, context_length=CONTEXT, max_num_seqs=64, kv_cache_bytes=1 << 26, block_size=32,
        stop_token_ids=ends, quantised=quantised,
    )  # fmt: skip


def _serve(engine: EngineProcess, artefact: WeightArtefact) -> None:
    engine.call("stage_weights", artefact, is_reswap=True)
    engine.call("commit_weights", artefact.manifest.version)


def _requests() -> list[SampleRequest]:
    prompts = [tuple(4 + (7 * i + 3 * j) % 90 for j in range(5 + i % 9)) for i in range(NUM_PROMPTS)]
    return [
        SampleRequest(id=f"{i}/{k}", prompt_ids=prompt, budget=BUDGET, temperature=1.0, seed=SIBLINGS * i + k)
        for i, prompt in enumerate(prompts)
        for k in range(SIBLINGS)
    ]


def _draw(engine: EngineProcess, requests: Sequence[SampleRequest]) -> dict[str, Sample]:
    engine.call("submit", requests)
    samples: dict[str, Sample] = {}
    while len(samples) < len(requests):
        samples |= {sample.id: sample for sample in engine.call("finished", wait_seconds=1.0)}
    return samples


def _advantage(number: int) -> float:
    return 0.5 if number % SIBLINGS < SIBLINGS // 2 else -0.5


def _minibatch(requests: Sequence[SampleRequest], samples: dict[str, Sample]) -> Minibatch:
    learned = tuple(
        LearningSample(
            number=i,
            group=i // SIBLINGS,
            prompt_ids=request.prompt_ids,
            token_ids=samples[request.id].token_ids,
            loss_mask=(True,) * len(samples[request.id].token_ids),
            engine_logprobs=samples[request.id].logprobs,
            temperatures=(1.0,) * len(samples[request.id].token_ids),
            advantage=_advantage(i),
        )
        for i, request in enumerate(requests)
    )
    num_tokens = sum(len(sample.token_ids) for sample in learned)
    return Minibatch(index=0, samples=learned, num_samples=len(learned), num_tokens=num_tokens)


def _objective(logprobs: Logprobs, starts: Sequence[int]) -> float:
    """Mean of A log pi(y | x): what the update's gradient raises."""
    rows = enumerate(zip(logprobs, starts, strict=True))
    return sum(_advantage(i) * sum(row[start - 1 :]) for i, (row, start) in rows) / len(logprobs)


def main() -> None:
    name, file = sys.argv[1:]
    family = next(family for family in FAMILIES if family.name == name)
    with tempfile.TemporaryDirectory() as scratch:
        found = prove(family, Path(scratch))
    Path(file).write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
