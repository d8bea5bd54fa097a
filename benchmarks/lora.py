"""The dead zone: how much of an update reaches the served INT4 weights, for full training and LoRA, by learning rate.

    continuous   the base is what pre-training left: weights lie anywhere in their cell of the grid
    grid         the base was quantised once and unpacked: every weight lies in the middle of its cell

A tiny model takes the same supervised updates from either base. Given are, after the last update, the fraction of INT4
codes that changed, and the projection of the change that the engines see on the change that was learned,

    <fq(W + d) - fq(W), d> / <d, d>          1: all of it arrives on average, 0: none

    python -m benchmarks.lora [--updates 8] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from benchmarks.logprob_gap import new_learner
from benchmarks.machine import machine
from configs.schema import TinyModelConfig
from rl.learner import Learner
from rl.lora import LoraMasters, LoraSettings
from rl.ptx import PtxSample
from rl.tiny_model import build_tiny_model
from rollout.weights.changes import code_flip_frac

__all__ = ["measure", "on_grid_folder"]

RATES = (1e-5, 1e-4, 1e-3)
ARMS = (("full", "continuous"), ("full", "grid"), ("lora", "continuous"), ("lora", "grid"))
LORA = LoraSettings(rank=8, alpha=16.0)


def measure(scratch: Path, *, rates: Sequence[float] = RATES, num_updates: int = 8) -> list[dict[str, Any]]:
    """One row for each learning rate and arm: method, base, lr, code_flip_frac, projection, change (RMS)."""
    folders = {"continuous": scratch / "continuous", "grid": scratch / "grid"}
    build_tiny_model(folders["continuous"], TinyModelConfig(), context_length=64, seed=0)
    on_grid_folder(folders["continuous"], folders["grid"])
    rows = []
    for lr in rates:
        for method, base in ARMS:
            learner = new_learner(folders[base], fake_quantize=True, lora=LORA if method == "lora" else None)
            rows.append({"method": method, "base": base, "lr": lr, **_train(learner, lr, num_updates)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def on_grid_folder(source: Path, folder: Path) -> None:
    """A copy of a model folder whose quantised weights are the values of their codes."""
    learner = new_learner(source, fake_quantize=True)
    learner.model.save_pretrained(folder)
    for file in source.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())


def _train(learner: Learner, lr: float, num_updates: int) -> dict[str, float]:
    first, learned_before, served_before = learner.publish(0), _learned(learner), _served(learner)
    learner.warm_up([_sums(step) for step in range(num_updates)], lrs=[lr] * num_updates)
    learned = [after - before for after, before in zip(_learned(learner), learned_before, strict=True)]
    served = [after - before for after, before in zip(_served(learner), served_before, strict=True)]
    size = sum(float(d.square().sum()) for d in learned)
    flips = code_flip_frac(first, learner.publish(1))
    assert flips is not None
    return {
        "code_flip_frac": flips,
        "projection": sum(float((s * d).sum()) for s, d in zip(served, learned, strict=True)) / size,
        "change": (size / sum(d.numel() for d in learned)) ** 0.5,
    }


def _learned(learner: Learner) -> list[Tensor]:
    """What the quantised matrices would be without the grid, fp32."""
    masters, found = learner.masters, []
    for entry in masters.views:
        if isinstance(masters, LoraMasters):
            found += [masters.merged(name) for name, _ in entry.views]
        else:
            found += [view.clone() for _, view in entry.of(masters.parameters[entry.parameter_name])]
    return found


def _served(learner: Learner) -> list[Tensor]:
    """What they are on it, fp32."""
    return [view.to(torch.float32) for entry in learner.masters.views for _, view in entry.views]


def _sums(step: int) -> list[PtxSample]:
    """16 sums of two digits, as token ids of the tiny model: a digit d is 2 + d."""
    random, samples = Random(step), []
    for _ in range(16):
        a, b = random.randrange(10, 100), random.randrange(10, 100)
        prompt = (*_digits(a), 12, *_digits(b), 15)
        answer = (*_digits(a + b), 0)
        samples.append(PtxSample(prefix=prompt, token_ids=answer, loss_mask=(True,) * len(answer)))
    return samples


def _digits(number: int) -> list[int]:
    return [2 + int(digit) for digit in str(number)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=8, help="updates of each arm (8)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), num_updates=options.updates)
    if options.json:
        print(json.dumps({"machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
