"""How far trainer and engine are apart: mean |log p_trainer - log p_engine| over the same tokens, in five settings.

    matched       QAT trainer, packed INT4 engine: what this project runs
    bf16          QAT trainer, the same dequantised weights served in BF16: the floor between two programs
    untrained     trainer without fake-quant, INT4 engine: post-training quantisation
    off_by_one    QAT trainer, INT4 engine with one code in 200 off by one: what inexact packing costs

The tokens are sampled from the INT4 engine at T = 1. Everything is a ratio to `bf16`, measured in the same run.

    python -m benchmarks.logprob_gap --model models/smollm2-135m-instruct [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from gyms.api import Services
from gyms.arithmetic.gym import Arithmetic, ArithmeticSettings
from rl.learner import Learner, LearnerSettings
from rl.lora import LoraSettings
from rl.mismatch import Mismatch
from rollout.chat import ChatFormat
from rollout.quant.pack import pack_int4, unpack_int4
from rollout.quant.scheme import QuantScheme
from rollout.types import SampleRequest
from rollout.weights.contract import WeightArtefact
from rollout.weights.receiver import tensors
from rollout.weights.sender import build_artefact

__all__ = ["measure_gap", "new_learner", "off_by_one"]

CONTEXT_LENGTH = 256
NUM_PROMPTS, BUDGET = 100, 24


def measure_gap(model_folder: Path, scratch: Path, *, control_every: int = 1) -> dict[str, float]:
    """The four gaps in nats, their number of tokens, and their ratios to `bf16`. Engines run in child processes.

    `untrained` and `off_by_one`, which are many times `bf16`, are measured on every `control_every`-th sequence, and
    compared with `bf16` on the same.
    """
    learner = new_learner(model_folder, fake_quantize=True)
    int4, bf16 = scratch / "int4", scratch / "bf16"
    learner.export(int4)
    _export_dequantised(learner, bf16, model_folder)
    matched = learner.publish(0)
    artefacts = {"matched": matched, "off_by_one": off_by_one(matched, every=200)}
    prompts = _prompts(ChatFormat(model_folder, use_template=True))
    served = _in_child("serve_int4", (int4, prompts, artefacts, {"off_by_one": control_every}))
    sequences: list[tuple[int, ...]] = served["sequences"]
    starts: list[int] = served["starts"]
    engine_bf16 = _in_child("serve_bf16", (bf16, sequences))
    trainer = learner.sequence_logprobs(sequences)
    del learner
    some = slice(None, None, control_every)
    plain = new_learner(model_folder, fake_quantize=False).sequence_logprobs(sequences[some])
    gaps = {"matched": _gap(trainer, served["matched"], starts), "bf16": _gap(trainer, engine_bf16, starts)}
    controls = {
        "untrained": _gap(plain, served["matched"][some], starts[some]),
        "off_by_one": _gap(trainer[some], served["off_by_one"], starts[some]),
    }
    bf16 = _gap(trainer[some], engine_bf16[some], starts[some])
    ratios = {f"{name}_to_bf16": value / bf16 for name, value in controls.items()}
    lengths = [len(sequence) - start for sequence, start in zip(sequences, starts, strict=True)]
    return {
        **gaps, **controls, **ratios, "matched_to_bf16": gaps["matched"] / gaps["bf16"],
        "num_tokens": float(sum(lengths)), "num_control_tokens": float(sum(lengths[some])),
    }  # fmt: skip


def off_by_one(artefact: WeightArtefact, *, every: int) -> WeightArtefact:
    """The same weights with every `every`-th code of each quantised tensor moved by one towards zero (or off it)."""

    def changed():
        for name, tensor in tensors(artefact):
            if name.endswith(".weight_packed"):
                codes = unpack_int4(tensor.clone())
                flat = codes.view(-1)
                picked = flat[::every]
                flat[::every] = torch.where(picked > 0, picked - 1, picked + 1)
                tensor = pack_int4(codes)
            yield name, tensor

    return build_artefact(changed(), artefact.manifest.version + 1)


def _gap(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], starts: Sequence[int]) -> float:
    """Mean absolute difference over response tokens; entry i of a sequence belongs to token i + 1."""
    found = [
        abs(a - b)
        for mine, other, start in zip(ours, theirs, starts, strict=True)
        for a, b in zip(mine[start - 1 :], other[start - 1 :], strict=True)
    ]
    return sum(found) / len(found)


def new_learner(model_folder: Path, *, fake_quantize: bool, lora: LoraSettings | None = None) -> Learner:
    """A learner of a BF16 folder that computes in BF16, as the configs have it."""
    return Learner(
        LearnerSettings(
            model_folder=model_folder, scheme=QuantScheme(), fake_quantize=fake_quantize, compute_dtype="bfloat16",
            loss="k2_seq", aggregation=None, tau=0.05, clip_low=-0.7, clip_high=0.7,
            mismatch=Mismatch(correction=None), optimizer="adamw", momentum=0.95, betas=(0.9, 0.95), qk_clip=None,
            reset_optimizer=False, ema_decay=None, reference_coef=0.0, reference_estimator="k3",
            weight_decay=0.0,
            max_grad_norm=1.0, max_microbatch_tokens=1024, gradient_checkpointing=False, ptx_coef=0.0,
            lora=lora,
        )
    )  # fmt: skip


def _export_dequantised(learner: Learner, folder: Path, source: Path) -> None:
    """The learner's forward weights as an ordinary BF16 folder."""
    learner.model.save_pretrained(folder)
    ChatFormat(source, use_template=True).tokenizer.save_pretrained(folder)


