"""The least that a step can take on this machine: its matrix products, at the speed of the fastest product there is.

A rollout takes what prompts begin with through the layers once, and every sampled token but the last of its response;
the head sees what predicts a sampled token. An update takes the same forward, and twice as many operations back.
Attention, norms, sampling and the optimiser are left out, and a product of the model's own shapes is slower than the
large one that is timed: no step comes near this.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rl.plan import model_size

__all__ = ["fastest_product", "limit_seconds", "operations"]

SIDE = 2048
"""Of the square matrices that are multiplied, 8 MB each."""


def operations(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> float:
    """Multiplications and additions of a step's matrix products.

    Args:
        facts: the model's config.json.
        rows: of the step's samples, as a run writes them: `prompt_ids`, `token_ids`, `num_tokens`.
    """
    facts = facts.get("text_config") or facts
    head = facts["vocab_size"] * facts["hidden_size"]
    layers = model_size(facts).active - head
    prompts = {tuple(row["prompt_ids"]) for row in rows}
    read = len({prompt[: i + 1] for prompt in prompts for i in range(len(prompt))})
    read += sum(len(row["token_ids"]) - 1 for row in rows)
    return (2 + 6) * (layers * read + head * sum(row["num_tokens"] for row in rows))


def fastest_product(rounds: int = 20) -> float:
    """Operations a second of a BF16 product of large matrices on this CPU, on torch's threads: the fastest of all."""
    import torch

    a, b = torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).bfloat16()
    out, taken = torch.empty_like(a), []
    for _ in range(rounds):
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        taken.append(time.perf_counter() - started)
    return 2 * SIDE**3 / min(taken)


def limit_seconds(run: Path, steps: Sequence[int], *, speed: float) -> float:
    """Median over some steps of a run, from its folder.

    Args:
        speed: operations a second, as `fastest_product` finds.
    """
    facts = json.loads((run / "initial_int4" / "config.json").read_text())
    texts = [(run / "rollouts" / f"step_{step:06d}.jsonl").read_text() for step in steps]
    return median(operations(facts, [json.loads(row) for row in text.splitlines()]) for text in texts) / speed
