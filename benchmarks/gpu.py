"""What only a GPU can be measured at, each against the device's own copy or its own BF16: docs/gpu.md has the goals.

    grid       bytes a second of values, codes and scales of a large matrix, against copying it (goal: 80 %)
    qat        an optimiser update of 4 micro-batches through the INT4 grid, against one without it (goal: 1.03)
    swap       stall of an engine that new weights are swapped into, graphs captured, against a device copy of its live
               tensors (goal: 2)
    lent       the same stall where the engine reads the weights in the memory of a learner's process (CUDA IPC), which
               has gone to the host meanwhile (goal: 2)

Each part runs in a process of its own. Times of `grid` are the device's own, between two events; the others end when
the device is done. Figures are medians of the rounds, taken in turns.

    python -m benchmarks.gpu --model models/smollm2-135m-instruct [--part grid] [--rounds 9] [--json]

Without a CUDA device it says so and ends with status 2.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.machine import machine
from rollout.engine.device import CUDA

__all__ = ["PARTS", "main", "shares"]

ROWS, COLUMNS, GROUP_SIZE = 8192, 8192, 32
"""Of the matrix of `grid`: 128 MiB in BF16, more than any cache of a device."""
MOVED: Mapping[str, float] = {
    "copy_bf16": 2 + 2,
    "pack_bf16": 2 + 0.5 + 2 / GROUP_SIZE,
    "pack_fp32": 4 + 0.5 + 2 / GROUP_SIZE,
    "pack_and_values_fp32": 4 + 2 + 0.5 + 2 / GROUP_SIZE,
}
"""Bytes that a case of `grid` must read and write for each weight."""


def shares(seconds: Mapping[str, float], *, num_weights: int) -> dict[str, float]:
    """GB/s of each case, and each one's share of the copy's.

    Args:
        seconds: of each case of `MOVED`.
        num_weights: of the matrix.
    """
    rates = {name: MOVED[name] * num_weights / taken / 1e9 for name, taken in seconds.items()}
    found = {f"{name}_gb_per_second": rate for name, rate in rates.items()}
    return found | {f"{name}_over_copy": rate / rates["copy_bf16"] for name, rate in rates.items()}


def grid(model_folder: Path, rounds: int) -> dict[str, float]:
    """The Triton kernel alone: what the plain form would take is no figure of interest."""
    from rollout.quant.grid import _has_kernel, quantize_packed

    generator = torch.Generator("cuda").manual_seed(0)
    weight = torch.randn(ROWS, COLUMNS, generator=generator, device="cuda")
    narrow, values = weight.bfloat16(), torch.empty_like(weight, dtype=torch.bfloat16)
    if not _has_kernel(weight, GROUP_SIZE):
        raise RuntimeError("the Triton grid is not used on this device; the log says why")
    out = quantize_packed(weight, GROUP_SIZE)
    cases: dict[str, Callable[[], Any]] = {
        "copy_bf16": lambda: values.copy_(narrow),
        "pack_bf16": lambda: quantize_packed(narrow, GROUP_SIZE, out=out),
        "pack_fp32": lambda: quantize_packed(weight, GROUP_SIZE, out=out),
        "pack_and_values_fp32": lambda: quantize_packed(weight, GROUP_SIZE, values=values, out=out),
    }
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            case()
            end.record()
            end.synchronize()
            if number:  # the first one compiles
                taken[name].append(begin.elapsed_time(end) / 1e3)
    return shares({name: median(times) for name, times in taken.items()}, num_weights=weight.numel())


def qat(model_folder: Path, rounds: int) -> dict[str, float]:
    """As on a CPU: an update ends with numbers on the host."""
    from benchmarks.swap import qat as updates

    return updates(model_folder, rounds)


def swap(model_folder: Path, rounds: int) -> dict[str, float]:
    """Two versions by turns, through vLLM's layerwise reload, into storages that captured graphs read."""
    from benchmarks.logprob_gap import new_learner
    from benchmarks.swap import medians
    from rollout.engine.engine import VLLMEngine

    with tempfile.TemporaryDirectory() as scratch:
        learner = new_learner(model_folder, fake_quantize=True)
        learner.export(Path(scratch) / "int4")
        versions = [learner.publish(0), learner.publish(1)]
        del learner
        torch.cuda.empty_cache()
        engine = VLLMEngine(_settings(Path(scratch) / "int4"))
        live = engine.on_worker(_live)
        spare = [torch.empty_like(tensor) for tensor in live]
        stalls: list[float] = []

        def swapped() -> None:
            artefact = versions[len(stalls) % 2]
            engine.stage_weights(artefact, is_reswap=True)
            stalls.append(engine.commit_weights(artefact.manifest.version).stall_seconds)

        def copy() -> None:
            engine.on_worker(_copied, spare, live)

        found = medians({"copy": copy, "swap": swapped}, rounds)
        engine.close()
    found["stall_seconds"] = median(stalls[1:])
    found["stall_over_copy"] = found["stall_seconds"] / found["copy_seconds"]
    return found | {"num_live_bytes": float(sum(tensor.nbytes for tensor in live))}


