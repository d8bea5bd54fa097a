"""What a long response costs the learner: peak memory and time of one update against its length.

A small model with a large vocabulary learns from one response of 1k to 16k tokens: the pass of old log-probabilities,
then the update. Each length has a process of its own, so that its peak is its own; time is CPU time of that process,
which other work on the machine disturbs less than the clock. Two fits over the lengths S, in 1,024 tokens:

    peak memory   a + b S            linear: what does not grow, and what a thousand tokens take
    CPU seconds   a + b S + c S^2    c is attention, the one part that is quadratic

and how far the figures are from the fits at most. `gain` is how much more likely the update made the response, in nats
per token: that it learned.

    python -m benchmarks.long_responses [--checkpointing] [--lengths 1024 2048 ...] [--model FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks.machine import machine
from rl.batch import LearningSample, Minibatch
from rl.learner import Learner, LearnerSettings
from rl.mismatch import Mismatch
from rollout.quant.scheme import QuantScheme

__all__ = ["fit", "measure", "one_update"]

LENGTHS = (1024, 2048, 4096, 8192, 16384)
PROMPT = (5, 6, 7, 8)
SHAPE = {
    "vocab_size": 49152, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 768, "max_position_embeddings": 32768, "tie_word_embeddings": True,
}  # fmt: skip
"""Of the built model, 16 million parameters: the vocabulary of SmolLM2, where logits outweigh all layers."""
MIB = 1 << 20

Figures = dict[str, float]
T = TypeVar("T")


def measure(folder: Path, lengths: Sequence[int], *, checkpointing: bool) -> list[Figures]:
    """`one_update` in a process for each length."""
    found = []
    for length in lengths:
        command = [sys.executable, "-m", "benchmarks.long_responses", "--model", str(folder), "--child", str(length)]
        command += ["--checkpointing"] if checkpointing else []
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{length} tokens: {found[-1]}", file=sys.stderr)
    return found


def one_update(folder: Path, length: int, *, checkpointing: bool) -> Figures:
    """Peak memory of this process in MiB, before and after; CPU and wall seconds of both passes; gain in nats."""
    learner = Learner(_settings(folder, max_tokens=length + len(PROMPT), checkpointing=checkpointing))
    learner.update(_minibatch(learner, 16), (), lr=0.0)  # the optimiser's moments and the libraries' buffers are there
    batch = _minibatch(learner, length)
    base = _peak_mib()
    (batch,), old_cpu, old_wall = _timed(lambda: learner.add_old_logprobs([batch]))
    (sample,) = batch.samples
    assert sample.old_logprobs is not None
    batch = replace(batch, samples=(replace(sample, engine_logprobs=sample.old_logprobs),))
    _, update_cpu, update_wall = _timed(lambda: learner.update(batch, (), lr=1e-3))
    peak = _peak_mib()
    (after,) = learner.add_old_logprobs([batch])[0].samples
    assert after.old_logprobs is not None
    return {
        "tokens": length, "base_mib": base, "peak_mib": peak,
        "old_logprobs_cpu_s": old_cpu, "update_cpu_s": update_cpu, "old_logprobs_s": old_wall, "update_s": update_wall,
        "gain": (sum(after.old_logprobs) - sum(sample.old_logprobs)) / length,
    }  # fmt: skip


def fit(lengths: Sequence[float], values: Sequence[float], *, degree: int) -> Figures:
    """Coefficients a, b, c of a polynomial in 1,024 tokens, and the largest deviation from it in % of the value.

    Least squares of the relative deviations: the longest response must not decide alone.
    """
    x = torch.tensor(lengths, dtype=torch.float64) / 1024
    y = torch.tensor(values, dtype=torch.float64)
    powers = torch.stack([x**k for k in range(degree + 1)], dim=1)
    found = torch.linalg.lstsq(powers / y[:, None], torch.ones_like(y)[:, None]).solution[:, 0]
    off = ((powers @ found - y) / y).abs().max().item()
    return dict(zip("abc", found.tolist(), strict=False)) | {"off_percent": 100 * off}


def _settings(folder: Path, *, max_tokens: int, checkpointing: bool) -> LearnerSettings:
    return LearnerSettings(
        model_folder=folder, scheme=QuantScheme(), fake_quantize=True, compute_dtype="bfloat16",
        loss="k25_token", aggregation=None, tau=1e-3, clip_low=-0.7, clip_high=0.7,
        mismatch=Mismatch(correction="token_cap", high=2.0),
        optimizer="adamw", momentum=0.95, betas=(0.9, 0.95), qk_clip=None,
        reset_optimizer=False, ema_decay=None, reference_coef=0.0, reference_estimator="k3", weight_decay=0.0,
        max_grad_norm=1.0,
        max_microbatch_tokens=max_tokens, gradient_checkpointing=checkpointing, ptx_coef=0.0,
    )  # fmt: skip


def _minibatch(learner: Learner, length: int) -> Minibatch:
    """One response of any tokens, with a positive advantage."""
    vocabulary = learner.model.config.vocab_size
    drawn = torch.randint(vocabulary, (length,), generator=torch.Generator().manual_seed(length))
    sample = LearningSample(
        number=0, group=0, prompt_ids=PROMPT, token_ids=tuple(drawn.tolist()), loss_mask=(True,) * length,
        engine_logprobs=(-10.0,) * length, temperatures=(1.0,) * length, advantage=1.0,
    )  # fmt: skip
    return Minibatch(index=0, samples=(sample,), num_samples=1, num_tokens=length)


def _timed(call: Callable[[], T]) -> tuple[T, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def _peak_mib() -> float:
    """The most memory that this process has held so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def _build(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE)).bfloat16().save_pretrained(folder)


def _report(rows: Sequence[Figures], fits: dict[str, Figures]) -> None:
    print("tokens    base MiB    peak MiB    old log-probs CPU s    update CPU s    gain, nats a token")
    for row in rows:
        print(
            f"{row['tokens']:6.0f} {row['base_mib']:11.0f} {row['peak_mib']:11.0f} {row['old_logprobs_cpu_s']:22.1f} "
            f"{row['update_cpu_s']:15.1f} {row['gain']:+21.3f}"
        )
    for name, found in fits.items():
        print(f"{name:20} " + ", ".join(f"{key} = {value:.4g}" for key, value in found.items()))
    print(", ".join(f"{key} {value}" for key, value in machine().items()) + f", {torch.get_num_threads()} threads")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="BF16 folder; without it a small model is built")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="of the response, in tokens; 3 or more")
    parser.add_argument("--checkpointing", action="store_true", help="with learner.gradient_checkpointing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(one_update(options.model, options.child, checkpointing=options.checkpointing)))
        return
    if len(set(options.lengths)) < 3:
        parser.error("--lengths: a parabola needs 3 lengths at least")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model or Path(scratch) / "model"
        if options.model is None:
            _build(folder)
        rows = measure(folder, options.lengths, checkpointing=options.checkpointing)
    fits = {
        name: fit(options.lengths, [row[name] for row in rows], degree=degree)
        for name, degree in (("peak_mib", 1), ("old_logprobs_cpu_s", 2), ("update_cpu_s", 2))
    }
    if options.json:
        facts = machine() | {"threads": torch.get_num_threads()}
        print(json.dumps({"machine": facts, "checkpointing": options.checkpointing, "rows": rows, "fits": fits}))
        return
    _report(rows, fits)


if __name__ == "__main__":
    main()
