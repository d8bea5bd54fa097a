"""The least that a step can take on this machine: its matrix products, at the speed of the fastest product there is.

A rollout takes every prompt through the layers once and every sampled token through layers and head; an update takes
the same tokens forward, and twice as many operations back. Attention, norms, sampling and the optimiser are left out,
and a product of the model's own shapes is slower than the large one that is timed: no step comes near this.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.plan import model_size

__all__ = ["fastest_product", "limit_seconds", "operations"]

SIDE = 2048
"""Of the square matrices that are multiplied, 8 MB each."""


def operations(facts: Mapping[str, Any], *, num_prompt_tokens: int, num_sampled_tokens: int) -> float:
    """Multiplications and additions of a step's matrix products.

    Args:
        facts: the model's config.json.
        num_prompt_tokens: of the step's distinct prompts.
        num_sampled_tokens: of all responses.
    """
    head = facts["vocab_size"] * facts["hidden_size"]
    active = model_size(facts).active
    return (2 + 6) * (active * num_sampled_tokens + (active - head) * num_prompt_tokens)


def fastest_product(rounds: int = 20) -> float:
    """Operations a second of a BF16 product of large matrices, on torch's threads: the fastest of the rounds."""
    import torch

    a, b = torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).bfloat16()
    out, taken = torch.empty_like(a), []
    for _ in range(rounds):
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        taken.append(time.perf_counter() - started)
    return 2 * SIDE**3 / min(taken)


def limit_seconds(run: Path, steps: Sequence[int], *, speed: float) -> float:
    """Mean over some steps of a run, from its folder: its model's config.json and the rows of its samples.

    Args:
        speed: operations a second, as `fastest_product` finds.
    """
    facts, ops = json.loads((run / "initial_int4" / "config.json").read_text()), []
    for step in steps:
        rows = [json.loads(row) for row in (run / "rollouts" / f"step_{step:06d}.jsonl").read_text().splitlines()]
        prompts = {tuple(row["prompt_ids"]) for row in rows}
        sampled = sum(len(row["token_ids"]) for row in rows)
        ops.append(operations(facts, num_prompt_tokens=sum(map(len, prompts)), num_sampled_tokens=sampled))
    return sum(ops) / len(ops) / speed