def lent(model_folder: Path, rounds: int) -> dict[str, float]:
    """The weights are lent anew for each swap, and taken back after it."""
    from benchmarks.swap import medians
    from rollout.engine.engine import VLLMEngine

    context = torch.multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "int4"
        learner = context.Process(target=_lend, args=(model_folder, folder, theirs), daemon=True)
        before = {name: os.environ.get(name) for name in CUDA.learner_environment}
        os.environ.update(CUDA.learner_environment)
        learner.start()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        ours.recv()
        engine = VLLMEngine(_settings(folder))
        live = engine.on_worker(_live)
        spare = [torch.empty_like(tensor) for tensor in live]
        stalls: list[float] = []

        def swapped() -> None:
            ours.send(len(stalls))
            artefact, copy = ours.recv()
            engine.stage_weights(artefact, copy=copy, is_reswap=True)
            timing = engine.commit_weights(artefact.manifest.version)
            assert timing.is_lent, "the engine took the host's bytes; the log says why"
            stalls.append(timing.stall_seconds)
            ours.send(None)

        def copied() -> None:
            engine.on_worker(_copied, spare, live)

        found = medians({"copy": copied, "turn": swapped}, rounds)
        engine.close()
        learner.kill()
    found["stall_seconds"] = median(stalls[1:])
    return found | {"stall_over_copy": found["stall_seconds"] / found["copy_seconds"]}


def _lend(model_folder: Path, folder: Path, line: Any) -> None:
    """The learner's process of `lent`: a number asks for weights, None ends the loan."""
    from benchmarks.logprob_gap import new_learner

    learner = new_learner(model_folder, fake_quantize=True)
    learner.export(folder)
    learner.offload()
    line.send("ready")
    while True:
        version = line.recv()
        if version is None:
            learner.take_back()
            continue
        learner.onload()
        artefact, known = learner.publish_shared(version, lends=True)
        learner.offload()
        line.send((artefact, known.copy if known else None))


def _settings(folder: Path) -> Any:
    from rollout.engine.engine import EngineSettings

    return EngineSettings(
        model_folder=folder, context_length=1024, max_num_seqs=128, kv_cache_bytes=1 << 30, block_size=32,
        stop_token_ids=(2,),
    )  # fmt: skip


def _live(worker: Any) -> list[torch.Tensor]:
    tensors = [parameter.data for parameter in worker.model_runner.get_model().parameters()]
    return list({tensor.data_ptr(): tensor for tensor in tensors if tensor.numel()}.values())


def _copied(worker: Any, targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)
    torch.cuda.synchronize()


PARTS: Mapping[str, Callable[[Path, int], dict[str, float]]] = {"grid": grid, "qat": qat, "swap": swap, "lent": lent}
"""What is measured, by name."""


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m benchmarks.gpu") -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("models/smollm2-135m-instruct"), help="BF16 folder")
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="only this; may be given more than once")
    parser.add_argument("--rounds", type=int, default=9, help="of each part (default 9)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--job", choices=tuple(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print(f"benchmarks.gpu: there is no CUDA device here (torch {torch.__version__}): nothing to measure; on a "
              "machine with one, run it in an environment made from requirements/gpu.in", file=sys.stderr)  # fmt: skip
        return 2
    if options.job:
        print(json.dumps(PARTS[options.job](options.model, options.rounds)))
        return 0
    result = {part: _in_child(part, options.model, options.rounds) for part in options.part or PARTS}
    where = machine() | {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    if options.json:
        print(json.dumps({"machine": where, **result}))
        return 0
    for part, found in result.items():
        for name, value in found.items():
            print(f"{part:6} {name:34} {value:.4g}")
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    return 0


def _in_child(part: str, model_folder: Path, rounds: int) -> dict[str, float]:
    command = ["-m", "benchmarks.gpu", "--model", str(model_folder), "--rounds", str(rounds), "--job", part]
    done = subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