def _prompts(chat: ChatFormat) -> list[tuple[int, ...]]:
    gym = Arithmetic(ArithmeticSettings(min_operand=1, max_operand=49), Services())
    tasks = gym.tasks("train")
    return [chat.prompt_ids(tasks[i * len(tasks) // NUM_PROMPTS].prompt) for i in range(NUM_PROMPTS)]


# -- children: an engine each -----------------------------------------------------------------------------------------


def _in_child(job: str, arguments: tuple[Any, ...]) -> Any:
    """Run a job of this module in a process of its own: two engines in one process disturb each other."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder) / "in", Path(folder) / "out"
        given.write_bytes(pickle.dumps(arguments))
        command = [sys.executable, "-m", "benchmarks.logprob_gap", "--job", job, "--files", str(given), str(got)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        return pickle.loads(got.read_bytes())


def _engine(folder: Path, *, quantised: bool):
    from rollout.engine.engine import EngineSettings
    from rollout.engine.process import EngineProcess

    engine = EngineProcess()
    engine.begin(
        EngineSettings(
            model_folder=folder, context_length=CONTEXT_LENGTH, max_num_seqs=128, kv_cache_bytes=1 << 28,
            block_size=32, stop_token_ids=(2,), quantised=quantised,
        )
    )  # fmt: skip
    return engine


def serve_int4(
    folder: Path, prompts: Sequence[tuple[int, ...]], artefacts: dict[str, WeightArtefact], every: dict[str, int]
) -> dict[str, Any]:
    """Sample once from the matched weights, then score the samples under every artefact: each, or each `every`-th."""
    engine = _engine(folder, quantised=True)
    engine.stage_weights(artefacts["matched"])
    engine.commit_weights(artefacts["matched"].manifest.version)
    engine.submit(
        [SampleRequest(id=str(i), prompt_ids=p, budget=BUDGET, temperature=1.0, seed=i) for i, p in enumerate(prompts)]
    )
    samples = {}
    while len(samples) < len(prompts):
        samples |= {int(s.id): s for s in engine.finished(wait_seconds=1.0)}
    sequences = [prompts[i] + samples[i].token_ids for i in range(len(prompts))]
    found: dict[str, Any] = {"sequences": sequences, "starts": [len(p) for p in prompts]}
    for name, artefact in artefacts.items():
        engine.stage_weights(artefact, is_reswap=True)
        engine.commit_weights(artefact.manifest.version)
        found[name] = engine.prompt_logprobs(sequences[:: every.get(name, 1)])
    return found


def serve_bf16(folder: Path, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
    """Score the samples under a BF16 folder."""
    return _engine(folder, quantised=False).prompt_logprobs(sequences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/smollm2-135m-instruct"), help="BF16 folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--job", choices=("serve_int4", "serve_bf16"), help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        given, got = options.files
        got.write_bytes(pickle.dumps(globals()[options.job](*pickle.loads(given.read_bytes()))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        result = measure_gap(options.model, Path(scratch))
    if options.json:
        print(json.dumps({"machine": machine(), **result}))
        return
    for name, value in result.items():
        print(f"{name:24} {value:.4f}")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
