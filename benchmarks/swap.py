"""What new weights cost, from the end of an update to the first token they decode, beside copying the same bytes.

    quantise   codes, scales and forward values of all INT4 layers in one pass; publishing; against copying the masters
    qat        an optimiser update of 4 micro-batches through the INT4 grid, against one without it
    swap       stall of one engine in this process: weights made beside it and copied, and vLLM's layerwise reload,
               against a plain copy of the engine's live tensors; what staging takes beside it
    handover   a run's own actors: update done -> published -> swapped -> first token; without and with engine.bf16_copy

Each part runs in a process of its own, with the threads and the allocator of a run's actors. Figures are medians of the
rounds; those of one part were taken in turns, so that what disturbs one disturbs all. Noise is read off `copy_seconds`:
on a quiet machine its median is hardly above its minimum.

    python -m benchmarks.swap --model models/smollm2-135m-instruct [--part swap] [--rounds 9] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.logprob_gap import new_learner
from benchmarks.machine import machine
from rl.actors import ALLOCATOR, SPIN_COUNT
from rl.batch import LearningSample, Minibatch
from rl.learner import Learner
from rl.ptx import PtxSample
from rollout.quant.grid import quantize_packed
from rollout.types import SampleRequest

__all__ = ["PARTS"]

PROMPT = tuple(range(100, 138))


def medians(cases: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of every case, taken in turns after one round that does not count; and the fastest of each."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            started = time.perf_counter()
            case()
            if number:
                taken[name].append(time.perf_counter() - started)
    return {f"{name}_seconds": median(times) for name, times in taken.items()} | {
        f"{name}_min_seconds": min(times) for name, times in taken.items()
    }


def quantise(model_folder: Path, rounds: int) -> dict[str, float]:
    """Passes over all INT4 layers; the copies move the same tensors from and to memory."""
    learner = new_learner(model_folder, fake_quantize=True)
    masters = learner.masters
    pairs = [
        (source, masters.packed[name])
        for entry in masters.views
        for name, source in entry.of(masters.parameters[entry.parameter_name])
    ]
    weights = [source.to(torch.bfloat16) for source, _ in pairs]
    targets, wide = [torch.empty_like(w) for w in weights], [torch.empty_like(source) for source, _ in pairs]
    group_size = learner.settings.scheme.group_size
    with torch.no_grad():
        found = medians(
            {
                "copy_bf16": lambda: [a.copy_(b) for a, b in zip(targets, weights, strict=True)],
                "copy_fp32": lambda: [a.copy_(b) for a, (b, _) in zip(wide, pairs, strict=True)],
                "quantise_and_pack": lambda: [
                    quantize_packed(w, group_size, out=p) for w, (_, p) in zip(weights, pairs, strict=True)
                ],
                "refresh": masters.refresh,
                "publish": lambda: learner.publish(1),
            },
            rounds,
        )
    share = {
        f"{copy}_over_quantise_and_pack": found[f"{copy}_seconds"] / found["quantise_and_pack_seconds"]
        for copy in ("copy_bf16", "copy_fp32")
    }
    return found | share | {"num_int4_weights": float(sum(w.numel() for w in weights))}


def qat(model_folder: Path, rounds: int) -> dict[str, float]:
    """Updates of one and the same minibatch, through the grid and without it."""
    learners = {
        "int4": new_learner(model_folder, fake_quantize=True),
        "bf16": new_learner(model_folder, fake_quantize=False),
    }
    minibatch = _minibatch(num_groups=32)
    num = sum(1 for _ in learners["int4"]._micro_batches(minibatch))
    cases = {name: _updating(learner, minibatch) for name, learner in learners.items()}
    found = medians(cases, rounds)
    return found | {"int4_over_bf16": found["int4_seconds"] / found["bf16_seconds"], "num_microbatches": float(num)}


def _updating(learner: Learner, minibatch: Minibatch) -> Callable[[], Any]:
    return lambda: learner.update(minibatch, (), lr=1e-7)


def _minibatch(*, num_groups: int) -> Minibatch:
    """Groups of 4 responses of 16 tokens to prompts of 38, as configs/smollm2_cpu.toml has them."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for group in range(num_groups):
        prompt = tuple(torch.randint(100, 40000, (38,), generator=generator).tolist())
        for k in range(4):
            response = tuple(torch.randint(100, 40000, (16,), generator=generator).tolist())
            samples.append(
                LearningSample(
                    number=4 * group + k, group=group, prompt_ids=prompt, token_ids=response, loss_mask=(True,) * 16,
                    engine_logprobs=(-8.0,) * 16, temperatures=(1.0,) * 16, advantage=1.0 if k % 2 else -1.0,
                )
            )  # fmt: skip
    return Minibatch(index=0, samples=tuple(samples), num_samples=len(samples), num_tokens=16 * len(samples))


def swap(model_folder: Path, rounds: int) -> dict[str, float]:
    """Stalls of one engine that two versions are swapped into by turns."""
    from rollout.engine.engine import EngineSettings, VLLMEngine

    with tempfile.TemporaryDirectory() as scratch:
        learner = new_learner(model_folder, fake_quantize=True)
        learner.export(Path(scratch) / "int4")
        versions = [learner.publish(0)]
        _move(learner)
        versions.append(learner.publish(1))
        del learner
        engine = VLLMEngine(
            EngineSettings(
                model_folder=Path(scratch) / "int4", context_length=256, max_num_seqs=128, kv_cache_bytes=1 << 28,
                block_size=32, stop_token_ids=(2,),
            )
        )  # fmt: skip
        staging = engine._staging
        assert staging is not None, "this machine's kernel is not known: its log says why"
        stalls: dict[str, list[float]] = {"copied": [], "reloaded": []}
        live = engine.on_worker(lambda worker: [p.data for p in worker.model_runner.get_model().parameters()])
        live = list({tensor.data_ptr(): tensor for tensor in live if tensor.numel()}.values())
        spare = [torch.empty_like(tensor) for tensor in live]
        turn = 0

        def swapped(way: str) -> None:
            nonlocal turn
            turn += 1
            engine._staging = staging if way == "copied" else None
            engine.stage_weights(versions[turn % 2], is_reswap=True)
            timing = engine.commit_weights(versions[turn % 2].manifest.version)
            assert timing.is_copy == (way == "copied")
            stalls[way].append(timing.stall_seconds)

        def copy() -> None:
            engine.on_worker(lambda worker: [a.copy_(b) for a, b in zip(spare, live, strict=True)])

        found = medians(
            {"copy": copy, "copied_swap": lambda: swapped("copied"), "reloaded_swap": lambda: swapped("reloaded")},
            rounds,
        )
        engine.close()
    for way, times in stalls.items():
        found[f"{way}_stall_seconds"] = median(times[1:])
        found[f"{way}_stall_over_copy"] = median(times[1:]) / found["copy_seconds"]
    found["stage_seconds"] = found["copied_swap_seconds"] - found["copied_stall_seconds"]
    return found | {"num_live_bytes": float(sum(tensor.nbytes for tensor in live))}


def _move(learner: Learner) -> None:
    """Another version: an update would take longer."""
    generator = torch.Generator().manual_seed(1)
    for master in learner.masters.parameters.values():
        master.add_(torch.randn(master.shape, generator=generator) * 1e-3)
    learner.masters.refresh()


def handover(model_folder: Path, rounds: int) -> dict[str, float]:
    """Updates, and what follows each until a token is decoded, on the actors of a run."""
    found = {}
    for bf16_copy, prefix in ((False, ""), (True, "with_copy_")):
        with tempfile.TemporaryDirectory() as scratch:
            of_one = asyncio.run(_handover(model_folder, Path(scratch), rounds, bf16_copy=bf16_copy))
        found |= {f"{prefix}{name}": value for name, value in of_one.items()}
    return found


async def _handover(model_folder: Path, scratch: Path, rounds: int, *, bf16_copy: bool) -> dict[str, float]:
    from configs.load import load_config
    from rl.cluster import Cluster
    from rollout.chat import ChatFormat

    settings = [f"model.path={model_folder.absolute()}", f"engine.bf16_copy={str(bf16_copy).lower()}"]
    config = load_config([Path("configs/smollm2_cpu.toml")], settings)
    chat = ChatFormat(model_folder, use_template=True)
    batch = [PtxSample(prefix=PROMPT, token_ids=tuple(range(200, 216)), loss_mask=(True,) * 16)] * 4
    found: dict[str, list[float]] = {name: [] for name in ("publish", "swap", "stall", "first_token", "handover")}
    async with Cluster(
        config, model_folder=model_folder.absolute(), initial_int4=scratch / "int4", chat=chat
    ) as cluster:
        for number in range(rounds + 1):
            async with cluster.learning() as learner:
                await learner.warm_up([batch], lrs=[1e-5])
                times = [time.perf_counter()]
                weights = await learner.publish(number)
                times.append(time.perf_counter())
            async with cluster.generating(weights) as policy:
                times.append(time.perf_counter())
                request = SampleRequest(id=str(number), prompt_ids=PROMPT, budget=1, temperature=1.0, seed=number)
                await policy.sample(request, group=request.id)
                times.append(time.perf_counter())
            sync = cluster.handover.take_times()
            if number:  # the first one starts the engine
                assert sync is not None, "these weights were swapped in"
                spans = [after - before for before, after in itertools.pairwise(times)]
                for name, value in zip(
                    found,
                    [spans[0], spans[1], sync.stall_seconds, spans[2], times[-1] - times[0]],
                    strict=True,
                ):
                    found[name].append(value)
    return {f"{name}_seconds": median(values) for name, values in found.items()} | {
        f"{name}_min_seconds": min(values) for name, values in found.items()
    }


PARTS: Mapping[str, Callable[[Path, int], dict[str, float]]] = {
    "quantise": quantise, "qat": qat, "swap": swap, "handover": handover,
}  # fmt: skip
"""What is measured, by name."""


def _in_child(part: str, model_folder: Path, rounds: int) -> dict[str, float]:
    """A part in a process that is set up as a run's actors are."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.swap",
        "--model",
        str(model_folder),
        "--rounds",
        str(rounds),
        "--job",
        part,
    ]
    settings = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))), "GOMP_SPINCOUNT": SPIN_COUNT, **ALLOCATOR}
    done = subprocess.run(command, check=True, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/smollm2-135m-instruct"), help="BF16 folder")
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="only this; may be given more than once")
    parser.add_argument("--rounds", type=int, default=9, help="of each part (default 9)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--job", choices=tuple(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(PARTS[options.job](options.model, options.rounds)))
        return
    result = {part: _in_child(part, options.model, options.rounds) for part in options.part or PARTS}
    if options.json:
        print(json.dumps({"machine": machine(), **result}))
        return
    for part, found in result.items():
        for name, value in found.items():
            print(f"{part:9} {name:34} {value:.4g}")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))


if __name__ == "__main__":
    main()
